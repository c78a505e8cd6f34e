"""The Python ADBC driver against a running server.

BELVEDERE_FLIGHT is its address, e.g. grpc://127.0.0.1:50051. The server must run on this machine: the tests make a
SQLite file and name it as a source. BELVEDERE_FLIGHT_TLS is that of one with the certificate of tests/flight/tls, e.g.
grpc+tls://127.0.0.1:50052; without it TLS is skipped.
"""

import os
import pathlib
import sqlite3
import uuid
from importlib.metadata import version

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pandas
import polars
import pyarrow
import pytest
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

ADDRESS = os.environ["BELVEDERE_FLIGHT"]
HEADER = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value


def connect(**options):
    return flight_sql.connect(ADDRESS, db_kwargs=options, autocommit=True)


def define(cursor, sql):
    """A definition, done when this returns: the driver's `execute` does not wait for the answer, `fetchall` does."""
    cursor.execute(sql)
    return cursor.fetchall()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source of this run's own: two tables, one referring to the other."""
    path = tmp_path_factory.mktemp("adbc") / "shop.db"
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since DATE);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer (id), total REAL);
            INSERT INTO customer VALUES (1, 'Ada', '2020-01-02'), (2, 'Bo', NULL), (3, 'Çelik', '2024-12-31');
            INSERT INTO orders VALUES (10, 1, 9.5), (11, 1, 0.5), (12, 2, 4.0);
            """
        )
    name = "adbc_" + uuid.uuid4().hex[:8]
    with connect() as connection, connection.cursor() as cursor:
        define(cursor, f"CREATE SOURCE {name} FROM 'sqlite:{path}'")
        yield name
        define(cursor, f"DROP SOURCE {name} CASCADE")


@pytest.fixture()
def cursor():
    with connect() as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture()
def view(cursor):
    """The name of a view that is dropped afterwards."""
    name = "adbc_view_" + uuid.uuid4().hex[:8]
    yield name
    define(cursor, f"DROP VIEW IF EXISTS {name}")


def test_rows(cursor, source):
    cursor.execute(f"SELECT id, name FROM {source}.customer ORDER BY id")
    assert [column[0] for column in cursor.description] == ["id", "name"]
    assert cursor.fetchone() == (1, "Ada")
    assert cursor.fetchmany(1) == [(2, "Bo")]
    assert cursor.fetchall() == [(3, "Çelik")]


def test_arrow(cursor, source):
    cursor.execute(f"SELECT * FROM {source}.customer ORDER BY id")
    table = cursor.fetch_arrow_table()
    assert table.schema.names == ["id", "name", "since"]
    assert table.schema.field("since").type == pyarrow.date32()
    assert table.column("name").to_pylist() == ["Ada", "Bo", "Çelik"]


def test_pandas(cursor, source):
    cursor.execute(f"SELECT customer, sum(total) AS total FROM {source}.orders GROUP BY customer ORDER BY customer")
    frame = cursor.fetch_df()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["total"].tolist() == [10.0, 4.0]


def test_polars(cursor, source):
    frame = polars.read_database(f"SELECT id, since FROM {source}.customer ORDER BY id", cursor)
    assert frame["id"].to_list() == [1, 2, 3]
    assert frame["since"].null_count() == 1


def test_no_rows(cursor, source):
    cursor.execute(f"SELECT * FROM {source}.customer WHERE id > 100")
    assert cursor.fetch_arrow_table().num_rows == 0


def test_many_rows(cursor):
    cursor.execute(
        "SELECT a.value * 1000 + b.value AS n, repeat('x', 100) AS text "
        "FROM generate_series(0, 99) AS a(value) CROSS JOIN generate_series(0, 999) AS b(value)"
    )
    table = cursor.fetch_arrow_table()
    assert table.num_rows == 100_000
    assert len(set(table.column("n").to_pylist())) == 100_000


def test_parameters(cursor, source):
    sql = f"SELECT name FROM {source}.customer WHERE id = $1 OR name = $2 ORDER BY id"
    cursor.execute(sql, (1, "Bo"))
    assert cursor.fetchall() == [("Ada",), ("Bo",)]
    cursor.execute(sql, (3, None))
    assert cursor.fetchall() == [("Çelik",)]


def test_parameter_decides_the_type(cursor):
    cursor.execute("SELECT $1 AS a, $2 AS b", (7, "x"))
    assert cursor.fetchall() == [(7, "x")]


def test_parameters_of_the_wrong_count(cursor):
    with pytest.raises(adbc_driver_manager.Error, match="takes 1 parameters, 2 were given"):
        cursor.execute("SELECT 1 WHERE 1 = $1", (1, 2))


def test_parameters_of_the_wrong_type(cursor, source):
    with pytest.raises(adbc_driver_manager.Error, match="parameter"):
        cursor.execute(f"SELECT * FROM {source}.customer WHERE id = $1", ("x",))
        cursor.fetchall()


def test_executemany(cursor, source):
    cursor.executemany(f"SELECT * FROM {source}.customer WHERE id = $1", [(1,), (2,), (9,)])
    assert cursor.rowcount in (2, -1)


def test_schemas_before_execution(cursor, source):
    sql = f"SELECT name, total FROM {source}.orders JOIN {source}.customer c ON customer = c.id WHERE c.id = $1"
    parameters = cursor.adbc_prepare(sql)
    assert parameters.types == [pyarrow.int64()]
    assert cursor.adbc_execute_schema(f"SELECT id FROM {source}.orders").names == ["id"]


def test_a_definition_runs_once(cursor, view):
    # Without OR REPLACE a second run would fail.
    cursor.execute(f"CREATE VIEW {view} AS SELECT 1 AS a")
    assert cursor.fetchall() == [("CREATE VIEW",)]
    cursor.execute(f"SELECT * FROM {view}")
    assert cursor.fetchall() == [(1,)]
    with pytest.raises(adbc_driver_manager.Error, match="already exists"):
        cursor.execute(f"CREATE VIEW {view} AS SELECT 2 AS a")
        cursor.fetchall()


def objects(connection, **filters):
    return connection.adbc_get_objects(**filters).read_all().to_pylist()


def test_objects_at_all_depths(source, seen):
    with connect() as connection:
        catalogs = objects(connection, depth="catalogs")
        assert {"belvedere", source} <= {catalog["catalog_name"] for catalog in catalogs}

        (catalog,) = objects(connection, depth="db_schemas", catalog_filter=source)
        assert [schema["db_schema_name"] for schema in catalog["catalog_db_schemas"]] == ["main"]

        (catalog,) = objects(connection, depth="tables", catalog_filter=source)
        (schema,) = catalog["catalog_db_schemas"]
        tables = {table["table_name"]: table["table_type"] for table in schema["db_schema_tables"]}
        assert tables == {"customer": "TABLE", "orders": "TABLE"}

        (catalog,) = objects(connection, depth="all", catalog_filter=source, table_name_filter="customer")
        (schema,) = catalog["catalog_db_schemas"]
        (table,) = schema["db_schema_tables"]
        columns = {column["column_name"]: column for column in table["table_columns"]}
        assert list(columns) == ["id", "name", "since"]
        assert columns["id"]["ordinal_position"] == 1
        assert columns["name"]["xdbc_type_name"] == "TEXT"

        (catalog,) = objects(connection, depth="columns", catalog_filter="belvedere", db_schema_filter="system")
        assert catalog["catalog_db_schemas"][0]["db_schema_tables"]
    what = "Arrow tables, pandas, polars; parameters; catalogs, schemas, tables and columns; settings, sessions, TLS (over Arrow Flight SQL)"
    seen("ADBC (Python, Flight SQL)", version("adbc-driver-flightsql"), what)


def test_objects_with_filters(source):
    with connect() as connection:
        (catalog,) = objects(
            connection, depth="tables", catalog_filter=source, db_schema_filter="ma%", table_name_filter="ord_rs"
        )
        (schema,) = catalog["catalog_db_schemas"]
        assert [table["table_name"] for table in schema["db_schema_tables"]] == ["orders"]
        views = objects(connection, depth="tables", catalog_filter=source, table_types_filter=["VIEW"])
        assert all(not schema["db_schema_tables"] for c in views for schema in c["catalog_db_schemas"])


def test_table_schema(source):
    with connect() as connection:
        schema = connection.adbc_get_table_schema("customer", catalog_filter=source, db_schema_filter="main")
        assert schema.names == ["id", "name", "since"]
        assert not schema.field("id").nullable
        assert {"TABLE", "VIEW"} <= set(connection.adbc_get_table_types())


def test_info():
    with connect() as connection:
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Belvedere"


def test_ingest_is_refused(cursor, source):
    rows = pyarrow.table({"id": [1]})
    with pytest.raises(adbc_driver_manager.Error, match="cannot be ingested"):
        cursor.adbc_ingest("customer", rows, mode="append")


def test_transactions_are_refused():
    with pytest.warns(Warning, match="autocommit"):
        connection = flight_sql.connect(ADDRESS, autocommit=False)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "SELEC"),
        ("SELECT * FROM nothing_of_this_name", "nothing_of_this_name"),
        ("SELECT nothing_of_this_name FROM system.sources", "nothing_of_this_name"),
        ("SELECT 1 / 0", "division by zero"),
        ("SET pushdown = off", "belvedere-pushdown"),
    ],
)
def test_errors(cursor, sql, message):
    with pytest.raises(adbc_driver_manager.Error, match=message):
        cursor.execute(sql)
        cursor.fetchall()


def test_the_cursor_works_after_an_error(cursor):
    with pytest.raises(adbc_driver_manager.Error):
        cursor.execute("SELEC 1")
    cursor.execute("SELECT 1")
    assert cursor.fetchall() == [(1,)]


def test_login():
    with connect(username="ana", password="secret") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]


def test_a_wrong_token():
    with pytest.raises(adbc_driver_manager.Error, match="log in"):
        with connect(**{DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer nonsense"}) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")


def test_a_setting_for_each_call():
    with connect(**{HEADER + "belvedere-timezone": "Europe/Berlin"}) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SHOW timezone")
            assert "Europe/Berlin" in str(cursor.fetchall())


def test_a_session():
    cookies = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}
    with connect(**cookies) as connection:
        option = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value
        connection.adbc_connection.set_options(**{option + "timezone": "Europe/Berlin"})
        with connection.cursor() as cursor:
            cursor.execute("SET pushdown = off")
            assert cursor.fetchall() == [("SET",)]
            cursor.execute("SHOW pushdown")
            assert "off" in str(cursor.fetchall())
            cursor.execute("SHOW timezone")
            assert "Europe/Berlin" in str(cursor.fetchall())


def test_a_cursor_left_in_the_middle(cursor):
    for _ in range(20):
        cursor.execute("SELECT a.value FROM generate_series(0, 99999) AS a(value)")
        cursor.fetchone()
    cursor.execute("SELECT 1")
    assert cursor.fetchall() == [(1,)]


AUTHORITY = pathlib.Path(__file__).parent.parent / "flight" / "tls" / "ca.pem"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls(host):
    if "BELVEDERE_FLIGHT_TLS" not in os.environ:
        pytest.skip("BELVEDERE_FLIGHT_TLS is not set")
    url = os.environ["BELVEDERE_FLIGHT_TLS"].replace("127.0.0.1", host)

    def ask(url, **options):
        with flight_sql.connect(url, db_kwargs=options, autocommit=True) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT $1 AS a", (7,))
                return cursor.fetchall()

    roots = DatabaseOptions.TLS_ROOT_CERTS.value
    assert ask(url, **{roots: AUTHORITY.read_text()}, username="ana", password="secret") == [(7,)]
    # An authority that is not known to the client, and no TLS at all.
    with pytest.raises(adbc_driver_manager.Error, match="certificate"):
        ask(url)
    with pytest.raises(adbc_driver_manager.Error):
        ask(url.replace("grpc+tls", "grpc"))
