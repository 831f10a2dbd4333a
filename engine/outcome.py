"""What a run gives back: for each collection its two books, its status, and what a user has to know. Pure.

`Observer` is told the same while it comes about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from . import times
from .destinations import Receipt
from .hub.segment import Proof
from .schedule import Half
from .suggest import Misfit


class PullBook(Struct):
    """The pull's book of one collection in one run."""

    requests: int = 0
    pages: int = 0
    bytes: int = 0
    received: int = 0
    api_total: int | None = None
    stop: str | None = None
    proof: Proof | None = None
    budget_left: int | None = None
    """How many requests the tightest budget has left after the last answer; None where nothing is known of one."""
    budget_resets_at: int | None = None
    """When it has all again (microseconds)."""


class Watcher:
    """What wants to see how a pull gets on."""

    def pulled(self, name: str, book: PullBook) -> None:
        """One more page of a collection; its book so far."""

    def goes_on(self, name: str, why: str) -> None:
        """A collection's pull does more than its first step, and why."""


class Fault(Struct, frozen=True):
    """What kept one half of a collection's work from its complete end."""

    half: Half
    status: str
    sentence: str


class Outcome(Struct):
    """One collection's part in a run: its two books (None: that half did not run), and what went wrong."""

    pull: PullBook | None = None
    load: Receipt | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    misfits: dict[str, Misfit] = field(default_factory=dict)
    """By property: values that did not fit."""

    @property
    def errors(self) -> list[str]:
        return [fault.sentence for fault in self.faults]

    @property
    def status(self) -> str:
        return _worst(fault.status for fault in self.faults)

    def fail(self, half: Half, status: str, sentence: str) -> None:
        self.faults.append(Fault(half, status, sentence))

    def book(self) -> dict[str, Any]:
        """The line of the ledger, in the ledger's words."""
        pulled = asdict(self.pull) if self.pull else {}
        loaded = asdict(self.load) if self.load else {}
        first = (
            "requests", "pages", "bytes", "received", "api_total", "stop", "proof", "budget_left", "budget_resets_at",
        )  # fmt: skip
        then = (
            "read",
            "inserted",
            "updated",
            "unchanged",
            "duplicates",
            "stale",
            "filtered",
            "rejected",
            "rejected_values",
            "deleted",
            "held_back",
        )
        row = {name: pulled.get(name) for name in first} | {name: loaded.get(name) for name in then}
        return {**row, "error": "\n".join(self.errors) or None}


class Summary(Struct):
    """What a run did: its number in the hub (None for a load alone), and each collection's outcome."""

    run: int | None
    collections: dict[str, Outcome]
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return _worst(outcome.status for outcome in self.collections.values())

    def of(self, half: Half) -> tuple[str, dict[str, int], list[str]]:
        """What one half came to, over all collections: its status, its figures, and what went wrong."""
        faults = [(name, fault) for name, outcome in self.collections.items() for fault in outcome.faults if fault.half == half]
        books = [book for outcome in self.collections.values() if (book := outcome.pull if half == "pull" else outcome.load)]
        figures = {word: sum(getattr(book, word) for book in books) for word in FIGURES[half]}
        return _worst(fault.status for _, fault in faults), figures, [about(name, fault.sentence) for name, fault in faults]

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "status": self.status,
            "collections": {name: _shown(outcome.book()) for name, outcome in self.collections.items()},
        }


FIGURES: dict[Half, tuple[str, ...]] = {
    "pull": ("requests", "received"),
    "load": ("read", "inserted", "updated", "deleted", "rejected"),
}
"""What of a half's books is remembered, and told in a line."""


def about(collection: str, sentence: str) -> str:
    """A sentence that names its collection, once."""
    return sentence if re.match(rf"{collection}[:,]", sentence) else f"{collection}: {sentence}"


def _worst(statuses: Iterable[str]) -> str:
    found = set(statuses)
    return "failed" if "failed" in found else "incomplete" if "incomplete" in found else "complete"


def _shown(book: dict[str, Any]) -> dict[str, Any]:
    """A line of the ledger as people and programs outside read it: instants as text."""
    resets_at = book["budget_resets_at"]
    return {**book, "budget_resets_at": None if resets_at is None else times.show(resets_at)}


class Observer(Watcher):
    """What wants to see a run's progress; the methods may be called from two threads."""

    def planned(self, steps: Sequence[tuple[str, str]]) -> None:
        """The first step of each collection, and its reason."""

    def waiting(self, seconds: float, why: str) -> None:
        """A wait begins; one of no seconds is only a note."""

    def ended(self, name: str, outcome: Outcome) -> None:
        """A half of a collection's work has ended."""
