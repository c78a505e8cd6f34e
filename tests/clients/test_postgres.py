"""PostgreSQL's clients against a running server: psycopg 3, asyncpg, SQLAlchemy, psql, pgbench, JDBC.

BELVEDERE_POSTGRES is its address, e.g. postgresql://127.0.0.1:5433/belvedere. The server must run on this machine: the tests make
a SQLite file and name it as a source. BELVEDERE_POSTGRES_TLS is that of one with the certificate of tests/flight/tls.
"""

import asyncio
import datetime
import decimal
import glob
import os
import pty
import select
import shutil
import subprocess
import time

import asyncpg
import psycopg
import pytest
import sqlalchemy

from conftest import not_shown

ADDRESS = os.environ["BELVEDERE_POSTGRES"].replace("://", "://ana@")


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_reads_every_type(binary):
    with psycopg.connect(ADDRESS) as connection, connection.cursor(binary=binary) as cursor:
        cursor.execute(
            """SELECT true, CAST(1 AS SMALLINT), 2, CAST(1.5 AS DOUBLE), CAST(-12.340 AS DECIMAL(10, 3)), 'ü', decode('00ff', 'hex'),
                      DATE '2024-02-29', TIME '01:02:03', TIMESTAMP '2024-02-29 01:02:03.5',
                      TIMESTAMPTZ '2024-02-29 01:02:03+00', INTERVAL '1 day 2 seconds', [1, NULL], CAST(NULL AS INT)"""
        )
        utc = datetime.timezone.utc
        assert cursor.fetchone() == (
            True,
            1,
            2,
            1.5,
            decimal.Decimal("-12.340"),
            "ü",
            b"\x00\xff",
            datetime.date(2024, 2, 29),
            datetime.time(1, 2, 3),
            datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
            datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=utc),
            datetime.timedelta(days=1, seconds=2),
            [1, None],
            None,
        )


def test_psycopg_sends_every_type():
    values = [
        True,
        7,
        2**40,
        1.5,
        decimal.Decimal("12.50"),
        "ü",
        b"\x00\xff",
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3),
        datetime.datetime(2024, 2, 29, 1, 2, 3),
        datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc),
        datetime.timedelta(days=1, seconds=2),
        [1, None, 3],
    ]
    with psycopg.connect(ADDRESS) as connection, connection.cursor() as cursor:
        for value in values:
            for form in ("%s", "%b", "%t"):
                if form == "%b" and isinstance(value, str):
                    continue
                found = cursor.execute(f"SELECT {form} AS v", [value]).fetchone()[0]
                assert found == value, (form, value, found)


def test_psycopg_cursors_and_copies(source, seen):
    with psycopg.connect(ADDRESS) as connection:
        with connection.cursor("c") as cursor:
            cursor.execute(f"SELECT id FROM {source}.orders ORDER BY id")
            assert cursor.fetchmany(2) == [(10,), (11,)]
            assert cursor.fetchall() == [(12,)]
        with connection.cursor("with a parameter") as cursor:
            cursor.execute(f"SELECT id FROM {source}.orders WHERE id > %s AND id = ANY(%s) ORDER BY id", [10, [10, 11, 12]])
            assert cursor.fetchall() == [(11,), (12,)]
        with connection.cursor().copy(f"COPY {source}.customer (id, name) TO STDOUT") as copy:
            assert sorted(copy.rows()) == [("1", "Ada"), ("2", "Bo"), ("3", "Çelik")]
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nothing")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        with connection.pipeline():
            found = [connection.execute("SELECT %s::int", [n]) for n in range(20)]
            assert [cursor.fetchone()[0] for cursor in found] == list(range(20))
    seen("psycopg", psycopg.__version__, "text and binary values, every type, named cursors, `COPY`, pipelines, transactions, errors")
    libpq = psycopg.pq.version()
    seen("libpq", f"{libpq // 10000}.{libpq % 10000}", "what psycopg and psql do, with and without TLS")


