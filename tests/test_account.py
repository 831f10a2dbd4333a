"""Processes of one account keep its budgets together, none starves, and none is held up by one that died."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from rest_syncer.engine.account import Account, account_name, state_folder
from rest_syncer.engine.budget import Budget
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.fields import Duration
from rest_syncer.engine.permits import Permits
from tests.support import nobody
from tests.sync import Project

MINUTE = Budget(requests=2, per=Duration(60))


class Still(Clock):
    """A clock that moves only by sleeping; it never sleeps while the permits are locked."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.said: list[tuple[float, str]] = []
        self.account: Account | None = None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 5000.0

    def sleep(self, seconds: float) -> None:
        assert self.account is None or not self.account._lock.locked()
        self.now += seconds

    def waiting(self, seconds: float, why: str) -> None:
        self.said.append((seconds, why))


def account(clock: Still, name: str | None = "zoo", concurrency: int | None = None, *budgets: Budget) -> Account:
    clock.account = Account(budgets, concurrency, clock, clock.waiting, name)
    return clock.account


def take(one: Account, times: int = 1, cost: int = 1) -> None:
    for _ in range(times):
        with one.permit(cost):
            pass


def test_two_accounts_of_one_name_spend_one_budget_and_those_of_others_their_own(state: Path) -> None:
    clock = Still()
    one, two, other = account(clock, "zoo", None, MINUTE), account(clock, "zoo", None, MINUTE), account(clock, "park", None, MINUTE)
    take(one)
    take(two)
    take(other, 2)
    assert clock.said == []
    take(two)
    assert clock.said == [(60.0, "the budget is spent")]
    assert sorted(path.name for path in state.iterdir()) == ["park.json", "zoo.json"]


def test_what_one_is_told_all_know() -> None:
    clock = Still()
    one, two = account(clock, "zoo", None, MINUTE), account(clock, "zoo", None, MINUTE)
    one.told({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 200)
    take(two)
    assert (clock.said, two.remaining()) == ([(7.0, "the API says that nothing is left")], (1, 60.0))


def test_without_a_name_or_a_request_nothing_is_written(state: Path) -> None:
    clock = Still()
    take(account(clock, None, None, MINUTE), 3)
    account(clock, "zoo", None, MINUTE).close()
    assert (clock.said, list(state.iterdir())) == ([(60.0, "the budget is spent")], [])


def test_what_is_written_is_for_its_owner_alone_and_holds_no_name(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = state / "deeper"
    monkeypatch.setenv("SYNCER_STATE", str(folder))
    take(account(Still(), "zoo", 2, MINUTE))
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())} == {
        "deeper": "0o700", "zoo.json": "0o600", "zoo.slot-0": "0o600",
    }  # fmt: skip


def test_a_shorter_line_over_a_longer_one_is_read_alone(state: Path) -> None:
    clock = Still()
    one = account(clock, "zoo", None, MINUTE)
    (state / "zoo.json").write_text(
        Permits.opened((MINUTE,), 1000.0).spent(2, 1000.0).queued("x" * 5000, 1001.0, 1000.0).text(1000.0) + "\n"
    )
    clock.now = 1010.0
    take(one)
    lines = (state / "zoo.json").read_text().splitlines()
    assert (clock.said, json.loads(lines[0])["queue"], "x" * 100 in lines[-1]) == ([(50.0, "the budget is spent")], [], True)


def test_where_nothing_can_be_written_the_process_counts_alone_and_says_so_once(state: Path) -> None:
    clock = Still()
    state.chmod(0o500)
    with nobody():
        one = account(clock, "zoo", 2, MINUTE)
        take(one, 3)
    state.chmod(0o700)
    note = "the budgets of this account are not shared with other runs of this machine (Permission denied); set SYNCER_STATE to a folder"
    assert clock.said == [(0.0, note), (60.0, "the budget is spent")]


