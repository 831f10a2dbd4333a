"""A small API that lives in the test's own process, and a hand that kills a run at any durable step of it.

The API has two lists, and a clock of its own. `things` is walked by key and can be asked for changes, `pages` has numbered
pages that shift. Of each it tells what was deleted, page by page (`LIST/deleted`), and what is deleted now (`LIST/bin`). Nothing
here sleeps, opens a port or knows the engine's insides, except where `Death` reaches for the three places at which something
becomes durable: a put into the hub, a request, a transaction of the warehouse.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from rest_syncer.engine import chain, load
from rest_syncer.engine.clock import Clock
from rest_syncer.engine.compact import Compacted, compact
from rest_syncer.engine.destinations.duckdb import DuckDB
from rest_syncer.engine.hub.bucket import Bucket
from rest_syncer.engine.hub.folder import Folder
from rest_syncer.engine.hub.store import Store
from rest_syncer.engine.parse import Source, parse_spec
from rest_syncer.engine.run import Options, Summary, run
from rest_syncer.engine.settings import Settings

LISTS = ("things", "pages")
PER_PAGE = 3
SKEW = -12_345.0
"""By how many seconds this machine's clock is wrong, unless a test says otherwise."""
NO_SETTINGS = Settings({}, frozenset())

SPEC = """
syncer: 1
name: model
api:
  base_url: https://api.example.com
  records: entries
collections:
  things:
    key: id
    params: {per_page: 3}
    paginate: {kind: key_set, on: id, param: since_id, start: 0, total: total}
    cursor: {property: updated_at, param: since, format: epoch_s, lag: 0s}
    changed: {path: /things/changed}
    properties: &properties
      id: integer
      name: string
      updated_at: {type: timestamp, format: epoch_s}
  pages:
    key: id
    params: {per_page: 3}
    paginate: {kind: number, total: total}
    cursor: {property: updated_at}
    properties: *properties
"""

SIZED = SPEC.replace("      name: string\n", "      name: string\n      size: integer\n")
"""The same spec with one more property, which the API sent all along."""

SOURCES: dict[bool, Source] = {False: parse_spec(SPEC, "model.yaml"), True: parse_spec(SIZED, "model.yaml")}


@cache
def source(sized: bool, rows: str = "", keep: str = "all") -> Source:
    """The spec, with a word of what becomes of rows (`mode: append`, say), in which LIST is the list, and of what the hub keeps."""
    text = (SIZED if sized else SPEC) + (f"\nkeep: {keep}\n" if keep != "all" else "")
    text = text.replace("    changed: {path: /things/changed}\n", "") if rows == "mode: snapshot" else text
    for name in LISTS if rows else ():
        text = text.replace(f"  {name}:\n", f"  {name}:\n    {rows.replace('LIST', name)}\n")
    return parse_spec(text, "model.yaml")


