"""psqlODBC, by pyodbc."""

import datetime
import decimal
import glob
import os

import pytest

from conftest import not_shown

# It is there without the driver manager that it is linked to, where that could not be installed.
pyodbc = pytest.importorskip(
    "pyodbc", reason="not shown: pyodbc cannot be loaded", exc_type=ImportError
)

HOST, PORT = os.environ["BELVEDERE_POSTGRES"].split("//")[1].split("/")[0].split(":")
DRIVERS = glob.glob("/usr/lib/*/odbc/psqlodbcw.so")


def connect(**options):
    if not DRIVERS:
        not_shown("psqlODBC is not installed (Debian: odbc-postgresql)")
    options = {"Server": HOST, "Port": PORT, "Database": "belvedere", "Uid": "ana", **options}
    said = "".join(f"{name}={value};" for name, value in options.items())
    return pyodbc.connect(f"Driver={DRIVERS[0]};{said}", autocommit=True)


WAYS = {
    "as it is": {},
    "fetched by cursors": {"UseDeclareFetch": 1, "Fetch": 2},
    "prepared here": {"UseServerSidePrepare": 0},
    "prepared there": {"UseServerSidePrepare": 1},
    "protocol 7.4-2": {"Protocol": "7.4-2"},
}


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def connection(request):
    with connect(**request.param) as connection:
        yield connection


def test_rows_and_parameters(connection, source):
    cursor = connection.cursor()
    cursor.execute(f"SELECT id, name, since FROM {source}.customer WHERE id >= ? ORDER BY id", 2)
    assert [tuple(row) for row in cursor] == [(2, "Bo", None), (3, "Çelik", datetime.date(2024, 12, 31))]
    for number in (1, 2, 3, 1):
        name = cursor.execute(f"SELECT name FROM {source}.customer WHERE id = ? AND name LIKE ?", number, "%").fetchval()
        assert name == {1: "Ada", 2: "Bo", 3: "Çelik"}[number]
    assert len(cursor.execute("SELECT value FROM generate_series(1, 1000)").fetchall()) == 1000


def test_values(connection):
    sql = """SELECT 7, 9999999999, CAST(1.5 AS DOUBLE), CAST(-12.340 AS DECIMAL(10, 3)), 'ü', DATE '2024-02-29', TIME '01:02:03',
                    TIMESTAMP '2024-02-29 01:02:03.5', decode('00ff', 'hex'), CAST(NULL AS TEXT), CAST(1 AS SMALLINT)"""
    assert tuple(connection.execute(sql).fetchone()) == (
        7,
        9999999999,
        1.5,
        decimal.Decimal("-12.340"),
        "ü",
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
        b"\x00\xff",
        None,
        1,
    )
    values = [7, 2**40, 1.5, decimal.Decimal("12.50"), "ü", datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 1, 2, 3)]
    casts = ["int", "bigint", "double precision", "numeric(10, 2)", "text", "date", "timestamp"]
    for value, cast in zip(values, casts):
        assert connection.execute(f"SELECT CAST(? AS {cast})", value).fetchval() == value


def test_catalog(connection, source):
    cursor = connection.cursor()
    assert sorted(row.table_name for row in cursor.tables(schema=source)) == ["customer", "orders"]
    assert sorted(row.table_name for row in cursor.tables(schema=source, tableType="TABLE")) == ["customer", "orders"]
    columns = [(row.column_name, row.type_name, row.nullable) for row in cursor.columns(schema=source, table="customer")]
    assert columns == [("id", "int8", 0), ("name", "text", 0), ("since", "date", 1)]
    assert [row.column_name for row in cursor.primaryKeys("orders", schema=source)] == ["id"]
    keys = [(row.pktable_name, row.pkcolumn_name, row.fkcolumn_name) for row in cursor.foreignKeys(foreignTable="orders", foreignSchema=source)]
    assert keys == [("customer", "id", "customer")]
    cursor.statistics("orders", schema=source).fetchall()
    assert [row.column_name for row in cursor.rowIdColumns("orders", schema=source)] in (["id"], [])
    assert "text" in [row.type_name for row in cursor.getTypeInfo()]
    cursor.procedures().fetchall()


def test_transactions_and_errors(connection, source, seen):
    connection.autocommit = False
    cursor = connection.cursor()
    assert cursor.execute(f"SELECT count(*) FROM {source}.orders").fetchval() == 3
    with pytest.raises(pyodbc.ProgrammingError) as failed:
        cursor.execute("SELECT * FROM nothing").fetchall()
    assert failed.value.args[0] == "42P01", failed.value.args
    connection.rollback()
    assert cursor.execute(f"SELECT count(*) FROM {source}.orders").fetchval() == 3
    connection.commit()
    version = connection.getinfo(pyodbc.SQL_DRIVER_VER)
    seen(
        "psqlODBC",
        f"{version} (pyodbc {pyodbc.version})",
        "text and parameters, prepared here or there; `UseDeclareFetch`; `SQLTables`, `SQLColumns`, keys, types; transactions, errors",
    )
