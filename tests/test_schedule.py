"""When sources are pulled and loaded: rhythms, what is due, who carries it out, and what other schedulers are told."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine import times
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.errors import HubError, SpecError
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.schedule import Half, Turn, When, back_off, due
from rest_syncer.engine.serve import Ended, Processes, Served, Server, Task, _ended
from rest_syncer.engine.settings import Settings
from rest_syncer.engine.turns import KEPT, turns_of
from tests.farm import SPEC, Farm, Row, row, spec

SEED = int(os.environ.get("SYNCER_SEED", "5"))
MINUTE, HOUR = 60 * times.SECOND, 3600 * times.SECOND
START = times.instant(datetime(2020, 1, 1, tzinfo=UTC))


def at(text: str) -> int:
    return times.instant(datetime.fromisoformat(text))


def turn(began: int, status: str = "complete", failures: int = 0, ended: int | None = None) -> Turn:
    return Turn(verb="pull", began=began, ended=began + MINUTE if ended is None else ended, status=status, failures=failures)


@pytest.mark.parametrize("text", ["30m", "3h", "1d12h", "* * * * *", "0 6 * * 1-5", "*/15 8-18 1,15 * mon", "0  6 * *  *"])
def test_a_rhythm_is_a_length_of_time_or_what_cron_reads(text: str) -> None:
    assert When.parse(text).after(START) > START


@pytest.mark.parametrize("text", ["30s", "0m", "hourly", "* * * *", "60 * * * *", "0 0 31 2 *", "@daily", "0 0 L * *", "* * * * * *", ""])
def test_another_text_is_none_and_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 1m or more|is no rhythm"):
        When.parse(text)


def test_a_spec_says_when_and_where() -> None:
    text = SPEC + "schedule: {pull: 0 6 * * 1-5, load: 15m, timezone: Europe/Berlin}\n"
    schedule = parse_spec(text).spec.schedule
    assert times.show(schedule.pull.after(at("2020-07-03T12:00:00Z"), schedule.zone)) == "2020-07-06T04:00:00Z"
    assert parse_spec(SPEC).spec.schedule.pull.text == "3h"
    with pytest.raises(SpecError, match=r"schedule\.timezone.*Europe/Berlin"):
        parse_spec(text.replace("Berlin", "Atlantis"))
    with pytest.raises(SpecError, match=r"schedule\.load.*too often"):
        parse_spec(text.replace("15m", "1s"))


def test_what_was_missed_is_due_once() -> None:
    every, nightly = When.parse("1h"), When.parse("0 3 * * *")
    assert due(every, UTC, turn(START), START, START + 50 * HOUR) == START + HOUR
    assert due(every, UTC, turn(START + 50 * HOUR), START, START + 50 * HOUR + MINUTE) == START + 51 * HOUR
    assert due(nightly, UTC, turn(START), START, START + 99 * HOUR) == START + 3 * HOUR


def test_the_first_turn_comes_at_once_unless_times_of_day_are_named_or_there_is_nothing_to_do() -> None:
    assert due(When.parse("1h"), UTC, None, START, START) == START
    assert due(When.parse("1h"), UTC, None, START, START, ready=False) == START + HOUR
    assert due(When.parse("0 3 * * *"), UTC, None, START, START) == START + 3 * HOUR


def test_a_failure_is_tried_again_later_each_time_and_never_later_than_the_rhythm() -> None:
    waits = [due(When.parse("1h"), UTC, turn(START, "failed", failures, START), START, START) - START for failures in range(1, 12)]
    assert waits == [min(HOUR, MINUTE << place) for place in range(11)]
    assert back_off(10_000) > 0


def test_a_clock_that_was_wrong_tells_nothing() -> None:
    ahead = turn(START + 1000 * HOUR)
    assert due(When.parse("1h"), UTC, ahead, START, START) == START
    assert due(When.parse("0 3 * * *"), UTC, ahead, START, START) == START + 3 * HOUR


def test_what_is_due_is_never_in_the_past_of_a_turn_and_never_too_far_off() -> None:
    """For any rhythm and any last turn: not before it, and within a rhythm of now or of the turn."""
    dice = random.Random(SEED)
    for _ in range(2_000):
        every = dice.randrange(1, 3000)
        began, now = START + dice.randrange(10**6) * times.SECOND, START + dice.randrange(10**6) * times.SECOND
        last = dice.choice([None, turn(began), turn(began, "failed", dice.randrange(1, 40))])
        found = due(When.parse(f"{every}m"), UTC, last, START, now)
        assert found <= max(now, began + MINUTE) + every * MINUTE, (SEED, every, last, now)
        assert last is None or last.began > now or found > last.began, (SEED, every, last, now)


# What is served.


class Hours(Clock):
    def __init__(self) -> None:
        self.now = START / times.SECOND

    def time(self) -> float:
        return self.now


class Hand:
    """Carries tasks out in a world in which each takes a minute, or what a test says, and ends as a test says."""

    def __init__(self, clock: Hours, until: float, lasts: dict[str, float] | None = None, fails: frozenset[str] = frozenset()) -> None:
        self.clock, self.until, self.lasts, self.fails = clock, until, lasts or {}, fails
        self.running: dict[Task, float] = {}
        self.log: list[tuple[int, str, str]] = []
        self.stopped = False
        self.server: Server | None = None

    def start(self, task: Task) -> None:
        assert task not in self.running
        assert all(task.at != other.at for other in self.running)
        self.running[task] = self.clock.now + self.lasts.get(f"{task.source} {task.half}", 60.0)
        self.log.append((round(self.clock.now - START / times.SECOND) // 60, task.source, task.half))

    def next(self, seconds: float) -> Ended | None:
        then = self.clock.now + seconds
        if then > self.until and not self.stopped and self.server:
            self.stopped = True
            self.server.stop()
        first = min(self.running, key=lambda task: self.running[task], default=None)
        if first and (self.running[first] <= then or self.stopped):
            self.clock.now = max(self.clock.now, self.running.pop(first))
            return Ended(first, "failed" if f"{first.source} {first.half}" in self.fails else "complete")
        self.clock.now = then
        return None

    def stop(self) -> None:
        self.stopped = True

    def minutes(self, source: str, half: str) -> list[int]:
        return [minute for minute, one, what in self.log if (one, what) == (source, half)]


def serve(folder: Path, hours: float, names: dict[str, str], hub: bool = True, to: str | None = None, **how: object) -> Hand:
    clock = Hours()
    hand = Hand(clock, clock.now + 3600 * hours, **how)  # type: ignore[arg-type]  # a dictionary of its arguments
    served = []
    for name, schedule in names.items():
        source = parse_spec(SPEC.replace("name: shop", f"name: {name}") + f"schedule: {schedule}\n")
        options = Options(hub=str(folder / "hub"), to=to or f"duckdb:{folder / name}.duckdb")
        if hub:
            answer = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": []}))
            run(source, Settings({}, frozenset()), options, "pull", clock=Past(), transport=answer)
            (folder / "hub" / name / "account" / "pull.json").unlink()
        served.append(Served(source, source.spec.schedule, options))
    hand.server = Server(served, hand, clock, lambda line: None)
    hand.server.serve()
    assert not hand.running
    return hand


class Past(Clock):
    def time(self) -> float:
        return START / times.SECOND - 99_999


def test_pulls_and_loads_have_rhythms_of_their_own(tmp_path: Path) -> None:
    hand = serve(tmp_path, 6.9, {"a": "{pull: 3h, load: 1h}"})
    assert hand.minutes("a", "pull") == [0, 180, 360]
    assert hand.minutes("a", "load") == [0, 60, 120, 180, 240, 300, 360]


def test_a_load_waits_for_the_first_pull(tmp_path: Path) -> None:
    assert serve(tmp_path, 1.5, {"a": "{pull: 3h, load: 1h}"}, hub=False).minutes("a", "load") == [60]


def test_one_that_takes_longer_than_its_rhythm_comes_again_when_it_has_ended_and_once(tmp_path: Path) -> None:
    hand = serve(tmp_path, 4.9, {"a": "{pull: 1h, load: 1d}"}, lasts={"a pull": 9000})
    assert hand.minutes("a", "pull") == [0, 150]


def test_a_source_that_fails_backs_off_and_holds_up_no_other(tmp_path: Path) -> None:
    hand = serve(tmp_path, 3.9, {"a": "{pull: 1h, load: 1h}", "b": "{pull: 1h, load: 1h}"}, fails=frozenset({"a pull"}))
    assert hand.minutes("a", "pull") == [0, 2, 5, 10, 19, 36, 69, 130, 191]
    assert hand.minutes("b", "pull") == [0, 60, 120, 180]


def test_two_loads_into_one_warehouse_take_turns(tmp_path: Path) -> None:
    rhythm = "{pull: 1d, load: 1h}"
    hand = serve(tmp_path, 0.9, {"a": rhythm, "b": rhythm, "c": rhythm}, to=f"duckdb:{tmp_path / 'one.duckdb'}")
    assert sorted(minute for minute, _, half in hand.log if half == "load") == [0, 1, 2]


def test_no_more_than_four_are_at_work_at_once(tmp_path: Path) -> None:
    hand = serve(tmp_path, 0.9, {f"s{number}": "{pull: 1h, load: 1d}" for number in range(10)}, hub=False)
    assert sorted(minute for minute, _, _ in hand.log) == [0] * 4 + [1] * 4 + [2] * 2


def test_a_hub_that_cannot_be_looked_at_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(one: Served, half: Half) -> Turn | None:
        if one.source.spec.name.text == "lost":
            raise HubError("hub s3://nowhere: cannot be listed")
        return None

    monkeypatch.setattr(Served, "last", looked)
    hand = serve(tmp_path, 7, {"lost": "{}", "well": "{}"}, fails=frozenset({"lost pull"}))
    assert hand.minutes("well", "pull") == [0, 180, 360]
    assert len(hand.minutes("lost", "pull")) < 12, "it backs off"


def test_a_turn_of_the_future_makes_none_come_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task may end before it writes down a turn of its own, because its spec cannot be read."""
    monkeypatch.setattr(Served, "last", lambda one, half: turn(START + 10**13))
    hand = serve(tmp_path, 3, {"shop": "{}"}, fails=frozenset({"shop pull", "shop load"}))
    assert len(hand.minutes("shop", "pull")) < 10


