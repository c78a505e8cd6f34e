"""Another engine over the same four systems: told files with a query on stdin, it answers each with a line of JSON.

    python peers.py duckdb|chdb POSTGRES MARIADB SQLITE FOLDER
    python peers.py postgres URL
"""

import json
import pathlib
import signal
import sys
import time
from urllib.parse import urlsplit

# Seconds for a query. The alarm ends this process, whatever a library is doing.
LIMIT = 120

TABLES = {
    "pg": ["part", "supplier", "partsupp"],
    "maria": ["customer", "nation", "region"],
    "lite": ["orders"],
    "lake": ["lineitem"],
}

# What chDB's table functions give otherwise than the systems have it: PostgreSQL's CHAR with its padding, which the `=`
# of ClickHouse looks at, and all but SQLite's numbers as text.
REPLACED = {
    "part": "trimRight(p_brand) AS p_brand, trimRight(p_container) AS p_container",
    "orders": "toDate32(o_orderdate) AS o_orderdate, toDecimal64(o_totalprice, 2) AS o_totalprice",
}


def duckdb(postgres, mariadb, sqlite, folder):
    import importlib

    import duckdb

    connection = duckdb.connect()
    for name in ["postgres", "mysql", "sqlite"]:
        extension = importlib.import_module(f"duckdb_extension_{name}_scanner")
        (file,) = pathlib.Path(extension.__file__).parent.glob("extensions/*/*.duckdb_extension")
        connection.execute(f"LOAD '{file}'")
    maria = urlsplit(mariadb)
    connection.execute(f"ATTACH '{postgres}' AS pg (TYPE postgres, READ_ONLY)")
    connection.execute(
        f"ATTACH 'host={maria.hostname} port={maria.port} user={maria.username} database={maria.path[1:]}' AS maria (TYPE mysql, READ_ONLY)"
    )
    connection.execute(f"ATTACH '{sqlite.removeprefix('sqlite:')}' AS lite (TYPE sqlite, READ_ONLY)")
    schema = {"pg": "pg.public", "maria": f"maria.{maria.path[1:]}", "lite": "lite.main"}
    for system, tables in TABLES.items():
        for table in tables:
            place = f"{schema[system]}.{table}" if system in schema else f"'{folder.removeprefix('file:')}/{table}.parquet'"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {place}")
    return lambda sql: connection.execute(sql).fetchall()


def chdb(postgres, mariadb, sqlite, folder):
    import io

    import pyarrow
    from chdb import session

    pg, maria = urlsplit(postgres), urlsplit(mariadb)
    place = {
        "pg": lambda t: f"postgresql('{pg.hostname}:{pg.port}', '{pg.path[1:]}', '{t}', '{pg.username}', '')",
        "maria": lambda t: f"mysql('{maria.hostname}:{maria.port}', '{maria.path[1:]}', '{t}', '{maria.username}', '')",
        "lite": lambda t: f"sqlite('{sqlite.removeprefix('sqlite:')}', '{t}')",
        "lake": lambda t: f"file('{folder.removeprefix('file:')}/{t}.parquet')",
    }
    connection = session.Session()
    connection.query("CREATE DATABASE tpch")
    connection.query("USE tpch")
    # What does not match in an outer join is NULL, and so is the sum of nothing, as SQL has it.
    connection.query("SET join_use_nulls = 1, aggregate_functions_null_for_empty = 1")
    for system, tables in TABLES.items():
        for table in tables:
            columns = f"* REPLACE ({REPLACED[table]})" if table in REPLACED else "*"
            connection.query(f"CREATE VIEW {table} AS SELECT {columns} FROM {place[system](table)}")

    def rows(sql):
        answer = connection.query(sql, "ArrowStream").bytes()
        if not answer:
            return []
        table = pyarrow.ipc.open_stream(io.BytesIO(answer)).read_all()
        return list(zip(*(column.to_pylist() for column in table.columns)))

    return rows


def postgres(url):
    import psycopg

    connection = psycopg.connect(url, autocommit=True)
    # Otherwise it would go on when this process has ended.
    connection.execute(f"SET statement_timeout = '{LIMIT}s'")
    return lambda sql: connection.execute(sql).fetchall()


def text(value):
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def main(name, *urls):
    answer = {"duckdb": duckdb, "chdb": chdb, "postgres": postgres}[name](*urls)
    for path in sys.stdin:
        sql = pathlib.Path(path.strip()).read_text().rstrip().rstrip(";")
        signal.alarm(LIMIT + 1)
        started = time.perf_counter()
        try:
            rows = answer(sql)
            seconds = time.perf_counter() - started
            line = {"answer": {"seconds": seconds, "rows": [[text(value) for value in row] for row in rows]}}
        except Exception as error:
            line = {"error": " ".join(str(error).split())[:300]}
        signal.alarm(0)
        print(json.dumps(line), flush=True)


main(*sys.argv[1:])
