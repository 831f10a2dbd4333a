"""What an API may do wrong, and that it never makes a success with a hole in it.

Each fault is a line of a table: the way of paging that the spec declares, what the API does, and what comes of it. Those that end
alike are met together, each by a collection of its own, by the installed command in a process of its own, over real HTTP on
loopback; then the API recovers, and one more run makes every table equal to it. The same faults are met once more in windows of
changes, which stay open until all has come. What needs a story of its own follows below.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest

from rest_syncer.engine.look import status
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings
from tests.ducks import opened
from tests.standins.faulty import Answer, Asked, Server, json_answer
from tests.sync import Project, Result

SECRET = "a-token-for-the-API-alone"
START = 1_600_000_000

SPEC = """
syncer: 1
name: faulty
settings: {token: {secret: true, default: %(secret)s}}
api:
  base_url: %(url)s
  auth: {kind: bearer, token: "{{ settings.token }}"}
  records: data
  retry: {%(retry)s}
  limits: {body: %(body)s}
collections:
"""
COLLECTION = """
  %(name)s:
    paginate: %(paginate)s
    key: id
    %(words)s
    properties: {id: integer, version: integer, updated_at: {type: timestamp, %(prints)s}}
"""
CURSOR = "cursor: {property: updated_at, param: since, format: epoch_s, lag: 0s}"


# --- the API ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A way of paging: what the spec says of it, and what the API's answers tell besides the records."""

    paginate: str
    tells: Sequence[str] = ()


WAYS = {
    "number": Way("{kind: number, total: total}", ["total"]),
    "number, no total": Way("{kind: number}"),
    "number, flag": Way("{kind: number, more: has_more}", ["has_more"]),
    "number, flag not declared": Way("{kind: number}", ["has_more"]),
    "offset": Way("{kind: offset, total: total}", ["total"]),
    "offset, no total": Way("{kind: offset}"),
    "link": Way("{kind: next_link, link: next}", ["next"]),
    "link, total": Way("{kind: next_link, link: next, total: total}", ["next", "total"]),
    "token": Way("{kind: token, token: token, param: token}", ["token"]),
    "token, flag": Way("{kind: token, token: token, param: token, more: has_more}", ["token", "has_more"]),
    "single": Way("{kind: single}"),
    "key set": Way("{kind: key_set, on: id, param: from_id}"),
    "key set of times": Way(
        "{kind: key_set, on: updated_at, param: since, format: epoch_s, tie_breaker: {on: id, param: from_id, params: {sort: id}}}"
    ),
}

Record = dict[str, Any]
Document = dict[str, Any]


def record(number: int, version: int = 1, updated_at: int = START - 1000) -> Record:
    return {"id": number, "version": version, "updated_at": updated_at}


@dataclass
class List:
    """A list of the API, answered as it should be, if no fault is in the way: in pages, and since an instant."""

    name: str = "things"
    way: str = "number"
    fault: Fault | None = None
    words: Sequence[str] = ()
    """What else the spec says of the collection."""
    rows: dict[int, Record] = field(default_factory=dict)
    size: int = 2
    order: Callable[[Record], Any] = lambda row: row["id"]
    takes: Callable[[Record, str], bool] = lambda row, since: row["updated_at"] >= int(since)
    prints: str = "format: epoch_s"
    """How the spec says that instants are written."""
    struck: int = 0
    """How often the fault has struck, where it counts."""

    def has(self, count: int) -> List:
        self.put(*map(record, range(1, count + 1)))
        return self

    def put(self, *rows: Record) -> None:
        self.rows |= {row["id"]: row for row in rows}

    def touch(self, now: float, *numbers: int) -> None:
        """Change these records, or all."""
        for number in numbers or tuple(self.rows):
            self.rows[number] = record(number, self.rows[number]["version"] + 1, int(now))

    @property
    def versions(self) -> dict[int, int]:
        return {number: row["version"] for number, row in sorted(self.rows.items())}

    @property
    def spec(self) -> str:
        words = {"name": self.name, "paginate": WAYS[self.way].paginate, "words": "\n    ".join(self.words), "prints": self.prints}
        return COLLECTION % words

    def document(self, params: dict[str, str]) -> Document:
        found = sorted(self.rows.values(), key=self.order)
        if "since" in params:
            found = [row for row in found if self.takes(row, params["since"])]
        if self.way == "key set of times":
            found.sort(key=lambda row: (row["updated_at"] if params.get("sort") != "id" else 0, row["id"]))
        if "from_id" in params:
            found = [row for row in found if row["id"] >= int(params["from_id"])]
        size = min(int(params.get("limit", self.size)), self.size)
        page = int(params.get("page", 1))
        first = int(params["token"][1:]) if "token" in params else int(params.get("offset", (page - 1) * size))
        behind = first + size if self.way != "single" else len(found)
        follows = behind < len(found)
        around = {
            "total": len(found),
            "has_more": follows,
            "token": f"T{behind}" if follows else None,
            "next": f"/{self.name}?" + urlencode({**params, "page": page + 1}) if follows else None,
        }
        return {"data": found[first:behind], **{name: around[name] for name in WAYS[self.way].tells}}


