"""Another engine over the same four systems: told files with a query on stdin, it answers `rows seconds` for each.

    python peers.py duckdb|chdb POSTGRES MARIADB SQLITE FOLDER
"""

import pathlib
import sys
import time
from urllib.parse import urlsplit

TABLES = {
    "pg": ["part", "supplier", "partsupp"],
    "maria": ["customer", "nation", "region"],
    "lite": ["orders"],
    "lake": ["lineitem"],
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
    return lambda sql: len(connection.execute(sql).fetchall())


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
    for system, tables in TABLES.items():
        for table in tables:
            connection.query(f"CREATE VIEW {table} AS SELECT * FROM {place[system](table)}")

    def rows(sql):
        answer = connection.query(sql, "ArrowStream").bytes()
        return pyarrow.ipc.open_stream(io.BytesIO(answer)).read_all().num_rows if answer else 0

    return rows


def main(name, *urls):
    answer = {"duckdb": duckdb, "chdb": chdb}[name](*urls)
    for path in sys.stdin:
        sql = pathlib.Path(path.strip()).read_text().rstrip().rstrip(";")
        started = time.perf_counter()
        try:
            print(answer(sql), time.perf_counter() - started, flush=True)
        except Exception as error:
            print(f"{name}: {path.strip()}: {str(error)[:300]}", file=sys.stderr)
            print("-", flush=True)


main(*sys.argv[1:])
