"""The work that is measured: what a server has, and the runs of a tool over it, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import data
from .serve import Server, desk, serving

SPECS = Path(__file__).parent / "specs"
EVERYONE = ("syncer", "script", "dlt_arrow", "dlt_tuned", "dlt", "cdk", "pyairbyte", "singer", "naive", "floor")
WHOLE = ("floor", "naive", "cdk")
"""Those that always read everything."""

RECORDS: dict[str, data.Record] = {
    "tickets": data.ticket, "wide": data.wide, "deep": data.deep, "big": data.big, "small": data.small, "pages": data.small,
    "budget": data.small, "things": data.thing,
}  # fmt: skip
"""What each spec's records are."""

TOLD = {"nothing": "nothing changed", "thousand": "{:,} changed", "one_percent": "1 % changed"}
CHANGES: dict[str, Callable[[int], Iterable[tuple[int, int]]]] = {
    "nothing": lambda records: (),
    "thousand": lambda records: data.changed(records, max(1, records // 1_000), 2),
    "one_percent": lambda records: data.changed(records, 100, 3),
}
"""What may have changed of so many records: their numbers and versions."""


@dataclass(frozen=True)
class Run:
    """One call of a tool: what is answered to `?since=...` then, and how many rows the tables have to have behind it."""

    what: str
    changes: str
    rows: int
    least: int
    """The fewest requests that do it."""
    without: Sequence[str] = ()
    """The tools that cannot do it."""


@dataclass(frozen=True)
class Work:
    """Collections of so many records each, and what is done with them."""

    name: str
    what: str
    source: str
    """The name of its spec."""
    collections: Sequence[str]
    records: int
    record: data.Record
    runs: Sequence[Run]
    tools: Sequence[str] = EVERYONE
    delay: float = 0.0
    """Seconds before each answer."""
    segments: int = 0
    """The hub is filled beforehand, with so many segments; 0: it is not."""
    by_run: bool = False
    """Whether each of these is of a run of its own."""
    into_postgresql: bool = False
    budget: int = 0
    """The most requests that any minute may have; 0: any number."""
    scale: float = 1.0
    """How small it was made; 1: it is whole."""
    only_named: bool = False
    """Whether it is left out unless it is asked for."""
    text: str = ""
    """Its spec, where that is not in `specs/`."""
    server: Callable[[Path, float], AbstractContextManager[Server]] = serving

    def prepare(self, root: Path) -> Path:
        """The pages of the collections in a folder of their own, made where they are not there yet."""
        place = root / "-".join([self.source, str(self.records), *([str(self.segments)] if self.segments else [])])
        if not (place / "ready").exists():
            for name in self.collections:
                if not self.segments:
                    data.write(place, name, self.record, data.all_of(self.records))
                for changes, told in CHANGES.items():
                    data.write(place, f"{name}.{changes}", self.record, told(self.records), "since=now&")
            place.mkdir(parents=True, exist_ok=True)
            if self.text:
                self.spec(place).write_text(self.text)
            (place / "ready").touch()
        return place

    def spec(self, place: Path) -> Path:
        return place / f"{self.source}.yaml" if self.text else SPECS / f"{self.source}.yaml"

    def answer(self, place: Path, changes: str) -> None:
        """From now on, these changes are told."""
        for name in self.collections:
            link = place / f"{name}.changes"
            link.unlink(missing_ok=True)
            link.symlink_to(f"{name}.{changes}")


def works(scale: float = 1.0) -> list[Work]:
    """All of it; `scale` makes it smaller, to see that it runs."""

    def work(name: str, what: str, source: str, records: int, tools: Sequence[str], *then: str, **others: Any) -> Work:
        """A collection that is loaded, and then loaded again after some changes."""
        number = max(100, int(records * scale))
        first = [] if others.get("segments") else [Run("first load", "nothing", number, _pages(number))]
        title = what.format(number, min(number, others.get("segments", 0)))
        return Work(
            name,
            title,
            source,
            (source,),
            number,
            RECORDS[source],
            [*first, *_again(number, then)],
            tools,
            scale=number / records,
            **others,
        )

    usual, scattered = ("one_percent", "nothing"), ("thousand", "one_percent", "nothing")
    syncer, some = ("syncer",), ("syncer", "script", "dlt_tuned")
    hub, empty = {"segments": 10_000, "by_run": True}, Run("on loopback", "nothing", 0, 0)
    return [
        work("100k", "{:,} tickets of 1.7 KB", "tickets", 100_000, EVERYONE, *usual),
        work("1m", "{:,} tickets of 1.7 KB", "tickets", 1_000_000, ("syncer", "script", "floor"), *usual),
        work("5m", "{:,} tickets of 1.7 KB", "tickets", 5_000_000, syncer, only_named=True),
        _many(50, some),
        work("wide", "{:,} records of 300 columns", "wide", 20_000, some),
        work("deep", "{:,} records of ten levels", "deep", 50_000, some),
        work("big", "{:,} records with a text of 100 KB", "big", 2_000, some),
        work("tiny", "{:,} small records", "small", 100, EVERYONE),
        work("latency", "{:,} small records, each answer after 50 ms", "pages", 80_000, ("syncer_16", "syncer_1"), delay=0.05),
        work("budget", "{:,} small records, 300 requests a minute", "budget", 40_000, syncer, budget=300),
        work("postgresql", "{:,} tickets into PostgreSQL", "tickets", 100_000, ("syncer", "dlt_postgresql"), into_postgresql=True),
        work("into_100k", "a table of {:,} records of 200 bytes", "things", 100_000, syncer, *scattered, segments=2),
        work("into_1m", "a table of {:,} records of 200 bytes", "things", 1_000_000, syncer, *scattered, segments=20),
        work("into_10m", "a table of {:,} records of 200 bytes", "things", 10_000_000, syncer, *scattered, segments=200),
        work("hub", "{:,} records in a hub of {:,} segments", "things", 100_000, syncer, "nothing", **hub),
        Work("start", "syncer's start", "desk", (), 0, data.small, [empty], ("help", "validate", "empty"), server=desk),
    ]


def _pages(records: int) -> int:
    return max(1, -(-records // data.PER_PAGE))


def _again(records: int, changes: Iterable[str]) -> list[Run]:
    """A run after each of these changes."""
    told = [(name, sum(1 for _ in CHANGES[name](records))) for name in changes]
    return [Run(TOLD[name].format(number), name, records, _pages(number), WHOLE) for name, number in told]


def _many(records: int, tools: Sequence[str]) -> Work:
    """Two hundred collections in one spec."""
    names = [f"many_{number:03}" for number in range(200)]
    each = "{key: id, cursor: {property: updated_at, param: since}, properties: {id: integer, updated_at: timestamp, name: string}}"
    text = (SPECS / "small.yaml").read_text().partition("collections:")[0].replace("name: small", "name: many")
    text += "collections:\n" + "".join(f"  {name}: {each}\n" for name in names)
    first = Run("first load", "nothing", records * len(names), len(names))
    title = f"{len(names)} collections of {records} small records"
    return Work("many", title, "many", names, records, data.small, [first], tools, text=text)