@dataclass(frozen=True)
class Hit:
    """A request that a fault meets, and the document that would be the right answer."""

    asked: Asked
    document: Document
    list: List
    here: str
    elsewhere: str
    """The address of a neighbour who must never hear of the API's token."""


Fault = Callable[[Hit], Answer | None]
"""What the API does instead: something to the document, which is sent as it is then (None), or an answer of its own."""


# --- a project and its API ----------------------------------------------------------------------------------------


@dataclass
class Site:
    """An API, its neighbour, and a project that reads it."""

    folder: Path
    lists: dict[str, List]
    retry: str = "attempts: 2, first_wait: 10ms"
    body: str = "8KB"
    now: float = START
    """The API's time. Each run begins 1,000 seconds after the one before."""
    collections: str | None = None
    """What the spec says of them, if not what the lists say."""
    date_is_off: float = 0
    """How many seconds the header Date is ahead of the instants in records."""

    def answer(self, asked: Asked) -> Answer:
        assert asked.headers.get("authorization") == f"Bearer {SECRET}"
        parts = asked.path.split("/")
        found = self.lists[unquote(parts[2]) if len(parts) > 3 else parts[1]]
        hit = Hit(asked, found.document(asked.params), found, self.server.url, self.neighbour.url)
        answer = found.fault(hit) if found.fault else None
        answer = answer or json_answer(hit.document)
        date = {"Date": formatdate(self.now + self.date_is_off, usegmt=True)}
        return Answer(answer.body, answer.status, {**date, **answer.headers}, answer.drips, answer.silent)

    @property
    def spec(self) -> str:
        words = {"url": self.server.url, "secret": SECRET, "retry": self.retry, "body": self.body}
        return SPEC % words + (self.collections or "".join(one.spec for one in self.lists.values()))

    def command(self, *flags: str) -> Result:
        """`syncer run`, as installed."""
        self._begin()
        file = self.folder / "faulty.yaml"
        file.write_text(self.spec)
        return Project(self.folder, self.server.url, {}, file).cli("run", "--json", *flags)

    def run(self, **options: Any) -> Result:
        """What the command does, in this process, where it costs a fifth."""
        self._begin()
        source = parse_spec(self.spec)
        given = {"hub": str(self.folder / ".syncer" / "hub"), "to": f"duckdb:{self.folder / 'faulty.duckdb'}", **options}
        summary = run(source, given_settings(source.spec, (), str(self.folder)), Options(**given))
        return Result(0 if summary.status == "complete" else 1, summary.as_json(), "")

    def _begin(self) -> None:
        self.server.asked.clear()
        self.now += 1000

    def recovers(self) -> None:
        for one in self.lists.values():
            one.fault = None

    @property
    def things(self) -> List:
        return self.lists["things"]

    def asked(self, name: str = "things") -> list[str]:
        """What the last run asked of a list."""
        return [one.target for one in self.server.asked if one.target.split("?")[0] == f"/{name}"]

    def since(self, name: str = "things") -> str | None:
        """Since when the last run asked for changes, in its first request."""
        found = re.search(r"since=([^&]*)", self.asked(name)[0])
        return found and unquote(found[1])

    def ledger(self) -> dict[str, Record]:
        """The last run's lines."""
        words = ("collection", "status", "stop", "proof", "requests", "received", "error")
        with opened(self.folder / "faulty.duckdb") as con:
            last = "WHERE run = (SELECT max(run) FROM w.faulty._syncer_runs)"
            rows = con.execute(f"SELECT {', '.join(words)} FROM w.faulty._syncer_runs {last}").fetchall()
        return {row[0]: dict(zip(words, row, strict=True)) for row in rows}

    def tables(self, columns: str = "id, version") -> dict[str, dict[int, int]]:
        """The versions in each table by their id."""
        with opened(self.folder / "faulty.duckdb") as con:
            known = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'w'").fetchall()}
            there = "WHERE _deleted_at IS NULL ORDER BY ALL"
            return {
                name: dict(con.execute(f"SELECT {columns} FROM w.faulty.{name} {there}").fetchall()) if name in known else {}
                for name in self.lists
            }

    def holds_all(self) -> None:
        assert self.tables() == {name: one.versions for name, one in self.lists.items()}
        assert self.neighbour.asked == [], "a credential went astray"


@contextmanager
def site(folder: Path, *lists: List, **how: Any) -> Iterator[Site]:
    found = Site(folder, {one.name: one for one in lists}, **how)
    with Server(found.answer) as found.server, Server(lambda asked: json_answer({"data": []})) as found.neighbour:
        yield found


