"""`syncer` killed with SIGKILL at any instant, and started again: the same tables as if it had never been killed.

The installed command runs in a process of its own, against a stand-in whose cases are so big that a segment closes every few
pages. How long the work takes when nobody kills it is measured first; the instants are shares of that. The seed is printed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.standins.desk_com import Server
from tests.sync import Desk, Project, Result, differences, key, query, rows

SEED = os.environ.get("KILL_SEED") or str(random.randrange(10**6))
SIZES = {"cases": 250, "customers": 50, "feedbacks": 70, "companies": 0, "users": 0, "articles": 0, "brands": 0}
SELECT = ("--select", "cases,customers,feedbacks")
PER_PAGE = 20
LETTERS = 48_000
"""In each case's description, so that some 9 of the 14 pages make the 8 MB at which a segment closes."""
PAGES_A_SEGMENT = 10


@contextmanager
def site(folder: Path) -> Iterator[tuple[Desk, Project]]:
    """Cases, customers and feedbacks, each in several pages: two lists that are stable, and one that is not."""
    print(f"KILL_SEED={SEED}")
    desk = Desk(max_per_page=PER_PAGE, seed=int(SEED), **SIZES)
    for number, record in enumerate(desk.dump("cases")["cases"]):
        desk.update("cases", ids=[key(record)], silent=True, set={"description": f"{number:06} " * (LETTERS // 7)})
    with Server(desk) as server:
        yield desk, Project(folder, server.url)


def ends(project: Project, *command: str) -> None:
    """The command again, and this time to its end."""
    result = project.cli(*command)
    assert (result.code, [line for line in result.told.splitlines() if "Traceback" in line]) == (0, [])


def right(desk: Desk, project: Project) -> bool:
    """Whether the tables are what the API holds, and no half-written file is left in the hub."""
    held = {name: records for name, records in desk.dump().items() if SIZES[name]}
    assert differences(project.warehouse, held) == []
    assert list(project.hub.rglob(".part-*")) == []
    return True


def fresh(project: Project, hub_too: bool = True) -> None:
    """Forget what was loaded, and what was pulled."""
    if hub_too:
        shutil.rmtree(project.folder / ".syncer")
    for file in project.folder.glob("*.duckdb*"):
        file.unlink()


def pace(project: Project, *command: str) -> tuple[float, float]:
    """How long the command takes unkilled: until it tells the first thing, and from there on."""
    began = time.monotonic()
    with project.start(*command) as process:
        assert process.stderr
        process.stderr.readline()
        told = time.monotonic()
        process.stderr.read()
        assert process.wait() == 0
    return told - began, time.monotonic() - told


def killed(project: Project, seconds: float, *command: str, from_start: bool = False, changes: bool = False) -> float | None:
    """Start the command and kill it so long after the first thing it tells. Where it had ended by then: how long it took.

    Where the API `changes` meanwhile, a list may rightly be told to be incomplete; nothing else may be told to have gone wrong.
    """
    with project.start(*command) as process:
        assert process.stderr
        if not from_start:
            process.stderr.readline()
        began = time.monotonic()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        took = time.monotonic() - began
        code, told = process.wait(), process.stderr.read()
        is_incomplete = code == 1 and ", incomplete" in told and ", failed" not in told and "Traceback" not in told
        assert code in (0, -signal.SIGKILL) or (changes and is_incomplete), told
        return None if process.returncode == -signal.SIGKILL else took


def killed_at_request(desk: Desk, project: Project, number: int, *command: str, by: int = signal.SIGKILL) -> Result:
    """Start the command, and kill it while the answer to one of its requests is on the way."""
    seen = 0
    with project.start(*command) as process:

        def before(target: str) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                process.send_signal(by)
                if by == signal.SIGKILL:
                    process.wait()

        desk.before = before
        out, told = process.communicate()
        desk.before = None
    assert seen >= number
    return Result(process.returncode, {}, out + told)


@pytest.mark.parametrize("half", [1, 2])
def test_a_run_killed_at_ten_random_instants_ends_right(tmp_path: Path, half: int) -> None:
    """Five kills each half, spread over pull and load. A run that comes to its end before must be right too; then all begins anew."""
    dice = random.Random(f"{SEED}/{half}")
    command = ("run", *SELECT)
    with site(tmp_path) as (desk, project):
        _, work = pace(project, *command)
        fresh(project)
        shares = [(place + dice.random()) / 5 for place in range(5)]
        dice.shuffle(shares)
        for share in shares:
            while took := killed(project, share * work, *command):
                assert right(desk, project)
                fresh(project)
                work = min(work, took) * 0.9
        ends(project, *command)
        assert right(desk, project)


def test_a_killed_run_goes_on_behind_its_last_segment(tmp_path: Path) -> None:
    """What is asked for twice is at most what one segment holds."""
    with site(tmp_path) as (desk, project):
        for number in (12, 3, 2):
            killed_at_request(desk, project, number, "run", *SELECT)
        ends(project, "run", *SELECT)
        lists = [target for _, target in desk.requests if target.startswith("/api/v2/cases?")]
        twice = sum(count - 1 for count in Counter(lists).values())
        assert len(set(lists)) == 14
        assert 3 <= twice <= 3 * PAGES_A_SEGMENT
        assert [target for target in lists if target.endswith("since_id=1")] == lists[:1]
        assert right(desk, project)


def test_a_complete_pass_killed_again_and_again_ends_right(tmp_path: Path) -> None:
    dice = random.Random(f"{SEED}/full")
    command = ("run", "--full", *SELECT)
    with site(tmp_path) as (desk, project):
        project.run("cases", "customers", "feedbacks")
        gone = {name: set(desk.delete(name, count=6)) for name in ("cases", "customers", "feedbacks")}
        for name in gone:
            desk.update(name, count=9, silent=True)
        shutil.copytree(tmp_path / ".syncer", tmp_path / "apart" / ".syncer")
        shutil.copy(project.warehouse, tmp_path / "apart")
        _, work = pace(Project(tmp_path / "apart", project.url), *command)
        for place in (2, 0, 1):
            killed(project, work * (place + dice.random()) / 3, *command)
        ends(project, *command)
        assert right(desk, project)
        assert {name: {row["id"] for row in rows(project.warehouse, name) if row["_deleted_at"]} for name in gone} == gone


def test_a_complete_pass_that_was_killed_is_finished_by_a_plain_run(tmp_path: Path) -> None:
    with site(tmp_path) as (desk, project):
        project.run("cases")
        gone = desk.delete("cases", count=6)
        desk.update("cases", count=40, silent=True)
        killed_at_request(desk, project, 11, "run", "--full", *SELECT)
        ends(project, "run", *SELECT)
        assert right(desk, project)
        assert {row["id"] for row in rows(project.warehouse, "cases") if row["_deleted_at"]} == set(gone)


def test_a_load_killed_at_any_instant_is_repeated_and_never_doubled(tmp_path: Path) -> None:
    """After each kill already the rows are those that the receipts tell of."""
    dice = random.Random(f"{SEED}/load")
    command = ("load", *SELECT)
    with site(tmp_path) as (desk, project):
        project.pull("cases", "customers", "feedbacks")
        work = sum(pace(project, *command))
        for place in range(2):
            fresh(project, hub_too=False)
            share = 0.3 + 0.7 * (place + dice.random()) / 2
            while took := killed(project, share * work, *command, from_start=True):
                assert right(desk, project)
                fresh(project, hub_too=False)
                work = min(work, took) * 0.9
            told, there = loaded(project)
            assert told == there
            assert project.load("cases", "customers", "feedbacks").code == 0
            assert right(desk, project)
            told, there = loaded(project)
            assert told == there == {"cases": 250, "customers": 50, "feedbacks": 70}


DIES_AT_A_RECEIPT = """
import os, signal
from rest_syncer.cli import app
from rest_syncer.engine.destinations.duckdb import DuckDB

add, receipts = DuckDB.add, iter(range(1, 100))

def add_or_die(self, table, columns, rows):
    if table == "_syncer_receipts" and rows[0]["load"] > 0 and next(receipts) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, table, columns, rows)

DuckDB.add = add_or_die
app()
"""


def test_rows_and_their_receipt_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    """Killed between the two: the rows of the second collection are written then, their receipt is not."""
    with site(tmp_path) as (desk, project):
        project.pull("cases", "customers", "feedbacks")
        command = [sys.executable, "-c", DIES_AT_A_RECEIPT, *project.command("load", *SELECT)[3:]]
        assert subprocess.run(command, **project.surroundings(), check=False).returncode == -signal.SIGKILL
        told, there = loaded(project)
        assert told == there == {"cases": 250}
        assert project.load("cases", "customers", "feedbacks").code == 0
        told, there = loaded(project)
        assert told == there == {"cases": 250, "customers": 50, "feedbacks": 70}
        assert right(desk, project)


def loaded(project: Project) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows the receipts tell of, by collection, and how many there are."""
    if not project.warehouse.exists():
        return {}, {}
    tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'w' AND table_name NOT LIKE '\\_syncer%' ESCAPE '\\'"
    there = {name: len(rows(project.warehouse, name)) for (name,) in query(project.warehouse, tables)}
    if not query(project.warehouse, "SELECT 1 FROM duckdb_tables() WHERE database_name = 'w' AND table_name = '_syncer_receipts'"):
        return {}, there
    told = "SELECT collection, sum(inserted)::BIGINT FROM w.desk_com._syncer_receipts WHERE load > 0 GROUP BY ALL ORDER BY 1"
    return dict(query(project.warehouse, told)), there


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_keeps_what_came_and_says_how_to_go_on(tmp_path: Path, by: signal.Signals) -> None:
    with site(tmp_path) as (desk, project):
        told = killed_at_request(desk, project, 6, "run", *SELECT, by=by)
        assert told.code == 1
        assert "interrupted; what was received is kept, and the same command goes on from there" in told.told
        assert "Traceback" not in told.told
        there = len(rows(project.warehouse, "cases"))
        assert there in (5 * 19 + 1, 6 * 19 + 1), "the answer that was on its way may have come"
        desk.reset_requests()
        assert project.run("cases", "customers", "feedbacks").code == 0
        assert not any(target.endswith("since_id=1") for _, target in desk.requests if target.startswith("/api/v2/cases?"))
        assert right(desk, project)
