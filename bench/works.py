"""The work that is measured: what a server has, and the runs of a tool over it, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import data

EVERYONE = ("syncer", "script", "dlt_arrow", "dlt_tuned", "dlt", "cdk", "pyairbyte", "singer", "naive", "floor")
FAST = ("syncer", "script", "floor")


@dataclass(frozen=True)
class Run:
    """One call of a tool: what is answered to `?since=...` then, and how many rows the table has to have behind it."""

    what: str
    changes: str
    rows: int
    tools: Sequence[str] = EVERYONE
    """Those that can do it."""


@dataclass(frozen=True)
class Work:
    """A collection of so many records, and what is done with it."""

    name: str
    what: str
    collection: str
    records: int
    record: data.Record
    runs: Sequence[Run]
    tools: Sequence[str] = EVERYONE
    delay: float = 0.0
    """Seconds before each answer."""

    def prepare(self, root: Path) -> Path:
        """The pages of the collection in a folder of their own, made where they are not there yet."""
        place = root / f"{self.collection}-{self.records}"
        if not (place / "ready").exists():
            data.write(place, self.collection, self.record, data.all_of(self.records))
            data.write(place, f"{self.collection}.one_percent", self.record, data.changed(self.records), "since=now&")
            data.write(place, f"{self.collection}.nothing", self.record, ())
            (place / "ready").touch()
        return place

    def answer(self, place: Path, changes: str) -> None:
        """From now on, these changes are told."""
        link = place / f"{self.collection}.changes"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{self.collection}.{changes}")


_INCREMENTAL = tuple(tool for tool in EVERYONE if tool not in ("floor", "naive", "cdk"))


def _usual(records: int) -> list[Run]:
    return [
        Run("first load", "nothing", records),
        Run("1 % changed", "one_percent", records, _INCREMENTAL),
        Run("nothing changed", "nothing", records, _INCREMENTAL),
    ]


def _once(records: int) -> list[Run]:
    return [Run("first load", "nothing", records)]


def works(scale: float = 1.0) -> list[Work]:
    """All of it; `scale` makes it smaller, to see that it runs."""

    def of(number: int) -> int:
        return max(100, int(number * scale))

    some = ("syncer", "script", "dlt_tuned")
    return [
        Work("100k", "100,000 tickets of 1.7 KB", "tickets", of(100_000), data.ticket, _usual(of(100_000))),
        Work("1m", "1,000,000 tickets of 1.7 KB", "tickets", of(1_000_000), data.ticket, _usual(of(1_000_000)), FAST),
        Work("wide", "20,000 records of 300 columns", "wide", of(20_000), data.wide, _once(of(20_000)), some),
        Work("deep", "50,000 records of ten levels", "deep", of(50_000), data.deep, _once(of(50_000)), some),
        Work("big", "2,000 records with a text of 100 KB", "big", of(2_000), data.big, _once(of(2_000)), some),
        Work("tiny", "one hundred small records", "small", 100, data.small, _once(100), EVERYONE),
    ]
