"""Carries out plans: a source run (`pull`), a warehouse run (`load`), or both, pipelined (`run`). I/O.

It decides nothing that the plan did not; it opens and closes what the halves need, keeps one collection's failure from the
others, and sums up what happened.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import times
from .account import locked
from .destinations import Receipt, Warehouse, warehouse
from .errors import Incomplete, Refused, SyncerError, UsageError
from .exchange import origin
from .fetch import Clock, Fetcher
from .hub import Hub, Identity
from .kinds import did_you_mean
from .load import Loader
from .parse import Source
from .plan import Run
from .pull import PullBook, Puller
from .settings import Settings, needed

if TYPE_CHECKING:
    import httpx

SEGMENTS_AHEAD = 4
"""How many segments of a first pass are loaded together while it still goes on."""

INTERRUPTED = "interrupted; what was received is kept, and the same command goes on from there"


@dataclass(frozen=True)
class Options:
    """What a command was asked to do, besides the spec and its settings."""

    hub: str = ".syncer/hub"
    to: str | None = None
    schema: str | None = None
    select: tuple[str, ...] = ()
    full: bool = False
    same_account: bool = False


@dataclass
class Outcome:
    """One collection's part in a run: its two books (None: that half did not run), and what went wrong."""

    pull: PullBook | None = None
    load: Receipt | None = None
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    status: str = "complete"

    def fail(self, status: str, sentence: str) -> None:
        self.errors.append(sentence)
        self.status = "failed" if "failed" in (status, self.status) else status

    def book(self) -> dict[str, Any]:
        """The line of the ledger, in the ledger's words."""
        pulled = asdict(self.pull) if self.pull else {}
        loaded = asdict(self.load) if self.load else {}
        first = ("requests", "pages", "bytes", "received", "api_total", "stop", "proof")
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
        )
        row = {name: pulled.get(name) for name in first} | {name: loaded.get(name) for name in then}
        return {**row, "error": "\n".join(self.errors) or None}


@dataclass
class Summary:
    """What a run did: its number in the hub (None for a load alone), and each collection's outcome."""

    run: int | None
    collections: dict[str, Outcome]
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        found = {outcome.status for outcome in self.collections.values()}
        return "failed" if "failed" in found else "incomplete" if "incomplete" in found else "complete"

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "status": self.status,
            "collections": {name: outcome.book() for name, outcome in self.collections.items()},
        }


class Observer:
    """What wants to see a run's progress; the methods may be called from two threads."""

    def planned(self, steps: Sequence[tuple[str, str]]) -> None:
        """The first step of each collection, and its reason."""

    def pulled(self, name: str, book: PullBook) -> None:
        """One more page."""

    def waiting(self, seconds: float, why: str) -> None:
        """A wait begins."""

    def ended(self, name: str, outcome: Outcome) -> None:
        """A half of a collection's work has ended."""


