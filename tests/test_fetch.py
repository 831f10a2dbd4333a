"""`fetch`: what leaves, where to, how often, and what its errors say."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from rest_syncer.engine.account import account_name
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.errors import FetchError, Refused, UsageError
from rest_syncer.engine.exchange import Page, Request
from rest_syncer.engine.fetch import Fetcher
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.rules import Rule
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
        self.said: list[tuple[float, str]] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def dice(self) -> float:
        return 1.0


Answer = Callable[[httpx.Request], httpx.Response]


def fetcher(answer: Answer | httpx.BaseTransport, budgets: str = "", api: str = "", retry: str = "") -> tuple[Fetcher, Still]:
    """A fetcher, with further lines for `api` and further words for `retry`, and its clock, which notes what is said of waits."""
    lines = [f"budgets: {budgets}"] * bool(budgets) + [api] * bool(api)
    text = SPEC.replace("BUDGETS", "\n  ".join(lines)).replace("longest_wait: 10s", f"longest_wait: 10s{', ' * bool(retry)}{retry}")
    spec = parse_spec(text).spec
    settings = Settings({"user": "keeper@example.com", "password": SECRET}, frozenset({"password"}))
    clock = Still()
    transport = answer if isinstance(answer, httpx.BaseTransport) else httpx.MockTransport(answer)

    def waiting(seconds: float, why: str) -> None:
        clock.said.append((seconds, why))

    return Fetcher(spec.api, settings, spec.label, clock, transport, waiting, lambda host: ["93.184.216.34"]), clock


def answers(*responses: httpx.Response | Exception) -> Answer:
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


def redirect(to: str, **headers: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": to} | headers)


@pytest.mark.parametrize(
    "to", ["javascript:alert(1)", "http://[::1", "http://" + "a" * 70_000, "https://api.example.com/\x7f", "http://a:x/"]
)
def test_a_redirect_to_what_is_no_url_is_told(to: str) -> None:
    with pytest.raises(FetchError, match=r"redirects to what is no URL|is not on https://api.example.com"):
        send(redirect(to))


def test_a_redirect_gives_no_credentials() -> None:
    seen: list[httpx.Request] = []
    given = answers(redirect("https://ann:s3cret@api.example.com/there"), httpx.Response(200, json=[]))
    fetcher(lambda request: (seen.append(request), given(request))[1])[0].send(ANIMALS)
    assert [str(request.url) for request in seen[1:]] == ["https://api.example.com/there"]


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", b""), (302, "POST", b'{"a": 1}'), (307, "POST", b'{"a": 1}')])
def test_a_redirected_search_stays_one_unless_the_answer_is_elsewhere(status: int, method: str, body: bytes) -> None:
    seen: list[httpx.Request] = []
    responses = answers(httpx.Response(status, headers={"location": "/v1/found"}), httpx.Response(200, json=[]))

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return responses(request)

    fetcher(answer)[0].send(ANIMALS.with_body('{"a": 1}'))
    assert (seen[0].method, seen[0].content, seen[0].headers["content-type"]) == ("POST", b'{"a": 1}', "application/json")
    assert (seen[1].method, seen[1].content) == (method, body)


def test_a_redirect_in_a_circle_is_said_at_once() -> None:
    with pytest.raises(FetchError, match=r"page=2: redirects in a circle; correct the path"):
        fetcher(answers(redirect("?page=2"), redirect("?page=1")))[0].send(ANIMALS)
    with pytest.raises(FetchError, match="redirects in a circle"):
        fetcher(answers(redirect("?page=1")))[0].send(ANIMALS)


def test_a_redirect_to_itself_that_sets_a_cookie_is_no_circle() -> None:
    cookie = {"set-cookie": "seen=1; Path=/"}
    assert fetcher(answers(redirect("?page=1", **cookie), httpx.Response(200, json=[])))[0].send(ANIMALS).requests == 2
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        fetcher(answers(*[redirect("?page=1", **cookie) for _ in range(6)]))[0].send(ANIMALS)


@pytest.mark.parametrize("most", [0, 2, 5])
def test_no_more_redirects_are_followed_than_the_limit(most: int) -> None:
    limits = f"limits: {{redirects: {most}}}" if most != 5 else ""
    hops = [redirect(f"?page={page}") for page in range(2, 9)]
    assert fetcher(answers(*hops[:most], httpx.Response(200, json=[])), api=limits)[0].send(ANIMALS).requests == most + 1
    with pytest.raises(FetchError, match=rf"redirects more than {most} times; correct the path, or raise `api\.limits\.redirects`"):
        fetcher(answers(*hops), api=limits)[0].send(ANIMALS)


def test_what_may_pass_is_tried_again_with_doubling_waits() -> None:
    one, clock = fetcher(answers(httpx.Response(503, html="<h1>busy</h1>"), httpx.ReadTimeout("slow"), httpx.Response(200, json=[])))
    assert one.send(ANIMALS).requests == 3
    assert clock.slept == [1.0, 2.0]


def test_a_failure_names_url_status_and_tries_and_holds_no_body() -> None:
    one, _ = fetcher(answers(*[httpx.Response(500, text="Grace Hopper's invoice") for _ in range(3)]))
    with pytest.raises(FetchError) as caught:
        one.send(ANIMALS)
    told = "status 500, tried 3 times; the API is in trouble: what was received is kept, and a later run goes on"
    assert str(caught.value) == f"GET https://api.example.com/v1/animals?page=1: {told}"


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
    assert sum(clock.slept) == 120.0


def test_the_headers_are_believed_over_the_declared_budget() -> None:
    budget = "[{requests: 100, per: 60s, remaining_header: X-Left, reset_header: X-Reset}]"
    said = {"x-left": "0", "x-reset": "7"}
    one, clock = fetcher(answers(httpx.Response(200, json=[], headers=said), httpx.Response(200, json=[])), budget)
    one.send(ANIMALS)
    one.send(ANIMALS)
    assert sum(clock.slept) == 7.0


def test_who_waits_long_looks_again_from_time_to_time_and_says_it_once() -> None:
    one, clock = fetcher(answers(httpx.Response(200, json=[]), httpx.Response(200, json=[])), "[{requests: 1, per: 60s}]")
    one.send(ANIMALS)
    one.send(ANIMALS)
    assert (clock.slept, len(clock.said)) == ([5.0] * 12, 1)


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


@pytest.mark.parametrize(
    ("changed", "reads"),
    [
        pytest.param(("https://api", "https://api"), True, id="an-api-by-https"),
        pytest.param(("https://api", "http://api"), False, id="all-by-http"),
        pytest.param(("https://api.example.com/v1", 'http://api.example.com\n  origins: ["https://b.example.com"]'), True, id="an-origin"),
        pytest.param(("https://api", "HTTPS://api"), True, id="in-capitals"),
    ],
)
def test_certificates_are_read_where_something_goes_by_https(
    monkeypatch: pytest.MonkeyPatch, changed: tuple[str, str], reads: bool
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    given = (
        parse_spec(SPEC.replace("BUDGETS", "").replace(*changed, 1)).spec.api,
        Settings({"user": "u", "password": "p"}, frozenset()),
        "Zoo",
    )
    with pytest.raises(UsageError, match="correct SSL_CERT_FILE") if reads else nullcontext():
        Fetcher(*given)


# Error rules.


def send(*responses: httpx.Response | Exception, rules: str = "[]", retry: str = "") -> Page:
    return fetcher(answers(*responses), api=f"errors: {rules}", retry=retry)[0].send(ANIMALS)


@pytest.mark.parametrize("told", ["ignore", "skip", "end"])
def test_an_answer_that_a_rule_takes_comes_as_a_page_that_says_so(told: str) -> None:
    page = send(httpx.Response(404, text="none"), rules=f"[{{status: 404, then: {told}, message: no such animal}}]")
    assert (page.status, page.body, page.told, page.message) == (404, b"none", told, "no such animal")
    assert send(httpx.Response(200, json=[]), rules=f"[{{status: 404, then: {told}}}]").told is None


def test_a_rule_that_fails_fails_at_once_with_its_message_and_the_status() -> None:
    with pytest.raises(FetchError) as caught:
        send(httpx.Response(503), rules="[{status: 503, then: fail, message: the zoo is closed}]")
    assert (str(caught.value), caught.value.status) == (
        "GET https://api.example.com/v1/animals?page=1: the zoo is closed (status 503)",
        503,
    )


def test_an_error_inside_of_a_200_is_seen() -> None:
    with pytest.raises(FetchError, match=r"an error, by the spec's rules \(status 200\)$"):
        send(httpx.Response(200, json={"error": "x"}), rules="[{body: error, then: fail}]")
    with pytest.raises(FetchError, match="bad key"):
        send(httpx.Response(200, text="<b>bad key</b>"), rules="[{text: bad key, then: fail, message: bad key}]")
    assert send(httpx.Response(200, json={"error": None}), rules="[{body: error, then: fail}]").told is None


def test_a_rule_that_retries_waits_as_long_and_as_often_as_any_failure_and_says_why() -> None:
    api = "errors: [{status: 400, body: code, equals: 7, then: retry, message: the index is being built}]"
    busy = [httpx.Response(400, json={"code": 7}) for _ in range(3)]
    one, clock = fetcher(answers(*busy[:2], httpx.Response(200, json=[])), api=api)
    assert one.send(ANIMALS).requests == 3
    assert clock.said == [(1.0, "the index is being built (status 400), try 1"), (2.0, "the index is being built (status 400), try 2")]
    with pytest.raises(FetchError, match=r"the index is being built \(status 400\), tried 3 times$"):
        fetcher(answers(*[httpx.Response(400, json={"code": 7}) for _ in range(3)]), api=api)[0].send(ANIMALS)
    with pytest.raises(FetchError, match=r"page=1: status 400; correct the parameters, or, if lists end so, say so by an error rule"):
        fetcher(answers(httpx.Response(400, json={"code": 8})), api=api)[0].send(ANIMALS)


def test_a_collections_rules_are_tried_before_the_apis() -> None:
    one, _ = fetcher(answers(httpx.Response(404), httpx.Response(404)), api="errors: [{status: 404, then: fail}]")
    assert one.send(ANIMALS, [Rule(status=(404,), then="end")]).told == "end"
    with pytest.raises(FetchError, match="status 404"):
        one.send(ANIMALS)


def test_a_rule_goes_before_refused_credentials_and_redirects() -> None:
    assert send(httpx.Response(401), rules="[{status: 401, then: skip}]").told == "skip"
    assert send(redirect("/login"), rules="[{status: 302, then: end}]").told == "end"


# Waits.


def test_a_wait_that_the_api_asks_for_is_no_failed_try() -> None:
    """Three tries are allowed, and four times the API asks for a wait."""
    busy = [httpx.Response(503, headers={"retry-after": "37"}) for _ in range(4)]
    one, clock = fetcher(answers(*busy, httpx.Response(200, json=[])))
    assert one.send(ANIMALS).requests == 5
    assert clock.said == [(37.0, "status 503, the API asks for it")] * 4
    assert clock.slept == [37.0] * 4


def test_a_wait_in_a_named_header_is_obeyed_in_its_form() -> None:
    one, clock = fetcher(
        answers(httpx.Response(429, headers={"X-Come-Back": "1000009000"}), httpx.Response(200, json=[])),
        retry="wait_header: X-Come-Back, wait_format: epoch_ms",
    )
    one.send(ANIMALS)
    assert clock.slept == [9.0]


@pytest.mark.parametrize("header", ["-1", "Mon, 12 Jan 1970 00:00:00 GMT", "soon", "0"])
def test_a_retry_after_that_says_no_time_is_as_if_absent(header: str) -> None:
    one, clock = fetcher(answers(*[httpx.Response(429, headers={"retry-after": header}) for _ in range(3)]))
    with pytest.raises(FetchError, match="status 429, tried 3 times"):
        one.send(ANIMALS)
    assert clock.slept == [1.0, 2.0]


def test_a_wait_longer_than_what_is_left_is_no_wait_but_a_failure_that_says_until_when() -> None:
    busy = [httpx.Response(429, headers={"retry-after": seconds}) for seconds in ("3000", "601")]
    one, clock = fetcher(answers(*busy))
    with pytest.raises(FetchError) as caught:
        one.send(ANIMALS)
    assert str(caught.value) == (
        "GET https://api.example.com/v1/animals?page=1: status 429; the API asks to wait 601 s, until 1970-01-12T14:46:41Z, and "
        "`retry.total_wait` leaves 600 s; what was received is kept, and a later run goes on"
    )
    assert clock.slept == [3000.0]


def test_our_own_waits_count_to_the_whole_too() -> None:
    one, clock = fetcher(answers(*[httpx.Response(503) for _ in range(3)]), retry="total_wait: 2s")
    with pytest.raises(FetchError, match=r"status 503, tried 2 times; the next try would be beyond `retry\.total_wait` \(2s\)"):
        one.send(ANIMALS)
    assert clock.slept == [1.0]


def test_an_api_that_asks_for_short_waits_without_end_fails_in_the_end() -> None:
    one, clock = fetcher(lambda request: httpx.Response(503, headers={"retry-after": "7"}))
    with pytest.raises(FetchError, match="status 503, tried 3 times"):
        one.send(ANIMALS)
    assert clock.slept == [7.0] * 102


# What comes back, within its limits.


class Chunks(httpx.BaseTransport):
    """An API whose answers come in chunks; `before` is called ahead of each."""

    def __init__(
        self, *answers: tuple[dict[str, str], list[bytes]], before: Callable[[httpx.Request], None] = lambda request: None
    ) -> None:
        self.answers, self.before = list(answers), before

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers, chunks = self.answers.pop(0)

        def stream() -> Iterator[bytes]:
            for chunk in chunks:
                self.before(request)
                yield chunk

        return httpx.Response(200, headers=headers, content=stream())


ZIPPED = {"content-encoding": "gzip"}


def test_only_encodings_that_can_be_read_are_asked_for() -> None:
    seen: list[httpx.Request] = []
    fetcher(lambda request: seen.append(request) or httpx.Response(200, json=[]))[0].send(ANIMALS)  # type: ignore[func-returns-value]
    assert seen[0].headers["accept-encoding"] == "gzip, deflate"
    with pytest.raises(FetchError, match=r"page=1: the answer is encoded as 'br', which syncer cannot read"):
        fetcher(Chunks(({"content-encoding": "br"}, [b"x"])))[0].send(ANIMALS)


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    body = gzip.compress(b"[1, 2, 3]")
    one, clock = fetcher(Chunks((ZIPPED, [body[:9], body[9:-4]]), ({"content-length": "4"}, [b"[1]"]), (ZIPPED, [body])))
    page = one.send(ANIMALS)
    assert (page.body, page.requests) == (b"[1, 2, 3]", 3)
    assert clock.said == [(1.0, "no answer (the answer broke off), try 1"), (2.0, "no answer (the answer broke off), try 2")]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n[1, 2", id="shorter-than-declared"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n", id="no-last-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n[1, 2\r\n", id="chunk-without-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"[1]")[:-1], id="gzip-to-the-connections-end"),
    ],
)
def test_an_answer_that_breaks_off_on_the_wire_is_asked_for_again(wire: bytes) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in (wire, whole):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        home = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Fetcher(
            parse_spec(SPEC.replace("BUDGETS", "").replace("https://api.example.com", home)).spec.api,
            Settings({"user": "u", "password": "p"}, frozenset()),
            "Zoo",
            Still(),
        ) as one:
            page = one.send(Request(f"{home}/v1/animals"))
        server.join()
    assert (page.body, page.requests) == (b"[]", 2)


@pytest.mark.parametrize(
    ("limits", "headers", "body", "told"),
    [
        pytest.param("{body: 1KB}", {}, bytes(1025), "larger than 1KB; ask for smaller pages, or raise `api.limits.body`", id="body"),
        pytest.param("{body: 1KB}", ZIPPED, gzip.compress(bytes(1025)), "or raise `api.limits.body`", id="unpacked"),
        pytest.param("{compressed: 20B}", ZIPPED, gzip.compress(b"a1b2c3"), "or raise `api.limits.compressed`", id="compressed"),
        pytest.param(
            "{headers: 1KB}", {"x": "y" * 1024}, b"[]", "larger than 1KB in all; if that is right, raise `api.limits.headers`", id="headers"
        ),
    ],
)
def test_an_answer_beyond_a_limit_is_refused_and_not_asked_for_again(limits: str, headers: dict[str, str], body: bytes, told: str) -> None:
    one, clock = fetcher(Chunks((headers, [body])), api=f"limits: {limits}")
    with pytest.raises(FetchError, match=re.escape(told)):
        one.send(ANIMALS)
    assert clock.slept == []


def test_a_body_that_a_transport_has_read_is_held_to_the_limit_too() -> None:
    with pytest.raises(FetchError, match=r"raise `api\.limits\.body`"):
        fetcher(answers(httpx.Response(200, content=bytes(1025))), api="limits: {body: 1KB}")[0].send(ANIMALS)


def test_a_failure_whose_body_cannot_be_read_is_told_by_its_status() -> None:
    with pytest.raises(FetchError, match="status 404; correct the path"):
        fetcher(answers(httpx.Response(404, content=bytes(1025))), api="limits: {body: 1KB}")[0].send(ANIMALS)


def test_an_answer_that_comes_in_drips_is_given_up_when_its_time_is_over() -> None:
    drips = ({}, [b" "] * 1000)
    one, clock = fetcher(Chunks(drips, ({}, [b"[]"]), before=lambda request: setattr(clock, "now", clock.now + 30.0)))
    start = clock.now
    assert one.send(ANIMALS).requests == 2
    assert clock.said == [(1.0, "no answer (time-out; `retry.timeout` is for how long an answer may take), try 1")]
    assert clock.now - start == 4 * 30.0 + 1.0 + 30.0, "90 s are over with the fourth drip"


def test_the_time_that_the_headers_took_is_not_had_again_by_the_body() -> None:
    left: list[float] = []

    class Slow(Chunks):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            clock.now += 60.0
            return super().handle_request(request)

    one, clock = fetcher(Slow(({}, [b"[]"]), before=lambda request: left.append(request.extensions["timeout"]["read"])))
    one.send(ANIMALS)
    assert left == [30.0]


# Where requests go.


def test_a_listed_origin_gets_requests_and_credentials() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return redirect("https://files.example.com/animals") if request.url.host == "api.example.com" else httpx.Response(200, json=[])

    one, _ = fetcher(answer, api='origins: ["https://files.example.com"]')
    assert one.send(ANIMALS).request.url == "https://files.example.com/animals"
    assert {request.headers["authorization"] for request in seen} == {seen[0].headers["authorization"]}


def test_a_listed_origin_inside_a_network_is_refused_and_no_request_leaves() -> None:
    one, _ = fetcher(answers(redirect("https://files.example.com/animals")), api='origins: ["https://files.example.com"]')
    one.egress = replace(one.egress, resolve=lambda host: ["169.254.169.254"] if "files" in host else ["93.184.216.34"])
    with pytest.raises(FetchError) as caught:
        one.send(ANIMALS)
    assert str(caught.value).startswith(
        "https://files.example.com/animals leads to an address of the sort metadata, "
        "where the API itself has none; its links are not followed"
    )


def test_a_listed_origin_whose_name_is_not_known_is_no_answer() -> None:
    one, clock = fetcher(answers(), api='origins: ["https://files.example.com"]')

    def resolve(host: str) -> list[str]:
        raise OSError

    one.egress = replace(one.egress, resolve=resolve)
    with pytest.raises(FetchError, match=r"no answer \(the host's name is not known\), tried 3 times"):
        one.send(Request("https://files.example.com/animals"))
    assert len(clock.slept) == 2


# Budgets of the account.


def test_a_request_counts_for_what_it_costs() -> None:
    one, clock = fetcher(lambda request: httpx.Response(200, json=[]), "[{requests: 4, per: 60s}]", api="cost: 2")
    for cost in (None, 1, 1, None):
        one.send(ANIMALS, cost=cost)
    assert clock.said == [(60.0, "the budget is spent")]


def test_what_remains_is_known_after_an_answer() -> None:
    one, _ = fetcher(lambda request: httpx.Response(200, json=[], headers={"RateLimit": '"d";r=50;t=30'}))
    assert one.remaining() is None
    one.send(ANIMALS)
    assert one.remaining() == (50, 1_000_030_000_000)
    declared, _ = fetcher(lambda request: httpx.Response(200, json=[]), "[{requests: 4, per: 60s}, {requests: 2, per: 10s}]")
    declared.send(ANIMALS)
    assert declared.remaining() == (1, 1_000_010_000_000)


def test_usual_headers_are_obeyed_without_being_named() -> None:
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}
    one, clock = fetcher(answers(httpx.Response(200, json=[], headers=spent), httpx.Response(200, json=[])))
    one.send(ANIMALS)
    one.send(ANIMALS)
    assert clock.said == [(30.0, "the API says that nothing is left")]


def test_a_refusal_with_usual_headers_is_waited_out_and_is_no_failed_try() -> None:
    refused = [httpx.Response(429, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "20"}) for _ in range(4)]
    one, clock = fetcher(answers(*refused, httpx.Response(200, json=[])))
    assert one.send(ANIMALS).requests == 5
    assert clock.said == [(20.0, "status 429, the API asks for it")] * 4
    absurd = [httpx.Response(429, headers={"RateLimit": f'"d";r=0;t={"9" * 15}'}) for _ in range(3)]
    with pytest.raises(FetchError, match="status 429, tried 3 times"):
        fetcher(answers(*absurd))[0].send(ANIMALS)
    long = httpx.Response(429, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "72000"})
    with pytest.raises(FetchError, match="the API asks to wait 72,000 s, until 1970-01-13T09:"):
        fetcher(answers(long))[0].send(ANIMALS)


def test_runs_of_one_account_share_its_budget(state: Path) -> None:
    """Also where nothing but a secret tells the account; a spec that declares nothing writes nothing."""
    fetcher(answers(httpx.Response(200, json=[])))[0].send(ANIMALS)
    assert list(state.iterdir()) == []
    for _ in range(2):
        one, clock = fetcher(answers(*[httpx.Response(200, json=[])] * 2), "[{requests: 3, per: 60s}]")
        one.send(ANIMALS)
        one.send(ANIMALS)
    assert clock.said == [(60.0, "the budget is spent")]
    assert [path.name for path in state.iterdir()] == [
        account_name("https://api.example.com:443", "user 'keeper@example.com'", "") + ".json"
    ]


def test_a_user_name_that_is_a_secret_does_not_name_a_file_whole(state: Path) -> None:
    spec = parse_spec(SPEC.replace("BUDGETS", "concurrency: 2")).spec
    for user in ("first-key", "second-key"):
        settings = Settings({"user": user, "password": ""}, frozenset({"user"}))
        with Fetcher(spec.api, settings, "Zoo", Still(), httpx.MockTransport(answers(httpx.Response(200, json=[])))) as one:
            one.send(ANIMALS)
    names = [path.stem for path in state.glob("*.json")]
    assert (len({name[:8] for name in names}), len({name[8:] for name in names})) == (1, 2)


def test_threads_send_side_by_side_as_far_as_the_concurrency_goes() -> None:
    barrier = threading.Barrier(3)

    def answer(request: httpx.Request) -> httpx.Response:
        barrier.wait(10)
        return httpx.Response(200, json=[])

    one, _ = fetcher(answer, api="concurrency: 3")
    with ThreadPoolExecutor(6) as pool:
        assert [page.status for page in pool.map(one.send, [ANIMALS] * 6)] == [200] * 6


def test_by_default_one_request_is_under_way_at_a_time() -> None:
    inside = threading.Semaphore(1)

    def answer(request: httpx.Request) -> httpx.Response:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        inside.release()
        return httpx.Response(200, json=[])

    one, _ = fetcher(answer)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(one.send, [ANIMALS] * 12))) == 12


# --- tokens -------------------------------------------------------------------------------------------------------


TOKENS = """
syncer: 1
name: zoo
title: The Zoo
settings: {token: {secret: true}}
api:
  base_url: https://api.example.com/v1
  headers: {X-Zoo: keeper}
  auth: {kind: oauth2_refresh_token, token_url: TOKEN_URL, client_id: app, refresh_token: "{{ settings.token }}"}
  retry: {attempts: 3, first_wait: 1s, longest_wait: 10s}
