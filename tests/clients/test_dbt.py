"""dbt, in an environment of its own: the project in dbt/. BELVEDERE_TEST_DBT is that environment's Python."""

import json
import os
import pathlib
import shutil
import subprocess
import uuid

import psycopg
import pytest

from conftest import not_shown

HERE = pathlib.Path(__file__).parent / "dbt"
ADDRESS = os.environ["BELVEDERE_POSTGRES"].replace("://", "://ana@")
MODELS = ["best", "customers", "sales", "sales_kept"]


@pytest.fixture()
def project(source, tmp_path):
    """A copy of the project, whose models go to a schema of their own; and that schema."""
    if "BELVEDERE_TEST_DBT" not in os.environ:
        not_shown("dbt is not installed (scripts/test does it)")
    folder = tmp_path / "project"
    shutil.copytree(HERE, folder)
    schema = "dbt_" + uuid.uuid4().hex[:8]
    yield folder, schema
    with psycopg.connect(ADDRESS, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def run(project, source, *steps):
    """What became of each step: whether it went well, and of its nodes."""
    folder, schema = project
    host, port = os.environ["BELVEDERE_POSTGRES"].split("//")[1].split("/")[0].split(":")
    environment = {
        **os.environ,
        "BELVEDERE_HOST": host,
        "BELVEDERE_PORT": port,
        "BELVEDERE_SCHEMA": schema,
        "BELVEDERE_SOURCE": source,
        "DO_NOT_TRACK": "1",
    }
    (folder / "steps.json").write_text(json.dumps(steps))
    command = [os.environ["BELVEDERE_TEST_DBT"], folder / "steps.py", folder, folder / "steps.json"]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    done = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert len(done) == len(steps), said.stdout + said.stderr
    return done


def rows(sql):
    with psycopg.connect(ADDRESS, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_project(project, source, seen):
    folder, schema = project
    done = run(project, source, ["debug"], ["run"], ["test"], ["run"])
    for step in done:
        assert step["success"], step
    assert sorted(done[1]["nodes"]) == MODELS and len(done[2]["nodes"]) == 6
    assert rows(f"SELECT name, total FROM {schema}.best") == [("Ada", 10.0)]
    assert rows(f"SELECT obj_description('{schema}.sales_kept'::regclass)") == [("Sales of each customer; it's kept.",)]
    about = f"SELECT refresh, owner FROM system.views WHERE schema = '{schema}' AND name = 'sales_kept'"
    assert rows(about) == [("every 1 hour", "sales")]
    # Once more as it was, it has kept its rows.
    assert rows(f"SELECT count(*) FROM system.refreshes WHERE schema = '{schema}' AND view = 'sales_kept'") == [(1,)]
    # With another query and other options.
    path = folder / "models" / "sales_kept.sql"
    path.write_text(path.read_text().replace("'every 1 hour'", "'every 2 hours'").replace("total, orders", "total, orders, total * 2 as twice"))
    done = run(project, source, ["run"], ["run", "--full-refresh"], ["docs", "generate"], ["build", "--select", "sales_kept+"])
    for step in done:
        assert step["success"], step
    assert rows(about) == [("every 2 hours", "sales")]
    assert rows(f"SELECT name, twice FROM {schema}.sales_kept ORDER BY id") == [("Ada", 20.0), ("Bo", 8.0), ("Çelik", 0.0)]
    catalog = json.loads((folder / "target" / "catalog.json").read_text())
    about = catalog["nodes"]["model.shop.sales_kept"]
    assert about["metadata"]["type"] == "MATERIALIZED VIEW" and about["columns"]["total"]["type"] == "double precision", about
    assert catalog["sources"]["source.shop.shop.customer"]["columns"]["name"]["type"] == "text"
    # A table cannot be: said so.
    (folder / "models" / "own.sql").write_text("{{ config(materialized = 'table') }} select 1 as one")
    [failed] = run(project, source, ["run", "--select", "own"])
    assert not failed["success"] and "CREATE TABLE" in failed["errors"][0] and "VIEW" in failed["errors"][0].split("CREATE TABLE")[1], failed
    python = os.environ["BELVEDERE_TEST_DBT"]
    ask = "from importlib.metadata import version as v; print(v('dbt-core'), '(dbt-postgres ' + v('dbt-postgres') + ')')"
    version = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    seen("dbt", version, "models as views and materialized views; `run`, again and with `--full-refresh`; `test`, `build`, `docs generate`; comments, indexes")


def test_a_project_that_knows_nothing_of_us(project, source):
    folder, schema = project
    shutil.rmtree(folder / "macros")
    done = run(project, source, ["run"], ["run"], ["test"], ["run", "--select", "sales_kept"], ["run", "--full-refresh"])
    for step in done:
        assert step["success"], step
    assert rows(f"SELECT name, total FROM {schema}.best") == [("Ada", 10.0)]
    left = rows(f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('v', 'm') ORDER BY 1")
    assert [name for (name,) in left] == MODELS