def test_nothing_is_begun_once_it_is_to_stop(tmp_path: Path) -> None:
    class Stopping(Hand):
        def start(self, task: Task) -> None:
            super().start(task)
            assert self.server
            self.server.stop()

    clock = Hours()
    hand = Stopping(clock, clock.now + 3600)
    source = parse_spec(SPEC)
    served = [Served(source, source.spec.schedule, Options(hub=str(tmp_path / name), to=f"duckdb:{name}")) for name in ("a", "b", "c")]
    hand.server = Server(served, hand, clock, lambda line: None)
    hand.server.serve()
    assert len(hand.log) == 1


def test_a_process_that_cannot_be_begun_or_says_nothing_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("shop", "pull", "shop.yaml")
    with Processes() as hands:
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory")))
        hands.start(task)
        assert hands.next(0) == Ended(task, "failed", ("no process can be begun for it (Cannot allocate memory)",))
    assert _ended(task, 0, b"{}", b"") == Ended(task, "failed", ("its process ended with code 0",))


def test_a_pull_by_hand_is_a_turn(tmp_path: Path) -> None:
    clock = Hours()
    source = parse_spec(SPEC)
    options = Options(hub=str(tmp_path / "hub"))
    answer = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": []}))
    run(source, Settings({}, frozenset()), options, "pull", clock=clock, transport=answer)
    clock.now += 600
    hand = Hand(clock, clock.now + 3600)
    hand.server = Server([Served(source, source.spec.schedule, options)], hand, clock, lambda line: None)
    hand.server.serve()
    assert hand.minutes("shop", "pull") == []