def test_a_slot_that_cannot_be_written_does_not_stop_the_run(state: Path) -> None:
    clock = Still()
    one = account(clock, "zoo", 1)
    (state / "zoo.slot-0").mkdir()
    take(one, 2)
    assert [(seconds, "Is a directory" in why) for seconds, why in clock.said] == [(0.0, True)]


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNCER_STATE", "/there")
    assert state_folder() == Path("/there")
    monkeypatch.delenv("SYNCER_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder() == Path("/state/syncer")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "syncer"


def test_an_accounts_name_tells_origins_and_users_apart_and_little_of_a_secret() -> None:
    names = {account_name(origin, user, "") for origin in ("https://a:443", "https://b:443") for user in ("ann", "bob")}
    assert {len(name) for name in names} == {16} and len(names) == 4
    one, two = (account_name("https://a:443", "", secret) for secret in ("s1", "s2"))
    assert (one[:8] == two[:8], one[8:] == two[8:], len(one)) == (True, False, 16)


def test_a_wait_that_is_interrupted_leaves_no_place_in_the_queue(state: Path) -> None:
    class Interrupted(Still):
        def sleep(self, seconds: float) -> None:
            assert json.loads((state / "zoo.json").read_text().splitlines()[0])["queue"] != []
            raise KeyboardInterrupt

    clock = Interrupted()
    one = account(clock, "zoo", None, MINUTE)
    with pytest.raises(KeyboardInterrupt):
        take(one, 3)
    assert json.loads((state / "zoo.json").read_text().splitlines()[0])["queue"] == []


def test_one_who_came_before_goes_first_and_the_wait_for_him_is_told_once(state: Path) -> None:
    clock = Still()
    one = account(clock, "zoo", None, MINUTE)
    (state / "zoo.json").write_text(Permits.opened((MINUTE,), 1000.0).queued("dead", 1000.5, 1000.0, 2).text(1000.0) + "\n")
    take(one)
    assert (1001.5 <= clock.now < 1001.52, clock.said[0][1]) == (True, "others of this account came before")
    assert len(clock.said) <= 2


@pytest.mark.parametrize(("together", "meet"), [(3, True), (4, False)])
def test_as_many_threads_as_the_concurrency_have_a_permit_at_once_and_no_more(together: int, meet: bool) -> None:
    one, barrier = Account((), 3, Clock(), lambda seconds, why: None), threading.Barrier(together)

    def work() -> None:
        with one.permit(), contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(10 if meet else 0.2)

    threads = [threading.Thread(target=work) for _ in range(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert barrier.broken is not meet


# Two processes, by the real clock.

CHILD = """
import random, sys, time
from rest_syncer.engine.account import Account
from rest_syncer.engine.budget import Budget
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.fields import Duration

class Noted(Clock):
    last = 0.0
    def monotonic(self):
        self.last = super().monotonic()
        return self.last

per, requests, concurrency, end, seed, pause = sys.argv[1:]
clock, dice, budget = Noted(), random.Random(int(seed)), Budget(requests=int(requests), per=Duration(float(per)))
account = Account([budget], int(concurrency) or None, clock, lambda wait, why: None, "zoo")
print("ready", flush=True)
sys.stdin.readline()
while True:
    with account.permit():
        if time.monotonic() >= float(end):
            break
        print(clock.last, flush=True)
        time.sleep(dice.random() * float(pause))
"""


@contextlib.contextmanager
def child(
    requests: int, per: float, seconds: float, seed: int = 0, pause: float = 0.0, concurrency: int = 0
) -> Iterator[subprocess.Popen[str]]:
    end = time.monotonic() + seconds
    words = [str(word) for word in (per, requests, concurrency, end, seed, pause)]
    process = subprocess.Popen([sys.executable, "-c", CHILD, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def test_two_processes_keep_one_budget_together_and_share_it_fairly() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    with child(20, 0.6, 2.5, seed, 0.002) as one, child(20, 0.6, 2.5, seed + 1, 0.002) as two:
        go(one, two)
        sent = [[float(line) for line in process.communicate()[0].splitlines()] for process in (one, two)]
    together = sorted(sent[0] + sent[1])
    print([len(one) for one in sent])
    assert len(together) >= 40
    assert all(late - early >= 0.6 - 1e-6 for early, late in zip(together, together[20:], strict=False))
    assert min(map(len, sent)) > len(together) / 3


def test_a_killed_process_holds_up_the_others_for_a_second_or_so() -> None:
    """It is killed while its request is under way, and another while it waits for its turn."""
    with child(1000, 60, 30, pause=60, concurrency=1) as sender, child(1000, 60, 30, concurrency=1) as waiter:
        go(sender)
        assert sender.stdout is not None and sender.stdout.readline()
        go(waiter)
        mine = Account([Budget(requests=1000, per=Duration(60))], 1, Clock(), lambda wait, why: None, "zoo")
        while not mine._permits.queue:
            mine.told({}, 200)
            time.sleep(0.01)
        killed = time.monotonic()
        for process in (sender, waiter):
            process.send_signal(signal.SIGKILL)
        with mine.permit():
            assert time.monotonic() - killed < 2.0


def test_a_slot_is_one_processs_at_a_time() -> None:
    """Each holds it for some milliseconds; between two beginnings lies always one end."""
    with child(1000, 60, 1.2, 1, 0.01, 1) as one, child(1000, 60, 1.2, 2, 0.01, 1) as two:
        go(one, two)
        sent = [[float(line) for line in process.communicate()[0].splitlines()] for process in (one, two)]
    assert min(map(len, sent)) > 3
    assert all(late > early for early, late in pairwise(sorted(sent[0] + sent[1])))


def test_no_test_writes_to_the_home_of_whoever_runs_it(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither here, nor in the processes that get none of our variables."""
    assert state_folder() == state
    inherited = Project(tmp_path, "http://127.0.0.1:1", {}).surroundings()["env"]
    monkeypatch.delenv("SYNCER_STATE")
    assert (inherited["XDG_STATE_HOME"], "SYNCER_STATE" in inherited, state_folder()) == (str(state), False, state / "syncer")
