"""PostgreSQL's clients against a running server: psycopg 3, asyncpg, SQLAlchemy, psql, pgbench, JDBC.

BELVEDERE_POSTGRES is its address, e.g. postgresql://127.0.0.1:5433/belvedere. The server must run on this machine: the tests make
a SQLite file and name it as a source. BELVEDERE_POSTGRES_TLS is that of one with the certificate of tests/flight/tls.
"""

import asyncio
import datetime
import decimal
import glob
import os
import shutil
import sqlite3
import subprocess
import uuid

import asyncpg
import psycopg
import pytest
import sqlalchemy

ADDRESS = os.environ["BELVEDERE_POSTGRES"].replace("://", "://ana@")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source of this run's own: two tables, one referring to the other."""
    path = tmp_path_factory.mktemp("postgres") / "shop.db"
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since DATE);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer (id), total REAL);
            INSERT INTO customer VALUES (1, 'Ada', '2020-01-02'), (2, 'Bo', NULL), (3, 'Çelik', '2024-12-31');
            INSERT INTO orders VALUES (10, 1, 9.5), (11, 1, 0.5), (12, 2, 4.0);
            """
        )
    name = "shop_" + uuid.uuid4().hex[:8]
    with psycopg.connect(ADDRESS, autocommit=True) as connection:
        connection.execute(f"CREATE SOURCE {name} FROM 'sqlite:{path}'")
        yield name
        connection.execute(f"DROP SOURCE {name} CASCADE")


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


def test_psycopg_cursors_and_copies(source):
    with psycopg.connect(ADDRESS) as connection:
        with connection.cursor("c") as cursor:
            cursor.execute(f"SELECT id FROM {source}.orders ORDER BY id")
            assert cursor.fetchmany(2) == [(10,), (11,)]
            assert cursor.fetchall() == [(12,)]
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


def test_asyncpg(source):
    async def ask():
        connection = await asyncpg.connect(ADDRESS)
        try:
            sql = f"SELECT c.name, sum(o.total) AS total FROM {source}.customer c JOIN {source}.orders o ON o.customer = c.id"
            rows = await connection.fetch(sql + " WHERE c.id = $1 GROUP BY c.name", 1)
            assert [tuple(row) for row in rows] == [("Ada", 10.0)]
            assert await connection.fetchval("SELECT $1::date", datetime.date(2024, 2, 29)) == datetime.date(2024, 2, 29)
            assert await connection.fetchval("SELECT CAST(1.50 AS DECIMAL(10, 2))") == decimal.Decimal("1.50")
            async with connection.transaction():
                seen = [row["id"] async for row in connection.cursor(f"SELECT id FROM {source}.orders ORDER BY id", prefetch=2)]
            assert seen == [10, 11, 12]
            with pytest.raises(asyncpg.exceptions.UndefinedTableError):
                await connection.fetch("SELECT * FROM nothing")
        finally:
            await connection.close()

    asyncio.run(ask())


def test_sqlalchemy(source):
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
    engine.dispose()


def test_psql(source):
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed")
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


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(source, mode, tmp_path):
    pgbench = shutil.which("pgbench") or next(iter(glob.glob("/usr/lib/postgresql/*/bin/pgbench")), None)
    if pgbench is None:
        pytest.skip("pgbench is not installed")
    script = tmp_path / "lookup.sql"
    script.write_text(f"\\set id random(1, 3)\nSELECT name FROM {source}.customer WHERE id = :id;\n")
    host, port = os.environ["BELVEDERE_POSTGRES"].split("//")[1].split("/")[0].split(":")
    where = ["-h", host, "-p", port, "-U", "ana", "belvedere"]
    command = [pgbench, "-n", "-c", "4", "-j", "2", "-t", "50", "-M", mode, "-f", str(script), *where]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "number of transactions actually processed: 200/200" in said.stdout


def test_jdbc(source):
    driver = next(iter(glob.glob("/usr/share/java/postgresql.jar")), None)
    if driver is None or shutil.which("javac") is None:
        pytest.skip("Java's compiler or its driver is not installed (Debian: default-jdk-headless, libpostgresql-jdbc-java)")
    url = "jdbc:" + os.environ["BELVEDERE_POSTGRES"]
    said = subprocess.run(["java", "-cp", driver, "tests/clients/Jdbc.java", url, source], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [
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
