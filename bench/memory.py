"""How much memory loads and pulls take, and that it does not grow with what they move.

    python -m bench.memory [--records 100000,1000000,5000000] [--bytes 1000] [--pull 100000,1000000] [--to duckdb]

For each size: a hub of so many records is made, `syncer load` fills a new warehouse from it, a second load takes one complete
pass more in which a hundredth has changed, `syncer hub compact` takes out what that replaced, and `syncer replay` makes all rows
anew; then `syncer pull` of so many cases from the stand-in. Prints wall and CPU seconds and the peak memory of each process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rest_syncer.engine.hub import Head, Hub
from rest_syncer.engine.hub.segment import Ended
from tests.standins import desk_com

from .measured import measured, say

ROOT = Path(__file__).parents[1]
SEGMENT = 8_000
SPEC = """
syncer: 1
name: big
keep: latest
api: {base_url: "https://api.example.com"}
collections:
  things:
    key: id
    cursor: {property: at}
    properties:
      id: integer
      name: string
      at: timestamp
      size: integer
      price: decimal(12,2)
      tags: string[]
      custom: json
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of loads and pulls.")
    parser.add_argument("--records", default="100000,1000000,5000000")
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--pull", default="100000,1000000")
    parser.add_argument("--to", default="duckdb:big.duckdb")
    options = parser.parse_args()
    for number in map(int, filter(None, options.records.split(","))):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _load(Path(folder), number, options.bytes, options.to)
    for number in map(int, filter(None, options.pull.split(","))):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _pull(Path(folder), number)


def _load(folder: Path, number: int, size: int, to: str) -> None:
    (folder / "big.yaml").write_text(SPEC)
    hub = Hub(folder / "hub", "big")
    hub.claim("https://api.example.com", {})
    command = [sys.executable, "-m", "rest_syncer.cli"]
    flags = ["big.yaml", "--hub", "hub", "--to", to, "--json"]
    fill(hub, 1, number, size)
    say(f"load of {number:,}", measured([*command, "load", *flags], folder), number)
    fill(hub, 2, number, size)
    say(f"load of {number:,} more, 1 % changed", measured([*command, "load", *flags], folder), number)
    say(f"compaction of {2 * number:,}", measured([*command, "hub", "compact", "big.yaml", "--hub", "hub", "--json"], folder), 2 * number)
    say(f"replay of {number:,}", measured([*command, "replay", *flags], folder), number)


def fill(hub: Hub, run: int, number: int, size: int) -> None:
    """One complete pass; from the second on, every hundredth record is another."""
    filler = "x" * max(0, size - 300)
    for place, first in enumerate(range(0, number, SEGMENT)):
        records = [_record(id_, run if id_ % 100 == 0 else 1, filler) for id_ in range(first, min(first + SEGMENT, number))]
        last = first + SEGMENT >= number
        head = Head(
            collection="things", name=f"{run:06}-01-{place:06}", chain=f"{run:06}-01", purpose="full", began=run * 10**12,
            since=None, until=None, route="", pages=1, records=len(records), longest=max(map(len, records)),
            raw_bytes=sum(map(len, records)), ended=Ended("last page", "proven", True) if last else None,
        )  # fmt: skip
        hub.append(head, records, [{"request": {}, "status": 200, "headers": {}, "records": len(records)}])


def _record(id_: int, version: int, filler: str) -> bytes:
    other = id_ * 2_654_435_761 % 2**32
    return (
        f'{{"id": {id_}, "name": "thing {other:x} of {version}", "at": "20{version + 15}-11-22T11:{id_ % 60:02}:00Z", "size": {other}, '
        f'"price": "{other % 10**6}.{id_ % 100:02}", "tags": ["a{id_ % 7}", "b"], "custom": {{"k": [{other}, null], "f": "{filler}"}}}}'
    ).encode()


def _pull(folder: Path, number: int) -> None:
    server_command = [sys.executable, "-m", "tests.standins.desk_com", "--cases", str(number), "--customers", "10"]
    with subprocess.Popen(server_command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        url = server.stdout.readline().decode().strip() if server.stdout else ""
        settings = {"BASE_URL": url, "EMAIL": desk_com.EMAIL, "PASSWORD": desk_com.PASSWORD}
        environment = os.environ | {f"SYNCER_DESK_COM_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "rest_syncer.cli", "pull", str(ROOT / "specs" / "desk_com.yaml"), "--select", "cases", "--json"]
        try:
            say(f"pull of {number:,}", measured(command, folder, environment), number)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