def test_columns_are_called_as_in_postgresql(source):
    with psycopg.connect(ADDRESS, autocommit=True) as connection:

        def names(sql):
            return [column.name for column in connection.execute(sql).description]

        sql = f"SELECT count(*), sum(total), sum(id), max(id) + 1, lower('A'), CASE WHEN true THEN 1 END, 1, '5'::int, id::text, true, date_trunc('month', DATE '2024-02-29') FROM {source}.orders GROUP BY id"
        assert names(sql) == ["count", "sum", "sum", "?column?", "lower", "case", "?column?", "int4", "id", "?column?", "date_trunc"]
        assert connection.execute(f"SELECT count(*) FROM {source}.orders GROUP BY customer ORDER BY count").fetchall() == [(1,), (2,)]
        assert connection.execute("SELECT 1, 1, 2 AS a, 3 AS a").fetchall() == [(1, 1, 2, 3)]
        joined = f"{source}.customer c JOIN {source}.orders o ON o.customer = c.id"
        assert names(f"SELECT * FROM {joined}") == ["id", "name", "since", "id", "customer", "total"]
        assert names(f"SELECT c.id, c.* FROM {joined}") == ["id", "id", "name", "since"]
        assert names(f"SELECT *, upper(name) AS name FROM {source}.customer") == ["id", "name", "since", "name"]
        assert names(f"SELECT * FROM (SELECT c.*, o.* FROM {joined}) x") == ["id", "name", "since", "id", "customer", "total"]
        ranks = "SELECT row_number() OVER (ORDER BY id), rank() OVER (ORDER BY id), array_length(ARRAY[1, 2], 1) FROM " + source + ".orders"
        cursor = connection.execute(ranks + " ORDER BY 1")
        assert [column.type_display for column in cursor.description] == ["int8", "int8", "int4"]
        assert cursor.fetchall() == [(1, 1, 2), (2, 2, 2), (3, 3, 2)]


def test_asyncpg(source, seen):
    async def ask():
        connection = await asyncpg.connect(ADDRESS)
        try:
            sql = f"SELECT c.name, sum(o.total) AS total FROM {source}.customer c JOIN {source}.orders o ON o.customer = c.id"
            rows = await connection.fetch(sql + " WHERE c.id = $1 GROUP BY c.name", 1)
            assert [tuple(row) for row in rows] == [("Ada", 10.0)]
            assert await connection.fetchval("SELECT $1::date", datetime.date(2024, 2, 29)) == datetime.date(2024, 2, 29)
            assert await connection.fetchval("SELECT CAST(1.50 AS DECIMAL(10, 2))") == decimal.Decimal("1.50")
            async with connection.transaction():
                read = [row["id"] async for row in connection.cursor(f"SELECT id FROM {source}.orders ORDER BY id", prefetch=2)]
            assert read == [10, 11, 12]
            # The type of the parameter is what the server says that it is.
            any_of = f"SELECT id FROM {source}.orders WHERE id = ANY($1) ORDER BY id"
            assert [row["id"] for row in await connection.fetch(any_of, [12, 10, 99])] == [10, 12]
            with pytest.raises(asyncpg.exceptions.UndefinedTableError):
                await connection.fetch("SELECT * FROM nothing")
        finally:
            await connection.close()

    asyncio.run(ask())
    seen("asyncpg", asyncpg.__version__, "binary values, prepared statements, parameters and lists of them, cursors, transactions, errors")


def test_sqlalchemy(source, seen):
    engine = sqlalchemy.create_engine(ADDRESS.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text(f"SELECT name FROM {source}.customer WHERE id = :id"), {"id": 3})
        assert rows.fetchall() == [("Çelik",)]
    inspector = sqlalchemy.inspect(engine)
    assert source in inspector.get_schema_names()
    assert sorted(inspector.get_table_names(schema=source)) == ["customer", "orders"]
    columns = {column["name"]: column for column in inspector.get_columns("customer", schema=source)}
    assert list(columns) == ["id", "name", "since"]
    assert isinstance(columns["id"]["type"], sqlalchemy.BIGINT) and isinstance(columns["name"]["type"], sqlalchemy.TEXT)
    assert not columns["name"]["nullable"]
    assert inspector.get_pk_constraint("orders", schema=source)["constrained_columns"] == ["id"]
    [key] = inspector.get_foreign_keys("orders", schema=source)
    assert (key["constrained_columns"], key["referred_table"], key["referred_columns"]) == (["customer"], "customer", ["id"])
    # A table as the database has it, and queries of it.
    metadata = sqlalchemy.MetaData()
    with engine.connect() as connection:
        orders = sqlalchemy.Table("orders", metadata, schema=source, autoload_with=connection)
        customer = metadata.tables[f"{source}.customer"]
        assert [column.name for column in orders.primary_key] == ["id"] and orders.c.customer.references(customer.c.id)
        total = sqlalchemy.func.sum(orders.c.total)
        of_each = sqlalchemy.select(customer.c.name, total).join_from(orders, customer).group_by(customer.c.name).order_by(total)
        assert connection.execute(of_each).fetchall() == [("Bo", 4.0), ("Ada", 10.0)]
    everything = sqlalchemy.MetaData()
    everything.reflect(engine, schema=source, views=True)
    assert sorted(everything.tables) == [f"{source}.customer", f"{source}.orders"]
    engine.dispose()
    seen("SQLAlchemy", sqlalchemy.__version__, "reflection of schemas, tables, columns and keys; `autoload_with`; queries, over psycopg")


