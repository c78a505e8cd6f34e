"""Apache Superset, in an environment of its own: what is in superset/ask.py. BELVEDERE_TEST_SUPERSET is that environment's Python."""

import json
import os
import pathlib
import subprocess

from conftest import not_shown

HERE = pathlib.Path(__file__).parent / "superset"


def test_superset(source, seen, tmp_path):
    python = os.environ.get("BELVEDERE_TEST_SUPERSET")
    if python is None:
        not_shown("Superset is asked by scripts/test --all clients, which installs it")
    environment = {
        **os.environ,
        "SUPERSET_HOME": str(tmp_path),
        "SUPERSET_CONFIG_PATH": str(HERE / "superset_config.py"),
        "FLASK_APP": "superset",
    }
    command = [python, HERE / "ask.py", os.environ["BELVEDERE_POSTGRES"], source]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert said.returncode == 0, said.stderr[-6000:]
    version = json.loads(said.stdout.splitlines()[-1])["version"]
    seen(
        "Apache Superset",
        version,
        "the database connected by its API; schemas, tables, columns and keys; SQL Lab; datasets of a table and of a query; charts' queries, filters, time grains",
    )
