"""docs/clients.md from what the tests have seen: `table.py SEEN`, a file with a line of JSON for each client that was seen to work.

The row of a client that was not run this time stays as it is.
"""

import json
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "clients.md"
HEAD = "| client | version | seen |\n|---|---|---|\n"


def main(path):
    page = PAGE.read_text(encoding="utf-8")
    before, table = page.split(HEAD)
    lines = table.splitlines()
    count = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    rows = {}
    for line in lines[:count]:
        client, version, seen = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows[client] = (version, seen)
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        row = {name: text.replace("|", "\\|") for name, text in json.loads(line).items()}
        rows[row["client"]] = (row["version"], row["seen"])
    written = [f"| {client} | {version} | {seen} |" for client, (version, seen) in sorted(rows.items(), key=lambda row: row[0].lower())]
    new = before + HEAD + "\n".join(written + lines[count:]) + "\n"
    if new != page:
        PAGE.write_text(new, encoding="utf-8")
        print("docs/clients.md has what was seen now")


main(sys.argv[1])
