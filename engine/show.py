"""What a run does and did, for people: progress while it goes, the ledger when it is done. I/O: writes to stderr only.

On a terminal a line a collection that moves; elsewhere a plain line for each thing that ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import times
from .compact import Compacted
from .document import yaml_text
from .drift import Drift, Field
from .outcome import Observer, Outcome, PullBook, Summary, about
from .spec import is_feed

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_COLUMNS = {
    "requests": "requests", "received": "received", "read": "read", "inserted": "inserted", "updated": "updated",
    "unchanged": "unchanged", "duplicates": "duplicates", "rejected": "rejected", "deleted": "deleted", "proof": "proof", "stop": "stop",
}  # fmt: skip


@contextmanager
def progress() -> Iterator[Observer]:
    """An observer that shows what it sees, as the terminal allows."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>8}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


class Lines(Observer):
    """Plain lines, for logs."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def planned(self, steps: Sequence[tuple[str, str]]) -> None:
        for name, reason in steps:
            self._say(f"{name}: {reason}")

    def goes_on(self, name: str, why: str) -> None:
        self._say(f"{name}: {why}")

    def waiting(self, seconds: float, why: str) -> None:
        if seconds >= 1:
            self._say(f"waits {seconds:.0f} s: {why}")
        elif seconds == 0:
            self._say(why)

    def ended(self, name: str, outcome: Outcome) -> None:
        if outcome.load is not None:
            book = outcome.load
            wrote = f"{book.inserted:,} inserted, {book.updated:,} updated, {book.deleted:,} deleted"
            self._say(f"{name}: loaded, {book.read:,} read, {wrote}")
        elif outcome.pull is not None:
            pulled = outcome.pull
            end = pulled.stop if outcome.status == "complete" else outcome.status
            self._say(f"{name}: pulled, {pulled.requests:,} requests, {pulled.received:,} records, {end or 'nothing was due'}")

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._began:7.1f}s  {line}\n")
        sys.stderr.flush()


class Bars(Observer):
    """A moving line for each collection."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._current: str | None = None

    def planned(self, steps: Sequence[tuple[str, str]]) -> None:
        for name, reason in steps:
            self._tasks[name] = self._bars.add_task(name, total=None, rate="", note=reason, start=False)

    def pulled(self, name: str, book: PullBook) -> None:
        if name != self._current:
            self._current, self._began[name] = name, time.monotonic()
            self._bars.start_task(self._task(name))
        rate = book.received / max(time.monotonic() - self._began[name], 0.001)
        note = f"{book.pages:,} pages"
        self._bars.update(self._task(name), completed=book.received, total=book.api_total, rate=f"{rate:,.0f}/s", note=note)

    def waiting(self, seconds: float, why: str) -> None:
        if self._current and seconds >= 1:
            self._bars.update(self._task(self._current), note=f"waits {seconds:.0f} s: {why}")

    def ended(self, name: str, outcome: Outcome) -> None:
        if outcome.status != "complete":
            note = outcome.status
        elif outcome.load is None:
            note = "in the hub"
        else:
            note = f"loaded: {outcome.load.inserted:,} new, {outcome.load.updated:,} changed, {outcome.load.deleted:,} deleted"
        self._bars.update(self._task(name), note=note)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, rate="", note="")
        return self._tasks[name]


def summary_lines(label: str, summary: Summary) -> list[str]:
    """The ledger of a run, as a table."""
    books = {name: outcome.book() for name, outcome in summary.collections.items()}
    shown = [word for word in _COLUMNS if any(book[word] is not None for book in books.values())]
    rows = [["", *shown]] + [[name, *(_cell(book[word]) for word in shown)] for name, book in books.items()]
    lines = _table(rows)
    run = f"run {summary.run}" if summary.run is not None else "load"
    return [*lines, f"{label}, {run}: {summary.status}"]


def remarks(summary: Summary) -> list[str]:
    """What went wrong, and what a user should know, a sentence each."""
    lines = []
    for name, outcome in summary.collections.items():
        lines += [about(name, sentence) for sentence in (*outcome.errors, *outcome.notes)]
        if outcome.load and (outcome.load.rejected or outcome.load.rejected_values):
            lines.append(f"{name}: `syncer rejects` shows what did not fit; it is in the table _syncer_rejects")
        if outcome.pull and outcome.pull.proof == "open":
            so = "so some of what was deleted may be missing" if is_feed(name) else "so nothing is taken for deleted"
            lines.append(f"{name}: nothing to check the pages against (proof: open), {so}")
    return lines + summary.notes


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """What a hub holds, as a table."""
    if status["id"] is None:
        return [f"{status['hub']}: nothing was pulled yet"]
    lines = [f"hub {status['hub']} ({status['id']}), filled from {status['origin']}, {status['runs']} runs"]
    words = ("records", "segments", "passes", "last_pass", "changes_since")
    rows = [["", *(word.replace("_", " ") for word in words), "open"]]
    for name, found in status["collections"].items():
        unfinished = ", ".join(f"{purpose} after {after}" for purpose, after in found["open"].items())
        rows.append([name, *(_cell(found[word]) for word in words), unfinished or "-"])
    lines += _table(rows)
    lines += _turn_lines("pulls", status["pulls"])
    for past in status["loads"]:
        lines += _turn_lines(f"loads into {past['into']}, {past['schema']}", past["turns"])
    return lines


