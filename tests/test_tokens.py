"""Refresh tokens that are replaced at each use: whenever a process dies, the next one has the token, or knows why nobody has it.

Every durable call of a renewal is died at, before and after it, and so is the way of the answer; then every step of a run that
renews its token several times. The token server withdraws the grant of who comes with an old token, or leaves some grace.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from rest_syncer.engine.errors import HubError
from rest_syncer.engine.grant import Grant, Tokens
from rest_syncer.engine.hub.folder import Folder
from rest_syncer.engine.hub.segment import decode_records
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Summary
from rest_syncer.engine.settings import Settings
from rest_syncer.engine.tokens import Ask, Keeper, NotGiven
from tests.model import SPEC, Api, Death, Killed, carry_out, small_pieces
from tests.standins.faulty import Answer, Asked, Server, json_answer
from tests.standins.token_server import TokenServer
from tests.test_history import look
from tests.test_hub import Script, stopped
from tests.test_kill import SEED
from tests.test_kill_matrix import STEPS_BETWEEN

AUTH = """
settings:
  client_secret: {secret: true}
  refresh_token: {secret: true}
api:
  auth:
    kind: oauth2_refresh_token
    token_url: https://api.example.com/token
    client_id: app-1
    client_secret: "{{ settings.client_secret }}"
    refresh_token: "{{ settings.refresh_token }}"
