"""node-postgres: what is in node/clients.js."""

import os
import pathlib
import shutil
import subprocess

from conftest import not_shown

HERE = pathlib.Path(__file__).parent / "node"


def test_node_postgres(source, seen):
    node, modules = shutil.which("node"), os.environ.get("BELVEDERE_TEST_NODE_MODULES")
    if node is None or modules is None:
        not_shown("Node or its packages are not installed (Debian: nodejs, npm; scripts/test fetches the packages)")
    address = os.environ["BELVEDERE_POSTGRES"].replace("://", "://ana@")
    command = [node, HERE / "clients.js", address, source]
    said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NODE_PATH": modules})
    assert said.returncode == 0, said.stderr
    seen(
        "node-postgres",
        said.stdout.strip(),
        "text, parameters, named statements, several statements at once, pg-cursor, a pool, types, transactions, errors",
    )
