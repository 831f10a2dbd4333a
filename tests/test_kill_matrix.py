"""Every durable step of every verb, one after the other: dead behind the n-th, started again, and right in the end.

A step is a put into the hub, or a transaction's begin and commit; what happens inside of a put is in `test_hub`. Deaths at random
instants of the real process are in `test_kill`.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.model import Api, Death, carry_out, compacted, small_pieces, source
from tests.shop import WHOLE
from tests.sync import Project
from tests.test_history import FEED, Found, look
from tests.test_kill import SEED, SELECT, ends, killed, pace, right, site

STEPS_BETWEEN = int(os.environ.get("SYNCER_STEPS", "1" if WHOLE else "61"))
"""Of a story, each of so many steps is tried, from a random one on."""
KILLS = int(os.environ.get("SYNCER_KILLS", "100" if WHOLE else "6"))


def grown(folder: Path, rows: str) -> Api:
    """An API whose records were loaded, and have changed since; what changed was pulled in part."""
    api = Api()
    for key in range(1, 9):
        api.add("things", key)
    for keys in ((), (1, 2, 8)):
        for key in keys:
            api.now += 10
            api.update("things", key)
        carry_out(api, folder, source=source(False, rows), select=("things",))
    for key in (2, 3, 5):
        api.now += 10
        api.update("things", key)
    api.delete("things", 7)
    carry_out(api, folder, "pull", source=source(False, rows), select=("things",), death=Death(9))
    api.add("things", 11)
    return api


def outcome(found: Found) -> tuple[object, ...]:
    """What a table shows, without its stamps."""
    return found.rows, [one[:3] + one[5:] for one in found.versions]


KINDS = ("", "mode: history", "deletes: hard", FEED)
VERBS = [("run", False), ("run", True), ("pull", True), ("load", False), ("replay", False), ("compact", False)]


@pytest.mark.parametrize(
    ("rows", "verb", "full"),
    [(rows, *verb) for rows in KINDS for verb in VERBS if (rows, verb[0]) != ("mode: history", "compact")],
)
def test_dead_behind_any_step_and_started_again_it_ends_the_same(tmp_path: Path, rows: str, verb: str, full: bool) -> None:
    spec = source(False, rows, "latest" if verb == "compact" else "all")

    def carry_on(api: Api, folder: Path, death: Death | None = None) -> None:
        if verb == "compact":
            compacted(api, folder, spec, death)
        else:
            carry_out(api, folder, verb, source=spec, select=("things",), full=full, death=death)

    (tmp_path / "before").mkdir()
    with small_pieces(load_bytes=300):
        api = grown(tmp_path / "before", rows)

        def story(name: str, at: int) -> tuple[tuple[object, ...], Death]:
            folder, mine, death = tmp_path / name, copy.deepcopy(api), Death(at)
            shutil.copytree(tmp_path / "before", folder)
            carry_on(mine, folder, death)
            if death.dead:
                carry_on(mine, folder)
            ended = carry_out(mine, folder, source=spec, select=("things",), full=True)
            assert ended and ended.status == "complete", (name, death.steps[-1], ended)
            carry_out(mine, folder, "load", to="late", source=spec, select=("things",))
            shown = outcome(look(folder, "one", "things")) + outcome(look(folder, "late", "things"))
            shutil.rmtree(folder)
            return shown, death

        expected, alive = story("alive", 10**9)
        assert not alive.dead and len(alive.steps) > 3
        first = random.Random(f"{SEED} {rows} {verb} {full}").randrange(STEPS_BETWEEN)
        for at in range(first, len(alive.steps), STEPS_BETWEEN):
            shown, death = story(f"dead at {at}", at)
            assert death.dead and shown == expected, (SEED, at, death.steps[-1])


def test_killed_again_and_again_while_records_change_it_ends_right(tmp_path: Path) -> None:
    """Each time at another instant, with changes and deletions going on; then a quiet run, and a complete pass."""
    dice = random.Random(f"{SEED}/moving")
    with site(tmp_path) as (desk, project):
        requests = 0

        def moves(target: str) -> None:
            nonlocal requests
            requests += 1
            name = dice.choice(["cases", "customers", "feedbacks"])
            if requests % 3 == 0:
                desk.update(name, count=2)
            elif requests % 11 == 0:
                desk.delete(name, count=1)

        desk.before = moves
        _, work = pace(project, "run", *SELECT)
        kills, takes = 0, dict[tuple[str, bool], float]()
        while kills < KILLS:
            way = (dice.choice(["run", "pull", "load", "replay"]), dice.random() < 0.3)
            seconds = dice.random() * takes.get(way, work)
            took = killed(project, seconds, way[0], *SELECT, from_start=way[1], changes=True)
            if took is None:
                kills += 1
            else:
                takes[way] = took  # what follows the first run has less to do
        desk.before = None
        ends(project, "run", *SELECT)
        ends(project, "run", "--full", "--allow-deletes", *SELECT)
        assert right(desk, project)


@pytest.mark.parametrize("limit", [4_000, 60_000, 400_000, 3_000_000])
def test_a_file_that_may_not_grow_is_said_and_nothing_is_lost(tmp_path: Path, limit: int) -> None:
    """As a full disk is: at the first segment, at the first bytes of the warehouse's file, or in its midst."""
    with site(tmp_path) as (desk, project):
        done = limited(project, limit, "run", *SELECT)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
        assert "File too large" in done.stderr or "its file may not grow" in done.stderr, done.stderr
        ends(project, "run", *SELECT)
        assert right(desk, project)


def limited(project: Project, limit: int, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, none of whose files may have more bytes than this."""
    command = ["sh", "-c", f'ulimit -f {limit // 512}; exec "$@"', "sh", *project.command(verb, *arguments)]
    return subprocess.run(command, **project.surroundings(), capture_output=True, text=True, check=False)