"""
GUARDED = parse_spec(SPEC.replace("\napi:\n", AUTH), "model.yaml")
BROKE_OFF = "while it was being spent, and the token that replaced it, if one did, has reached nobody"


class Time:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def grant_of(server: TokenServer, refresh_token: str) -> Grant:
    client = server.client
    return Grant("https://login.example.com/token", client["client_id"], client["client_secret"], refresh_token, "refresh_token")


def asks(server: TokenServer, on_its_way: Callable[[], None] = lambda: None) -> Ask:
    """What sends to the server; `on_its_way` happens when that has answered, and nobody has the answer yet."""

    def ask(headers: Mapping[str, str], form: str) -> tuple[int, bytes]:
        status, document = server.answer(form.encode())
        on_its_way()
        return status, json.dumps(document).encode()

    return ask


def bearer(tokens: Tokens) -> str:
    return f"Bearer {tokens.access_token}"


# --- a renewal ----------------------------------------------------------------------------------------------------


def test_an_access_token_is_kept_for_later_runs_until_it_is_old_or_refused(tmp_path: Path) -> None:
    time = Time()
    server = TokenServer(time)
    grant = grant_of(server, server.authorize())

    def renewed(not_taken: str = "") -> Tokens:
        return Keeper(tmp_path, grant).renewed(time.now, not_taken, asks(server))

    first = renewed()
    time.now += 200
    assert (renewed(), server.asked) == (first, 1)
    time.now += 80
    second = renewed()
    assert (second != first, server.asked) == (True, 2)
    third = renewed(second.access_token)
    assert (renewed(second.access_token), server.takes(bearer(third)), server.asked) == (third, True, 3)


@pytest.mark.parametrize("grace", [0.0, 30.0], ids=["strict", "with-grace"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_dead_at_any_call_of_a_renewal_the_next_run_has_the_token_or_knows_why_not(tmp_path: Path, after: bool, grace: float) -> None:
    """The first renewal and the second, at each call by which something reaches the disk, and while the answer is on its way."""
    lost = 0
    for at in range(100):
        time, folder = Time(), tmp_path / str(at)
        server = TokenServer(time, grace=grace)
        grant = grant_of(server, server.authorize())
        script = Script(at, after)
        ask = asks(server, script.around("answer", lambda: None))
        try:
            with stopped(script):
                for _ in range(2):
                    Keeper(folder, grant).renewed(time.now, "", ask)
                    time.now += 400
        except Killed:
            pass
        if len(script.calls) <= at:
            break
        time.now += 10
        kept = Keeper(folder, grant).newest()
        spent = kept.refresh_token != sorted(server._refresh)[-1]
        try:
            tokens = Keeper(folder, grant).renewed(time.now, "", asks(server))
        except NotGiven as error:
            assert spent and not grace, (at, script.calls)
            assert BROKE_OFF in str(error)
            lost += 1
            again = grant_of(server, server.authorize())
            tokens = Keeper(folder, again).renewed(time.now, "", asks(server))
        else:
            assert grace or not spent, (at, script.calls)
        assert server.takes(bearer(tokens))
        time.now += 400
        assert server.takes(bearer(Keeper(folder, again if spent and not grace else grant).renewed(time.now, "", asks(server))))
    assert script.calls.count("answer") == 2
    assert script.calls.count("link") == 4, "the mark and the tokens, twice"
    assert lost == (0 if grace else 2 * len(("answer", "open", "fsync", "link")[: 3 if after else 4])), (
        "until the new tokens have their name"
    )


def test_what_was_refused_for_good_leaves_no_mark(tmp_path: Path) -> None:
    """A secret that is corrected later must not look like an answer that was lost."""
    time = Time()
    server = TokenServer(time)
    grant = grant_of(server, server.authorize())
    right, server.client = server.client, {**server.client, "client_secret": "another"}
    with pytest.raises(NotGiven, match="does not know the application 'app-1' by its secret"):
        Keeper(tmp_path, grant).renewed(time.now, "", asks(server))
    assert Keeper(tmp_path, grant).newest() == Tokens(grant.refresh_token)
    server.client = right
    assert server.takes(bearer(Keeper(tmp_path, grant).renewed(time.now, "", asks(server))))


def test_nothing_is_spent_where_nothing_can_be_kept(tmp_path: Path) -> None:
    time = Time()
    server = TokenServer(time)
    grant = grant_of(server, server.authorize())

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(HubError, match=r"cannot write account/tokens/.* \(No space left on device\)"),
    ):
        patch.setattr(os, "fsync", full)
        Keeper(tmp_path, grant).renewed(time.now, "", asks(server))
    assert server.asked == 0


def test_a_disk_that_fills_up_while_the_answer_is_on_its_way_is_said_and_by_the_next_run_too(tmp_path: Path) -> None:
    time = Time()
    server = TokenServer(time)
    keeper = Keeper(tmp_path, grant_of(server, server.authorize()))

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(HubError, match=r"cannot write account/tokens/.* \(No space left on device\)"),
    ):
        keeper.renewed(time.now, "", asks(server, lambda: patch.setattr(os, "link", full)))
    with pytest.raises(NotGiven, match=BROKE_OFF):
        keeper.renewed(time.now, "", asks(server))


def test_only_the_newest_is_there_and_only_for_its_owner(tmp_path: Path) -> None:
    time = Time()
    server = TokenServer(time)
    keeper = Keeper(tmp_path / "hub", grant_of(server, server.authorize()))
    before = os.umask(0)
    try:
        for _ in range(3):
            keeper.renewed(time.now, "", asks(server))
            time.now += 400
    finally:
        os.umask(before)
    files = sorted((tmp_path / "hub/account/tokens").rglob("*.json"))
    assert [file.name for file in files] == ["000006.json"]
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "hub/account").rglob("*")}
    assert {path: mode for path, mode in modes.items() if mode != (0o600 if path.endswith((".json", ".lock")) else 0o700)} == {}
    for name in ("000002.json.bak", ".DS_Store"):
        (files[0].parent / name).write_bytes(b"not ours")
    keeper.renewed(time.now, "", asks(server))
    assert sorted(file.name for file in files[0].parent.iterdir()) == [".DS_Store", "000002.json.bak", "000008.json"]


def test_threads_and_processes_spend_a_token_once(tmp_path: Path) -> None:
    """Two keepers, as two processes have them, and four threads each: one asks, and all have what it got."""
    time = Time()
    server = TokenServer(time)
    grant = grant_of(server, server.authorize())
    keepers, got = [Keeper(tmp_path, grant), Keeper(tmp_path, grant)], list[Tokens]()
    threads = [
        threading.Thread(target=lambda one=keeper: got.append(one.renewed(time.now, "", asks(server)))) for keeper in keepers * 4
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (server.asked, len(got), len(set(got))) == (1, 8, 1)


def test_where_locks_do_not_hold_the_token_that_came_last_is_the_newest(tmp_path: Path) -> None:
    time = Time()
    server = TokenServer(time, grace=30.0)
    grant = grant_of(server, server.authorize())
    other = Keeper(tmp_path, grant)

    def meanwhile() -> None:
        place = f"account/tokens/{grant.name}"
        assert Folder(tmp_path).put(f"{place}/000002.json", b'{"refresh_token":"refresh-of-another"}')

    mine = Keeper(tmp_path, grant).renewed(time.now, "", asks(server, meanwhile))
    assert other.newest() == mine


# --- a run --------------------------------------------------------------------------------------------------------


class Guarded(Api):
    """The model API behind a token server: it takes who brings a token, for some four requests."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.server = TokenServer(lambda: self.now, lifetime=2.0, grace=grace)
        self.death: Death | None = None
        self.refused = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            status, document = self.server.answer(request.content)
            if self.death:
                self.death.step("before the answer of the token server")
            return httpx.Response(status, json=document)
        if not self.server.takes(request.headers["Authorization"]):
            self.refused += 1
            return httpx.Response(401)
        return super().answer(request)

    def given(self) -> Settings:
        """What a user has by authorizing."""
        secrets = {"client_secret": self.server.client["client_secret"], "refresh_token": self.server.authorize()}
        return Settings(secrets, frozenset(secrets))

    def run(self, folder: Path, settings: Settings, death: Death | None = None, full: bool = False) -> Summary | None:
        """Only a pull where it may die: what loads do then is in `test_kill_matrix`."""
        self.death = death
        try:
            verb = "pull" if death else "run"
            return carry_out(self, folder, verb, source=GUARDED, select=("things",), settings=settings, death=death, full=full)
        finally:
            self.death = None


