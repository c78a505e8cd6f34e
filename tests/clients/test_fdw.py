"""postgres_fdw: a real PostgreSQL, started here, whose foreign tables are a server's."""

import glob
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import psycopg
import pytest

from conftest import not_shown

HOST, PORT = os.environ["BELVEDERE_POSTGRES"].split("//")[1].split("/")[0].split(":")


def newest(folder):
    return int(folder.split("/")[4])


@pytest.fixture(scope="module")
def postgres():
    """The address of a PostgreSQL of this run's own, which listens on a socket in a temporary folder alone."""
    if folders := glob.glob("/usr/lib/postgresql/*/bin"):
        bin = pathlib.Path(os.environ.get("BELVEDERE_POSTGRES_BIN") or max(folders, key=newest))
    else:
        not_shown("PostgreSQL is not installed (Debian: postgresql)")
    # It refuses to run as root.
    run_as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="fdw")
    if run_as:
        shutil.chown(folder, "postgres", "postgres")
    data = folder + "/data"
    initdb = [bin / "initdb", "-D", data, "-U", "ana", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **run_as)
    command = [bin / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with open(folder + "/log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **run_as)
    address = f"host={folder} dbname=postgres user=ana"
    try:
        for _ in range(100):
            try:
                psycopg.connect(address).close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, pathlib.Path(folder, "log").read_text(encoding="utf-8")
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def imported(postgres, source):
    """Its schema `far` has the tables of the source, `near` a table of its own."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        for sql in [
            "CREATE EXTENSION postgres_fdw",
            f"CREATE SERVER belvedere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{HOST}', port '{PORT}', dbname 'belvedere')",
            "CREATE USER MAPPING FOR ana SERVER belvedere OPTIONS (user 'ana')",
            "CREATE SCHEMA far",
            "CREATE TABLE near (id BIGINT, note TEXT)",
            "INSERT INTO near VALUES (1, 'one'), (3, 'three'), (4, 'four')",
            f"IMPORT FOREIGN SCHEMA {source} FROM SERVER belvedere INTO far",
        ]:
            connection.execute(sql)
    return postgres


@pytest.fixture(params=[False, True], ids=["own estimates", "remote estimates"])
def connection(imported, request):
    with psycopg.connect(imported, autocommit=True) as connection:
        connection.execute("ALTER SERVER belvedere OPTIONS (ADD use_remote_estimate '" + str(request.param).lower() + "')")
        yield connection
        connection.execute("ALTER SERVER belvedere OPTIONS (DROP use_remote_estimate)")


def rows(connection, sql, parameters=None):
    return connection.execute(sql, parameters).fetchall()


def remote(connection, sql):
    """What it sends."""
    plan = [line for (line,) in rows(connection, "EXPLAIN (VERBOSE) " + sql)]
    return [line.split("Remote SQL: ")[1] for line in plan if "Remote SQL" in line]


def test_tables_and_columns(imported, source):
    with psycopg.connect(imported) as connection:
        columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'far' AND table_name = 'customer' ORDER BY ordinal_position"
        assert rows(connection, columns) == [("id", "bigint"), ("name", "text"), ("since", "date")]
        # What is not null is known, too.
        assert rows(connection, "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'far.customer'::regclass AND attname = 'name'") == [(True,)]


def test_questions(connection):
    assert rows(connection, "SELECT id, name FROM far.customer ORDER BY id") == [(1, "Ada"), (2, "Bo"), (3, "Çelik")]
    assert rows(connection, "SELECT name FROM far.customer WHERE id > 1 AND since IS NOT NULL") == [("Çelik",)]
    assert rows(connection, "SELECT sum(total), count(*) FROM far.orders") == [(14.0, 3)]
    joined = "SELECT c.name, sum(o.total) FROM far.customer c JOIN far.orders o ON o.customer = c.id GROUP BY c.name ORDER BY 1"
    assert rows(connection, joined) == [("Ada", 10.0), ("Bo", 4.0)]
    assert rows(connection, "SELECT id FROM far.orders ORDER BY total DESC LIMIT 1") == [(10,)]
    left = "SELECT c.id, o.id FROM far.customer c LEFT JOIN far.orders o ON o.customer = c.id AND o.total > 5 ORDER BY 1"
    assert rows(connection, left) == [(1, 10), (2, None), (3, None)]
    exists = "SELECT name FROM far.customer c WHERE EXISTS (SELECT 1 FROM far.orders o WHERE o.customer = c.id) ORDER BY 1"
    assert rows(connection, exists) == [("Ada",), ("Bo",)]
    whole = "SELECT c FROM far.customer c WHERE id = 1"
    assert rows(connection, whole) == [("(1,Ada,2020-01-02)",)]


def test_what_is_sent(connection):
    [sent] = remote(connection, "SELECT name FROM far.customer WHERE id = 2")
    assert "WHERE ((id = 2))" in sent
    [sent] = remote(connection, "SELECT count(*) FROM far.orders WHERE total > 1")
    assert "count(*)" in sent
    [sent] = remote(connection, "SELECT * FROM far.orders ORDER BY id LIMIT 2")
    assert "ORDER BY id" in sent
    [sent] = remote(connection, "SELECT c.name FROM far.customer c JOIN far.orders o ON o.customer = c.id WHERE o.id = 10")
    assert "INNER JOIN" in sent
    # With our own tables, and with parameters, by which rows are asked for one after another.
    connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    near = "SELECT n.note, c.name FROM near n JOIN far.customer c ON c.id = n.id ORDER BY n.id"
    assert rows(connection, near) == [("one", "Ada"), ("three", "Çelik")]


def test_prepared(connection):
    sql = "SELECT name FROM far.customer WHERE id = %s AND name <> %s"
    for _ in range(7):
        found = connection.execute(sql, [3, "x"], prepare=True).fetchall()
        assert found == [("Çelik",)]


def test_cursors(connection):
    connection.execute("ALTER SERVER belvedere OPTIONS (ADD fetch_size '2')")
    with connection.transaction(), connection.cursor("c", scrollable=True) as cursor:
        cursor.execute("SELECT id FROM far.orders ORDER BY id")
        assert cursor.fetchmany(1) == [(10,)]
        assert cursor.fetchall() == [(11,), (12,)]
        cursor.scroll(0, "absolute")
        assert cursor.fetchall() == [(10,), (11,), (12,)]
    connection.execute("ALTER SERVER belvedere OPTIONS (DROP fetch_size)")


def test_errors(connection, source):
    connection.execute(f"CREATE FOREIGN TABLE far.lost (id BIGINT) SERVER belvedere OPTIONS (schema_name '{source}', table_name 'lost')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(connection, "SELECT * FROM far.lost")
    connection.execute("DROP FOREIGN TABLE far.lost")
    with connection.transaction():
        with pytest.raises(psycopg.Error):
            with connection.transaction():
                rows(connection, "SELECT 1 / (id - 1) FROM far.customer WHERE 1 / (id - 1) > 5")
        assert rows(connection, "SELECT count(*) FROM far.customer") == [(3,)]
    with pytest.raises(psycopg.Error):
        connection.execute("INSERT INTO far.customer VALUES (4, 'Dag', NULL)")
    assert rows(connection, "SELECT count(*) FROM far.customer") == [(3,)]


def test_at_once(imported, seen):
    failed = []

    def ask():
        try:
            with psycopg.connect(imported) as connection:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                for _ in range(5):
                    assert rows(connection, "SELECT count(*) FROM far.customer, far.orders") == [(9,)]
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with psycopg.connect(imported) as connection:
        connection.execute("ANALYZE far.customer")
        version = rows(connection, "SHOW server_version")[0][0].split()[0]
    seen(
        "postgres_fdw",
        f"PostgreSQL {version}",
        "`IMPORT FOREIGN SCHEMA`; conditions, order, limits, joins and aggregates sent; own and remote estimates; cursors; parameters; errors; `ANALYZE`",
    )
