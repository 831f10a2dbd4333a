"""What small jobs cost, beside a yardstick: that a doubling is seen, on any machine, however busy. `bench/` measures; this only guards.

Processor seconds alone say nothing: one machine is three times as fast as another, and the same one not always as fast as an hour ago.
So each job and its yardstick, work of the same kind that no change of ours touches, take turns, and the least that each took is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from bench import data
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings

ROOT = Path(__file__).parents[1]
PAGES, TURNS = 20, 12
COST = {"run": 0.95, "pages": 0.9, "--help": 0.65, "validate": 1.15}
"""What each job cost when it was last looked at, in yardsticks. Who makes one cheaper lowers its figure, so that it keeps guarding."""

MARGIN = 1.6
"""How many times that is too much: less than twice, more than noise."""


def least(folder: Path, *jobs: Callable[[Path], float]) -> list[float]:
    """The least that each job took, all taking turns; each time, each gets a path of its own."""
    turns = [[job(folder / f"{turn}-{place}") for place, job in enumerate(jobs)] for turn in range(TURNS)]
    return [min(took) for took in zip(*turns, strict=True)]


def check(costs: Mapping[str, float]) -> None:
    print(costs)
    assert {job: cost for job, cost in costs.items() if cost > COST[job] * MARGIN} == {}, f"of {COST}, in yardsticks"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tickets of a help desk, a hundred a page; and a list of one page."""
    folder = tmp_path_factory.mktemp("pages")
    _write(folder / "one.json", 1, 1)
    for number in range(1, PAGES + 1):
        _write(folder / f"{number}.json", number, PAGES)
    return folder


def _write(file: Path, number: int, of: int) -> None:
    entries = b",".join(data.ticket(one, 1) for one in range(number * 100 - 99, number * 100 + 1))
    head = {"total_entries": of * 100, "_links": {"next": {"href": f"/{number + 1}.json"} if number < of else None}}
    file.write_bytes(json.dumps(head).encode()[:-1] + b', "_embedded": {"entries": [' + entries + b"]}}")


@pytest.fixture(scope="module")
def url(pages: Path) -> Iterator[str]:
    """A server of these pages, in a process of its own."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(pages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout
            yield f"http://127.0.0.1:{server.stdout.readline().split()[5]}"
        finally:
            server.terminate()


def test_a_run_and_its_pages_cost_no_more_than_they_did(pages: Path, url: str, tmp_path: Path) -> None:
    """Of a first load into DuckDB: what a run costs that has one page, and what all further pages add."""
    text = (ROOT / "bench" / "specs" / "tickets.yaml").read_text()

    def load(first: str, records: int) -> Callable[[Path], float]:
        source = parse_spec(text.replace("/tickets", f"/{first}.json"))
        settings = given_settings(source.spec, [f"base_url={url}"], str(tmp_path))

        def loaded(place: Path) -> float:
            began = time.process_time()
            summary = run(source, settings, Options(hub=str(place), to=f"duckdb:{place}.duckdb"))
            took = time.process_time() - began
            receipt = summary.collections["tickets"].load
            assert receipt and receipt.inserted == records
            return took

        return loaded

    def yardstick(place: Path) -> float:
        began = time.process_time()
        for number in range(1, PAGES + 1):
            hashlib.sha256(json.dumps(json.loads((pages / f"{number}.json").read_bytes())).encode()).digest()
        with duckdb.connect(f"{place}.duckdb") as con:
            con.execute(f"CREATE TABLE pages AS SELECT unnest(_embedded.entries) FROM '{pages}/?.json'")
        return time.process_time() - began

    one, many, unit = least(tmp_path, load("one", 100), load("1", PAGES * 100), yardstick)
    check({"run": one / unit, "pages": (many - one) / unit})


def test_the_start_costs_no_more_than_it_did(tmp_path: Path) -> None:
    """Of a Python that finds all modules compiled, but for the first time."""
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    around["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")

    def start(*words: str) -> Callable[[Path], float]:
        def started(_: Path) -> float:
            process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=around, stdout=subprocess.DEVNULL)
            _, code, usage = os.wait4(process.pid, 0)
            process.returncode = code
            assert code == 0
            return usage.ru_utime + usage.ru_stime

        return started

    yardstick = start("-c", "import asyncio, email.message, http.server, logging.config, pydoc, sqlite3, unittest.mock, xmlrpc.client")
    syncer = ("-m", "rest_syncer.cli")
    help_, validate, unit = least(tmp_path, start(*syncer, "--help"), start(*syncer, "validate", "specs/desk_com.yaml"), yardstick)
    check({"--help": help_ / unit, "validate": validate / unit})