def error_in(summary: Summary | None) -> str:
    assert summary
    return "\n".join(summary.collections["things"].errors)


@pytest.mark.parametrize("grace", [0.0, 60.0], ids=["strict", "with-grace"])
def test_a_run_that_died_at_any_step_of_a_renewal_goes_on_or_says_what_the_user_must_do(tmp_path: Path, grace: float) -> None:
    (tmp_path / "before").mkdir()
    with small_pieces(load_bytes=10**6):
        api = Guarded(grace)
        given = api.given()
        for key in range(1, 15):
            api.add("things", key)
        first = api.run(tmp_path / "before", given)
        assert first and first.status == "complete" and api.server.asked > 1
        for key in (2, 3, 5, 12):
            api.now += 10
            api.update("things", key)
        api.delete("things", 7)

        def story(name: str, at: int) -> tuple[Any, Death, bool]:
            folder, mine, death = tmp_path / name, copy.deepcopy(api), Death(at)
            shutil.copytree(tmp_path / "before", folder)
            mine.run(folder, given, death, full=True)
            settings = given
            ended = mine.run(folder, settings, full=True)
            if was_lost := ended is not None and ended.status != "complete":
                assert "the token server, https://api.example.com/token, does not take the refresh token any more" in error_in(ended)
                assert BROKE_OFF in error_in(ended)
                assert "authorize the application anew, and give the new refresh token as setting refresh_token" in error_in(ended)
                asked = mine.requests
                assert BROKE_OFF in error_in(mine.run(folder, settings)) and mine.requests == asked, "and again, until it is done"
                settings = mine.given()
                ended = mine.run(folder, settings, full=True)
            assert ended and ended.status == "complete", (name, death.steps[-1], ended)
            shown = look(folder, "one", "things")
            shutil.rmtree(folder)
            return (shown.rows, [one[:3] + one[5:] for one in shown.versions]), death, was_lost

        expected, alive, _ = story("alive", 10**9)
        steps = [number for number, step in enumerate(alive.steps) if "token" in step]
        assert [alive.steps[number].split("/")[0] for number in steps[:7]] == [
            "before the put of account", "after the put of account", "before the removal of account", "before the request ",
            "before the answer of the token server", "before the put of account", "after the put of account",
        ]  # fmt: skip
        assert len([number for number in steps if "answer" in alive.steps[number]]) > 1
        between = min(STEPS_BETWEEN, 3)
        for at in steps[random.Random(f"{SEED} {grace}").randrange(between) :: between]:
            shown, death, was_lost = story(f"dead at {at}", at)
            step, came = death.steps[-1], sum("answer" in one for one in death.steps)
            # of the steps from an answer until what it brought is put, and only of these
            puts = sum(one.startswith("after the put of account") for one in death.steps)
            assert was_lost is (grace == 0 and puts < 2 * came), (SEED, step)
            assert shown == expected, (SEED, at, step)


def test_a_token_that_the_api_takes_no_more_is_renewed_once_and_one_that_it_never_takes_is_refused(tmp_path: Path) -> None:
    api = Guarded(0.0)
    api.server.lifetime = 10**6
    given = api.given()
    api.add("things", 1)
    assert not error_in(api.run(tmp_path, given))
    api.server.expire()
    assert not error_in(api.run(tmp_path, given))
    assert (api.server.asked, api.refused) == (2, 1)
    api.server.takes = lambda authorization: False  # type: ignore[method-assign]
    sentence = "refused the credentials of the application 'app-1' and its refresh token (401 from https://api.example.com/things"
    assert sentence in error_in(api.run(tmp_path, given))
    assert (api.server.asked, api.refused) == (3, 3)