def test_psql(source, seen):
    psql = shutil.which("psql")
    if psql is None:
        not_shown("psql is not installed (Debian: postgresql-client)")
    run = lambda *more: subprocess.run([psql, "-X", ADDRESS, *more], capture_output=True, text=True, check=True).stdout
    assert run("-At", "-c", f"SELECT id, name FROM {source}.customer ORDER BY id") == "1|Ada\n2|Bo\n3|Çelik\n"
    assert run("-At", "-v", "FETCH_COUNT=2", "-c", f"SELECT id FROM {source}.orders ORDER BY id") == "10\n11\n12\n"
    copied = run("-c", f"\\copy (SELECT id, total FROM {source}.orders ORDER BY id) TO STDOUT WITH CSV HEADER")
    assert copied == "id,total\n10,9.5\n11,0.5\n12,4\n"
    described = run("-c", f"\\d {source}.orders")
    assert "PRIMARY KEY" in described and "FOREIGN KEY (customer)" in described
    for command in ("\\d", "\\dt *.*", "\\dv+", "\\dm", "\\di *.*", "\\dn+", "\\df", "\\l", "\\du", "\\dp", f"\\d+ {source}.customer"):
        said = subprocess.run([psql, "-X", ADDRESS, "-c", command], capture_output=True, text=True)
        assert "ERROR" not in said.stderr, (command, said.stderr)
    assert "3\r\n" in typed(psql, f"SELECT 'n', count(*) FROM {source}.cus\t ;\n", "(1 row)")
    version = subprocess.run([psql, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    seen("psql", version, "queries, `FETCH_COUNT`, `\\copy`, `\\d` and its like (`\\dt *.*`, `\\dv+`, `\\df` …), completion by the tab key")


def typed(psql, keys, until):
    """What a psql shows to whom types this."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "dumb"
        os.execv(psql, [psql, "-X", "-P", "pager=off", ADDRESS])
    shown = ""

    def wait(text):
        nonlocal shown
        end = time.monotonic() + 20
        while text not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 4096).decode("utf-8", "replace")

    wait("=#")
    for part in keys.split("\t"):
        os.write(terminal, (part + ("\t" if not part.endswith("\n") else "")).encode())
        time.sleep(0.5)
    wait(until)
    os.write(terminal, b"\\q\n")
    os.waitpid(child, 0)
    os.close(terminal)
    return shown


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(source, mode, tmp_path, seen):
    pgbench = shutil.which("pgbench") or next(iter(glob.glob("/usr/lib/postgresql/*/bin/pgbench")), None)
    if pgbench is None:
        not_shown("pgbench is not installed (Debian: postgresql-contrib)")
    script = tmp_path / "lookup.sql"
    script.write_text(f"\\set id random(1, 3)\nSELECT name FROM {source}.customer WHERE id = :id;\n")
    host, port = os.environ["BELVEDERE_POSTGRES"].split("//")[1].split("/")[0].split(":")
    where = ["-h", host, "-p", port, "-U", "ana", "belvedere"]
    command = [pgbench, "-n", "-c", "4", "-j", "2", "-t", "50", "-M", mode, "-f", str(script), *where]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "number of transactions actually processed: 200/200" in said.stdout
    version = subprocess.run([pgbench, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    seen("pgbench", version, "scripts of one's own in its three modes: simple, extended, prepared")


def test_jdbc(source, seen):
    driver = next(iter(glob.glob("/usr/share/java/postgresql.jar")), None)
    if driver is None or shutil.which("javac") is None:
        not_shown("Java's compiler or its driver is not installed (Debian: default-jdk-headless, libpostgresql-jdbc-java)")
    url = "jdbc:" + os.environ["BELVEDERE_POSTGRES"]
    said = subprocess.run(["java", "-cp", driver, "tests/clients/Jdbc.java", url, source], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    *lines, version = said.stdout.splitlines()
    assert lines == [
        "7 ü 2024-02-29 1.50 2024-07-01T12:00:00Z true 2.5",
        "[] [Bo] [Bo, Çelik] [Bo, Çelik] [Bo, Çelik] [Bo, Çelik] [Bo, Çelik] [Bo, Çelik] ",
        "1000",
        "42P01",
        "[customer, orders]",
        "[id, customer, total]",
        "[id]",
        "[customer]",
        "true",
        "true",
    ]
    seen("PostgreSQL's JDBC driver", version, "binary values, prepared statements, fetch size, metadata of tables, columns and keys")


def test_tls():
    address = os.environ.get("BELVEDERE_POSTGRES_TLS")
    if address is None:
        pytest.skip("no server with TLS")
    address = address.split("?")[0].replace("://", "://ana@").replace("127.0.0.1", "localhost")
    ca = "tests/flight/tls/ca.pem"
    with psycopg.connect(f"{address}?sslmode=verify-full&sslrootcert={ca}") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with psycopg.connect(f"{address}?sslmode=disable") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