class Api:
    """The model API: its records, its clock, and what is to happen while it answers."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.ahead = 0
        """By how many seconds its clock is wrong."""
        self.went_back = False
        self.lists: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in LISTS}
        self.gone: dict[str, set[int]] = {name: set() for name in LISTS}
        """Every id that was deleted, whether or not it came back."""
        self.deletions: dict[str, list[dict[str, int]]] = {name: [] for name in LISTS}
        self.changed: dict[tuple[str, int], int] = {}
        """The change, by its number, that made each record what it is."""
        self.plain: dict[tuple[str, int], bool] = {}
        """Whether a record's cursor can be trusted: its newest version has the highest it ever had, and moved it."""
        self.requests = 0
        self.during: dict[int, list[Callable[[], None]]] = {}
        """What happens while a request is answered, by the request's number from now on."""
        self.down_from: int | None = None
        """From which request on there are only 503s."""
        self.interrupt_at: int | None = None
        self._highest: dict[tuple[str, int], int] = {}
        self.changes = 0
        self._versions = itertools.count(1)

    @property
    def second(self) -> int:
        return int(self.now) + self.ahead

    def mend_clock(self, ahead: int) -> None:
        """From now on the clock is ahead by so much: what it shows next may lie before what it showed."""
        self.went_back |= ahead < self.ahead
        self.ahead = ahead

    def add(self, name: str, id_: int) -> None:
        if id_ not in self.lists[name]:
            self.lists[name][id_] = {"id": id_, "name": "", "size": 0, "updated_at": 0}
            self._write(name, id_, self.second)

    def update(self, name: str, id_: int) -> None:
        self._write(name, id_, self.second)

    def change_silently(self, name: str, id_: int) -> None:
        if id_ in self.lists[name]:
            self._write(name, id_, self.lists[name][id_]["updated_at"])

    def shift(self, name: str, id_: int, seconds: int) -> None:
        """Another content, with an instant that is wrong: of a backup that was put back, or of a clock that runs ahead."""
        self._write(name, id_, self.second + seconds)

    def mangle(self, name: str, id_: int, value: Any) -> None:
        """The instant of the last change becomes null, or something that is none."""
        self._write(name, id_, value)

    def delete(self, name: str, id_: int) -> None:
        if self.lists[name].pop(id_, None):
            self.gone[name].add(id_)
            self.deletions[name].append({"id": id_, "gone_at": self.second})
            self.changes += 1

    def _write(self, name: str, id_: int, updated_at: Any) -> None:
        if id_ not in self.lists[name]:
            return
        version = next(self._versions)
        self.lists[name][id_] = {"id": id_, "name": f"version {version}", "size": version % 7, "updated_at": updated_at}
        self.changes += 1
        spot = (name, id_)
        instant = updated_at if isinstance(updated_at, int) else -1
        self.changed[spot] = self.changes
        self.plain[spot] = instant == self.second and instant >= self._highest.get(spot, -1)
        self._highest[spot] = max(instant, self._highest.get(spot, -1))

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the API says: it reads at once, then time passes and others write, then it dates its answer."""
        self.requests += 1
        self.now += 0.25
        if self.interrupt_at is not None and self.requests >= self.interrupt_at:
            raise KeyboardInterrupt
        if self.down_from is not None and self.requests >= self.down_from:
            return httpx.Response(503, html="<h1>busy</h1>")
        params, path = request.url.params, request.url.path
        name, _, way = path.strip("/").partition("/")
        rows = [row for _, row in sorted(self.lists[name].items())]
        if way == "deleted":
            rows = [row for row in self.deletions[name] if row["gone_at"] >= int(params.get("since", 0))]
        elif way == "bin":
            rows = [{"id": id_} for id_ in sorted(self.gone[name] - self.lists[name].keys())]
        elif "since" in params:
            rows = [row for row in rows if isinstance(row["updated_at"], int) and row["updated_at"] >= int(params["since"])]
        if way not in ("", "changed", "deleted", "bin") or (way in ("", "changed") and (way == "changed") != ("since" in params)):
            return httpx.Response(404)
        if "since_id" in params:
            rows = [row for row in rows if row["id"] >= int(params["since_id"])]
        first = (int(params.get("page", 1)) - 1) * PER_PAGE
        body = json.dumps({"total": len(rows), "entries": rows if way == "bin" else rows[first : first + PER_PAGE]})
        for happening in self.during.pop(self.requests, []):
            self.now += 1.5
            happening()
        self.now += 0.25
        date = formatdate(self.second, usegmt=True)
        return httpx.Response(200, content=body, headers={"Date": date, "Content-Type": "application/json"})


class ModelClock(Clock):
    """A machine's clocks: time passes here as it does at the API, but its wall clock is wrong by `skew` seconds."""

    def __init__(self, api: Api, skew: float = SKEW) -> None:
        self.api, self.skew = api, skew

    def monotonic(self) -> float:
        return self.api.now

    def time(self) -> float:
        return self.api.now + self.skew

    def sleep(self, seconds: float) -> None:
        self.api.now += seconds

    def dice(self) -> float:
        return 0.5


