"""What the tests of all clients share: a source of the run's own, and what was seen of which version."""

import json
import os
import sqlite3
import uuid

import psycopg
import pytest

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since DATE);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer (id), total REAL);
INSERT INTO customer VALUES (1, 'Ada', '2020-01-02'), (2, 'Bo', NULL), (3, 'Çelik', '2024-12-31');
INSERT INTO orders VALUES (10, 1, 9.5), (11, 1, 0.5), (12, 2, 4.0);
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source of this module's own: two tables, one referring to the other."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with sqlite3.connect(path) as db:
        db.executescript(SHOP)
    name = "shop_" + uuid.uuid4().hex[:8]
    address = os.environ["BELVEDERE_POSTGRES"].replace("://", "://ana@")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE SOURCE {name} FROM 'sqlite:{path}'")
        yield name
        connection.execute(f"DROP SOURCE {name} CASCADE")


@pytest.fixture(scope="session")
def seen():
    """`seen(client, version, what)`: a row of docs/clients.md. Called at the end of a test, when it has been seen."""

    def note(client, version, what):
        path = os.environ.get("BELVEDERE_CLIENTS_SEEN")
        if path is not None:
            with open(path, "a", encoding="utf-8") as file:
                print(json.dumps({"client": client, "version": version, "seen": what}, ensure_ascii=False), file=file)

    return note


def not_shown(why):
    """A program that is not there shows nothing: said, and no failure."""
    print(f"not shown: {why}")
    pytest.skip(f"not shown: {why}")
