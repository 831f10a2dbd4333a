"""`make demo`: a stand-in Desk.com on loopback, `syncer run` against it, and a first look at what came.

Run again, it changes some records on the stand-in first, so that one sees how little a second run fetches and writes. The
stand-in keeps its data in .demo/, for the real service closed in 2020.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import duckdb

from tests.standins import desk_com

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".demo" / "desk_com.json"
PORT = 8420
WAREHOUSE = ROOT / "desk_com.duckdb"

CHANGES = (
    ("update", {"collection": "cases", "count": 12}),
    ("update", {"collection": "customers", "count": 5}),
    ("update", {"collection": "articles", "count": 2}),
    ("add", {"collection": "cases", "count": 8}),
    ("delete", {"collection": "companies", "count": 1}),
)


def main() -> int:
    again = STATE.exists()
    STATE.parent.mkdir(exist_ok=True)
    with _server() as server:
        url = server.stdout.readline().decode().strip() if server.stdout else ""
        try:
            if again:
                say("Some records change on the stand-in before this run:")
                for verb, what in CHANGES:
                    print(f"  {verb:7} {what['count']:3} {what['collection']}")
                    _control(url, verb, what)
            code = _sync(url)
            if code == 0:
                _look()
        finally:
            server.terminate()
    return code


def say(line: str) -> None:
    print(f"\n{line}", flush=True)


def _server() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.standins.desk_com", "--port", str(PORT), "--state", str(STATE)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def _control(url: str, verb: str, what: dict[str, object]) -> None:
    request = urllib.request.Request(f"{url}/_control/{verb}", json.dumps(what).encode(), method="POST")  # noqa: S310 - loopback
    urllib.request.urlopen(request).close()  # noqa: S310 - loopback


def _sync(url: str) -> int:
    say("$ syncer run specs/desk_com.yaml")
    settings = {"BASE_URL": url, "EMAIL": desk_com.EMAIL, "PASSWORD": desk_com.PASSWORD}
    environment = os.environ | {f"SYNCER_DESK_COM_{name}": value for name, value in settings.items()}
    syncer = [str(Path(sys.executable).with_name("syncer")), "run", "specs/desk_com.yaml"]
    return subprocess.run(syncer, cwd=ROOT, env=environment, check=False).returncode


def _look() -> None:
    con = duckdb.connect(":memory:")
    con.execute(f"ATTACH '{WAREHOUSE}' AS warehouse (READ_ONLY)")
    con.execute("USE warehouse.desk_com")
    say("What each table holds, and how much of it this run wrote:")
    tables = [row[0] for row in con.execute("SELECT DISTINCT collection FROM _syncer_runs ORDER BY 1").fetchall()]
    parts = [
        f"SELECT '{table}' AS table_name, count(*) AS rows, count(*) FILTER (_synced_at >= began) AS written_by_this_run, "
        f"count(_deleted_at) AS marked_deleted FROM {table}, (SELECT max(started_at) AS began FROM _syncer_runs)"
        for table in tables
    ]
    con.sql(" UNION ALL ".join(parts) + " ORDER BY 1").show()
    say("The ledger, one line a collection and run:")
    con.sql(
        "SELECT run, collection, status, requests, received, read, inserted, updated, unchanged, deleted, proof, stop "
        "FROM _syncer_runs ORDER BY run DESC, collection LIMIT 14"
    ).show(max_width=200)
    say("Cases with their customers (the foreign key was found in a link):")
    con.sql(
        "SELECT c.id, c.status, c.priority, left(c.subject, 24) AS subject, c.labels, p.first_name || ' ' || p.last_name AS customer, "
        "strftime(c.updated_at, '%Y-%m-%d %H:%M:%S') AS updated_at FROM cases c JOIN customers p ON p.id = c.customer_id "
        "ORDER BY c.updated_at DESC, c.id LIMIT 5"
    ).show(max_width=200)
    say("Look further: duckdb desk_com.duckdb, then `USE desk_com.desk_com;` and `FROM cases;`")


if __name__ == "__main__":
    sys.exit(main())
