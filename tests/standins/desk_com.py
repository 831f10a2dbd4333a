"""A stand-in for the closed Desk.com REST API v2, for tests and demonstrations, on loopback only.

    python -m tests.standins.desk_com --port 0

prints its base URL and serves until it is told to stop. In a test::

    with Server(DeskCom(cases=300)) as server:
        ...  # server.url, server.desk.update("cases", count=5), server.requests

It is written from the facts that are documented or recorded of the API, never from the specification that the tests
exercise: otherwise their agreement would prove nothing. Where the facts leave a choice, it takes the one that
is harder on a client. Only reading is there. Left out: ``fields``, ``embed``, the sub-resources, list filters
(``customer_id``, ``ids``, ...), search by anything but the bounds and free text, addressing by external id.

Outside the API's own path, and without credentials, ``/_control/`` changes the data and injects faults; it does what
the methods ``update``, ``add``, ``delete``, ``fault``, ``clear_faults``, ``dump`` and ``reset_requests`` of
``DeskCom`` do, with their parameters as a JSON object.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import hmac
import json
import math
import os
import random
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

from tests.standins.desk_com_data import (
    BASE,
    FIRST_ID,
    Bound,
    Criteria,
    Record,
    Span,
    Table,
    changed,
    encode,
    history,
    make,
    next_id,
    overlaid,
    stamp,
)

EMAIL = "agent@example.com"
PASSWORD = "correct horse: battery"
CONSUMER_KEY = "desk-consumer-key"
CONSUMER_SECRET = "desk-consumer-secret"
TOKEN = "desk-access-token"
TOKEN_SECRET = "desk-token-secret+/&="

SIZES = {
    "cases": 2000,
    "customers": 1000,
    "articles": 120,
    "brands": 3,
    "companies": 180,
    "users": 25,
    "feedbacks": 150,
}
"""How many records there are unless the caller says otherwise."""

DEFAULT_PER_PAGE = 50
LAST_PAGE = 500
ADVERTISED_LIMIT = 300
"""What the rate-limit headers say while nothing is limited."""
OAUTH_TOLERANCE = 600
"""Seconds that the timestamp of a signature may be away from the server's clock."""

_CONTROL = "/_control/"
_BOUNDS = {
    "since_id": ("id", True),
    "max_id": ("id", False),
    "since_created_at": ("created_at", True),
    "max_created_at": ("created_at", False),
    "since_updated_at": ("updated_at", True),
    "max_updated_at": ("updated_at", False),
}
_RANGE = re.compile(r"\(?(created_at|updated_at):\[(\d+) TO (\d+)\]\)?", re.ASCII)


class ListRules(NamedTuple):
    """What one list does with its parameters."""

    max_per_page: int
    sort_fields: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    windowed: bool = False
    """Whether pages above ``LAST_PAGE`` are refused."""
    text: str = ""
    """The parameter of a search that holds free text; a list with one needs a criterion."""


_CASE_SORT = ("id", "created_at", "priority", "received_at", "status", "updated_at")
_CUSTOMER_SORT = ("id", "created_at", "updated_at", "external_id")
_ARTICLE_SORT = ("created_at", "updated_at", "subject", "position", "views", "rating", "score")
_ALL_BOUNDS = tuple(_BOUNDS)
LISTS = {
    "articles": ListRules(500, _ARTICLE_SORT),
    "articles/search": ListRules(500, _ARTICLE_SORT, windowed=True, text="text"),
    "brands": ListRules(100),
    "cases": ListRules(100, _CASE_SORT, ("since_id",), windowed=True),
    "cases/search": ListRules(100, _CASE_SORT, _ALL_BOUNDS, windowed=True, text="q"),
    "companies": ListRules(500),
    "companies/search": ListRules(500, ("created_at", "updated_at", "name"), windowed=True, text="q"),
    "customers": ListRules(100, _CUSTOMER_SORT, ("since_id",), windowed=True),
    "customers/search": ListRules(100, _CUSTOMER_SORT, _ALL_BOUNDS, windowed=True, text="q"),
    "feedbacks": ListRules(100),
    "users": ListRules(1000, ("id", "name")),
}

