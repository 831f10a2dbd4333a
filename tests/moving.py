"""An API whose records change while it is read, and an observer who knows what really was there.

`Api` answers by one of `KINDS`, the ways in which real APIs page, and lets things happen just before and just after it reads
its rows for an answer. `World` carries out pulls of it, and holds each against what the API had and showed: it reads the
hub's raw files with none of the engine's code, and raises `Broken` where a promise does not hold.

A further kind of pagination is one more entry of `KINDS`, a further way to ask for changes one of `CURSORS`.
"""

from __future__ import annotations

import itertools
import json
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import zstandard

from rest_syncer.engine import ahead
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.lists import Part
from rest_syncer.engine.parse import Source, parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import Settings
from rest_syncer.engine.stage import Stage
from tests.model import small_pieces
from tests.support import segment_file

Row = dict[str, int]
Params = Mapping[str, str]
Event = tuple[Any, ...]

SHM = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one: every put of a hub is flushed
SECOND = 1_000_000


class Broken(AssertionError):
    """A promise that does not hold: which, in a few words, and what shows it."""

    def __init__(self, promise: str, shown: str) -> None:
        super().__init__(f"{promise}: {shown}")
        self.promise = promise


# How APIs page.


@dataclass(frozen=True)
class Paged:
    """What an API answers: of all rows, those from the page's bound on, those on the page, and what stands around them."""

    rest: Sequence[Row]
    shown: Sequence[Row]
    around: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One way of paging: how a spec says it, how the API does it, and what it comes to where nothing changes."""

    paginate: str
    """In a spec."""
    page: Callable[[Sequence[Row], Params, int], Paged]
    """The answer: from the rows in order, the parameters, and how many rows fill a page."""
    requests: Callable[[int, int], int]
    """How many requests a quiet list takes, by its number of rows and the page's size: the fewest that prove its end."""
    proof: Callable[[int, int], str]
    """The grade of a quiet list that the hub did not hold, likewise."""
    orders: tuple[str, ...] = ("id", "-id", "updated_at")
    """In which orders such an API lists."""
    stable: bool = False
    overlaps: bool = False
    """Whether each page is asked for from the last row of the one before, as far as that had more than one."""
    total: str | None = None
    """What the total counts, where there is one: the `whole` list, or the `rest` from the page's bound on."""

    def order(self, wanted: str) -> str:
        return wanted if wanted in self.orders else self.orders[0]


def ordered(rows: Iterable[Row], order: str) -> list[Row]:
    by = {"id": lambda row: row["id"], "-id": lambda row: -row["id"], "updated_at": lambda row: (row["updated_at"], row["id"])}
    return sorted(rows, key=by[order])


def all_at_once(rows: Sequence[Row], params: Params, size: int) -> Paged:
    return Paged(rows, rows)


def by_number(rows: Sequence[Row], params: Params, size: int) -> Paged:
    first = (int(params["page"]) - 1) * size
    return Paged(rows, rows[first : first + size], {"pages": _pages(len(rows), size)})


def by_offset(rows: Sequence[Row], params: Params, size: int) -> Paged:
    first = int(params["offset"])
    return Paged(rows, rows[first : first + size])


Bound = str
Place = Callable[[Sequence[Row], Bound | None, int], tuple[Sequence[Row], Sequence[Row], Bound | None]]
"""Where a page stands that an answer leads to: from the bound, the rows from there on, those on the page, and the next bound."""


def at_offset(rows: Sequence[Row], bound: Bound | None, size: int) -> tuple[Sequence[Row], Sequence[Row], Bound | None]:
    first = int(bound or 0)
    behind = first + size
    return rows, rows[first:behind], str(behind) if behind < len(rows) else None


def behind_key(order: str) -> Place:
    """The bound names the last row of its page, in this order; no other row's coming or going moves what is behind it."""

    def place(rows: Sequence[Row], bound: Bound | None, size: int) -> tuple[Sequence[Row], Sequence[Row], Bound | None]:
        rest = rows
        if bound is not None:
            updated_at, id_ = map(int, bound.split("."))
            last = {"id": id_, "updated_at": updated_at}
            rest = [row for row in rows if row["id"] != id_ and ordered([last, row], order)[0] is last]
        shown = rest[:size]
        return rest, shown, f"{shown[-1]['updated_at']}.{shown[-1]['id']}" if len(rest) > size else None

    return place


def by_link(place: Place) -> Callable[[Sequence[Row], Params, int], Paged]:
    def page(rows: Sequence[Row], params: Params, size: int) -> Paged:
        rest, shown, further = place(rows, params.get("bound"), size)
        return Paged(rest, shown, {"links": {"next": further and "?" + urlencode({**params, "bound": further})}})

    return page