class Killed(BaseException):
    """What a killed process would not have lived to see. No handler of the engine may do anything durable after it."""


@dataclass
class Death:
    """Comes at one durable step of a run, by its number from 0, and stays: after it, nothing becomes durable any more."""

    at: int
    steps: list[str] = field(default_factory=list)
    dead: bool = False

    def step(self, name: str) -> None:
        if not self.dead:
            self.steps.append(name)
            self.dead = len(self.steps) > self.at
        if self.dead:
            raise Killed(name)


@contextmanager
def deadly(death: Death | None) -> Iterator[None]:
    """Let a death reach every put and every transaction in this process; the transport is handed it by `carry_out`."""
    if death is None:
        yield
        return
    connection = DuckDB._connection

    def deadly_remove(remove: Callable[..., None]) -> Callable[..., None]:
        def mortal(self: Store, name: str) -> None:
            death.step(f"before the removal of {name}")
            remove(self, name)

        return mortal

    def deadly_put(put: Callable[..., bool]) -> Callable[..., bool]:
        def mortal(self: Store, name: str, data: bytes) -> bool:
            death.step(f"before the put of {name}")
            new = put(self, name, data)
            death.step(f"after the put of {name}")
            return new

        return mortal

    def deadly_connection(self: DuckDB) -> Any:
        return _Mortal(connection(self), death)

    with pytest.MonkeyPatch.context() as patch:
        for store in (Folder, Bucket):
            patch.setattr(store, "put", deadly_put(store.put))
            patch.setattr(store, "remove", deadly_remove(store.remove))
        patch.setattr(DuckDB, "_connection", deadly_connection)
        yield


class _Mortal:
    """A connection whose transactions can be cut off before they begin, before they are committed, and just after."""

    def __init__(self, con: Any, death: Death) -> None:
        self._con, self._death = con, death

    def execute(self, sql: str, *args: Any) -> Any:
        if sql in ("BEGIN", "COMMIT"):
            self._death.step(f"before {sql}")
        result = self._con.execute(sql, *args)
        if sql == "COMMIT":
            self._death.step("after COMMIT")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)


@contextmanager
def small_pieces(segment_bytes: int = 150, load_bytes: int = 500) -> Iterator[None]:
    """Chains of many segments, backlogs of many loads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "SEGMENT_BYTES", segment_bytes)
        patch.setattr(load, "LOAD_BYTES", load_bytes)
        yield


def compacted(
    api: Api, folder: Path, source: Source, death: Death | None = None, select: Sequence[str] = (), where: str | None = None
) -> dict[str, Compacted] | None:
    """A compaction of the hub; None where it was killed."""
    with deadly(death):
        try:
            return compact(source, Options(hub=where or str(folder / "hub"), select=tuple(select)), ModelClock(api))
        except Killed:
            return None


def carry_out(
    api: Api,
    folder: Path,
    verb: str = "run",
    *,
    to: str = "one",
    source: Source = SOURCES[False],
    full: bool = False,
    death: Death | None = None,
    select: Sequence[str] = (),
    where: str | None = None,
    settings: Settings = NO_SETTINGS,
    skew: float = SKEW,
) -> Summary | None:
    """One run, with nothing left over from runs before it but what they stored; None where it was killed."""

    def answer(request: httpx.Request) -> httpx.Response:
        if death is not None:
            death.step(f"before the request {request.url.raw_path.decode()}")
        return api.answer(request)

    options = Options(hub=where or str(folder / "hub"), to=f"duckdb:{folder / to}.duckdb", full=full, select=tuple(select))
    with deadly(death):
        try:
            return run(source, settings, options, verb, None, ModelClock(api, skew), httpx.MockTransport(answer))
        except Killed:
            return None
