"""Carries out plans: a source run (`pull`), a warehouse run (`load`), or both, pipelined (`run`). I/O.

It decides nothing that the plan did not; it opens and closes what the halves need, keeps one collection's failure from the
others, and sums up what happened.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .account import COMPACTION, locked
from .clock import Clock
from .destinations import Receipt, Warehouse, warehouse
from .errors import INTERRUPTED, Damaged, Incomplete, Refused, SyncerError, UsageError
from .exchange import origin
from .hub import Damage, Hub, Identity
from .kinds import did_you_mean
from .load import Loader, table_of
from .outcome import Observer, Outcome, PullBook, Summary
from .parse import Source
from .plan import Run
from .pull import Puller
from .schedule import Half
from .settings import Settings, needed
from .side_by_side import side_by_side
from .spare import begin_duckdbs
from .spec import Spec
from .stage import WORKERS, Stage
from .suggest import merged, worst
from .turns import turn

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from .fetch import Fetcher

SECONDS_TO_STOP = 5.0
"""How long an interrupted run waits for the answers under way, to keep what they bring."""
DUCKDBS = 2
"""How many a load needs in any case: one that stages, and one that is the warehouse, or writes what is sent there."""
SEGMENTS_AHEAD = 6
"""How many segments of a first pass are loaded together while it still goes on: a few large loads take less than many small ones."""


class Options(Struct, frozen=True):
    """What a command was asked to do, besides the spec and its settings."""

    hub: str = ".syncer/hub"
    to: str | None = None
    schema: str | None = None
    select: tuple[str, ...] = ()
    full: bool = False
    same_account: bool = False
    allow_deletes: bool = False
    """Whether rows may be marked as gone, however many they are."""

    def warehouse_of(self, source: str) -> str:
        return self.to or f"duckdb:{source}.duckdb"

    def schema_of(self, source: str) -> str:
        return self.schema or source

    def lock_of(self, half: Half, source: str) -> tuple[str, str]:
        """What is locked while a half of a source is carried out, and which target of it."""
        return ("pull", "") if half == "pull" else (f"load into {self.schema_of(source)}", self.warehouse_of(source))


class _Job(Struct, frozen=True):
    """What the two halves of a run share."""

    source: Source
    hub: Hub
    options: Options
    summary: Summary
    observer: Observer
    clock: Clock
    started: int
    verb: str

    @property
    def name(self) -> str:
        return self.source.spec.name.text

    @property
    def schema(self) -> str:
        return self.options.schema_of(self.name)

    @property
    def to(self) -> str:
        return self.options.warehouse_of(self.name)

    @property
    def collections(self) -> list[str]:
        """Those that have a table each."""
        return [name for name in self.summary.collections if name in self.source.spec.collections]


def run(
    source: Source,
    settings: Settings,
    options: Options,
    verb: str = "run",
    observer: Observer | None = None,
    clock: Clock | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Summary:
    """Carry out a verb: pull, load, both (run), or replay.

    Raises UsageError before anything is touched; what fails later is in the summary.
    """
    clock = clock or Clock()
    names = selected(source, options.select)
    asks = verb in ("pull", "run")
    lists = source.spec.lists_of(names) if asks else names
    summary = Summary(None, {name: Outcome() for name in lists})
    hub = Hub(options.hub, source.spec.name.text)
    job = _Job(source, hub, options, summary, observer or Observer(), clock, int(clock.time() * 1_000_000), verb)
    with contextlib.ExitStack() as stack:
        target: Warehouse | None = None
        if verb != "pull":
            target = warehouse(job.to, job.schema)
            stack.callback(target.close)
            begin_duckdbs(DUCKDBS)
        if asks:
            from .fetch import Fetcher  # and httpx, while DuckDB starts: a load asks no API
        if target is not None:
            target.check([table_of(job.schema, name, source.spec) for name in job.collections])
        if asks:
            base = needed(source.spec, settings, lists)
            fetcher = stack.enter_context(
                Fetcher(source.spec.api, settings, source.spec.label, clock, transport, job.observer.waiting, beside=hub.local)
            )
            identity = _claim(job, settings, base)
            lock = stack.enter_context(locked(hub.local, *options.lock_of("pull", job.name)))
            hub.store.sweep()
            loads = stack.enter_context(_Loads(job, identity, target, beside_a_pull=True)) if target is not None else None
            ended = stack.enter_context(turn(hub.local, lock, verb, job.started, clock))
            _pull(job, fetcher, loads)
            if loads is not None:
                loads.pull_ended()
            ended(*summary.of("pull"))
            if loads is not None:
                loads.finish()
        elif target is not None:
            known = hub.identity()
            if known is None:
                raise UsageError(f"{hub}: is empty; fill it first, with `syncer pull` or `syncer run`, or name another with --hub")
            loads = stack.enter_context(_Loads(job, known, target, beside_a_pull=False))
            hub.store.sweep()
            for name in job.collections:
                loads.submit(name)
            loads.finish()
    return summary


def selected(source: Source, select: Sequence[str]) -> list[str]:
    """The collections to work on, in the spec's order. Raises UsageError for one that the spec does not have."""
    known = source.spec.collections
    if unknown := [name for name in select if name not in known]:
        told = "; ".join(f"--select {name}: no such collection; {did_you_mean(name, known)}" for name in unknown)
        raise UsageError(told)
    return [name for name in known if not select or name in select]