Headers = dict[str, str]
_JSON: Headers = {"Content-Type": "application/json; charset=utf-8"}


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


class ControlError(ValueError):
    """A control request that makes no sense."""


def _json_answer(status: int, content: Any) -> Answer:
    return Answer(status, dict(_JSON), encode(content).encode())


def _message(status: int, text: str) -> Answer:
    return _json_answer(status, {"message": text})


def _html(status: int, text: str) -> Answer:
    page = f"<!DOCTYPE html>\n<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>\n"
    return Answer(status, {"Content-Type": "text/html; charset=utf-8"}, page.encode())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


# --- who may ask, and how often -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Credentials:
    email: str = EMAIL
    password: str = PASSWORD
    consumer_key: str = CONSUMER_KEY
    consumer_secret: str = CONSUMER_SECRET
    token: str = TOKEN
    token_secret: str = TOKEN_SECRET


def _escape(text: str) -> str:
    """Percent-encoding by RFC 5849, section 3.6."""
    return quote(text, safe="-._~")


class Gate:
    """Decides on the Authorization header: Basic, or OAuth 1.0a with HMAC-SHA1; no signature serves twice."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        pair = f"{credentials.email}:{credentials.password}".encode()
        self._basic = base64.b64encode(pair).decode()
        self._seen: dict[tuple[str, str], float] = {}

    def admits(self, method: str, target: str, headers: Mapping[str, str], now: float) -> bool:
        """``headers`` with lower-case names."""
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return rest.strip() == self._basic
        if scheme.lower() == "oauth":
            return self._signed(method, target, headers.get("host", ""), rest, now)
        return False

    def _signed(self, method: str, target: str, host: str, rest: str, now: float) -> bool:
        given = {unquote(name): unquote(value) for name, value in re.findall(r'([^\s,="]+)="([^"]*)"', rest)}
        given.pop("realm", None)
        signature = given.pop("oauth_signature", "")
        expected = {
            "oauth_consumer_key": self._credentials.consumer_key,
            "oauth_token": self._credentials.token,
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_version": given.get("oauth_version") and "1.0",
        }
        if any(given.get(name) != value for name, value in expected.items()):
            return False
        timestamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        if not (timestamp.isascii() and timestamp.isdigit() and nonce):
            return False
        if abs(int(timestamp) - now) > OAUTH_TOLERANCE or (timestamp, nonce) in self._seen:
            return False
        if not hmac.compare_digest(self._signature(method, target, host, given).encode(), signature.encode()):
            return False
        self._remember((timestamp, nonce), now)
        return True

    def _signature(self, method: str, target: str, host: str, oauth_parameters: Headers) -> str:
        path, _, query = target.partition("?")
        url = f"http://{host.lower().removesuffix(':80')}{path}"
        pairs = [*parse_qsl(query, keep_blank_values=True), *oauth_parameters.items()]
        normalized = "&".join(f"{name}={value}" for name, value in sorted((_escape(n), _escape(v)) for n, v in pairs))
        base = "&".join(_escape(part) for part in (method.upper(), url, normalized))
        key = f"{_escape(self._credentials.consumer_secret)}&{_escape(self._credentials.token_secret)}"
        return base64.b64encode(hmac.digest(key.encode(), base.encode(), "sha1")).decode()

    def _remember(self, nonce: tuple[str, str], now: float) -> None:
        if len(self._seen) >= 10_000:
            horizon = now - 2 * OAUTH_TOLERANCE
            self._seen = {known: seen for known, seen in self._seen.items() if seen > horizon}
        self._seen[nonce] = now


class RateWindow:
    """One fixed window for all endpoints. As in the recordings, windows start at multiples of their length."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._window = -1
        self._used = 0
        self._refused = 0

    def count(self, now: float) -> tuple[Answer | None, Headers]:
        """Counts one request: the refusal, if there are too many, and the headers for its answer."""
        window = int(now // self._seconds)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        reset = math.ceil((window + 1) * self._seconds - now)
        if not self._limit:
            return None, self._headers(ADVERTISED_LIMIT, ADVERTISED_LIMIT - 1, reset)
        if self._used <= self._limit:
            return None, self._headers(self._limit, self._limit - self._used, reset)
        self._refused += 1
        return self._refusal(), self._headers(self._limit, 0, 0 if self._refused % 3 == 0 else reset)

    def _refusal(self) -> Answer:
        if self._refused % 2:
            return _message(429, "Too Many Requests")
        return Answer(429, {"Content-Type": "text/plain; charset=utf-8"}, b"Too Many Requests")

    @staticmethod
    def _headers(limit: int, remaining: int, reset: int) -> Headers:
        return {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(remaining),
            "X-Rate-Limit-Reset": str(reset),
        }


# --- faults -------------------------------------------------------------------------------------------------------


def _without_envelope(answer: Answer) -> Answer:
    content = json.loads(answer.body or b"{}")
    return _json_answer(answer.status, {k: v for k, v in content.items() if k not in ("_links", "_embedded")})


def _truncated(answer: Answer) -> Answer:
    headers = answer.headers | {"Content-Length": str(len(answer.body))}
    return Answer(answer.status, headers, answer.body[: len(answer.body) // 2])


def _dropped(answer: Answer) -> Answer:
    raise ConnectionAbortedError("dropped by a fault")


_SPOILERS: dict[str, Callable[[Answer], Answer]] = {
    "delay": lambda answer: answer,
    "drop_connection": _dropped,
    "forbidden": lambda answer: _message(403, "Forbidden"),
    "html_500": lambda answer: _html(500, "We're sorry, but something went wrong"),
    "html_503": lambda answer: _html(503, "Service Temporarily Unavailable"),
    "missing_envelope": _without_envelope,
    "not_json": lambda answer: Answer(200, dict(_JSON), b"<html>Please sign in</html>"),
    "truncate": _truncated,
}


@dataclass
class Fault:
    kind: str
    match: re.Pattern[str]
    times: int
    """How often it will still strike; never ends if negative."""
    status: int
    delay: float

    def spoil(self, answer: Answer) -> Answer:
        if self.kind == "status":
            return _message(self.status, _phrase(self.status))
        return _SPOILERS[self.kind](answer)


# --- the service --------------------------------------------------------------------------------------------------


class DeskCom:
    """The data of one site and the handling of requests, without any network. All methods may be called by any thread.

    ``sizes`` are numbers of records by collection. ``max_per_page`` replaces the maximum of every list. With
    ``rate_limit`` 0 nothing is limited. If the file ``state`` exists the data come from it (and seed and sizes do
    not matter); they are written to it whenever they change through ``update``, ``add`` or ``delete``.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        rate_limit: int = 0,
        rate_window: float = 60.0,
        max_per_page: int | None = None,
        gzip: bool = False,
        credentials: Credentials = Credentials(),
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        **sizes: int,
    ) -> None:
        if unknown := sizes.keys() - SIZES.keys():
            raise TypeError(f"no such collection: {', '.join(sorted(unknown))}")
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.RLock()
        self._seed = seed
        self._max_per_page = max_per_page
        self._gzip = gzip
        self._email = credentials.email
        self._gate = Gate(credentials)
        self._rate = RateWindow(rate_limit, rate_window)
        self._state = state
        self._clock = clock
        self._sleep = sleep
        self._faults: list[Fault] = []
        self._tables = {name: Table(name) for name in FIRST_ID}
        self._last_ids = {name: first - 1 for name, first in FIRST_ID.items()}
        self._changes = 0
        self._answers = 0
        self._caller = 0
        if state is not None and state.exists():
            self._load(state)
        else:
            self._populate(SIZES | sizes)

    # Data

    def _populate(self, sizes: Mapping[str, int]) -> None:
        for name in FIRST_ID:
            rng = random.Random(f"{self._seed}/{name}")
            self._create(name, rng, history(rng, sizes[name]))
        users = self._tables["users"]
        if users.rows:
            self._caller = users.ids()[len(users.rows) // 2]
            users.put([users.record(self._caller) | {"email": self._email}])

    def _create(self, name: str, rng: random.Random, times: Iterable[tuple[int, int]]) -> list[int]:
        pools = self._pools()
        ids = []

        def records() -> Iterator[Record]:
            for created, updated in times:
                self._last_ids[name] = next_id(name, rng, self._last_ids[name])
                ids.append(self._last_ids[name])
                yield make(name, rng, ids[-1], created, updated, pools)

        self._tables[name].put(records())
        return ids

    def _pools(self) -> dict[str, list[int]]:
        return {name: table.ids() for name, table in self._tables.items()}

    def _change_rng(self) -> random.Random:
        """Its own generator for each change, so that a change depends on the seed and its number only."""
        self._changes += 1
        return random.Random(f"{self._seed}/change/{self._changes}")

    def _chosen(self, collection: str, rng: random.Random, ids: Iterable[int] | None, count: int | None) -> list[int]:
        """The given ids, or ``count`` others spread over the collection; the calling user only if named."""
        table = self._table(collection)
        if (ids is None) == (count is None):
            raise ControlError("either ids or count")
        if ids is None:
            candidates = [key for key in table.ids() if not (collection == "users" and key == self._caller)]
            return sorted(rng.sample(candidates, min(count or 0, len(candidates))))
        chosen = list(ids)
        if missing := [key for key in chosen if key not in table.rows]:
            raise ControlError(f"no such records: {missing}")
        return chosen

    def _table(self, collection: str) -> Table:
        try:
            return self._tables[collection]
        except KeyError:
            raise ControlError(f"no such collection: {collection}") from None

    def update(
        self,
        collection: str,
        *,
        ids: Iterable[int] | None = None,
        count: int | None = None,
        silent: bool = False,
        set: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Changes records visibly: the fields in ``set``, or some chosen by the generator. Returns their ids.

        ``updated_at`` becomes the present, unless ``silent``. A ``changed_at`` moves in both cases, as it
        did under the bulk jobs that left ``updated_at`` alone. Links in ``set`` are added to the others.
        """
        fields = dict(set or {})
        if "id" in fields or "self" in fields.get("_links", {}):
            raise ControlError("a record's identifier cannot be changed")
        with self._lock:
            rng = self._change_rng()
            chosen = self._chosen(collection, rng, ids, count)
            table, pools, now = self._tables[collection], self._pools(), stamp(int(self._clock()))
            records = []
            for key in chosen:
                old = table.record(key)
                new = overlaid(old, fields) if fields else changed(collection, rng, old, pools)
                moved = {"changed_at"} & old.keys()
                if not silent:
                    moved.add("updated_at")
                records.append(new | dict.fromkeys(moved - fields.keys(), now))
            table.put(records)
            self.save()
            return chosen

    def add(self, collection: str, count: int = 1) -> list[int]:
        """Creates records at the present time, with ids above all that ever were. Returns the ids."""
        with self._lock:
            self._table(collection)
            now = int(self._clock())
            created = self._create(collection, self._change_rng(), [(now, now)] * count)
            self.save()
            return created

    def delete(self, collection: str, *, ids: Iterable[int] | None = None, count: int | None = None) -> list[int]:
        """Removes records without a trace; links to them stay. Returns the ids."""
        with self._lock:
            chosen = self._chosen(collection, self._change_rng(), ids, count)
            if collection == "users" and self._caller in chosen:
                raise ControlError("the calling user cannot be deleted")
            self._tables[collection].remove(chosen)
            self.save()
            return chosen

    def dump(self, collection: str | None = None) -> dict[str, list[Record]]:
        """All current records as they are served, by collection, each in id order."""
        with self._lock:
            tables = self._tables.values() if collection is None else [self._table(collection)]
            return {table.name: [table.record(key) for key in table.ids()] for table in tables}

    def save(self) -> None:
        """Writes the data to the state file, if there is one, so that it is always whole."""
        if self._state is None:
            return
        with self._lock:
            head = {"seed": self._seed, "changes": self._changes, "caller": self._caller, "last_ids": self._last_ids}
            draft = self._state.with_name(f"{self._state.name}.{os.getpid()}.tmp")
            with draft.open("wb") as file:
                file.write(encode(head).encode() + b"\n")
                for name, table in self._tables.items():
                    file.writelines(b"%s\t%s\n" % (name.encode(), table.rows[key].body) for key in table.ids())
            draft.replace(self._state)

    def _load(self, state: Path) -> None:
        with state.open("rb") as file:
            head = json.loads(file.readline())
            bodies: dict[str, list[bytes]] = {name: [] for name in self._tables}
            for line in file:
                collection, _, body = line.partition(b"\t")
                bodies[collection.decode()].append(body)
        self._seed, self._changes, self._caller = head["seed"], head["changes"], head["caller"]
        self._last_ids = head["last_ids"]
        for name, table in self._tables.items():
            table.put(map(json.loads, bodies[name]))

    # Faults and the record of requests

    def fault(self, kind: str, match: str = "", times: int = 1, status: int = 500, delay: float = 0.0) -> None:
        """Spoils the next ``times`` answers (-1: all) whose target has a match of the regular expression.

        Kinds: status (JSON error ``status``), html_500, html_503, not_json, missing_envelope, drop_connection,
        truncate, forbidden, delay (nothing but ``delay`` seconds, which every kind may have). Only requests that
        were within the rate limit and authorised are spoilt.
        """
        if kind != "status" and kind not in _SPOILERS:
            raise ControlError(f"no such kind of fault: {kind}")
        try:
            pattern = re.compile(match)
        except re.error as error:
            raise ControlError(f"match: {error}") from None
        with self._lock:
            self._faults.append(Fault(kind, pattern, times, status, delay))

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def reset_requests(self) -> None:
        with self._lock:
            self.requests.clear()

    def _next_fault(self, target: str) -> Fault | None:
        for fault in self._faults:
            if fault.times != 0 and fault.match.search(target):
                fault.times -= 1
                return fault
        return None

    # Requests

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer as (status, headers, body). ``target`` is the path with the query.

        A body shorter than its Content-Length means that the connection ends there; ``ConnectionAbortedError``, that
        it ends without an answer.
        """
        asked = {name.lower(): value for name, value in headers.items()}
        path, _, query = target.partition("?")
        if path.startswith(_CONTROL):
            return self._finished(self._control(method, path.removeprefix(_CONTROL), query, body), asked)
        with self._lock:
            self.requests.append((method, target))
        if path != BASE and not path.startswith(f"{BASE}/"):
            return self._finished(_html(404, "The page you were looking for doesn't exist"), asked)
        fault = None
        with self._lock:
            now = self._clock()
            answer, rate_headers = self._rate.count(now)
            if answer is None and not self._gate.admits(method, target, asked, now):
                answer = _message(401, "Not Authorized")
            if answer is None:
                fault = self._next_fault(target)
                answer = self._answer(method, path, dict(parse_qsl(query)))
        if fault is None:
            answer = _revalidated(answer, asked)
        else:
            self._sleep(fault.delay)
            answer = fault.spoil(answer)
        return self._finished(Answer(answer.status, answer.headers | rate_headers, answer.body), asked)

    def _finished(self, answer: Answer, asked: Mapping[str, str]) -> Answer:
        """Adds the headers of every answer, and compresses it if that is wanted."""
        with self._lock:
            self._answers += 1
            number = self._answers
        status, headers, body = answer
        headers = {
            "Date": formatdate(self._clock(), usegmt=True),
            "Server": "nginx",
            "Status": "429" if status == 429 else f"{status} {_phrase(status)}",
            "Cache-Control": "must-revalidate, private, max-age=0",
            "X-Request-Id": f"{number:032x}",
            **headers,
        }
        if "Content-Length" not in headers and status != 304:
            if self._gzip and body and "gzip" in asked.get("accept-encoding", ""):
                body = gzip.compress(body, compresslevel=1, mtime=0)
                headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            headers["Content-Length"] = str(len(body))
        return Answer(status, headers, body)

    def _answer(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        view = self._view(path.removeprefix(f"{BASE}/"), query)
        if view is None:
            return _message(404, "Resource Not Found")
        if method != "GET":
            return _message(405, "Method Not Allowed")
        return view()

    def _view(self, resource: str, query: Mapping[str, str]) -> Callable[[], Answer] | None:
        if resource in LISTS:
            return lambda: self._list(resource, query)
        name, _, key = resource.partition("/")
        if name == "users" and key in ("current", "me"):
            key = str(self._caller)
        if name in self._tables and key.isascii() and key.isdigit():
            row = self._tables[name].rows.get(int(key))
            if row is not None:
                return lambda: _of_backend(name, row.body)
        return None

    def _list(self, resource: str, query: Mapping[str, str]) -> Answer:
        rules = LISTS[resource]
        name = resource.partition("/")[0]
        page = _positive(query.get("page"), 1)
        per_page = min(_positive(query.get("per_page"), DEFAULT_PER_PAGE), self._max_per_page or rules.max_per_page)
        if rules.windowed and page > LAST_PAGE:
            return _message(422, f"page parameter must be less than or equal to {LAST_PAGE}")
        criteria = _criteria(rules, query)
        if rules.text and criteria is None:
            return _message(422, "At least one search parameter is required")
        field, descending = _order(rules, query)
        table = self._tables[name]
        span = table.select(criteria or Criteria(), field)
        if name == "users":
            span = self._caller_first(span)
        # A search's links forget it: they lead to the plain list.
        others = {} if rules.text else {k: v for k, v in query.items() if k not in ("page", "per_page")}
        links = _page_links(name, len(span), page, per_page, others)
        head = encode({"total_entries": len(span), "page": page, "_links": links}).removesuffix("}").encode()
        ids = span.ids((page - 1) * per_page, per_page, descending)
        entries = b",".join([table.rows[key].body for key in ids])
        return _of_backend(name, b'%s,"_embedded":{"entries":[%s]}}' % (head, entries))

    def _caller_first(self, span: Span) -> Span:
        """First, or read backwards last."""
        entries = sorted(span.entries[span.low : span.high], key=lambda entry: entry[2] != self._caller)
        return Span(entries, 0, len(entries))

    # Control

    def _control(self, method: str, action: str, query: str, body: bytes) -> Answer:
        reading: dict[str, Callable[..., Any]] = {"dump": self.dump, "requests": self._requests_so_far}
        writing: dict[str, Callable[..., Any]] = {
            "add": self.add,
            "clear_faults": self.clear_faults,
            "delete": self.delete,
            "fault": self.fault,
            "reset_requests": self.reset_requests,
            "update": self.update,
        }
        actions = reading if method == "GET" else writing if method == "POST" else {}
        if action not in actions:
            return _json_answer(404, {"error": f"no such action: {method} {action}"})
        try:
            arguments = dict(parse_qsl(query)) if method == "GET" else json.loads(body or b"{}")
            result = actions[action](**arguments)
        except (TypeError, ValueError) as error:
            return _json_answer(400, {"error": str(error)})
        if isinstance(result, list):
            result = {"ids": result}
        return _json_answer(200, {} if result is None else result)

    def _requests_so_far(self) -> dict[str, Any]:
        with self._lock:
            return {"count": len(self.requests), "targets": [target for _, target in self.requests]}


def _positive(text: str | None, default: int) -> int:
    number = _integer(text or "")
    return number if number else default


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _order(rules: ListRules, query: Mapping[str, str]) -> tuple[str, bool]:
    """The sort field and whether it descends; an unknown field counts as no wish at all."""
    field = query.get("sort_field", "id")
    if field in rules.sort_fields:
        return field, query.get("sort_direction") == "desc"
    return "id", False


def _criteria(rules: ListRules, query: Mapping[str, str]) -> Criteria | None:
    """What the list is to be filtered by, None if by nothing.

    A ``q`` makes everything else void. A bound that is no whole number counts as a criterion, yet has no effect.
    """
    text = query.get(rules.text, "")
    if rules.text == "q" and text:
        found = _RANGE.fullmatch(text)
        if found is None:
            return Criteria(text=text)
        return Criteria((Bound(found[1], int(found[2]), int(found[3])),))
    given = [bound for bound in rules.bounds if bound in query]
    if not (given or text):
        return None
    return Criteria(tuple(bound for known in given if (bound := _bound(known, query[known]))), text)


def _bound(parameter: str, text: str) -> Bound | None:
    field, is_lower = _BOUNDS[parameter]
    value = _integer(text)
    if value is None:
        return None
    return Bound(field, value, None) if is_lower else Bound(field, None, value)


def _page_links(name: str, total: int, page: int, per_page: int, others: Mapping[str, str]) -> Record:
    last = max(1, -(-total // per_page))

    def link(number: int) -> Record:
        query = urlencode(sorted({**others, "page": str(number), "per_page": str(per_page)}.items()))
        return {"href": f"{BASE}/{name}?{query}", "class": "page"}

    return {
        "self": link(page),
        "first": link(1),
        "last": link(last),
        "previous": link(page - 1) if page > 1 else None,
        "next": link(page + 1) if page < last else None,
    }


def _of_backend(name: str, body: bytes) -> Answer:
    """A good answer with the headers of the service that the collection lives on."""
    headers = dict(_JSON)
    if name == "cases":
        headers["X-Api-Version"] = "5d3a" * 10
    else:
        headers |= {"X-AppVersion": "15.3259", "Vary": "X-AppVersion"}
    if name not in ("cases", "feedbacks"):
        headers["ETag"] = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    return Answer(200, headers, body)


def _revalidated(answer: Answer, asked: Mapping[str, str]) -> Answer:
    known = {tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")}
    if answer.headers.get("ETag") in known or ("*" in known and "ETag" in answer.headers):
        return Answer(304, {k: v for k, v in answer.headers.items() if k != "Content-Type"}, b"")
    return answer


# --- the network --------------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    desk: DeskCom

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.desk.handle(self.command, self.path, dict(self.headers.items()), body)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if len(answer.body) < int(answer.headers.get("Content-Length", 0)):
            self.close_connection = True
        self.wfile.write(head if self.command == "HEAD" else head + answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Listener(socketserver.ThreadingTCPServer):
    """Knows its open connections, so that none outlives it."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, desk: DeskCom) -> None:
        self.connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), type("_DeskHandler", (_Handler,), {"desk": desk}))

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.connections):
            with suppress(OSError):  # the client may be faster
                connection.shutdown(socket.SHUT_RDWR)