def by_link_header(place: Place) -> Callable[[Sequence[Row], Params, int], Paged]:
    """The only page has no such header; the last of several has one that leads back."""

    def page(rows: Sequence[Row], params: Params, size: int) -> Paged:
        rest, shown, further = place(rows, params.get("bound"), size)
        links = [f'<?{urlencode({**params, "bound": further})}>; rel="next"'] if further else []
        links += ['</things>; rel="first"'] if "bound" in params else []
        return Paged(rest, shown, headers={"Link": ", ".join(links)} if links else {})

    return page


def by_token(place: Place, flag: bool = False) -> Callable[[Sequence[Row], Params, int], Paged]:
    """Opaque tokens; where a flag says whether more follow, the last page has a token, too."""

    def page(rows: Sequence[Row], params: Params, size: int) -> Paged:
        bound = bytes.fromhex(params["token"]).decode() if "token" in params else None
        rest, shown, further = place(rows, bound, size)
        token = further or ("0" if flag else None)
        return Paged(rest, shown, {"token": token and token.encode().hex()} | ({"more": further is not None} if flag else {}))

    return page


def by_key(rows: Sequence[Row], params: Params, size: int) -> Paged:
    """From an id on, behind an id, or from an instant on; sorted by id where that is asked for."""
    rest = ordered(rows, "id") if params.get("sort") == "id" else rows
    if "from_id" in params:
        rest = [row for row in rest if row["id"] >= int(params["from_id"])]
    if "after_id" in params:
        rest = [row for row in rest if row["id"] > int(params["after_id"])]
    if "from_time" in params:
        rest = [row for row in rest if row["updated_at"] >= int(params["from_time"])]
    return Paged(rest, rest[:size])