collections:
  animals: {key: id, properties: {id: integer}}
"""
GIVEN = httpx.Response(200, json={"access_token": "access-1", "refresh_token": "refresh-2"})


def with_tokens(
    folder: Path, answer: Answer, url: str = "https://login.example.net/token", inside: str = "93.184.216.34"
) -> tuple[Fetcher, Still]:
    spec, clock = parse_spec(TOKENS.replace("TOKEN_URL", url)).spec, Still()
    settings = Settings({"token": "refresh-1"}, frozenset({"token"}))
    addresses = {"api.example.com": ["93.184.216.34"]}

    def resolve(host: str) -> list[str]:
        return addresses.get(host, [inside])

    return Fetcher(spec.api, settings, spec.label, clock, httpx.MockTransport(answer), resolve=resolve, beside=folder), clock


def test_certificates_are_read_for_a_token_server_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    api = parse_spec(TOKENS.replace("TOKEN_URL", "https://login.example.net/token").replace("https://api", "http://api")).spec.api
    with pytest.raises(UsageError, match="correct SSL_CERT_FILE"):
        Fetcher(api, Settings({"token": "refresh-1"}, frozenset({"token"})), "Zoo", beside=tmp_path)


def test_a_refresh_token_goes_to_the_token_server_alone_and_an_access_token_to_the_api(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    waiting = [GIVEN, httpx.Response(200, json=[])]

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return waiting.pop(0)

    one, _ = with_tokens(tmp_path, answer)
    page = one.send(ANIMALS)
    assert [(request.method, request.url.host, "x-zoo" in request.headers) for request in seen] == [
        ("POST", "login.example.net", False), ("GET", "api.example.com", True),
    ]  # fmt: skip
    assert ("authorization" in seen[0].headers, seen[1].headers["authorization"]) == (False, "Bearer access-1")
    assert b"refresh-1" in seen[0].content and b"refresh-1" not in seen[1].content
    assert (page.requests, page.request) == (1, ANIMALS)
    later, _ = with_tokens(tmp_path, answers())
    for knowing in (one, later):
        assert knowing.shown(Request("https://api.example.com/access-1/refresh-2")) == "https://api.example.com/***/***"


def test_a_token_server_that_is_in_trouble_is_asked_again_and_then_named(tmp_path: Path) -> None:
    one, clock = with_tokens(tmp_path, answers(httpx.Response(503), httpx.ConnectError(""), GIVEN, httpx.Response(200, json=[])))
    assert (one.send(ANIMALS).status, clock.slept) == (200, [1.0, 2.0])
    one, _ = with_tokens(tmp_path / "other", answers(*[httpx.Response(503, text="refresh-1")] * 3))
    with pytest.raises(FetchError) as caught:
        one.send(ANIMALS)
    assert str(caught.value) == (
        "GET https://api.example.com/v1/animals?page=1: no answer (status 503 from the token server, https://login.example.net/token), "
        "tried 3 times"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(httpx.Response(200, text="<html>"), "answers without an access_token; correct token_url", id="no-token"),
        pytest.param(
            httpx.Response(302, headers={"Location": "https://evil.example.net"}),
            "gives no token (status 302); correct token_url, client_id and scope", id="elsewhere",
        ),
    ],
)  # fmt: skip
def test_a_token_server_that_gives_none_is_named(tmp_path: Path, answer: httpx.Response, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        with_tokens(tmp_path, answers(answer))[0].send(ANIMALS)
    assert str(caught.value) == f"The Zoo: the token server, https://login.example.net/token, {sentence}"


@pytest.mark.parametrize(
    ("token_url", "inside", "sentence"),
    [
        pytest.param("http://login.example.net/token", "93.184.216.34", "goes from https to a connection that anyone can read", id="plain"),
        pytest.param("https://login.example.net/token", "10.0.0.7", "leads to an address of the sort private", id="a-network-of-ours"),
    ],
)
def test_a_refresh_token_does_not_go_where_the_api_could_not(tmp_path: Path, token_url: str, inside: str, sentence: str) -> None:
    with pytest.raises(FetchError, match=sentence):
        with_tokens(tmp_path, answers(), token_url, inside)[0].send(ANIMALS)
    assert list(tmp_path.rglob("*.json")) == [], "and none is said to be spent"


def test_a_token_url_that_is_none_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        with_tokens(tmp_path, answers(), "login.example.net/token")
    assert str(caught.value) == "token_url 'login.example.net/token' is no URL that requests can be sent to; write https:// and a host"
