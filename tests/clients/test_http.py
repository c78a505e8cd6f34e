"""HTTP with Python's own client, and what pyarrow reads of it.

BELVEDERE_HTTP is the server's address, e.g. http://127.0.0.1:8080. The server must run on this machine: the tests make a SQLite
file and name it as a source.
"""

import http.client
import json
import os
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pyarrow
import pyarrow.ipc
import pytest

ADDRESS = os.environ["BELVEDERE_HTTP"]
ARROW = "application/vnd.apache.arrow.stream"


def ask(path, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(ADDRESS + path, body, headers), timeout=60)


def sql(text, *parameters, **more):
    with ask("/v1/sql", {"sql": text, "parameters": parameters, **more}) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "shop.db"
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since DATE);
            INSERT INTO customer VALUES (1, 'Ada', '2020-01-02'), (2, 'Bo', NULL), (3, 'Çelik, O''', '2024-12-31');
            """
        )
    name = "http_" + uuid.uuid4().hex[:8]
    assert sql(f"CREATE SOURCE {name} FROM 'sqlite:{path}'") == {"status": "CREATE SOURCE"}
    yield name
    sql(f"DROP SOURCE {name} CASCADE")


def test_rows_as_json(source):
    answer = sql(f"SELECT name FROM {source}.customer WHERE id > $1 ORDER BY id", 1)
    assert answer["columns"] == [{"name": "name", "type": "text"}]
    assert answer["rows"] == [["Bo"], ["Çelik, O'"]]


def test_rows_as_arrow(source):
    statement = {"sql": f"SELECT * FROM {source}.customer ORDER BY id"}
    with ask("/v1/sql", statement, Accept=ARROW) as answer:
        assert answer.headers["Content-Type"] == ARROW
        table = pyarrow.ipc.open_stream(answer).read_all()
    assert table.column("name").to_pylist() == ["Ada", "Bo", "Çelik, O'"]
    many = {"sql": "SELECT value, repeat('x', 100) AS x FROM generate_series(1, 200000)"}
    with ask("/v1/sql", many, Accept=ARROW) as answer:
        assert pyarrow.ipc.open_stream(answer).read_all().num_rows == 200_000


def test_an_error_half_way_is_seen():
    statement = {"sql": "SELECT value, 10 / (500000 - value) AS q FROM generate_series(1, 600000)"}
    with ask("/v1/sql", statement) as answer, pytest.raises(http.client.IncompleteRead):
        answer.read()
    with ask("/v1/sql", statement, Accept=ARROW) as answer:
        with pytest.raises((http.client.IncompleteRead, pyarrow.ArrowInvalid, OSError)):
            pyarrow.ipc.open_stream(answer).read_all()


def test_views_by_key_and_in_pages(source):
    path = f"/v1/views/{source}.customer"
    with ask(f"{path}/3?select=name") as answer:
        tag = answer.headers["ETag"]
        assert json.load(answer) == {"name": "Çelik, O'"}
    with pytest.raises(urllib.error.HTTPError) as same:
        ask(f"{path}/3?select=name", If_None_Match=tag)
    assert same.value.code == 304
    query = urllib.parse.urlencode({"name": "Çelik, O'", "select": "id,name"})
    with ask(f"{path}?{query}") as answer:
        assert json.load(answer)["rows"] == [{"id": 3, "name": "Çelik, O'"}]
    rows, following = [], f"{path}?limit=1"
    while following:
        with ask(following) as answer:
            page = json.load(answer)
        rows, following = rows + page["rows"], page["next"]
    assert [row["id"] for row in rows] == [1, 2, 3]


def test_problems():
    with pytest.raises(urllib.error.HTTPError) as failed:
        sql("SELECT 1 FORM x")
    assert failed.value.code == 400
    assert failed.value.headers["Content-Type"] == "application/problem+json"
    problem = json.load(failed.value)
    assert (problem["code"], problem["position"]["line"]) == ("parse", 1)