def _claim(job: _Job, settings: Settings, base: str) -> Identity:
    declared = job.source.spec.settings
    account = {name: settings.values[name] for name, setting in declared.items() if setting.account and name in settings.values}
    return job.hub.claim(origin(base), account, job.options.same_account)


def _pull(job: _Job, fetcher: Fetcher, loads: _Loads | None) -> None:
    """The source run: a plan, then its collections one after the other; each is handed to the loads as soon as it is in."""
    state, observer = job.hub.state(), job.observer
    for collection, damage in state.damage.items():
        for segment, one in damage.items():
            job.hub.note(collection, segment, one)

    def stored(name: str) -> None:
        """While a first pass goes on, what is durable is loaded beside it; a later pass is loaded when it has ended."""
        if loads is not None and name in job.collections and not state.of(name).passes:
            loads.stored(name)

    lists = list(job.summary.collections)
    with Stage(job.hub, "pull") as stage:
        puller = Puller(job.source.spec, job.hub, fetcher, stage, observer, stored)

        def planned(number: int) -> dict[str, Any]:
            run = Run(number, job.started, job.options.full)
            steps = puller.begin(run, lists, state)
            return {"format": 1, "at": job.started, "steps": {name: step.as_json() for name, step in steps.items() if step}}

        job.summary.run = job.hub.begin(planned, state)
        observer.planned([(name, step.reason if step else "nothing is due") for name, step in puller.steps.items()])
        stopped: list[str] = []

        def pull(name: str) -> None:
            outcome = job.summary.collections[name]
            outcome.pull = PullBook()
            if stopped:
                outcome.fail("pull", "incomplete" if stopped[0] == INTERRUPTED else "failed", stopped[0])
                return
            try:
                puller.pull(name, outcome.pull)
            except Refused as error:
                stopped.append(fetcher.settings.hide(str(error)))
                outcome.fail("pull", "failed", stopped[-1])
            except SyncerError as error:
                if isinstance(error, Damaged):
                    collection, _, segment = error.segment.partition("/")
                    job.hub.note(collection, segment, Damage(error.why))
                outcome.fail("pull", "incomplete" if isinstance(error, Incomplete) else "failed", fetcher.settings.hide(str(error)))
            except KeyboardInterrupt:
                stopped.append(INTERRUPTED)
                outcome.fail("pull", "incomplete", INTERRUPTED)
            except Exception as error:
                outcome.fail("pull", "failed", _unexpected(error))
            observer.ended(name, outcome)
            if loads is not None and name in job.collections:
                loads.submit(name)

        for name in _in_order(job.source.spec, lists, pull, fetcher):
            job.summary.collections[name].fail("pull", "incomplete", INTERRUPTED)


def _in_order(spec: Spec, names: Sequence[str], pull: Callable[[str], None], fetcher: Fetcher) -> list[str]:
    """Pull lists, each behind those that are read before it; several side by side where the spec allows it.

    Gives those that an interruption kept from their end.
    """
    waiting, most = spec.in_order(names), spec.api.concurrency or 1
    if most == 1:
        for name in waiting:
            pull(name)
        return []
    running: dict[str, Future[None]] = {}
    try:
        while waiting or running:
            for name in list(waiting):
                if len(running) < most and not {*waiting, *running}.intersection(spec.before(name)):
                    waiting.remove(name)
                    running[name] = side_by_side(partial(pull, name))
            wait(running.values(), timeout=1.0, return_when=FIRST_COMPLETED)  # an interruption may come meanwhile
            running = {name: future for name, future in running.items() if not future.done()}
    except KeyboardInterrupt:
        fetcher.stop()
        wait(running.values(), timeout=SECONDS_TO_STOP)
        return [*waiting, *(name for name, future in running.items() if not future.done())]
    return []


