"""`fetch`: what leaves, where to, how often, and what its errors say."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx
import pytest

from rest_syncer.engine.errors import FetchError, Refused, UsageError
from rest_syncer.engine.exchange import Request
from rest_syncer.engine.fetch import Clock, Fetcher
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.settings import Settings

SECRET = "s3cr3t/wörd"

SPEC = """
syncer: 1
name: zoo
title: The Zoo
settings: {user: {}, password: {secret: true}}
api:
  base_url: https://api.example.com/v1
  headers: {Accept: application/json}
  auth: {kind: basic, username: "{{ settings.user }}", password: "{{ settings.password }}"}
  BUDGETS
  retry: {attempts: 3, first_wait: 1s, longest_wait: 10s}
collections:
  animals: {key: id, properties: {id: integer}}
"""


class Still(Clock):
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def dice(self) -> float:
        return 1.0


def fetcher(answer: Callable[[httpx.Request], httpx.Response], budgets: str = "") -> tuple[Fetcher, Still]:
    spec = parse_spec(SPEC.replace("BUDGETS", f"budgets: {budgets}" if budgets else "")).spec
    settings = Settings({"user": "keeper@example.com", "password": SECRET}, frozenset({"password"}))
    clock = Still()
    return Fetcher(spec.api, settings, spec.label, clock, httpx.MockTransport(answer)), clock


def answers(*responses: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    waiting = list(responses)

    def answer(request: httpx.Request) -> httpx.Response:
        one = waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return answer


ANIMALS = Request("https://api.example.com/v1/animals", (("page", "1"),))


def test_credentials_are_on_what_leaves_and_not_on_what_is_kept() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    page = fetcher(answer)[0].send(ANIMALS)
    assert seen[0].headers["authorization"].startswith("Basic ")
    assert page.request == ANIMALS
    assert "authorization" not in str(page).lower()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://evil.example.net/v1/animals", id="other-host"),
        pytest.param("http://api.example.com/v1/animals", id="other-scheme"),
        pytest.param("https://api.example.com:8443/v1/animals", id="other-port"),
        pytest.param("https://api.example.com.evil.net/animals", id="longer-host"),
        pytest.param("https://api.example.com@evil.net/animals", id="user-info"),
    ],
)
def test_nothing_leaves_for_another_origin(url: str) -> None:
    seen: list[httpx.Request] = []
    one, _ = fetcher(lambda request: seen.append(request) or httpx.Response(200))  # type: ignore[func-returns-value]
    with pytest.raises(FetchError, match=r"is not on https://api\.example\.com:443, where The Zoo is"):
        one.send(Request(url))
    assert seen == []


def test_a_redirect_within_the_origin_is_followed_and_one_to_another_host_is_not() -> None:
    there = httpx.Response(302, headers={"location": "/v1/creatures?page=1"})
    assert fetcher(answers(there, httpx.Response(200, json=[])))[0].send(ANIMALS).requests == 2
    away = httpx.Response(302, headers={"location": "https://evil.example.net/"})
    with pytest.raises(FetchError, match="not followed to other hosts"):
        fetcher(answers(away))[0].send(ANIMALS)


def test_a_redirect_loop_ends() -> None:
    loop = [httpx.Response(302, headers={"location": "/v1/animals?page=1"}) for _ in range(7)]
    with pytest.raises(FetchError, match="status 302"):
        fetcher(answers(*loop))[0].send(ANIMALS)


def test_what_may_pass_is_tried_again_with_doubling_waits() -> None:
    one, clock = fetcher(answers(httpx.Response(503, html="<h1>busy</h1>"), httpx.ReadTimeout("slow"), httpx.Response(200, json=[])))
    assert one.send(ANIMALS).requests == 3
    assert clock.slept == [1.0, 2.0]


def test_a_failure_names_url_status_and_tries_and_holds_no_body() -> None:
    one, _ = fetcher(answers(*[httpx.Response(500, text="Grace Hopper's invoice") for _ in range(3)]))
    with pytest.raises(FetchError) as caught:
        one.send(ANIMALS)
    assert str(caught.value) == "GET https://api.example.com/v1/animals?page=1: status 500, tried 3 times"


def test_what_cannot_pass_is_not_tried_again() -> None:
    one, clock = fetcher(answers(httpx.Response(404)))
    with pytest.raises(FetchError, match="status 404; correct the path, or the base URL"):
        one.send(ANIMALS)
    assert clock.slept == []


def test_refused_credentials_take_one_request_and_name_the_user_but_never_the_password() -> None:
    one, _ = fetcher(answers(httpx.Response(401, text="no")))
    with pytest.raises(Refused) as caught:
        one.send(ANIMALS)
    assert "The Zoo refused the credentials of user 'keeper@example.com'" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_forbidden_gives_the_role_hint() -> None:
    with pytest.raises(FetchError, match=r"403: user 'keeper@example\.com' may not read this; give that account a role that may"):
        fetcher(answers(httpx.Response(403)))[0].send(ANIMALS)


def test_retry_after_is_obeyed_in_seconds() -> None:
    one, clock = fetcher(answers(httpx.Response(429, headers={"retry-after": "37"}), httpx.Response(200, json=[])))
    one.send(ANIMALS)
    assert clock.slept == [37.0]


def test_a_spent_budget_is_waited_for_and_not_run_into() -> None:
    one, clock = fetcher(answers(*[httpx.Response(200, json=[]) for _ in range(5)]), "[{requests: 2, per: 60s}]")
    for _ in range(5):
        one.send(ANIMALS)
    assert clock.slept == [60.0, 60.0]


def test_the_headers_are_believed_over_the_declared_budget() -> None:
    budget = "[{requests: 100, per: 60s, remaining_header: X-Left, reset_header: X-Reset}]"
    said = {"x-left": "0", "x-reset": "7"}
    one, clock = fetcher(answers(httpx.Response(200, json=[], headers=said), httpx.Response(200, json=[])), budget)
    one.send(ANIMALS)
    one.send(ANIMALS)
    assert clock.slept == [7.0]


def test_a_429_that_says_zero_is_waited_for_a_second_and_is_no_failed_try() -> None:
    budget = "[{requests: 100, per: 60s, remaining_header: X-Left, reset_header: X-Reset}]"
    refusal = [httpx.Response(429, text="Too Many Requests", headers={"x-left": "0", "x-reset": "0"}) for _ in range(5)]
    one, clock = fetcher(answers(*refusal, httpx.Response(200, json=[])), budget)
    assert one.send(ANIMALS).requests == 6
    assert clock.slept == [1.0] * 5


def test_a_parameter_that_holds_a_secret_is_stored_by_name_and_sent_by_value() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    one, _ = fetcher(answer)
    masked = one.settings.mask((("token", SECRET), ("page", "2")))
    assert masked == (("token", "{{ settings.password }}"), ("page", "2"))
    one.send(Request("https://api.example.com/v1/animals", masked))
    assert dict(seen[0].url.params) == {"token": SECRET, "page": "2"}


def test_a_credential_that_http_cannot_carry_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        home = f"http://127.0.0.1:{listener.getsockname()[1]}"
        spec = parse_spec(f"""
            {{syncer: 1, name: zoo, api: {{base_url: "{home}", auth: {{kind: bearer, token: "two\\nlines"}}}},
             collections: {{animals: {{key: id, properties: {{id: integer}}}}}}}}""").spec
        clock = Still()
        own = Fetcher(spec.api, Settings({}, frozenset()), "Zoo", clock)
        with own, pytest.raises(FetchError, match="a header or a credential holds what HTTP cannot carry") as caught:
            own.send(Request(f"{home}/animals"))
    assert (clock.slept, "lines" in str(caught.value)) == ([], False)


def test_a_proxy_that_is_no_url_is_a_mistake_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "nowhere://proxy")
    with pytest.raises(UsageError, match=r"^no connection can be opened \(\w+\); correct HTTPS_PROXY$"):
        Fetcher(parse_spec(SPEC.replace("BUDGETS", "")).spec.api, Settings({"user": "u", "password": "p"}, frozenset()), "Zoo")