def run(
    source: Source,
    settings: Settings,
    options: Options,
    halves: Iterable[str] = ("pull", "load"),
    observer: Observer | None = None,
    clock: Clock | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Summary:
    """Pull, load, or both. Raises UsageError before anything is touched; what fails later is in the summary."""
    observer, clock = observer or Observer(), clock or Clock()
    names = selected(source, options.select)
    summary = Summary(None, {name: Outcome() for name in names})
    schema = options.schema or source.spec.name.text
    started = int(clock.time() * 1_000_000)
    hub = Hub(Path(options.hub), source.spec.name.text)
    with contextlib.ExitStack() as stack:
        target: Warehouse | None = None
        if "load" in halves:
            target = warehouse(options.to or f"duckdb:{source.spec.name}.duckdb", schema)
            stack.callback(target.close)
            target.check()
        loads: _Loads | None = None
        if "pull" in halves:
            base = needed(source.spec, settings, names)
            identity = _claim(source, settings, hub, base, options)
            stack.enter_context(locked(hub.root, "pull"))
            hub.folder.sweep()
            if target is not None:
                loads = stack.enter_context(_Loads(source, hub, identity, target, schema, started, summary, observer))
            _pull(source, settings, hub, names, options, summary, observer, clock, transport, loads, started)
        elif target is not None:
            known = hub.identity()
            if known is None:
                raise UsageError(f"hub {hub.root}: is empty; fill it first, with `syncer pull` or `syncer run`, or name another with --hub")
            loads = stack.enter_context(_Loads(source, hub, known, target, schema, started, summary, observer))
            for name in names:
                loads.submit(name)
        if loads is not None:
            loads.finish()
            loads.record(options, halves, started, int(clock.time() * 1_000_000))
    return summary


def selected(source: Source, select: Sequence[str]) -> list[str]:
    """The collections to work on, in the spec's order. Raises UsageError for one that the spec does not have."""
    known = source.spec.collections
    if unknown := [name for name in select if name not in known]:
        told = "; ".join(f"--select {name}: no such collection; {did_you_mean(name, known)}" for name in unknown)
        raise UsageError(told)
    return [name for name in known if not select or name in select]


def status(source: Source, options: Options) -> dict[str, Any]:
    """What a hub holds of each collection, and where its next pull goes on: for those who only look."""
    hub = Hub(Path(options.hub), source.spec.name.text)
    identity, state = hub.identity(), hub.state()
    collections = {}
    for name, collection in source.spec.collections.items():
        found, heads = state.of(name), [hub.head(name, segment) for segment in hub.segments(name)]
        collections[name] = {
            "segments": len(heads),
            "records": sum(head.records for head in heads),
            "passes": len(found.passes),
            "last_pass": times.show(found.passes[-1].began) if found.passes else None,
            "changes_since": times.show(found.cursor) if found.cursor is not None and collection.can_ask_changes else None,
            "open": {purpose: chain.after for purpose, chain in found.open.items()},
        }
    origin_ = identity.origin if identity else None
    return {
        "hub": str(hub.root),
        "id": identity and identity.id,
        "origin": origin_,
        "runs": state.run,
        "collections": collections,
    }


def _claim(source: Source, settings: Settings, hub: Hub, base: str, options: Options) -> Identity:
    account = {name: settings.values[name] for name, setting in source.spec.settings.items() if setting.account and name in settings.values}
    return hub.claim(origin(base), account, options.same_account)


def _pull(
    source: Source,
    settings: Settings,
    hub: Hub,
    names: Sequence[str],
    options: Options,
    summary: Summary,
    observer: Observer,
    clock: Clock,
    transport: httpx.BaseTransport | None,
    loads: _Loads | None,
    started: int,
) -> None:
    """The source run: a plan, then its collections one after the other; each is handed to the loads as soon as it is in."""
    state = hub.state()

    def stored(name: str) -> None:
        """While a first pass goes on, what is durable is loaded beside it; a later pass is loaded when it has ended."""
        if loads is not None and not state.of(name).passes:
            loads.stored(name)

    with Fetcher(source.spec.api, settings, source.spec.label, clock, transport, observer.waiting) as fetcher:
        puller = Puller(source.spec, hub, fetcher, Run(state.run + 1, started, options.full), observer.pulled, stored)
        steps = {name: puller.first_step(name, state.of(name)) for name in names}
        plan = {"format": 1, "at": started, "steps": {name: step.as_json() for name, step in steps.items() if step}}
        number = hub.begin(plan, state)
        puller.run = Run(number, started, options.full)
        summary.run = number
        observer.planned([(name, step.reason if step else "nothing is due") for name, step in steps.items()])
        stopped: str | None = None
        for name in names:
            outcome = summary.collections[name]
            book = outcome.pull = PullBook()
            if stopped is not None:
                outcome.fail("failed", stopped)
                continue
            try:
                puller.pull(name, state.of(name), book)
            except Refused as error:
                stopped = settings.hide(str(error))
                outcome.fail("failed", stopped)
            except SyncerError as error:
                outcome.fail("incomplete" if isinstance(error, Incomplete) else "failed", settings.hide(str(error)))
            except KeyboardInterrupt:
                stopped = INTERRUPTED
                outcome.fail("incomplete", stopped)
            except Exception as error:
                outcome.fail("failed", _unexpected(error))
            observer.ended(name, outcome)
            if loads is not None:
                loads.submit(name)


def _unexpected(error: Exception) -> str:
    """A mistake of ours, so that one collection fails and the others finish. Its text may hold data: only its place is told."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"unexpected {type(error).__name__} at {place}; please report this"


class _Loads:
    """The warehouse run, beside the source run in a thread of its own: one loader, one collection after the other."""

    def __init__(
        self,
        source: Source,
        hub: Hub,
        identity: Identity,
        target: Warehouse,
        schema: str,
        now: int,
        summary: Summary,
        observer: Observer,
    ) -> None:
        self.source, self.hub, self.identity, self.target, self.schema = source, hub, identity, target, schema
        self.now, self.summary, self.observer = now, summary, observer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loader: Loader | None = None
        self._futures: list[Future[None]] = []
        self._stored: Counter[str] = Counter()

    def __enter__(self) -> _Loads:
        self._lock = locked(self.hub.root, f"load into {self.schema}")
        self._lock.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._lock.__exit__(None, None, None)

    def submit(self, name: str) -> None:
        """Load what there is of a collection; its pull has ended."""
        self._futures.append(self._thread.submit(self._load, name, True))

    def stored(self, name: str) -> None:
        """One more segment is there. Several together are loaded at once, when nothing else is being loaded."""
        self._stored[name] += 1
        if self._stored[name] >= SEGMENTS_AHEAD and all(future.done() for future in self._futures):
            self._stored[name] = 0
            self._futures.append(self._thread.submit(self._load, name, False))

    def finish(self) -> None:
        """Wait for all that was submitted."""
        for future in self._futures:
            future.result()

    def record(self, options: Options, halves: Iterable[str], started: int, ended: int) -> None:
        verb = "run" if len(tuple(halves)) == 2 else "load"
        rows = [
            {
                "run": self.summary.run,
                "verb": verb,
                "collection": name,
                "status": outcome.status,
                "started_at": started,
                "ended_at": ended,
            }
            | outcome.book()
            for name, outcome in self.summary.collections.items()
        ]
        with contextlib.suppress(SyncerError):
            self._thread.submit(self.target.record, rows).result()

    def _load(self, name: str, last: bool) -> None:
        outcome = self.summary.collections[name]
        outcome.load = outcome.load or Receipt(0)
        try:
            if self._loader is None:
                self._met_stranger()
                self._loader = Loader(self.source, self.hub, self.identity.id, self.target, self.schema, self.now)
            receipt, note = self._loader.load(name)
            outcome.load = outcome.load.plus(receipt)
            if note:
                outcome.notes.append(note)
            if last and receipt.read and receipt.read == receipt.rejected:
                outcome.fail("incomplete", "every record was rejected; see _syncer_rejects for why, and correct the key or `records`")
        except SyncerError as error:
            if last:  # what failed before is tried again by then
                outcome.fail("failed", str(error))
        except Exception as error:
            outcome.fail("failed", _unexpected(error))
        if last:
            self.observer.ended(name, outcome)

    def _met_stranger(self) -> None:
        others = [hub for hub in self.target.hubs() if hub != self.identity.id]
        if others and self.identity.id not in self.target.hubs():
            self.summary.notes.append(
                f"the warehouse was loaded from another hub ({', '.join(others)}) before, this one ({self.identity.id}) is new to it: "
                "everything is loaded again, and outranks what is there"
            )