def _unexpected(error: Exception) -> str:
    """A mistake of ours, so that one collection fails and the others finish. Its text may hold data: only its place is told."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"unexpected {type(error).__name__} at {place}; please report this"


class _Loads:
    """The warehouse run, beside the source run in a thread of its own: one loader, one collection after the other."""

    def __init__(self, job: _Job, identity: Identity, target: Warehouse, beside_a_pull: bool) -> None:
        self.job, self.identity, self.target = job, identity, target
        self._workers = max(1, WORKERS - 1) if beside_a_pull else WORKERS
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loader: Loader | None = None
        self._futures: list[Future[None]] = []
        self._stored: Counter[str] = Counter()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> _Loads:
        job = self.job
        lock = self._held.enter_context(locked(job.hub.local, *job.options.lock_of("load", job.name)))
        self._held.enter_context(locked(job.hub.local, COMPACTION, shared=True))
        self._stage = self._held.enter_context(Stage(job.hub, lock, self._workers))
        self._ended = self._held.enter_context(turn(job.hub.local, lock, job.verb, job.started, job.clock, job.to, job.schema))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._held.__exit__(kind, error, trace)

    def submit(self, name: str) -> None:
        """Load what there is of a collection; its pull has ended."""
        self._futures.append(self._thread.submit(self._load, name, True))

    def stored(self, name: str) -> None:
        """One more segment is there. Several together are loaded at once, when nothing else is being loaded."""
        self._stored[name] += 1
        if self._stored[name] >= SEGMENTS_AHEAD and all(future.done() for future in self._futures):
            self._stored[name] = 0
            self._futures.append(self._thread.submit(self._load, name, False))

    def pull_ended(self) -> None:
        """All cores are the loads' now."""
        self._stage.let_work(WORKERS)

    def finish(self) -> None:
        """Wait for all that was submitted, and write the ledger."""
        for future in self._futures:
            future.result()
        job = self.job
        ended = int(job.clock.time() * 1_000_000)
        run = {"run": job.summary.run, "verb": job.verb, "started_at": job.started, "ended_at": ended}
        rows = [
            {**run, "collection": name, "status": outcome.status, **outcome.book()} for name, outcome in job.summary.collections.items()
        ]
        try:
            self._thread.submit(self.target.record, rows).result()
        except SyncerError as error:
            job.summary.notes.append(f"the ledger has no line of this run: {error}")
        self._ended(*job.summary.of("load"))

    def _shared_keys(self, name: str, outcome: Outcome) -> str | None:
        """What a user should know where records of different parents seem to share keys: more came twice than pages overlap."""
        collection = self.job.source.spec.collections[name]
        twice = outcome.load.duplicates if outcome.load else 0
        if collection.parent is None or outcome.pull is None or twice <= outcome.pull.pages:
            return None
        key = ", ".join(collection.key)
        what = f"{twice:,} records came with a key ({key}) that another has"
        return f"{what}; if it tells records apart only within one of {collection.parent.collection}, add the parent's to `key`"

    def _load(self, name: str, last: bool) -> None:
        outcome = self.job.summary.collections[name]
        outcome.load = outcome.load or Receipt(0)
        try:
            if self._loader is None:
                self._met_stranger()
                job = self.job
                allowed = job.options.allow_deletes
                self._loader = Loader(job.source, self._stage, self.identity.id, self.target, job.schema, job.started, job.to, allowed)
            for done in self._loader.replay(name) if self.job.verb == "replay" else self._loader.load(name):
                outcome.load = outcome.load.plus(done.receipt)
                outcome.notes += [done.note] if done.note else []
                outcome.misfits = merged(outcome.misfits, done.misfits)
            if last and (note := self._shared_keys(name, outcome)):
                outcome.notes.append(note)
            if last and outcome.load.read and outcome.load.read == outcome.load.rejected:
                sentence = "every record was rejected; see _syncer_rejects for why, and correct the key or `records`"
                outcome.fail("load", "incomplete", sentence)
        except SyncerError as error:
            if last:  # what failed before is tried again by then
                outcome.fail("load", "incomplete" if isinstance(error, Incomplete) else "failed", str(error))
        except Exception as error:
            outcome.fail("load", "failed", _unexpected(error))
        if last:
            source = self.job.source
            places = {word: source.place_of(*source.property_at(name, word)) for word in outcome.misfits}
            outcome.notes += [one.told(places[one.property]) for one in worst(outcome.misfits.values())]
            self.job.observer.ended(name, outcome)

    def _met_stranger(self) -> None:
        others = [hub for hub in self.target.hubs() if hub != self.identity.id]
        if others and self.identity.id not in self.target.hubs():
            self.job.summary.notes.append(
                f"the warehouse was loaded from another hub ({', '.join(others)}) before, this one ({self.identity.id}) is new to it: "
                "everything is loaded again, and outranks what is there"
            )