def test_a_clock_that_was_set_back_or_forth_costs_a_renewal_at_most(tmp_path: Path) -> None:
    """Set back, an old token looks young: the API refuses it, and it is renewed. Set forth, a young one looks old."""
    api = Guarded(0.0)
    given = api.given()
    api.add("things", 1)
    for passed in (0.0, -86_400.0, 86_400.0):
        api.now += passed
        api.server.expire()
        assert not error_in(api.run(tmp_path, given))
    assert api.refused <= 1


class Echoing(Guarded):
    """Writes the access token into its links, and wants there the one that the header has."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.url.path == "/token" or not self.server.takes(f"Bearer {token}"):
            return super().answer(request)
        self.requests += 1
        if self.requests == self.interrupt_at:
            raise KeyboardInterrupt
        self.now += 1.0
        page = int(request.url.params.get("page", 1))
        assert request.url.params.get("access_token", token) == token
        link = f"/things?page={page + 1}&access_token={token}" if page < 9 else None
        return httpx.Response(200, json={"entries": [{"id": page}], "next": link})


LINKED = parse_spec(
    SPEC[: SPEC.index("collections:")].replace("\napi:\n", AUTH)
    + "  paginate: {kind: next_link, link: next}\ncollections:\n  things: {key: id, properties: {id: integer}}\n",
    "model.yaml",
)


def test_tokens_are_nowhere_but_in_their_own_file(tmp_path: Path) -> None:
    """Also where links have them: those are followed with the token of then, by this run and by one that goes on after it."""
    api = Echoing(0.0)
    given, api.interrupt_at = api.given(), 6
    with small_pieces(segment_bytes=1):
        carry_out(api, tmp_path, source=LINKED, select=("things",), settings=given)
        api.interrupt_at, api.now = None, api.now + 60
        ended = carry_out(api, tmp_path, source=LINKED, select=("things",), settings=given)
    assert ended and ended.status == "complete", ended
    assert (api.server.asked > 3, api.requests) == (True, 10)
    place = tmp_path / "hub/model/account/tokens"
    secret = re.compile(rb"(access|refresh)-\d{4}|of-the-app")
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and secret.search(_plain(path))]
    assert [path.parent.parent for path in holding] == [place]


def _plain(path: Path) -> bytes:
    """A file's bytes, and those that its compressed parts hold."""
    data = path.read_bytes()
    return data + b"".join(decode_records(data, path.name)) if path.suffix == ".zst" else data


# --- the real process ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [0.0, 60.0], ids=["strict", "with-grace"])
def test_the_process_killed_while_the_answer_is_on_its_way(tmp_path: Path, grace: float) -> None:
    server, running = TokenServer(lambda: 0.0, grace=grace), list[subprocess.Popen[str]]()

    def answer(asked: Asked) -> Answer:
        if asked.path == "/token":
            status, document = server.answer(asked.body)
            if running:
                running[0].kill()
                running.pop().wait()
            return json_answer(document, status)
        taken = server.takes(asked.headers["authorization"])
        return json_answer({"entries": [{"id": 1, "name": "one"}], "total": 1}) if taken else json_answer({}, 401)

    with Server(answer) as serving:
        (tmp_path / "model.yaml").write_text(SPEC.replace("\napi:\n", AUTH).replace("https://api.example.com", serving.url))

        def start(refresh_token: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "rest_syncer.cli", "run", "model.yaml", "--select", "things"]
            secrets = {"client_secret": server.client["client_secret"], "refresh_token": refresh_token}
            given = {f"SYNCER_MODEL_{name.upper()}": value for name, value in secrets.items()}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            return subprocess.Popen(command, cwd=tmp_path, env=os.environ | given, **pipes, text=True)

        first = server.authorize()
        running.append(start(first))
        process = running[0]
        process.communicate()
        assert (process.returncode, server.asked) == (-signal.SIGKILL, 1)
        process = start(first)
        told, _ = process.communicate()
        assert (process.returncode, "Traceback" in told) == (0 if grace else 1, False), told
        if not grace:
            assert BROKE_OFF in " ".join(told.split())
            process = start(server.authorize())
            told, _ = process.communicate()
        assert process.returncode == 0, told