# --- what an API does wrong ---------------------------------------------------------------------------------------


def at(number: int, fault: Fault) -> Fault:
    """On the page that would hold this record."""

    def does(hit: Hit) -> Answer | None:
        return fault(hit) if any(row["id"] == number for row in hit.document["data"]) else None

    return does


def beyond(fault: Fault) -> Fault:
    """On pages that have no records."""
    return lambda hit: None if hit.document["data"] else fault(hit)


def once(fault: Fault) -> Fault:
    def does(hit: Hit) -> Answer | None:
        hit.list.struck += 1
        return fault(hit) if hit.list.struck == 1 else None

    return does


def answers(answer: Answer) -> Fault:
    return lambda hit: answer


def says(**words: Any) -> Fault:
    """Other words in the document; None leaves the place empty."""

    def does(hit: Hit) -> None:
        hit.document.update(words)

    return does


def renames(hit: Hit) -> None:
    hit.document["entries"] = hit.document.pop("data")


def links_to(where: str) -> Fault:
    """The next link leads elsewhere: `{other}` is the neighbour's address."""

    def does(hit: Hit) -> None:
        hit.document["next"] = where.format(other=hit.elsewhere, port=hit.here.rpartition(":")[2]) + f"/{hit.list.name}?page=4"

    return does


def redirects_to(where: str) -> Fault:
    def does(hit: Hit) -> Answer | None:
        if "moved" in hit.asked.path:
            return None
        location = where.format(other=hit.elsewhere, name=hit.list.name) + "?" + urlencode(hit.asked.params)
        return Answer(status=302, headers={"Location": location})

    return does


def leads_back(hit: Hit) -> None:
    """Three tokens follow each other in a circle."""
    hit.document["token"] = {"T2": "T4", "T4": "T6", "T6": "T2"}[hit.asked.params["token"]] if "token" in hit.asked.params else "T2"


def has_an_empty_page(hit: Hit) -> None:
    """Of page numbers the third, of tokens one between the second and the third page."""
    page, token = int(hit.asked.params.get("page", 1)), hit.asked.params.get("token", "")
    if page == 3 or token.startswith("E"):
        hit.document.update(data=[], **({"token": f"T{token[1:]}"} if token else {}), has_more=True)
    elif page > 3:
        hit.document.update(hit.list.document({**hit.asked.params, "page": str(page - 1)}))
    elif token == "T2":
        hit.document["token"] = "E4"


def ends_with_null(hit: Hit) -> None:
    """The last page is one more, and has null in the list's place."""
    if not hit.document["data"]:
        hit.document["data"] = None
    elif hit.document.get("token", "T") is None:
        hit.document.update(token="T10", has_more=True)
    elif hit.document.get("has_more") is False:
        hit.document["has_more"] = True