# What is remembered.


def test_the_last_turns_of_each_half_are_remembered_and_shown(farm: Farm) -> None:
    for _ in range(KEPT + 3):
        farm.run([row(1)], verb="pull")
    farm.run([], verb="load")
    assert len(turns_of(farm.folder / "hub" / "shop", "pull").turns) == KEPT
    file = farm.folder / "shop.yaml"
    file.write_text(SPEC)
    shown = CliRunner().invoke(app, ["status", str(file), "--hub", str(farm.folder / "hub")]).output
    assert re.search(r"^pulls:\n  \S+Z  complete, 1 requests, 1 received\n", shown, re.MULTILINE), shown
    assert f"loads into {farm.client.url}, shop:\n" in shown and ", 1 inserted" in shown
    found = json.loads(CliRunner().invoke(app, ["status", str(file), "--hub", str(farm.folder / "hub"), "--json"]).output)
    assert (len(found["pulls"]), found["loads"][0]["turns"][0]["verb"]) == (KEPT, "load")


def test_a_failed_half_is_remembered_apart_from_the_other(farm: Farm) -> None:
    farm.run([row(1)])
    farm.run([{"sum": "no key"}], spec("on_reject: fail", "{id: integer, sum: integer}"))
    hub = farm.folder / "hub" / "shop"
    pull = turns_of(hub, "pull").last
    (load,) = [json.loads(file.read_text())["turns"] for file in (hub / "account").glob("load into *.json")]
    assert pull and (pull.status, pull.failures) == ("complete", 0)
    assert (load[-1]["status"] != "complete", load[-1]["failures"]) == (True, 1)


