"""A disk that is full or may only be read, a permission that is lost on the way, a clock that is set back: said, and nothing is lost.

Each verb meets each of them in the midst of a hub's life; when the cause is mended, the same command again brings what a run brings
that nothing stood in the way of. Files that may not grow are in `test_kill_matrix`.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rest_syncer.engine.errors import SyncerError
from tests.model import SKEW, Api, carry_out, compacted, small_pieces, source
from tests.support import nobody
from tests.test_history import look
from tests.test_kill_matrix import grown, outcome

VERBS = ["run", "pull", "load", "replay", "compact"]
MOUNT, UNMOUNT = shutil.which("mount") or "", shutil.which("umount") or ""
FULL = "No space left on device"
READ_ONLY = "Read-only file system"


Story = tuple[Api, Path, dict[str, tuple[object, ...]]]


def carry_on(api: Api, folder: Path, verb: str) -> list[str]:
    """Carry out a verb; gives what went wrong, in its own words."""
    spec = source(False, "", "latest" if verb == "compact" else "all")
    try:
        if verb == "compact":
            compacted(api, folder, spec)
            return []
        summary = carry_out(api, folder, verb, source=spec, select=("things",))
    except SyncerError as error:
        return [str(error)]
    assert summary
    told = [sentence for one in summary.collections.values() for sentence in one.errors] + summary.notes
    assert bool(told) or summary.status == "complete", summary
    return told


def is_clear(sentence: str, *words: str) -> bool:
    """Whether it says where, what, and what instead, in words for people."""
    where = re.match(r"(hub|warehouse|the ledger has no line of this run: warehouse) /\S+: ", sentence)
    return bool(where) and any(word in sentence for word in words) and "; " in sentence and "unexpected" not in sentence


def ended(api: Api, folder: Path) -> tuple[object, ...]:
    """What the tables show after a complete pass, in the warehouse that was there and in one that comes late."""
    for verb, to, full in (("run", "one", True), ("load", "late", False)):
        summary = carry_out(api, folder, verb, to=to, source=source(False), select=("things",), full=full)
        assert summary and summary.status == "complete", summary
    return outcome(look(folder, "one", "things")) + outcome(look(folder, "late", "things"))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """An API, what was pulled and loaded of it so far, and what comes of each verb where nothing stands in its way."""
    before = tmp_path_factory.mktemp("before")
    with small_pieces(load_bytes=300):
        api = grown(before, "")
        expected = {}
        for verb in VERBS:
            mine, folder = copy.deepcopy(api), tmp_path_factory.mktemp(verb)
            shutil.copytree(before, folder, dirs_exist_ok=True)
            assert carry_on(mine, folder, verb) == []
            expected[verb] = ended(mine, folder)
        yield api, before, expected


class Disk:
    """A small file system of its own."""

    def __init__(self, place: Path) -> None:
        self.place, self._filler = place, place / "filler"

    def fill(self, free: int) -> None:
        """Leave so many bytes."""
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        size = self._filler.stat().st_size
        with self._filler.open("r+b") as file:
            file.truncate(max(0, size - free))

    def empty(self) -> None:
        self._filler.unlink()

    def mount(self, how: str) -> bool:
        command = [MOUNT, "-t", "tmpfs", "-o", how, "tmpfs", str(self.place)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run([UNMOUNT, "--lazy", str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    made.place.mkdir()
    if not (MOUNT and UNMOUNT and made.mount("size=48m")):
        pytest.skip("needs to mount a small disk, as root may")
    try:
        yield made
    finally:
        made.unmount()


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_said_and_nothing_is_lost(story: Story, disk: Disk, verb: str) -> None:
    """Without a byte left, with a few files' worth, and in the midst of the warehouse's file."""
    api, before, expected = story
    said: list[str] = []
    with small_pieces(load_bytes=300):
        for free in (0, 16_000, 40_000, 72_000):
            mine, folder = copy.deepcopy(api), disk.place / str(free)
            shutil.copytree(before, folder)
            disk.fill(free)
            told = carry_on(mine, folder, verb)
            disk.empty()
            assert [one for one in told if not is_clear(one, FULL, "disk is full")] == []
            said += told
            assert carry_on(mine, folder, verb) == []
            assert ended(mine, folder) == expected[verb]
            shutil.rmtree(folder)
    assert said, "of four disks at least one was full"


@pytest.mark.parametrize("verb", VERBS)
def test_a_disk_that_may_only_be_read_is_said_and_nothing_is_lost(story: Story, disk: Disk, verb: str) -> None:
    """As a disk becomes that has errors; not even root may write."""
    api, before, expected = story
    mine, folder = copy.deepcopy(api), disk.place / "site"
    shutil.copytree(before, folder)
    with small_pieces(load_bytes=300):
        assert disk.mount("remount,ro")
        told = carry_on(mine, folder, verb)
        assert told and [one for one in told if not is_clear(one, READ_ONLY, "permission denied")] == []
        assert disk.mount("remount,rw")
        assert carry_on(mine, folder, verb) == []
        assert ended(mine, folder) == expected[verb]


@contextmanager
def open_to_nobody(before: Path) -> Iterator[Path]:
    """A copy of a site that belongs to nobody, who is who we are meanwhile: what permissions forbid is forbidden to root, too."""
    with tempfile.TemporaryDirectory(prefix="site-") as place:
        folder = Path(place) / "site"
        shutil.copytree(before, folder)
        for path in [Path(place), folder, *folder.rglob("*")]:
            shutil.chown(path, 65534)
        with nobody():
            yield folder


def forbid(*places: Path) -> None:
    for place in places:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)


def allow(*places: Path) -> None:
    for place in places:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize(
    ("verb", "place"), [(verb, "hub") for verb in VERBS] + [(verb, "one.duckdb") for verb in VERBS if verb not in ("pull", "compact")]
)
def test_what_may_only_be_read_is_said_and_nothing_is_lost(story: Story, verb: str, place: str) -> None:
    api, before, expected = story
    mine = copy.deepcopy(api)
    with small_pieces(load_bytes=300), open_to_nobody(before) as folder:
        forbid(folder / place)
        told = carry_on(mine, folder, verb)
        assert told and [one for one in told if not is_clear(one, "Permission denied", "permission denied")] == []
        assert mine.requests == api.requests, "nothing is asked for that cannot be kept"
        allow(folder / place)
        assert carry_on(mine, folder, verb) == []
        assert ended(mine, folder) == expected[verb]


@pytest.mark.parametrize("place", ["hub", "one.duckdb"])
def test_a_permission_that_is_lost_on_the_way_is_said_and_nothing_is_lost(story: Story, place: str) -> None:
    """While an answer is on its way."""
    api, before, expected = story
    mine = copy.deepcopy(api)
    with small_pieces(load_bytes=300), open_to_nobody(before) as folder:
        mine.during = {mine.requests + 1: [lambda: forbid(folder / place)]}
        told = carry_on(mine, folder, "run")
        assert [one for one in told if not is_clear(one, "Permission denied", "permission denied")] == []
        assert told or place == "one.duckdb", "a file that is open stays so"
        allow(folder / place)
        assert carry_on(mine, folder, "run") == []
        assert ended(mine, folder) == expected["run"]


@pytest.mark.parametrize("rows", ["", "mode: history", "deletes: hard", "mode: append"])
def test_a_clock_that_is_set_back_or_forth_between_runs_changes_nothing(tmp_path: Path, rows: str) -> None:
    """This machine's, by a day or by years, between pulls, loads, and compactions; the API's own says what was when."""
    keep = "all" if rows in ("mode: history", "mode: append") else "7d"
    shown = []
    for name, skews in (("steady", (SKEW,) * 6), ("jumps", (0.0, -86_400.0, 86_400.0, -(10.0**9), 10.0**9, SKEW))):
        api, folder = Api(), tmp_path / name
        folder.mkdir()
        start = api.now
        spec = source(False, rows, keep)
        for key in range(1, 9):
            api.add("things", key)
        with small_pieces(load_bytes=300):
            for number, skew in enumerate(skews):
                summary = carry_out(api, folder, source=spec, select=("things",), full=number == 3, skew=skew)
                assert summary and summary.status == "complete", summary
                if keep != "all":
                    compacted(api, folder, spec)
                api.now = start + 3600 * (number + 1)  # whatever a clock made a run ask for more
                for key in (number + 1, number + 2):
                    api.update("things", key)
                if number == 2:
                    api.delete("things", 8)
            summary = carry_out(api, folder, source=spec, select=("things",), full=True)
            assert summary and summary.status == "complete"
        shown.append(outcome(look(folder, "one", "things")))
    assert shown[0] == shown[1]
