"""Apache Superset, asked by its API: a database is connected, its schemas and tables are listed, a chart's queries are answered.

Its arguments: the server's address, and the schema of a source with the tables customer and orders. It prints its version.
"""

import json
import os
import subprocess
import sys

address, source = sys.argv[1:]
for command in (["db", "upgrade"], ["fab", "create-admin", "--username", "ana", "--firstname", "a", "--lastname", "b", "--email", "a@b.c", "--password", "ana"], ["init"]):
    done = subprocess.run([os.path.dirname(sys.executable) + "/superset", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

from superset.app import create_app  # noqa: E402

app = create_app()
client = app.test_client()
headers = {}


def ask(method, path, body=None):
    answer = client.open("/api/v1/" + path, method=method, json=body, headers=headers)
    assert answer.status_code < 300, (path, answer.status_code, answer.get_data(as_text=True)[:4000])
    return answer.get_json()


login = {"username": "ana", "password": "ana", "provider": "db", "refresh": True}
headers["Authorization"] = "Bearer " + ask("POST", "security/login", login)["access_token"]

uri = address.replace("postgresql://", "postgresql+psycopg2://ana@")
ask("POST", "database/test_connection/", {"sqlalchemy_uri": uri, "database_name": "belvedere"})
database = ask("POST", "database/", {"sqlalchemy_uri": uri, "database_name": "belvedere", "expose_in_sqllab": True})["id"]
assert source in ask("GET", f"database/{database}/schemas/")["result"]
tables = ask("GET", f"database/{database}/tables/?q=(schema_name:{source})")["result"]
assert sorted(table["value"] for table in tables) == ["customer", "orders"], tables
about = ask("GET", f"database/{database}/table_metadata/?name=orders&schema={source}")
assert [column["name"] for column in about["columns"]] == ["id", "customer", "total"], about
assert [key["column_names"] for key in about["foreignKeys"]] == [["customer"]], about

# SQL Lab
sql = f"SELECT c.name, sum(o.total) FROM {source}.customer c JOIN {source}.orders o ON o.customer = c.id GROUP BY c.name ORDER BY 1"
ran = ask("POST", "sqllab/execute/", {"database_id": database, "sql": sql, "schema": source, "runAsync": False, "queryLimit": 100})
assert ran["data"] == [{"name": "Ada", "sum": 10.0}, {"name": "Bo", "sum": 4.0}], ran["data"]
ask("POST", "sqllab/format_sql/", {"sql": sql})

# A dataset of a table, one of a query, and what a chart asks of each.
dataset = ask("POST", "dataset/", {"database": database, "schema": source, "table_name": "orders"})["id"]
found = ask("GET", f"dataset/{dataset}")["result"]
assert [(column["column_name"], column["type_generic"]) for column in found["columns"]] == [("id", 0), ("customer", 0), ("total", 0)], found["columns"]
virtual = ask(
    "POST",
    "dataset/",
    {"database": database, "schema": source, "table_name": "named", "sql": f"SELECT o.id, c.name, c.since, o.total FROM {source}.orders o JOIN {source}.customer c ON c.id = o.customer"},
)["id"]


def chart(of, **query):
    body = {
        "datasource": {"id": of, "type": "table"},
        "force": True,
        "result_format": "json",
        "result_type": "full",
        "queries": [{"filters": [], "extras": {}, "row_limit": 100, "orderby": [], **query}],
    }
    [result] = ask("POST", "chart/data", body)["result"]
    assert result["error"] is None, result
    return result["data"]


total = {"expressionType": "SIMPLE", "aggregate": "SUM", "column": {"column_name": "total"}, "label": "SUM(total)"}
by_customer = chart(dataset, columns=["customer"], metrics=[total, "count"], orderby=[[total, False]])
assert by_customer == [{"customer": 1, "SUM(total)": 10.0, "count": 2}, {"customer": 2, "SUM(total)": 4.0, "count": 1}], by_customer
above = chart(dataset, columns=["id", "total"], filters=[{"col": "total", "op": ">=", "val": 4}], orderby=[["id", True]])
assert above == [{"id": 10, "total": 9.5}, {"id": 12, "total": 4.0}], above
by_month = chart(
    virtual,
    columns=[{"timeGrain": "P1M", "columnType": "BASE_AXIS", "sqlExpression": "since", "label": "since", "expressionType": "SQL"}],
    metrics=[total],
    extras={"time_grain_sqla": "P1M"},
)
assert [row["SUM(total)"] for row in by_month] in ([10.0, 4.0], [4.0, 10.0]), by_month
named = chart(virtual, columns=["name"], metrics=[{"expressionType": "SQL", "sqlExpression": "count(DISTINCT id)", "label": "n"}], filters=[{"col": "name", "op": "ILIKE", "val": "a%"}])
assert named == [{"name": "Ada", "n": 2}], named
values = ask("GET", f"datasource/table/{virtual}/column/name/values/")["result"]
assert sorted(values) == ["Ada", "Bo"], values

from importlib.metadata import version  # noqa: E402

print(json.dumps({"version": version("apache-superset")}))
