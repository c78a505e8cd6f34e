"""One reading of public.lineitem into Arrow by another library, batches dropped where it can stream.

    python peers.py duckdb|connectorx-1|connectorx-2|adbc URL    prints rows, seconds, CPU seconds, peak kB
    python peers.py versions
"""

import importlib.metadata
import pathlib
import sys
import time

TABLE = "SELECT * FROM public.lineitem"


def duckdb(url):
    import duckdb
    import duckdb_extension_postgres_scanner as extension

    folder = pathlib.Path(extension.__file__).parent
    (scanner,) = folder.glob("extensions/*/*.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{scanner}'")
    # As in the others' answers, rows have no order.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)")
    yield
    batches = connection.execute("SELECT * FROM pg.public.lineitem").to_arrow_reader(100_000)
    yield sum(batch.num_rows for batch in batches)


def connectorx(partitions):
    def read(url):
        import connectorx
        import pyarrow  # noqa: F401, so that its import is not measured

        yield
        split = {"partition_on": "l_orderkey", "partition_num": partitions} if partitions > 1 else {}
        yield connectorx.read_sql(url, TABLE, return_type="arrow", **split).num_rows

    return read


def adbc(url):
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(url) as connection, connection.cursor() as cursor:
        yield
        cursor.execute(TABLE)
        yield sum(batch.num_rows for batch in cursor.fetch_record_batch())


READERS = {"duckdb": duckdb, "connectorx-1": connectorx(1), "connectorx-2": connectorx(2), "adbc": adbc}
PACKAGES = ["duckdb", "duckdb-extension-postgres-scanner", "connectorx", "adbc-driver-postgresql", "pyarrow"]


def peak_kb():
    # Not getrusage: its maximum includes the process before this program was started in it.
    status = pathlib.Path("/proc/self/status").read_text()
    return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))


def main(reader, *url):
    if reader == "versions":
        return print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES))
    steps = READERS[reader](*url)
    next(steps)
    begun, cpu = time.perf_counter(), time.process_time()
    rows = next(steps)
    print(rows, time.perf_counter() - begun, time.process_time() - cpu, peak_kb())


main(*sys.argv[1:])