def _turn_lines(what: str, turns: Sequence[Mapping[str, Any]], most: int = 3) -> list[str]:
    """The last times that a half was carried out."""
    lines = [f"{what}:"] if turns else []
    for one in turns[:most]:
        figures = "".join(f", {number:,} {word}" for word, number in one["figures"].items() if number)
        failures = f", the {one['failures']}. in a row" if one["failures"] > 1 and one["ended"] else ""
        lines.append(f"  {one['began']}  {one['status'] or 'under way, or killed'}{failures}{figures}")
        lines += [f"    {_shortened(sentence)}" for sentence in one["told"][:most]]
    return lines


def rejects_lines(rejects: Sequence[Mapping[str, Any]]) -> list[str]:
    """What did not fit: a paragraph a property."""
    lines = []
    for one in rejects:
        what = "records" if one["whole"] else "values"
        of = f"{one['collection']}.{one['property']} ({one['type']})" if one["property"] else one["collection"]
        lines.append(f"{of}, {one['place']}: {one['count']:,} {what}; the first {one['reason']}, {one['segment']}")
        lines += [f"    {_shortened(raw)}" for raw in one["samples"]]
        lines += [f"  perhaps `{one['perhaps']}`"] if one["perhaps"] else []
    return lines or ["every value fits"]


def _shortened(raw: str) -> str:
    return raw if len(raw) <= 100 else f"{raw[:97]}..."


def holdings_lines(holdings: Mapping[str, Any]) -> list[str]:
    """How large a hub is, as a table."""
    if holdings["id"] is None:
        return [f"{holdings['hub']}: nothing was pulled yet"]
    words = ("records", "segments", "damaged", "bytes", "raw_bytes", "oldest", "newest")
    rows = [["", *(word.replace("_", " ") for word in words)]]
    rows += [[name, *(_cell(found[word]) for word in words)] for name, found in holdings["collections"].items()]
    return [f"hub {holdings['hub']} ({holdings['id']})", *_table(rows), *_warehouse_lines(holdings["warehouses"])]


def _warehouse_lines(warehouses: Sequence[Mapping[str, Any]]) -> list[str]:
    words = ("schema", "into", "loaded_at", "segments_to_load")
    rows = [["warehouse", *(word.replace("_", " ") for word in words)]]
    rows += [[one["id"], *(_cell(one[word]) for word in words)] for one in warehouses]
    return ["", *_table(rows)] if warehouses else []


def compacted_lines(done: Mapping[str, Compacted]) -> list[str]:
    """What a compaction did, as a table, and why some segments stay as they are."""
    rows = [["", "keep", "segments", "records", "left", "bytes", "left"]]
    rows += [
        [name, one.keep, *map(_cell, (one.segments, one.records, one.records_left, one.bytes, one.bytes_left))]
        for name, one in done.items()
    ]
    held = [f"{name}: what is newer stays as it is: {one.held_by}" for name, one in done.items() if one.held_by and one.keep != "all"]
    return [*_table(rows), *held]


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return (first[0].ljust(first[1]) + "".join("  " + cell.rjust(width) for cell, width in rest)).rstrip()


def drift_lines(drift: Mapping[str, Drift]) -> list[str]:
    """What the spec does not name, a table a collection, and the properties that would name it."""
    lines = []
    for name, one in drift.items():
        if one.fields:
            rows = [[name, "type", "filled", "since", "like"]]
            rows += [
                [found.path.text, found.type or "null", f"{found.there / one.records:.1%}", *_first(found)] for found in one.fields.values()
            ]
            widths = [max(len(row[place]) for row in rows) for place in range(4)]
            lines += ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows]
        lines += [f"{name}: no record has {', '.join(one.never)}, as the spec has it"] if one.never else []
    proposed = {name: members for name, one in drift.items() if (members := one.proposed())}
    if proposed:
        lines += ["", "to be added (--apply does it):", "", "collections:"]
    for name, members in proposed.items():
        lines += [f"  {name}:", "    properties:", *(f"      {yaml_text(word)}: {value}" for word, value in members.items())]
    return lines or ["the spec names all that the hub's records hold"]


def _first(found: Field) -> tuple[str, str]:
    return times.show(found.first_seen), _shortened(next(iter(found.samples), "-"))


def drift_document(drift: Mapping[str, Drift]) -> dict[str, Any]:
    """The same for programs."""
    return {
        name: {
            "records": one.records,
            "never": one.never,
            "fields": [
                {
                    "path": found.path.text,
                    "type": found.type,
                    "filled": found.there,
                    "kinds": dict(found.kinds),
                    "first_seen": times.show(found.first_seen),
                    "sample": next(iter(found.samples), None),
                }
                for found in one.fields.values()
            ],
            "proposed": one.proposed(),
        }
        for name, one in drift.items()
    }
