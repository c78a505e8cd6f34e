"""Commands of dbt, one after another in one process: its arguments are the project's folder, and a file with a list of commands as JSON.

It prints a line of JSON for each: whether it went well, what became of each node, and what it said of errors.
"""

import contextlib
import io
import json
import sys

from dbt.cli.main import dbtRunner

folder, steps = sys.argv[1:]
for step in json.load(open(steps, encoding="utf-8")):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        done = dbtRunner().invoke([*step, "--project-dir", folder, "--profiles-dir", folder, "--no-use-colors", "--quiet"])
    results = getattr(done.result, "results", None) or []
    nodes = {result.node.name: str(result.status) for result in results if hasattr(result, "node")}
    errors = [result.message for result in results if getattr(result, "message", None) and str(result.status) not in ("success", "pass")]
    print(json.dumps({"step": step, "success": done.success, "nodes": nodes, "errors": errors, "failed": str(done.exception)}))