def test_what_cannot_be_read_of_it_is_forgotten(farm: Farm) -> None:
    farm.run([row(1)])
    (farm.folder / "hub" / "shop" / "account" / "pull.json").write_text("{")
    assert farm.run([row(1)]).status == "complete"
    assert len(turns_of(farm.folder / "hub" / "shop", "pull").turns) == 1


# The installed command.


@contextmanager
def listing(rows: list[Row]) -> Iterator[str]:
    """The base URL of an API that lists these rows."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": rows}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is to be said."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_serve_pulls_and_loads_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with listing([row(1)]) as base:
        good = spec().replace("https://api.example.com", base)
        (tmp_path / "good.yaml").write_text(good)
        (tmp_path / "bad.yaml").write_text(good.replace("name: shop", "name: bad").replace("records: data", "records: nothing"))
        command = [sys.executable, "-m", "rest_syncer.cli", "serve", "good.yaml", "bad.yaml"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if all(any(what in one for one in lines) for what in ("shop: pull complete", "bad: pull failed")):
                    process.send_signal(signal.SIGTERM)
                    break
            lines += list(process.stderr)
            assert process.wait(30) == 0, lines
    told = "".join(lines)
    assert re.search(r"Z shop: pull complete, \S+ s; 1 requests, 1 received$", told, re.MULTILINE), told
    result = CliRunner().invoke(app, ["load", str(tmp_path / "good.yaml"), "--hub", str(tmp_path / ".syncer/hub"),
                                      "--to", f"duckdb:{tmp_path / 'x.duckdb'}"])  # fmt: skip
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("form", ["cron", "systemd"])
def test_other_schedulers_are_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my shop.yaml").write_text(SPEC + "schedule: {pull: 3h, load: 30 6 * * 1-5, timezone: Europe/Berlin}\n")
    result = CliRunner().invoke(app, ["schedule", "my shop.yaml", "--print", form])
    assert result.exit_code == 0, result.output
    if form == "cron":
        lines = [line for line in result.output.splitlines() if not line.startswith("#")]
        assert lines[0].startswith(f"0 */3 * * *  cd {tmp_path} && {sys.executable} -m rest_syncer.cli pull 'my shop.yaml' --hub ")
        assert lines[1] == "CRON_TZ=Europe/Berlin"
        assert lines[2].startswith("30 6 * * 1-5  cd ") and " load 'my shop.yaml' --hub .syncer/hub --to duckdb:shop.duckdb" in lines[2]
    else:
        assert "OnUnitActiveSec=3h" in result.output
        assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 06:30:00 Europe/Berlin\nPersistent=true" in result.output
        assert f'ExecStart={sys.executable} -m rest_syncer.cli pull "my shop.yaml" --hub .syncer/hub' in result.output


def test_a_rhythm_that_cron_has_no_form_for_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SPEC)
    result = CliRunner().invoke(app, ["schedule", str(file), "--print", "cron", "--pull-every", "7h"])
    assert result.exit_code == 2 and "cron has no form for every 7h (pull)" in result.output
    assert CliRunner().invoke(app, ["schedule", str(file), "--print", "systemd", "--pull-every", "7h"]).exit_code == 0
    assert "write cron or systemd" in CliRunner().invoke(app, ["schedule", str(file), "--print", "at"]).output
    assert "--load-every: " in CliRunner().invoke(app, ["schedule", str(file), "--print", "cron", "--load-every", "x"]).output


def test_days_and_weekdays_of_which_one_is_enough_are_two_calendars() -> None:
    from rest_syncer.engine.timers import Job, systemd

    text = systemd([Job("a", "pull", When.parse("0 0 1 * mon"), "UTC", "/x", ("syncer",))])
    assert "OnCalendar=*-*-01 00:00:00 UTC\nOnCalendar=Mon *-*-* 00:00:00 UTC" in text