def _pages(rows: int, size: int) -> int:
    return -(-rows // size)


def _shifting(grade: str, pages: Callable[[int, int], int]) -> Callable[[int, int], str]:
    """A list in one answer is proven; one whose pages can shift has its way's grade."""
    return lambda rows, size: "proven" if pages(rows, size) == 1 else grade


def _open(rows: int, size: int) -> str:
    """Even in one answer: nothing shows that its way of paging is the one that the spec says."""
    return "open"


def _proven(rows: int, size: int) -> str:
    return "proven"


def _proven_but_of_one(rows: int, size: int) -> str:
    """An API that gives one row at a time looks like a list of one row."""
    return "open" if rows == 1 else "proven"


def _one(rows: int, size: int) -> int:
    return 1


def _counted(rows: int, size: int) -> int:
    """The pages with rows on them, or one that says that there are none."""
    return max(1, _pages(rows, size))


def _and_an_empty_one(rows: int, size: int) -> int:
    return _pages(rows, size) + 1


def _overlapping(rows: int, size: int) -> int:
    """Each page begins with the last row of the one before."""
    return 1 if rows <= size else 1 + _pages(rows - size, size - 1)


def _overlapping_and_the_last_row_again(rows: int, size: int) -> int:
    return _overlapping(rows, size) + (rows > 0)


KINDS: dict[str, Kind] = {
    "single": Kind("{kind: single}", all_at_once, _one, _proven, stable=True),
    "single_total": Kind("{kind: single, total: total}", all_at_once, _one, _proven, stable=True, total="whole"),
    "number_total": Kind("{kind: number, total: total}", by_number, _counted, _shifting("checked", _counted), total="whole"),
    "number_pages": Kind("{kind: number, pages: pages}", by_number, _counted, _shifting("open", _counted)),
    "number_pages_total": Kind(
        "{kind: number, pages: pages, total: total}", by_number, _counted, _shifting("checked", _counted), total="whole"
    ),
    "number": Kind("{kind: number}", by_number, _and_an_empty_one, _shifting("open", _and_an_empty_one)),
    "offset": Kind(
        "{kind: offset}",
        by_offset,
        _overlapping_and_the_last_row_again,
        _shifting("open", _overlapping_and_the_last_row_again),
        overlaps=True,
    ),
    "offset_total": Kind(
        "{kind: offset, total: total}", by_offset, _overlapping, _shifting("checked", _overlapping), overlaps=True, total="whole"
    ),
    "offset_apart": Kind("{kind: offset, overlap: false}", by_offset, _and_an_empty_one, _shifting("open", _and_an_empty_one)),
    "offset_apart_total": Kind(
        "{kind: offset, overlap: false, total: total}", by_offset, _counted, _shifting("checked", _counted), total="whole"
    ),
    "link_offset": Kind("{kind: next_link, link: links.next}", by_link(at_offset), _counted, _shifting("open", _counted)),
    "link_offset_total": Kind(
        "{kind: next_link, link: links.next, total: total}", by_link(at_offset), _counted, _shifting("checked", _counted), total="whole"
    ),
    "link_id": Kind("{kind: next_link, link: links.next}", by_link(behind_key("id")), _counted, _shifting("open", _counted), ("id",)),
    "link_newest": Kind("{kind: next_link, link: links.next}", by_link(behind_key("-id")), _counted, _shifting("open", _counted), ("-id",)),
    "link_newest_total": Kind(
        "{kind: next_link, link: links.next, total: total}",
        by_link(behind_key("-id")),
        _counted,
        _shifting("checked", _counted),
        ("-id",),
        total="whole",
    ),
    "link_time_total": Kind(
        "{kind: next_link, link: links.next, total: total}",
        by_link(behind_key("updated_at")),
        _counted,
        _shifting("checked", _counted),
        ("updated_at",),
        total="whole",
    ),
    "link_header_offset": Kind("{kind: link_header}", by_link_header(at_offset), _counted, _open),
    "link_header_offset_total": Kind(
        "{kind: link_header, total: total}", by_link_header(at_offset), _counted, _shifting("checked", _counted), total="whole"
    ),
    "link_header_id": Kind("{kind: link_header}", by_link_header(behind_key("id")), _counted, _open, ("id",)),
    "link_header_newest": Kind("{kind: link_header}", by_link_header(behind_key("-id")), _counted, _open, ("-id",)),
    "link_header_time_total": Kind(
        "{kind: link_header, total: total}",
        by_link_header(behind_key("updated_at")),
        _counted,
        _shifting("checked", _counted),
        ("updated_at",),
        total="whole",
    ),
    "token_offset": Kind("{kind: token, token: token, param: token}", by_token(at_offset), _counted, _shifting("open", _counted)),
    "token_offset_total": Kind(
        "{kind: token, token: token, param: token, total: total}",
        by_token(at_offset),
        _counted,
        _shifting("checked", _counted),
        total="whole",
    ),
    "token_offset_more": Kind(
        "{kind: token, token: token, param: token, more: more}", by_token(at_offset, flag=True), _counted, _shifting("open", _counted)
    ),
    "token_offset_more_total": Kind(
        "{kind: token, token: token, param: token, more: more, total: total}",
        by_token(at_offset, flag=True),
        _counted,
        _shifting("checked", _counted),
        total="whole",
    ),
    "token_id": Kind(
        "{kind: token, token: token, param: token}", by_token(behind_key("id")), _counted, _shifting("open", _counted), ("id",)
    ),
    "token_newest_total": Kind(
        "{kind: token, token: token, param: token, total: total}",
        by_token(behind_key("-id")),
        _counted,
        _shifting("checked", _counted),
        ("-id",),
        total="whole",
    ),
    "token_time_total": Kind(
        "{kind: token, token: token, param: token, total: total}",
        by_token(behind_key("updated_at")),
        _counted,
        _shifting("checked", _counted),
        ("updated_at",),
        total="whole",
    ),
    "token_id_more": Kind(
        "{kind: token, token: token, param: token, more: more}",
        by_token(behind_key("id"), flag=True),
        _counted,
        _shifting("open", _counted),
        ("id",),
    ),
    "key_set": Kind(
        "{kind: key_set, on: id, param: from_id}", by_key, _overlapping_and_the_last_row_again, _proven_but_of_one, ("id",), stable=True
    ),
    "key_set_rest": Kind(
        "{kind: key_set, on: id, param: from_id, start: 0, total: total}", by_key, _overlapping, _proven, ("id",), stable=True, total="rest"
    ),
    "key_set_whole": Kind(
        "{kind: key_set, on: id, param: from_id, total: total}",
        by_key,
        lambda rows, size: _overlapping(rows, size) + (rows > size),
        _proven,
        ("id",),
        stable=True,
        total="whole",
    ),
    "key_set_exclusive": Kind(
        "{kind: key_set, on: id, param: after_id, inclusive: false}", by_key, _and_an_empty_one, _proven, ("id",), stable=True
    ),
    "key_set_exclusive_rest": Kind(
        "{kind: key_set, on: id, param: after_id, inclusive: false, total: total}",
        by_key,
        _counted,
        _proven,
        ("id",),
        stable=True,
        total="rest",
    ),
    "key_set_exclusive_whole": Kind(
        "{kind: key_set, on: id, param: after_id, inclusive: false, total: total}",
        by_key,
        lambda rows, size: _pages(rows, size) + (rows > size or rows == 0),
        _proven,
        ("id",),
        stable=True,
        total="whole",
    ),
    "key_set_time": Kind(
        "{kind: key_set, on: updated_at, param: from_time, format: epoch_s, tie_breaker: {on: id, param: from_id, params: {sort: id}}}",
        by_key,
        _overlapping_and_the_last_row_again,
        _proven_but_of_one,
        ("updated_at",),
        stable=True,
    ),
    "key_set_time_rest": Kind(
        "{kind: key_set, on: updated_at, param: from_time, format: epoch_s, total: total, "
        "tie_breaker: {on: id, param: from_id, params: {sort: id}}}",
        by_key,
        _overlapping,
        _proven,
        ("updated_at",),
        stable=True,
        total="rest",
    ),
    "key_set_time_whole": Kind(
        "{kind: key_set, on: updated_at, param: from_time, format: epoch_s, total: total, "
        "tie_breaker: {on: id, param: from_id, params: {sort: id}}}",
        by_key,
        lambda rows, size: _overlapping(rows, size) + (rows > size),
        _proven,
        ("updated_at",),
        stable=True,
        total="whole",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cursor:
    """One way of asking for what changed."""

    format: str
    inclusive: bool = True
    path: str | None = None
    kind: str | None = None
    """How changes are paged, where that is another way than the whole list's."""
    lag: str = "0s"

    def lines(self) -> str:
        walk = [f"path: {self.path}"] if self.path else []
        walk += [f"paginate: {KINDS[self.kind].paginate}"] if self.kind else []
        told = f"property: updated_at, param: since, format: {self.format}, inclusive: {str(self.inclusive).lower()}, lag: {self.lag}"
        return f"    cursor: {{{told}}}\n" + (f"    changed: {{{', '.join(walk)}}}\n" if walk else "")

    def takes(self, row: Row, since: str) -> bool:
        """Whether the API counts a row as changed."""
        bound = round(datetime.fromisoformat(since).timestamp() * SECOND) if self.format == "iso" else int(since) * SECOND
        return row["updated_at"] * SECOND >= bound + (not self.inclusive)


CURSORS: dict[str, Cursor | None] = {
    "none": None,
    "iso": Cursor("iso", lag="1s"),  # a change shows with an instant that is up to a second old: the API cuts it to whole ones
    "iso_exclusive": Cursor("iso", inclusive=False, lag="1s"),
    "iso_no_lag": Cursor("iso"),
    "epoch_s": Cursor("epoch_s"),
    "epoch_s_exclusive": Cursor("epoch_s", inclusive=False),
    "elsewhere": Cursor("epoch_s", path="/things/changed"),
    "by_key": Cursor("epoch_s", kind="key_set"),
    "by_number": Cursor("epoch_s", path="/things/changed", kind="number_total"),
}

SPEC = """
syncer: 1
name: moving
api: {{base_url: https://api.example.com, records: entries, retry: {{attempts: 1}}, concurrency: {concurrency}}}
collections:
  things:
    key: id
    paginate: {paginate}
{cursor}    properties:
      id: integer
      version: integer
      updated_at: {{type: timestamp, format: epoch_s}}
"""


@cache
def source(kind: str, cursor: str, concurrency: int) -> Source:
    style = CURSORS[cursor]
    told = {"paginate": KINDS[kind].paginate, "cursor": style.lines() if style else "", "concurrency": concurrency}
    return parse_spec(SPEC.format(**told), "moving.yaml")


# A history.


@dataclass(frozen=True)
class Pull:
    """One pull: what happens before it, whether all is asked for, and what happens while it goes on.

    `during` has two entries for each request: what happens while it is on its way, and what while its answer is.
    """

    before: Sequence[Event] = ()
    during: Sequence[Sequence[Event]] = ()
    full: bool = False
    down: int | None = None
    """How many requests are answered before the API goes down, where it does."""


@dataclass(frozen=True)
class Story:
    """All that happens: `rows` rows with the ids `step`, 2 `step`, ..., changed `apart` seconds from each other; then pulls."""

    kind: str
    pulls: Sequence[Pull]
    rows: int = 0
    cursor: str = "none"
    order: str = "id"
    size: int = 2
    step: int = 1
    apart: float = 1.0
    latency: float = 0.25
    """How many seconds a request is on its way, and likewise its answer."""
    segment_bytes: int = 150
    concurrency: int = 1
    turns: str = "soonest"
    """In which order requests are answered that are sent side by side: one of `TURNS`."""


@dataclass(frozen=True)
class Answer:
    """What the API showed once."""

    url: str
    rows: tuple[Row, ...]
    total: int | None


class Api:
    """The API: its rows, its clock, what is to happen while it answers, and what it ever had."""

    def __init__(self, story: Story) -> None:
        self.story, self.now = story, 1_700_000_000.0
        self.rows: dict[int, Row] = {}
        self.lives: dict[int, int] = {}
        """For each row that is alive: which life that is. A row that was deleted and came back has another."""
        self.ever: set[tuple[int, int, int]] = set()
        """All that the rows ever were."""
        self.highest = 0
        self.answers: list[Answer] = []
        """Those of a pull, in the order in which they were taken."""
        self.asked = 0
        """How many requests of the pull were answered, those among them that nobody needed."""
        self.during: list[Sequence[Event]] = []
        self.down: int | None = None
        self._count = itertools.count(1)
        for number in range(1, story.rows + 1):
            self._come(number * story.step)
            self.now += story.apart

    def happen(self, event: Event) -> None:
        """An id that is not alive stands for the next one that is."""
        match event:
            case ("wait", seconds):
                self.now += seconds
            case ("insert",):
                self._come(self.highest + 1)
            case ("fill", id_):
                free = [one for one in range(id_, self.highest) if one not in self.rows]
                self._come(free[0] if free else self.highest + 1)
            case ("update", id_, *more):
                for one in self._from(id_)[: more[0] if more else 1]:
                    self._write(one)
            case ("delete", id_):
                for one in self._from(id_)[:1]:
                    del self.rows[one], self.lives[one]
            case ("replace", id_):
                self.happen(("delete", id_))
                self.happen(("insert",))
            case _:
                raise AssertionError(event)

    def _from(self, id_: int) -> list[int]:
        ids = sorted(self.rows)
        return [one for one in ids if one >= id_] + [one for one in ids if one < id_]

    def _come(self, id_: int) -> None:
        self.highest = max(self.highest, id_)
        self.lives[id_] = next(self._count)
        self._write(id_)

    def _write(self, id_: int) -> None:
        row = {"id": id_, "version": next(self._count), "updated_at": int(self.now)}
        self.rows[id_] = row
        self.ever.add(version(row))

    def _moment(self) -> None:
        for event in self.during.pop(0) if self.during else ():
            self.happen(event)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """It reads at one instant, between two at which others write; then it dates its answer."""
        story, params = self.story, dict(request.url.params)
        if self.down is not None and self.asked >= self.down:
            return httpx.Response(503)
        style = CURSORS[story.cursor]
        changed = style if "since" in params else None
        if request.url.path != ((changed and changed.path) or "/things"):
            return httpx.Response(404)
        kind = KINDS[(changed and changed.kind) or story.kind]
        self.now += story.latency
        self._moment()
        rows = ordered(self.rows.values(), kind.order(story.order))
        if changed:
            rows = [row for row in rows if changed.takes(row, params["since"])]
        paged = kind.page(rows, params, story.size)
        total = None if kind.total is None else len(rows if kind.total == "whole" else paged.rest)
        body = json.dumps({"entries": paged.shown, **paged.around, "total": total})
        self.asked += 1
        self.answers.append(Answer(str(request.url), tuple(paged.shown), total))
        self._moment()
        self.now += story.latency
        return httpx.Response(
            200,
            content=body,
            headers={"Date": formatdate(int(self.now), usegmt=True), "Content-Type": "application/json", **paged.headers},
        )


class ApisClock(Clock):
    """Time passes here as it does at the API, but the wall clock is wrong."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def monotonic(self) -> float:
        return self.api.now

    def time(self) -> float:
        return self.api.now - 12_345

    def sleep(self, seconds: float) -> None:
        self.api.now += seconds

    def dice(self) -> float:
        return 0.5


TURNS = ("at once", "soonest", "latest")
"""When requests that are sent side by side are answered: each as it is sent; or, when one is needed, all: as sent, or backwards."""


class Turns:
    """Stands for threads: what would happen side by side happens one by one, in the story's order."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.waiting: list[_Turn] = []

    def submit(self, send: Callable[[], Any]) -> _Turn:
        turn = _Turn(self, send)
        self.waiting.append(turn)
        if self.api.story.turns == "at once":
            self.carry_out()
        return turn

    def carry_out(self) -> None:
        turns, self.waiting = self.waiting, []
        for turn in reversed(turns) if self.api.story.turns == "latest" else turns:
            turn.carry_out()


def waited_for(turns: Sequence[_Turn], timeout: float) -> Any:
    """Whoever waits for an answer has all carried out that is under way."""
    for turn in turns:
        if not turn.done():
            turn.turns.carry_out()
    return wait(turns)


class _Turn(Future[Any]):
    """One request, and what the API showed to it: that counts where the answer is taken."""

    def __init__(self, turns: Turns, send: Callable[[], Any]) -> None:
        super().__init__()
        self.turns, self.send = turns, send
        self.shown: list[Answer] = []

    def carry_out(self) -> None:
        if not self.set_running_or_notify_cancel():
            return
        answers = self.turns.api.answers
        mark = len(answers)
        try:
            self.set_result(self.send())
        except Exception as error:
            self.set_exception(error)
        self.shown = answers[mark:]
        del answers[mark:]

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.turns.carry_out()
        self.turns.api.answers += self.shown
        return super().result(timeout)


def version(row: Row) -> tuple[int, int, int]:
    return row["id"], row["version"], row["updated_at"]


# What the hub says, read without the engine.


@dataclass(frozen=True)
class Segment:
    """A file of the hub: its head, and its records."""

    name: str
    head: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def run(self) -> int:
        return int(self.name.partition("-")[0])


@lru_cache(maxsize=256)
def read_segment(file: Path) -> Segment:
    data = file.read_bytes()
    _, length = struct.unpack("<II", data[:8])
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(data[8 + length :])
    rows = tuple(json.loads(line) for line in lines.splitlines())
    return Segment(file.name.removesuffix(".ndjson.zst"), json.loads(data[8 : 8 + length]), rows)


@dataclass(frozen=True)
class Pass:
    """A complete pass that has ended: the run that began it, and its verdicts."""

    run: int
    gone: bool
    whole: bool


class HubFiles:
    """The hub's segments as they lie in their folder; a file never changes, so each is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "moving" / "segments" / "things"
        self.segments: dict[str, Segment] = {}

    def look(self) -> list[Segment]:
        """The segments that are new since the last look, in the hub's order."""
        names = sorted(file.name for file in self.folder.iterdir()) if self.folder.exists() else []
        new = [read_segment(self.folder / name) for name in names if name.removesuffix(".ndjson.zst") not in self.segments]
        self.segments |= {segment.name: segment for segment in new}
        return new

    @property
    def passes(self) -> list[Pass]:
        ends = [one.head for one in self.segments.values() if one.head["ended"] and one.head["purpose"] == "full"]
        return [Pass(run_of_chain(head["chain"]), head["ended"]["gone"], head["ended"]["whole"]) for head in ends]

    def held(self, chain: str, passes: Sequence[Pass]) -> set[int]:
        """The keys that were there when a chain began: since the last of these passes that lacked nothing that was not gone."""
        since = max((one.run for one in passes if one.gone or one.whole), default=0)
        return {row["id"] for one in self.segments.values() if one.run >= since and one.head["chain"] < chain for row in one.rows}

    def newest(self, with_cursor: bool) -> dict[int, tuple[Row, bool]]:
        """Of each key the newest version by the design's rule, and whether it counts as alive."""
        passes = self.passes
        gone = max((one.run for one in passes if one.gone), default=0)
        found: dict[int, tuple[Any, Row, int]] = {}
        for segment in sorted(self.segments.values(), key=lambda one: one.name):
            epoch = max((one.run for one in passes if one.run <= segment.run), default=0)
            for row in segment.rows:
                order, last = (epoch, row["updated_at"] if with_cursor else 0), segment.run
                if row["id"] not in found or found[row["id"]][0] <= order:
                    found[row["id"]] = (order, row, last)
                else:
                    found[row["id"]] = (*found[row["id"]][:2], last)
        return {key: (row, last >= gone) for key, (_, row, last) in found.items()}


def run_of_chain(chain: str) -> int:
    return int(chain.partition("-")[0])


# What an API showed of a slip.


def slips(reading: Sequence[Answer], overlaps: bool) -> list[str]:
    """What the answers of one reading themselves show of rows that moved between pages.

    A number of pages that changes, and an instant later than the reading's begin, are none: on a busy list they always show.
    """
    asked_again = [(one.rows[-1], other.rows[:1]) for one, other in itertools.pairwise(reading) if overlaps and len(one.rows) > 1]
    joined = sum(1 for last, first in asked_again if first and first[0]["id"] == last["id"])
    keys = [row["id"] for answer in reading for row in answer.rows]
    totals = {answer.total for answer in reading}
    return [
        *(["a page did not join the one before"] if joined < len(asked_again) else []),
        *(["a key came twice"] if len(keys) - joined != len(set(keys)) else []),
        *(["the total changed"] if len(totals) > 1 else []),
        *(["not as many came as the total says"] if None not in totals and reading[-1].total != len(set(keys)) else []),
    ]


@dataclass
class Chain:
    """A chain of pages, in however many runs."""

    name: str
    purpose: str
    since: int | None
    style: Kind
    alive: dict[int, tuple[int, Row]]
    """When its first run began: the rows that were alive, and which of their lives that was."""
    passes: Sequence[Pass]
    """Those that had ended before it."""
    answers: list[Answer] = field(default_factory=list)

    def readings(self) -> list[list[Answer]]:
        """Each begins with the request that the chain began with."""
        found: list[list[Answer]] = []
        for answer in self.answers:
            if answer.url == self.answers[0].url:
                found.append([])
            found[-1].append(answer)
        return found

    def owed(self, api: Api) -> set[int]:
        """The rows that were alive throughout, and that the chain asked for from its first request on."""
        stayed = {id_: row for id_, (life, row) in self.alive.items() if api.lives.get(id_) == life}
        return {id_ for id_, row in stayed.items() if self.since is None or row["updated_at"] * SECOND >= self.since}


@dataclass(frozen=True)
class Escape:
    """A row that a chain missed though it was alive throughout, where nothing that the API showed could have told."""

    id: int
    proof: str
    readings: int


# One history, watched.


class World:
    """Carries out a story's pulls, and looks at each."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story, self.folder = story, folder
        self.api, self.hub = Api(story), HubFiles(folder)
        self.chains: dict[str, Chain] = {}
        self.escapes: list[Escape] = []
        self.excused: set[int] = set()
        """Rows that escaped, and were not shown since."""
        self.statuses: list[str] = []
        """Of each pull, like the two that follow."""
        self.requests: list[int] = []
        self.proofs: list[str | None] = []
        self.errors: Sequence[str] = []
        """Of the last pull."""

    def pull(self, pull: Pull) -> None:
        """A pull, and all that must hold after it."""
        api, with_cursor = self.api, CURSORS[self.story.cursor] is not None
        for event in pull.before:
            api.happen(event)
        api.now += 1.0
        api.answers, api.asked, api.during, api.down = [], 0, list(pull.during), pull.down
        alive = {id_: (api.lives[id_], row) for id_, row in api.rows.items()}
        passes = self.hub.passes
        options = Options(hub=str(self.folder), full=pull.full)
        transport = httpx.MockTransport(api.answer)
        spec = source(self.story.kind, self.story.cursor, self.story.concurrency)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ahead, "side_by_side", Turns(api).submit)
            patch.setattr(ahead, "wait", waited_for)
            summary = run(spec, Settings({}, frozenset()), options, "pull", None, ApisClock(api), transport)
        api.during, api.down = [], None
        outcome = summary.collections["things"]
        if outcome.status == "failed" and pull.down is None:
            raise Broken("a moving list is no failure", "; ".join(outcome.errors))
        new = self.hub.look()
        self._check_books(outcome, new)
        ended = self._follow(new, alive, passes)
        self.excused -= {row["id"] for answer in api.answers for row in answer.rows}
        for chain, end in ended:
            self._check_chain(chain, end)
        if outcome.status == "complete":
            # A pass that an earlier run began is as new as that; only where changes can be asked for, they are, behind it.
            self._check_newest(ended[0][0].alive if ended and not with_cursor else alive, with_cursor)
        self.statuses.append(outcome.status)
        self.errors = outcome.errors
        self.requests.append(api.asked)
        self.proofs.append(outcome.pull.proof)

    def _check_books(self, outcome: Any, new: Sequence[Segment]) -> None:
        """What was shown is stored, each row once for each time it was shown, and counted; but for a last page that was refused."""
        taken = self.api.answers[: sum(one.head["pages"] for one in new)]
        shown = [version(row) for answer in taken for row in answer.rows]
        if [version(row) for one in new for row in one.rows] != shown:
            raise Broken("the hub holds what was shown", f"{len(shown)} rows were shown")
        if strange := {version(row) for one in new for row in one.rows} - self.api.ever:
            raise Broken("the hub holds only what was", f"{strange}")
        refused = len(self.api.answers) - len(taken)
        if refused > (outcome.status != "complete"):
            raise Broken("what was shown is stored", f"{refused} pages were not")
        book = outcome.pull
        ends = [one.head["ended"] for one in new if one.head["ended"]]
        grades = ["open", "checked", "proven"]
        weakest = min((end["proof"] for end in ends), key=grades.index, default=None)
        found = (book.requests, book.pages, book.received, book.proof, book.stop)
        told = (len(taken), len(taken), len(shown), weakest, ends[-1]["reason"] if ends else None)
        if found != told:
            raise Broken("the pull's book is what came", f"{found}, not {told}")

    def _follow(self, new: Sequence[Segment], alive: Any, passes: Sequence[Pass]) -> list[tuple[Chain, dict[str, Any]]]:
        """Which answers belong to which chain; gives those that have ended."""
        answers, ended = iter(self.api.answers), []
        for segment in new:
            head = segment.head
            chain = self.chains.get(head["chain"])
            if chain is None:
                cursor = CURSORS[self.story.cursor]
                kind = (cursor and cursor.kind) if head["purpose"] == "changed" else None
                style = KINDS[kind or self.story.kind]
                chain = Chain(head["chain"], head["purpose"], head["since"], style, alive, passes)
                self.chains[head["chain"]] = chain
            chain.answers += itertools.islice(answers, head["pages"])
            if head["ended"]:
                ended.append((chain, head["ended"]))
        return ended

    def _check_chain(self, chain: Chain, end: Mapping[str, Any]) -> None:
        """A chain that has ended missed nothing that was there throughout, but where no check could have told."""
        readings = chain.readings()
        missed = chain.owed(self.api) - {row["id"] for answer in chain.answers for row in answer.rows}
        if not missed:
            return
        shown = f"{sorted(missed)} did not come in {len(readings)} readings of {chain.name}, {chain.purpose}, ended {dict(end)}"
        if chain.style.stable:
            raise Broken("a stable way misses nothing", shown)
        if end["proof"] == "proven":
            raise Broken("what is proven lacks nothing", shown)
        nth = "first" if len(readings) == 1 else "second"
        if evidence := slips(readings[-1], chain.style.overlaps):
            raise Broken(f"a slip that the {nth} reading shows is told", f"{'; '.join(evidence)}, but {shown}")
        if nth == "first" and chain.purpose == "full" and missed & self.hub.held(chain.name, chain.passes):
            raise Broken("what the hub holds is looked for again", shown)
        self.escapes += [Escape(id_, end["proof"], len(readings)) for id_ in sorted(missed)]
        self.excused |= missed

    def _check_newest(self, alive: Mapping[int, tuple[int, Row]], with_cursor: bool) -> None:
        """After a pull that is complete, the hub's newest version of each row that stayed is as new as that of the begin."""
        newest = self.hub.newest(with_cursor)
        for id_, (life, row) in alive.items():
            if self.api.lives.get(id_) == life and id_ not in self.excused:
                found, counts = newest.get(id_, ({"version": 0}, True))
                if found["version"] < row["version"]:
                    raise Broken("what is complete is as new as it was at the pull's begin", f"row {id_}: {found}, not {row}")
                if not counts:
                    raise Broken("what stayed is not gone", f"row {id_}")

    def settle(self) -> None:
        """When all is quiet, pulls become complete again by themselves, and a complete pass makes the hub what the API is."""
        for _ in range(2):
            if self.statuses and self.statuses[-1] != "complete":
                self.pull(Pull())
        if self.statuses and self.statuses[-1] != "complete":
            raise Broken("a quiet list heals", f"{self.statuses}, {self.errors}")
        held = {key for key, (_, counts) in self.hub.newest(False).items() if counts}
        self.pull(Pull(full=True))
        self._check_settled(held - self.api.rows.keys())

    def _check_settled(self, left: set[int]) -> None:
        """`left` are the rows that the hub held, but the API has no more."""
        story, kind, api = self.story, KINDS[self.story.kind], self.api
        if self.statuses[-1] != "complete":
            raise Broken("a quiet list is complete", f"{self.statuses}, {self.errors}")
        newest = self.hub.newest(CURSORS[story.cursor] is not None)
        if {key: newest[key][0] for key in api.rows if key in newest} != api.rows:
            raise Broken("a complete pass makes the hub what the API is", f"{newest} and {api.rows}")
        counting = {key for key, (_, counts) in newest.items() if counts}
        if not counting >= api.rows.keys():
            raise Broken("what is there is not gone", f"{sorted(api.rows.keys() - counting)}")
        last = self.hub.passes[-1]
        may_tell = kind.stable or left or last.gone
        most = kind.requests(len(api.rows), story.size)
        is_unsure = kind.proof(len(api.rows), story.size) == "open" and (kind.stable or most == 1)
        if may_tell and not is_unsure and counting != api.rows.keys():
            raise Broken("a complete pass tells what is gone", f"{sorted(counting - api.rows.keys())} are")
        readings = 2 if left or not api.rows else 1
        if self._tied() or self.requests[-1] <= readings * most:
            return
        raise Broken("no more is asked than it takes", f"{self.requests[-1]} requests, not {readings} times {most}")

    def _tied(self) -> bool:
        """Whether rows share an instant that the list is walked by: then the requests depend on which."""
        instants = [row["updated_at"] for row in self.api.rows.values()]
        return "on: updated_at" in KINDS[self.story.kind].paginate and len(set(instants)) < len(instants)


def counted_plainly(stage: Stage, name: str, collection: Any, parts: Sequence[Part]) -> tuple[int, int]:
    keys = _keys(stage, name, parts)
    return len(keys), len(set(keys))


def missing_plainly(stage: Stage, name: str, collection: Any, held: Sequence[Part], met: Sequence[Part]) -> int:
    return len(set(_keys(stage, name, held)) - set(_keys(stage, name, met)))


def _keys(stage: Stage, name: str, parts: Sequence[Part]) -> list[int]:
    rows = [row for part in parts for row in read_segment(segment_file(stage.hub, name, part.segment)).rows[part.first : part.behind]]
    return [row["id"] for row in rows]


@contextmanager
def without_a_database() -> Iterator[None]:
    """Keys are counted in Python, where the engine starts a DuckDB for each run: that is most of a run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "count_keys", counted_plainly)
        patch.setattr(Stage, "count_missing", missing_plainly)
        yield


def play(story: Story, settles: bool = True, database: bool = False) -> World:
    """A story, to its quiet end if it `settles`. Raises Broken where a promise does not hold."""
    with ExitStack() as around:
        around.enter_context(small_pieces(story.segment_bytes))
        if not database:
            around.enter_context(without_a_database())
        folder = around.enter_context(tempfile.TemporaryDirectory(prefix="moving-", dir=SHM if SHM.is_dir() else None))
        world = World(story, Path(folder))
        for pull in story.pulls:
            world.pull(pull)
        if settles:
            world.settle()
        return world