def breaks_off(hit: Hit) -> Answer:
    body = json.dumps(hit.document).encode()
    return Answer(body[: len(body) // 2], headers={"Content-Length": str(len(body))})


def truncates(hit: Hit) -> Answer:
    body = json.dumps(hit.document).encode()
    return Answer(body[: len(body) // 2])


def zips(cut: int = 0, padding: int = 0) -> Fault:
    def does(hit: Hit) -> Answer:
        body = gzip.compress(json.dumps(hit.document).encode() + b" " * padding)
        return Answer(body[: len(body) - cut], headers={"Content-Encoding": "gzip"})

    return does


def drips(hit: Hit) -> Answer:
    return Answer(json.dumps(hit.document).encode(), drips=0.1)


def is_late(text: str, status: int = 503) -> Fault:
    return answers(Answer(status=status, headers={"Retry-After": text}))


HTML = Answer(b"<!DOCTYPE html><html><body>Please sign in</body></html>", headers={"Content-Type": "text/html"})
BROKEN = answers(Answer(status=500))
ONE, HALF, ALL = range(1, 3), range(1, 5), None
"""Which records came: those of one page, those of two pages of five, or all."""


@dataclass(frozen=True)
class Line:
    """One fault, and what comes of it."""

    name: str
    way: str
    fault: Fault | None
    status: str
    told: str = ""
    """What the error says, parts of it divided by dots."""
    came: range | None = ALL
    goes_on: str | None = None
    """What is asked for first after the API has recovered; None where that does not matter."""
    stop: str | None = None
    proof: str | None = None
    words: str = ""
    """What else the spec says of the collection."""
    records: int = 10
    size: int = 2


CLAMPED = "params: {limit: '100'}"
IGNORES = "errors: [{status: 404, then: ignore}]"
ENDS = "errors: [{status: 400, then: end}]"
RETRY = "attempts: 2, first_wait: 10ms, timeout: 1s, total_wait: 1m"
PAST = "Tue, 22 Nov 2016 12:00:00 GMT"

TABLE = [
    # 1, 2: a page is smaller than was asked for
    Line("clamps, total", "number", None, "complete", stop="total_reached", proof="checked", words=CLAMPED, records=250, size=40),
    Line("clamps, total", "offset", None, "complete", stop="total_reached", proof="checked", words=CLAMPED, records=250, size=40),
    Line("clamps", "number, no total", None, "complete", stop="empty_page", proof="open", words=CLAMPED, records=250, size=40),
    Line("clamps", "offset, no total", None, "complete", stop="nothing_beyond", proof="open", words=CLAMPED, records=250, size=40),
    # 3: the list has another name
    Line("renames the list", "number", renames, "failed", "page 1, … nothing at data … entries … correct `records`", range(0), "?page=1"),
    Line("renames it midway", "number", at(5, renames), "failed", "page 3, … nothing at data … correct `records`", HALF, "?page=3"),
    # 4: the next page is elsewhere
    Line("links to another host", "link", at(3, links_to("{other}")), "failed", "not followed to other hosts", HALF),
    Line(
        "links to another scheme", "link", at(3, links_to("https://127.0.0.1:{port}")),
        "failed", "not followed to other hosts", HALF,
    ),
    # 5: tokens that lead nowhere
    Line("repeats a token", "token", says(token="T2"), "incomplete", "page 2, … token repeats", ONE, "?token=T2"),
    Line("repeats three tokens", "token", leads_back, "incomplete", "page 6, … token repeats", range(1, 9), "?token=T4"),
    # 6: an empty page, and more to come
    Line("has an empty page", "number, flag", has_an_empty_page, "complete", stop="no_more", proof="open"),
    Line("has an empty page", "token, flag", has_an_empty_page, "complete", stop="no_more", proof="open"),
    Line(
        "has an empty page", "number, flag not declared", has_an_empty_page, "incomplete",
        "page 3, … has_more that more follow; declare that flag in `more`", HALF, "?page=3",
    ),
    # 7: null for a list
    Line("null at the end", "token", ends_with_null, "complete", stop="no_token", proof="open"),
    Line("null at the end", "number, flag", ends_with_null, "complete", stop="no_more", proof="open"),
    Line("null at the end", "number, no total", ends_with_null, "failed", "page 6, … null at data … correct `records`", ALL, "?page=6"),
    Line(
        "null on the last page", "number", at(9, says(data=None)),
        "incomplete", "page 5, … is empty, but the API declares 10", range(1, 9), "?page=5",
    ),
    # 8: an answer that a rule leaves out
    Line(
        "404 midway", "number", at(5, answers(Answer(status=404))),
        "incomplete", "page 3, … what follows it is not known", HALF, "?page=3", words=IGNORES,
    ),
    # 11: down for good, then up
    *(
        Line("fails on page 4", way, at(7, BROKEN), "failed", "status 500, tried 2 times", range(1, 7), goes_on)
        for way, goes_on in [
            ("number", "?page=4"), ("offset", "?offset=5"), ("link", "?page=4"), ("token", "?token=T6"),
            ("key set", "?from_id=6"),
        ]
    ),
    # 12: redirects
    Line("redirects", "number", at(5, redirects_to("/{name}/moved")), "complete", stop="total_reached", proof="checked"),
    Line(
        "redirects to another host", "number", at(5, redirects_to("{other}/{name}")),
        "failed", "not followed to other hosts", HALF, "?page=3",
    ),
    Line(
        "redirects in a circle", "number", at(5, redirects_to("/{name}")),
        "failed", "redirects in a circle; correct the path", HALF, "?page=3",
    ),
    # 13: no list, or not all of it
    Line("HTML", "number", at(5, answers(HTML)), "failed", "page 3, … text/html … ask for JSON", HALF, "?page=3"),
    Line(
        "an error with 200", "number", at(5, answers(json_answer({"error": "quota"}))),
        "failed", "page 3, … nothing at data … error", HALF, "?page=3",
    ),
    Line("half a document", "number", at(5, truncates), "failed", "page 3, … is not JSON", HALF, "?page=3"),
    Line("breaks off for good", "number", at(5, breaks_off), "failed", "the answer broke off", HALF, "?page=3"),
    Line("breaks off once", "number", at(5, once(breaks_off)), "complete", stop="total_reached", proof="checked"),
    Line("gzip that is cut", "number", at(5, zips(cut=9)), "failed", "the answer broke off", HALF, "?page=3"),
    Line("gzip", "number", at(5, zips()), "complete", stop="total_reached", proof="checked"),
    Line("too large", "number", at(5, says(padding="x" * 20_000)), "failed", "larger than 8KB; … raise `api.limits.body`", HALF, "?page=3"),
    Line("a gzip bomb", "number", at(5, zips(padding=50_000_000)), "failed", "larger than 8KB; … raise `api.limits.body`", HALF, "?page=3"),
    Line("drips", "number", at(5, drips), "failed", "time-out", HALF, "?page=3"),
    Line("says nothing", "number", at(5, answers(Answer(silent=True))), "failed", "time-out", HALF, "?page=3"),
    # 14: how long to wait
    Line(
        "waits an hour", "number", at(5, is_late("3600", 429)),
        "failed", "the API asks to wait 3,600 s, until … `retry.total_wait` leaves 60 s",
        HALF, "?page=3",
    ),
    *(
        Line(f"Retry-After: {text}", "number", at(5, once(is_late(text))), "complete", stop="total_reached", proof="checked")
        for text in ("-1", PAST, "soon")
    ),
    Line("429, Retry-After: 1", "number", at(5, once(is_late("1", 429))), "complete", stop="total_reached", proof="checked"),
    # 18: a page past the end is refused
    Line(
        "refuses what is past the end", "number, no total", beyond(answers(Answer(status=400))),
        "complete", stop="past_the_end", proof="open", words=ENDS,
    ),
    Line(
        "refuses what is past the end", "number, no total", beyond(answers(Answer(status=400))),
        "failed", "?page=6: status 400", ALL, "?page=6",
    ),
    Line(
        "refuses a page midway", "number", at(5, answers(Answer(status=400))),
        "incomplete", "refuses the next page after 4 of 10", HALF, "?page=3", words=ENDS,
    ),
]  # fmt: skip


def lines(of: Sequence[Line]) -> list[Any]:
    return [pytest.param(line, id=f"{line.name}: {line.way}: {line.status}") for line in of]


def list_of(line: Line, number: int, *words: str) -> List:
    return List(f"list_{number}", line.way, line.fault, [one for one in (line.words, *words) if one], size=line.size).has(line.records)


def check_told(told: str, name: str, error: str | None) -> None:
    parts = [part.strip() for part in (f"{name}, {told}" if told.startswith("page") else told).split("…")]
    assert bool(error) == bool(told), error
    assert re.search(".*".join(map(re.escape, parts)), error or "", re.DOTALL), f"{error}\nshould tell\n{told}"
    assert SECRET not in (error or "")


@dataclass(frozen=True)
class Met:
    """What came of all faults that end alike: after the run that met them, and after the API recovered."""

    code: int
    printed: Result
    ledger: dict[str, Record]
    tables: dict[str, dict[int, int]]
    since: dict[str, str | None]
    recovered: dict[str, Record]
    tables_then: dict[str, dict[int, int]]
    asked_then: dict[str, list[str]]
    since_then: dict[str, str | None]
    astray: list[Asked]
    seconds: float


def meet(folder: Path, group: str, changing: bool) -> Met:
    numbers = [number for number, line in enumerate(TABLE) if line.status == group]
    with site(folder, *(list_of(TABLE[number], number, *[CURSOR] * changing) for number in numbers), retry=RETRY) as found:
        if changing:
            faults = {name: one.fault for name, one in found.lists.items()}
            found.recovers()
            assert found.run().code == 0
            for name, one in found.lists.items():
                one.touch(found.now)
                one.fault = faults[name]
        started = time.monotonic()
        printed = found.run() if changing else found.command()
        seconds = time.monotonic() - started
        ledger, tables, since = found.ledger(), found.tables(), {name: found.since(name) for name in found.lists}
        found.recovers()
        found.run()
        asked, since_then = (
            {name: found.asked(name) for name in found.lists},
            {name: found.since(name) for name in found.lists if found.asked(name)},
        )
        return Met(
            printed.code, printed, ledger, tables, since, found.ledger(), found.tables(), asked, since_then, found.neighbour.asked, seconds
        )


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Line, bool], tuple[Met, str]]:
    """What came of a line's fault, and the name of its collection; `changing`: among changes, not in the first pass."""

    @cache
    def found(group: str, changing: bool) -> Met:
        return meet(tmp_path_factory.mktemp("faults"), group, changing)

    return lambda line, changing: (found(line.status, changing), f"list_{TABLE.index(line)}")


@pytest.mark.parametrize("line", lines(TABLE))
def test_a_fault_in_the_first_pass(line: Line, met: Callable[[Line, bool], tuple[Met, str]]) -> None:
    found, name = met(line, False)
    ledger = found.ledger[name]
    check_told(line.told, name, ledger["error"])
    assert (found.code, ledger["status"]) == (0 if line.status == "complete" else 1, line.status)
    assert (ledger["stop"], ledger["proof"]) == (line.stop, line.proof)
    assert found.printed[name]["error"] == ledger["error"]
    assert list(found.tables[name]) == list(range(1, line.records + 1) if line.came is None else line.came)
    assert found.seconds < 30
    assert found.astray == []

    assert found.recovered[name]["status"] == "complete", found.recovered[name]
    assert found.tables_then[name] == dict.fromkeys(range(1, line.records + 1), 1)
    if line.goes_on:
        assert found.asked_then[name][0] == f"/{name}{line.goes_on}"


@pytest.mark.parametrize("line", lines(TABLE))
def test_a_fault_among_changes(line: Line, met: Callable[[Line, bool], tuple[Met, str]]) -> None:
    """The window stays open: what it asked for is asked for until it has come."""
    found, name = met(line, True)
    assert (found.code, found.ledger[name]["status"]) == (0 if line.status == "complete" else 1, line.status)
    changed = dict.fromkeys(range(1, line.records + 1), 2)
    if line.status == "complete":
        assert found.tables[name] == changed
    else:
        assert found.since_then[name] == found.since[name]
    assert found.recovered[name]["status"] == "complete", found.recovered[name]
    assert found.tables_then[name] == changed
    assert found.astray == []


def test_the_table_has_all_ends() -> None:
    assert {line.status for line in TABLE} == {"complete", "incomplete", "failed"}


# --- an answer that a rule of the spec leaves out (8) -------------------------------------------------------------


def things(way: str = "number", *words: str, count: int = 10, **how: Any) -> List:
    return List("things", way, words=list(words), **how).has(count)


NOT_FOUND = answers(Answer(status=404))


def test_a_list_that_a_rule_leaves_out_deletes_nothing_and_is_read_when_it_is_there(tmp_path: Path) -> None:
    with site(tmp_path, things("number", IGNORES)) as found:
        assert found.run().code == 0
        found.things.fault = NOT_FOUND
        assert found.command().code == 0
        assert (found.ledger()["things"]["stop"], found.ledger()["things"]["proof"]) == ("ignored", "open")
        found.holds_all()
        found.recovers()
        found.things.touch(found.now)
        assert found.run().code == 0
        found.holds_all()


def test_changes_that_a_rule_leaves_out_are_asked_for_again(tmp_path: Path) -> None:
    with site(tmp_path, things("number", IGNORES, CURSOR)) as found:
        assert found.run().code == 0
        found.things.touch(found.now, 3, 4, 5)
        found.things.fault = NOT_FOUND
        assert found.run().code == 0
        found.recovers()
        assert found.run().code == 0
        found.holds_all()


def test_a_first_pass_that_a_rule_leaves_out_is_made_again(tmp_path: Path) -> None:
    with site(tmp_path, things("number", IGNORES, CURSOR, fault=NOT_FOUND)) as found:
        assert found.run().code == 0
        found.recovers()
        assert found.run().code == 0
        found.holds_all()


# --- children (9, 10) ---------------------------------------------------------------------------------------------

PARENTED = """
  parents: {paginate: {kind: number, total: total}, key: id, properties: {id: string}}
  things:
    parent: parents
    path: /parents/{{ parent.id }}/things
    paginate: {kind: number, total: total}
    key: [parent_id, id]
    cursor: {property: updated_at, param: since, format: epoch_s, lag: 0s}
    properties:
      parent_id: {type: string, parent: id}
      id: integer
      version: integer
      updated_at: {type: timestamp, format: epoch_s}
"""


def family(names: Sequence[str]) -> list[List]:
    """Three things of each parent; those of later parents have changed longer ago."""
    parents = List("parents", rows={name: {"id": name} for name in names})  # type: ignore[dict-item,misc]
    each = [List(name, rows={id_: record(id_, 1, START - 1000 * number - id_) for id_ in range(1, 4)}) for number, name in enumerate(names)]
    return [parents, *each]


def children(found: Site) -> set[tuple[str, int, int]]:
    with opened(found.folder / "faulty.duckdb") as con:
        return set(con.execute("SELECT parent_id, id, version FROM w.faulty.things WHERE _deleted_at IS NULL").fetchall())


def children_there(found: Site) -> set[tuple[str, int, int]]:
    return {(name, id_, row["version"]) for name, one in found.lists.items() if name != "parents" for id_, row in one.rows.items()}


def test_each_parents_children_have_a_cursor_that_no_others_move(tmp_path: Path) -> None:
    with site(tmp_path, *family("abc"), collections=PARENTED) as found:
        assert found.command().code == 0
        assert children(found) == children_there(found)
        assert len(list(found.asked("parents"))) == 2
        for name in "cab":
            found.lists[name].touch(found.now, 2)
            assert found.run().code == 0
            assert children(found) == children_there(found)
        assert found.ledger()["things"]["received"] < 9


def test_a_parents_id_is_quoted_whatever_it_holds(tmp_path: Path) -> None:
    names = ["a/b?x=1", "../", "a\nb", "%2F", "ü #"]
    with site(tmp_path, *family(names), collections=PARENTED) as found:
        assert found.command().code == 0
        assert children(found) == children_there(found)
        paths = {one.path for one in found.server.asked} - {"/parents"}
        assert paths == {f"/parents/{quote(name, safe='')}/things" for name in names}


def test_a_parents_id_that_no_path_can_carry_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    with site(tmp_path, *family(["..", "a"]), collections=PARENTED) as found:
        assert found.run().code == 1
        told = found.ledger()["things"]
        assert told["status"] == "incomplete"
        check_told(
            "things: … or one of dots, which no path can carry, which a request takes from it; take another property",
            "things",
            told["error"],
        )
        assert {name for name, _, _ in children(found)} == {"a"}


def test_a_parent_that_is_gone_keeps_no_other_list_from_being_read(tmp_path: Path) -> None:
    with site(tmp_path, *family("abc"), collections=PARENTED) as found:
        found.lists["b"].fault = NOT_FOUND
        assert found.command().code == 1
        del found.lists["parents"].rows["b"]  # type: ignore[arg-type]
        found.lists["a"].touch(found.now)
        found.run()
        found.run()
        assert {one for one in children(found) if one[0] == "a"} == {("a", 1, 2), ("a", 2, 2), ("a", 3, 2)}


# --- lists that move (15) -----------------------------------------------------------------------------------------


def moves(what: str, every: int) -> Fault:
    """After every so many answers a record is changed (and goes to the end), comes (to the front), or goes."""
    dice = random.Random(f"{what} {every}")

    def does(hit: Hit) -> None:
        rows = hit.list.rows
        hit.list.struck += 1
        if hit.list.struck % every:
            return
        number = hit.list.struck
        if what == "changes":
            hit.list.touch(START + 50_000 + number, dice.choice(sorted(rows)))
        elif what == "comes":
            hit.list.put(record(-number, 1, START - 5000 - number))
        elif len(rows) > 4:
            del rows[dice.choice(sorted(rows)[:4])]

    return does


def moving(way: str) -> List:
    rows = {number: record(number, 1, START - 2000 + number) for number in range(1, 16)}
    return List("things", way, rows=rows, size=3, order=lambda row: (row["updated_at"], row["id"]))


@pytest.mark.parametrize("what", ["changes", "comes", "goes"])
@pytest.mark.parametrize("way", ["number", "offset", "link, total"])
def test_a_list_that_moves_is_never_complete_with_a_hole(way: str, what: str, tmp_path: Path) -> None:
    with site(tmp_path, moving(way)) as found:
        for every in (1, 3):
            before = set(found.things.rows)
            found.things.fault = moves(what, every)
            code = (found.command() if (every, what) == (1, "changes") else found.run()).code
            ledger = found.ledger()["things"]
            assert code == (0 if ledger["status"] == "complete" else 1)
            assert ledger["status"] != "failed", ledger
            if code == 0:
                assert before & set(found.things.rows) <= set(found.tables()["things"])
            else:
                check_told("read twice, and still … page by a key that does not move", "things", ledger["error"])
        found.recovers()
        assert found.run().code == 0, found.ledger()
        assert found.things.versions.items() <= found.tables()["things"].items()
        if what == "goes":  # what was met before it went is proven gone by the next pass
            assert found.run().code == 0
        found.holds_all()


def test_a_list_that_nothing_checks_says_so(tmp_path: Path) -> None:
    """Without a total, a record that goes lets another slip by unseen: the pass is open, and the next one brings it."""
    with site(tmp_path, moving("link")) as found:
        found.things.fault = at(1, once(lambda hit: hit.list.rows.pop(1) and None))
        assert found.command().code == 0
        assert (found.ledger()["things"]["proof"], 4 in found.tables()["things"]) == ("open", False)
        found.recovers()
        assert found.run().code == 0
        assert 4 in found.tables()["things"]


# --- cursors (16, 17, 19, 20, 21) ---------------------------------------------------------------------------------


def changes_since(found: Site) -> int:
    """Since when the next run asks for changes."""
    told = status(parse_spec(found.spec), Options(hub=str(found.folder / ".syncer" / "hub")))
    return int(datetime.fromisoformat(told["collections"]["things"]["changes_since"]).timestamp())


@pytest.mark.parametrize("way", ["key set of times", "number"])
def test_thousands_of_records_that_share_the_cursors_instant_all_come(way: str, tmp_path: Path) -> None:
    with site(tmp_path, things(way, CURSOR, size=400), body="1MB") as found:
        assert found.run().code == 0
        instant = changes_since(found)
        found.things.put(*(record(number, 1, instant) for number in range(11, 5011)))
        assert (found.command() if way == "number" else found.run()).code == 0, found.ledger()
        assert found.since() == str(instant)
        found.holds_all()
        assert found.run().code == 0
        assert found.ledger()["things"]["received"] <= 1
        found.holds_all()


@pytest.mark.parametrize("more", [10**9, 500])
def test_what_was_not_asked_for_does_no_harm(more: int, tmp_path: Path) -> None:
    """An API that ignores `since`, or takes it for an earlier one."""
    with site(tmp_path, things("number", CURSOR, takes=lambda row, since: row["updated_at"] >= int(since) - more)) as found:
        assert found.run().code == 0
        found.things.touch(found.now, 4)
        assert (found.command() if more == 500 else found.run()).code == 0
        book = found.ledger()["things"]
        assert (book["status"], book["received"] >= 1) == ("complete", True)
        found.holds_all()


def test_an_api_that_ignores_the_bound_of_a_key_set_is_found_out(tmp_path: Path) -> None:
    with site(tmp_path, things("key set of times", CURSOR, takes=lambda row, since: True)) as found:
        for number in found.things.rows:
            found.things.put(record(number, 1, START - 2000 + number))
        assert found.command().code == 1
        told = found.ledger()["things"]
        assert told["status"] == "incomplete"
        check_told("page 2, … records from before the bound came back; the API seems to ignore 'since'", "things", told["error"])
        assert found.tables()["things"] == {1: 1, 2: 1}
        found.things.takes = lambda row, since: row["updated_at"] >= int(since)
        assert found.run().code == 0
        found.holds_all()


REQUEST_TRACKER = "format: '%a %b %d %H:%M:%S %Y', timezone: UTC"


@pytest.mark.parametrize(("form", "received"), [("iso", 10), ("'%Y-%m-%d %H:%M:%S'", 1)])
def test_a_cursor_in_a_format_that_the_api_ignores_costs_requests_and_no_records(form: str, received: int, tmp_path: Path) -> None:
    """Request Tracker prints instants one way, takes them another way, and answers with everything to what it cannot read."""

    def takes(row: Record, since: str) -> bool:
        try:
            return row["updated_at"] >= datetime.strptime(since, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return True

    def prints(hit: Hit) -> None:
        def printed(row: Record) -> Record:
            return {**row, "updated_at": datetime.fromtimestamp(row["updated_at"], UTC).strftime("%a %b %d %H:%M:%S %Y")}

        hit.document["data"] = [printed(row) for row in hit.document["data"]]

    cursor = f"cursor: {{property: updated_at, param: since, format: {form}, lag: 0s}}"
    with site(tmp_path, things("number", cursor, takes=takes, fault=prints, prints=REQUEST_TRACKER)) as found:
        assert found.run().code == 0
        found.things.touch(found.now + 10, 7)
        assert found.command().code == 0
        book = found.ledger()["things"]
        assert (book["status"], book["received"]) == ("complete", received)
        found.holds_all()


def lagging(lag: str) -> str:
    return CURSOR.replace("0s", lag)


@pytest.mark.parametrize(
    ("date", "ours", "lag"),
    [
        pytest.param(300, 0, "6m", id="the header is ahead of the records, and the lag covers it"),
        pytest.param(-300, 0, "0s", id="the header is behind the records"),
        pytest.param(0, 300, "0s", id="the API is ahead of us"),
        pytest.param(0, -300, "0s", id="the API is behind us"),
    ],
)
def test_a_clock_that_is_off_hides_nothing(date: int, ours: int, lag: str, tmp_path: Path) -> None:
    with site(tmp_path, things("number", lagging(lag)), date_is_off=date) as found:
        found.now = int(time.time()) - 1000 + ours
        assert found.run().code == 0
        found.things.touch(found.now + 1, 3)
        assert (found.command() if date > 0 else found.run()).code == 0
        assert found.since() is not None
        found.holds_all()


def test_what_becomes_visible_late_comes_within_the_lag_and_else_with_the_next_complete_pass(tmp_path: Path) -> None:
    with site(tmp_path, things("number", lagging("60s"))) as found:
        assert found.run().code == 0
        found.things.put(record(11, 1, int(found.now) - 30))
        assert found.run().code == 0
        found.holds_all()
        found.things.put(record(12, 1, int(found.now) - 200))
        assert found.run().code == 0
        assert 12 not in found.tables()["things"]
        assert found.command("--full").code == 0
        found.holds_all()


@pytest.mark.parametrize("newer_first", [True, False])
def test_of_two_versions_in_one_crawl_the_newest_by_the_cursor_wins(newer_first: bool, tmp_path: Path) -> None:
    def doubles(hit: Hit) -> None:
        older = [record(number, 1, START - 5000) for number in hit.list.rows]
        hit.document["data"] = hit.document["data"] + older if newer_first else older + hit.document["data"]

    with site(tmp_path, things("single", CURSOR, fault=doubles)) as found:
        found.things.touch(START - 100)
        result = found.command() if newer_first else found.run()
        assert (result.code, result["things"]["duplicates"], found.ledger()["things"]["status"]) == (0, 10, "complete")
        found.holds_all()
        found.recovers()
        assert found.run().code == 0
        found.holds_all()