class Server:
    """Serves a ``DeskCom`` on loopback from a thread, from its construction until ``close``."""

    def __init__(self, desk: DeskCom | None = None, port: int = 0) -> None:
        self.desk = desk or DeskCom()
        self._listener = _Listener(port, self.desk)
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def requests(self) -> list[tuple[str, str]]:
        """(method, target) of all requests but those to the control side, since the last reset."""
        return self.desk.requests

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="desk_com", description="A stand-in for the Desk.com REST API v2.")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (default)")
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size, metavar="N", help=f"number of {name} ({size})")
    parser.add_argument("--seed", type=int, default=1, help="of the generated data (1)")
    parser.add_argument("--rate-limit", type=int, default=0, metavar="N", help="requests a window; 0: no limit")
    parser.add_argument("--rate-window", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--max-per-page", type=int, metavar="N", help="instead of each list's own maximum")
    parser.add_argument("--gzip", action="store_true", help="compress for clients that accept it")
    parser.add_argument("--state", type=Path, metavar="FILE", help="where the data are kept between runs")
    for name, default in vars(Credentials()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=f"({default})")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    given = vars(_arguments(argv))
    port = given.pop("port")
    credentials = Credentials(**{name: given.pop(name) for name in vars(Credentials())})
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    desk = DeskCom(credentials=credentials, **given)
    with Server(desk, port) as server:
        print(server.url, flush=True)
        stop.wait()
    desk.save()


if __name__ == "__main__":
    main()
