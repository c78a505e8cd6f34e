"""DuckDB, asked by tests/oracle: a line of JSON is a table to hold, followed by as many bytes of Arrow IPC as it says, or
a query. What comes back is a line of JSON, followed by the answer as Arrow IPC, or with why there is none."""

import json
import math
import os
import sys
from fractions import Fraction

import duckdb
import pyarrow as pa

# What DuckDB prints by itself, as how far a slow query is, goes to stderr: stdout is for answers.
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

connection = duckdb.connect()
connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'; SET TimeZone = 'UTC'; SET threads = 1")
connection.execute("CREATE SCHEMA s; CREATE SCHEMA o")


def exact_sum(values):
    """The float nearest to the sum of these, which is what the engine promises, whatever their order."""
    if not all(map(math.isfinite, values)):
        return sum(value for value in values if not math.isfinite(value))
    total = sum(map(Fraction, values))
    try:
        return float(total)
    except OverflowError:
        return math.copysign(math.inf, total)


def exact_average(values):
    return exact_sum(values) / len(values)


def aggregate(function):
    """Over a list for each group. What DuckDB makes of a float that Python gives has no NaN, what it reads of Arrow has."""

    def of_lists(lists):
        lists = [[value for value in of or [] if value is not None] for of in lists.to_pylist()]
        return pa.array([function(of) if of else None for of in lists], pa.float64())

    connection.create_function(
        function.__name__, of_lists, ["DOUBLE[]"], "DOUBLE", type="arrow", null_handling="special"
    )


aggregate(exact_sum)
aggregate(exact_average)
# By Unicode's full mapping: DuckDB's own is by character ('ß' stays one), and knows no final sigma.
connection.create_function("unicode_upper", str.upper, ["VARCHAR"], "VARCHAR")
connection.create_function("unicode_lower", str.lower, ["VARCHAR"], "VARCHAR")


def answer(request):
    if "table" in request:
        copied = pa.ipc.open_stream(sys.stdin.buffer.read(request["bytes"])).read_all()
        connection.execute(f"CREATE OR REPLACE TABLE {request['table']} AS SELECT * FROM copied")
        return b""
    found = connection.sql(request["query"]).to_arrow_table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue().to_pybytes()


for line in sys.stdin.buffer:
    try:
        found, said = answer(json.loads(line)), {}
    except (duckdb.Error, pa.ArrowException) as error:
        found, said = b"", {"error": str(error)}
    answers.write(json.dumps({**said, "bytes": len(found)}).encode() + b"\n" + found)
    answers.flush()
