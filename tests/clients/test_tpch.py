"""A third opinion on TPC-H: DuckDB, over the copy of the tables that tests/tpch leaves in BELVEDERE_TPCH_KEEP, against
what Belvedere answered there over four systems."""

import math
import os
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

KEPT = Path(os.environ.get("BELVEDERE_TPCH_KEEP", ""))
QUERIES = sorted((Path(__file__).parent.parent / "tpch" / "queries").glob("q*.sql"))

pytestmark = pytest.mark.skipif(
    "BELVEDERE_TPCH_KEEP" not in os.environ, reason="tests/tpch has left no answers"
)


@pytest.fixture(scope="module")
def copy():
    connection = duckdb.connect()
    for table in (KEPT / "tables").glob("*.parquet"):
        connection.execute(f"CREATE VIEW {table.stem} AS SELECT * FROM '{table}'")
    return connection


def is_number(value):
    return isinstance(value, (int, float, Decimal))


def sort_key(row):
    """Rows whose numbers are nearly the same come at the same place."""
    return [f"{value:.2f}" if is_number(value) else str(value) for value in row]


def same(ours, theirs):
    if isinstance(ours, (int, Decimal)) and isinstance(theirs, (int, Decimal)):
        return ours == theirs
    if is_number(ours) and is_number(theirs):
        # An average of decimals is a decimal of 6 places here, a float there.
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-6)
    return ours == theirs


@pytest.mark.parametrize("query", QUERIES, ids=lambda path: path.stem)
def test_duckdb_agrees(copy, query):
    theirs = sorted(copy.execute(query.read_text()).fetchall(), key=sort_key)
    answer = KEPT / "answers" / f"{query.stem}.parquet"
    ours = sorted(copy.execute(f"SELECT * FROM '{answer}'").fetchall(), key=sort_key)
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs):
        assert len(mine) == len(other)
        assert all(map(same, mine, other)), (mine, other)


def test_all_queries_were_compared():
    assert len(QUERIES) == 22
