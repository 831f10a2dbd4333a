"""A source run for one collection: walk the chains that the plan names, into the hub. I/O.

A page counts when its segment is durable. Segments close after some seconds or megabytes, at a chain's end, and before any
error leaves here: what was received stays, and the next run goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec

from .columns import Integer, Reject, Timestamp
from .errors import FetchError, Incomplete, PageError
from .exchange import Listing, Page, Request, origin
from .fetch import Fetcher
from .hub import CollectionState, Head, Hub
from .hub.fold import fold
from .hub.segment import Ended, Proof, run_of, segment_name
from .paginate import End
from .plan import Run, Step, next_step
from .proof import ReadAgain, Reading, grade, grade_again, snapshot
from .properties import Property
from .record import NoRecords, NotJson, cut
from .spec import Collection, Purpose, Route, Spec, collection_fingerprint, scope
from .stage import Stage

SEGMENT_BYTES = 8 * 2**20
SEGMENT_SECONDS = 5.0

READINGS = 2
"""How often a list is read in one run, where there is evidence that records slipped between its pages."""
_PAGE_BETTER = "page by a key that does not move, if the API can, or run at a quieter time"
_GONE = (400, 404, 410, 422)
"""What an API says to a page token that it has forgotten."""


@dataclass
class PullBook:
    """The pull's book of one collection in one run."""

    requests: int = 0
    pages: int = 0
    bytes: int = 0
    received: int = 0
    api_total: int | None = None
    stop: str | None = None
    proof: Proof | None = None


@dataclass
class Walked:
    """How far a chain has come: kept with each segment, so that any run can go on."""

    walk: dict[str, Any] = field(default_factory=dict)
    """The paginator's own state."""
    reading: int = 1
    pages: int = 0
    first_total: int | None = None
    last_total: int | None = None


class Watcher:
    """What wants to see how a pull gets on."""

    def pulled(self, name: str, book: PullBook) -> None:
        """One more page of a collection; its book so far."""

    def goes_on(self, name: str, why: str) -> None:
        """A collection's pull does more than its first step, and why."""


class Puller:
    """Pulls the collections of one source, one after the other. `stored` is told of each segment that is durable."""

    def __init__(self, spec: Spec, hub: Hub, fetcher: Fetcher, stage: Stage, watcher: Watcher, stored: Callable[[str], None]) -> None:
        self.spec, self.hub, self.fetcher, self.stage, self.watcher, self.stored = spec, hub, fetcher, stage, watcher, stored
        self.run = Run(0, 0)
        self.steps: dict[str, Step | None] = {}
        """The first step of each collection: what the plan says."""

    def routes(self, name: str) -> dict[Purpose, Route]:
        purposes: tuple[Purpose, ...] = ("full", "changed")
        routes = {purpose: self.spec.route(name, purpose, self.fetcher.settings.values) for purpose in purposes}
        return {purpose: replace(route, stored=self.fetcher.settings.masked(route.request)) for purpose, route in routes.items()}

    def begin(self, run: Run, states: Mapping[str, CollectionState]) -> dict[str, Step | None]:
        """What a run will begin with, for each collection."""
        self.run = run
        self.steps = {name: self._next(name, state, run, self.routes(name), []) for name, state in states.items()}
        return self.steps

    def _next(self, name: str, state: CollectionState, run: Run, routes: Mapping[Purpose, Route], begun: Sequence[Step]) -> Step | None:
        prints = {purpose: route.fingerprint for purpose, route in routes.items()}
        return next_step(name, self.spec.collections[name], state, prints, run, begun, scope(routes))

    def pull(self, name: str, state: CollectionState, book: PullBook) -> None:
        """Everything that is due for a collection. Raises RunError; the book holds what was received all the same."""
        routes, begun, run = self.routes(name), list[Step](), self.run
        while step := self._next(name, state, run, routes, begun):
            if begun:
                self.watcher.goes_on(name, step.reason)
            begun.append(step)
            chain = _Chain(self, step, routes, state, book)
            try:
                chain.walk()
            except FetchError as error:
                if step.is_new or chain.has_read or error.status not in _GONE:
                    raise
                begun.pop()
                run = replace(run, full=run.full or step.purpose == "full")
                self.watcher.goes_on(name, f"begins anew, for the page to go on with is gone (status {error.status})")
            state = chain.state if chain.has_read else state.without(step.purpose)


class _Chain:
    """One step being carried out."""

    def __init__(self, puller: Puller, step: Step, routes: Mapping[Purpose, Route], state: CollectionState, book: PullBook) -> None:
        self.hub, self.fetcher, self.stage, self.watcher, self.stored = (
            puller.hub, puller.fetcher, puller.stage, puller.watcher, puller.stored
        )  # fmt: skip
        self.step, self.route, self.scope, self.state, self.book = step, routes[step.purpose], scope(routes), state, book
        self.base = state
        self.collection: Collection = puller.spec.collections[step.collection]
        self.until = step.until
        self.walked = msgspec.convert(step.state, Walked) if step.state else Walked()
        self.next: Request | None = Request.from_json(step.next) if step.next else None
        self.name = step.first_name
        self.buffer = _Buffer(puller.fetcher.clock.monotonic())
        self.values = _Values(self.collection)
        self.has_read = False
        """Whether a page came."""
        self.readings = 1
        """The how-manieth reading of the list it is in this run."""

    def walk(self) -> None:
        """From where the step begins to the chain's end. Raises RunError, with all that was received in the hub."""
        request = self.next or self._first()
        try:
            while True:
                page = self.fetcher.send(request)
                listing = self._read(page)
                outcome = self._after(page, listing)
                self._take(page, listing)
                if isinstance(outcome, End):
                    verdict = self._graded(outcome)
                    if isinstance(verdict, Ended):
                        self.book.stop, self.book.proof = verdict.reason, _weakest(self.book.proof, verdict.proof)
                        self._close(verdict)
                        return
                    self.walked = Walked(reading=self.walked.reading + 1)
                    self.next = request = self._first()
                    self.readings += 1
                    if self.readings > READINGS:
                        self._close()
                        raise Incomplete(f"{self.step.collection}: read twice, and still {verdict.why}; {_PAGE_BETTER}")
                    self.watcher.goes_on(self.step.collection, f"read again: {verdict.why}")
                else:
                    walk, request = dict(outcome[0]), self._storable(outcome[1])
                    self.walked.walk, self.next = walk, request  # together: an interruption must not part them
                if self.buffer.is_full(self.fetcher.clock.monotonic()):
                    self._close()
        except BaseException:
            if self.buffer.pages and self.next is not None:
                self._close()
            raise

    def _first(self) -> Request:
        request = self.route.request
        cursor = self.collection.cursor
        if self.step.purpose == "changed" and cursor and cursor.param:
            if self.step.since is not None:
                request = request.with_params({cursor.param: cursor.bound(self.step.since)})
            elif cursor.start is not None:
                request = request.with_params({cursor.param: cursor.start.render(self.fetcher.settings.values)})
        state, request = self.route.paginate.first(request)
        self.walked.walk = dict(state)
        return self._storable(request)

    def _storable(self, request: Request) -> Request:
        """The request with secrets by name instead of value: what is sent, and what is stored."""
        return self.fetcher.settings.masked(request)

    def _read(self, page: Page) -> Listing:
        """The page as a list. Raises PageError where it is none: it is never read as if it were empty."""
        null: str | None = None
        try:
            records, envelope = cut(page.body, self.route.records)
        except NoRecords as error:
            null = f"the answer {error}; correct `records`, or the path"
            records, envelope = [], error.around
            if envelope is None:
                raise PageError(f"{self._place(page)}: {null}") from None
        except NotJson as error:
            kind = page.headers.get("content-type", "no content type")
            what = f"the answer {error} ({kind}, {len(page.body):,} bytes); correct the path, or ask for JSON in the header Accept"
            raise PageError(f"{self._place(page)}: {what}") from None
        request = self.fetcher.settings.unmasked(page.request)
        return Listing(request, records, envelope, lambda name: self.values.of(name, records), self.collection.key, page.headers, null)

    def _after(self, page: Page, listing: Listing) -> Any:
        try:
            total = self.route.paginate.total_of(listing)
            outcome = self.route.paginate.after(self.walked.walk, listing)
            if not isinstance(outcome, End):
                origin(outcome[1].url)  # raises ValueError where it is no URL
        except Incomplete as error:
            raise Incomplete(f"{self._place(page)}: {error}") from None
        except PageError as error:
            raise PageError(f"{self._place(page)}: the answer {error}") from None
        except ValueError:
            raise PageError(f"{self._place(page)}: the answer has a next link that is no URL in UTF-8") from None
        if listing.null and isinstance(outcome, End) and (outcome.by_emptiness or not outcome.certain):
            raise PageError(f"{self._place(page)}: {listing.null}")
        if self.walked.pages == 0:
            self.walked.first_total = total
        self.walked.last_total = total
        return outcome

    def _take(self, page: Page, listing: Listing) -> None:
        if self.step.is_new and self.walked.reading == 1 and self.walked.pages == 0 and self.collection.cursor:
            self.until = self.collection.cursor.window_end(page.headers, page.seconds, self.fetcher.clock.time())
        self.walked.pages += 1
        self.has_read = True
        self.buffer.add(page, listing, self.fetcher)
        book = self.book
        book.requests += page.requests
        book.pages += 1
        book.bytes += len(page.body)
        book.received += len(listing.records)
        if self.walked.pages == 1 or not self.route.paginate.stable:
            book.api_total = self.walked.last_total
        self.watcher.pulled(self.step.collection, book)

    def _close(self, ended: Ended | None = None) -> None:
        """Make what was received durable."""
        buffer = self.buffer
        head = Head(
            collection=self.step.collection,
            name=self.name,
            chain=self.step.chain,
            purpose=self.step.purpose,
            began=self.step.began,
            since=self.step.since,
            until=self.until,
            route=self.route.fingerprint,
            scope=self.scope,
            spec=collection_fingerprint(self.collection),
            pages=len(buffer.pages),
            requests=buffer.requests,
            bytes=buffer.bytes,
            records=len(buffer.records),
            longest=max(map(len, buffer.records), default=0),
            raw_bytes=buffer.raw_bytes,
            api_total=self.walked.last_total,
            next=self.next.as_json() if self.next and not ended else None,
            state={} if ended else asdict(self.walked),
            ended=ended,
        )
        stored = self.hub.append(head, buffer.records, buffer.pages)
        self.state = fold(self.state, stored)
        self.stored(self.step.collection)
        self.name = segment_name(self.step.leg, stored.number + 1)
        self.buffer = _Buffer(self.fetcher.clock.monotonic())

    def _graded(self, end: End) -> Ended | ReadAgain:
        """What a chain's end proves; a list whose pages can shift is checked against its keys."""
        if not end.certain:
            return Ended(end.reason, "open")
        if self.step.purpose == "full" and self.walked.reading == 1 and self._lacks_all():
            return ReadAgain("the list is empty, and the hub holds records of it")
        if self.route.paginate.stable or self.walked.pages == 1:
            return snapshot(end.reason)
        self._close()
        heads, walked = self._heads(), self.walked
        readings: dict[int, list[str]] = {walked.reading - 1: [], walked.reading: []}
        for head in heads:
            readings.setdefault(int(head.state.get("reading", 1)), []).append(head.name)
        name, last = self.step.collection, readings[walked.reading]
        with self.stage.work():
            keys, distinct = self.stage.count_keys(name, self.collection, last)
            reading = Reading(
                walked.pages,
                keys,
                distinct,
                walked.first_total,
                walked.last_total,
                unreadable=sum(head.records for head in heads if head.name in last) - keys,
                overlaps=end.overlaps,
                slips=end.slips,
            )
            if walked.reading > 1:
                _, both = self.stage.count_keys(name, self.collection, readings[walked.reading - 1] + last)
                return grade_again(end.reason, reading, both)
            if self.step.purpose == "full":
                held = self._held(exclude={head.name for head in heads})
                reading = replace(reading, missing=self.stage.count_missing(name, self.collection, held, last))
        return grade(end.reason, reading)

    def _lacks_all(self) -> bool:
        """Whether the chain, whichever runs walked it, brought no record at all, but the hub holds some."""
        if self.buffer.records or self.book.received:
            return False
        own = self._heads()
        held = self._held(exclude={head.name for head in own})
        return not any(head.records for head in own) and any(self.hub.head(self.step.collection, name).records for name in held)

    def _heads(self) -> list[Head]:
        since = run_of(self.step.chain)
        names = [name for name in self.hub.segments(self.step.collection) if run_of(name) >= since]
        return [head for head in (self.hub.head(self.step.collection, name) for name in names) if head.chain == self.step.chain]

    def _held(self, exclude: set[str]) -> list[str]:
        """The segments with all keys that were alive when the pass began: since the last pass that all of them came in."""
        last = max((one.run for one in self.base.passes if one.gone or one.whole), default=0)
        names = self.hub.segments(self.step.collection)
        return [name for name in names if run_of(name) >= last and name not in exclude]

    def _place(self, page: Page) -> str:
        return f"{self.step.collection}, page {self.walked.pages + 1}, status {page.status}, {self.fetcher.shown(page.request)}"


@dataclass
class _Buffer:
    """What was received and is not yet durable."""

    opened: float
    records: list[bytes] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    raw_bytes: int = 0
    bytes: int = 0
    requests: int = 0

    def add(self, page: Page, listing: Listing, fetcher: Fetcher) -> None:
        self.records += listing.records
        self.raw_bytes += sum(map(len, listing.records))
        self.bytes += len(page.body)
        self.requests += page.requests
        self.pages.append(
            {
                "request": page.request.as_json(),
                "status": page.status,
                "headers": {name: fetcher.settings.hide(value) for name, value in page.headers.items()},
                "records": len(listing.records),
                "envelope": fetcher.settings.hidden(listing.envelope),
            }
        )

    def is_full(self, now: float) -> bool:
        return self.raw_bytes >= SEGMENT_BYTES or now - self.opened >= SEGMENT_SECONDS


class _Values:
    """The values of properties, for paginators: read from the raw records."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._readers: dict[str, Callable[[Sequence[bytes]], list[int | str | None]]] = {}

    def of(self, name: str, records: Sequence[bytes]) -> list[int | str | None]:
        if name not in self._readers:
            self._readers[name] = self._reader(name, self.collection.properties[name])
        return self._readers[name](records)

    @staticmethod
    def _reader(name: str, prop: Property) -> Callable[[Sequence[bytes]], list[int | str | None]]:
        """A function from records to the property's values: numbers for integers and instants, texts for all else."""
        raws, is_number = prop.reader(name), isinstance(prop.column_type, Integer | Timestamp)

        def value(raw: str | None) -> int | str | None:
            try:
                text = prop.canonical(raw)
            except Reject:
                return None
            return int(text) if is_number and text is not None else text

        return lambda records: list(map(value, raws(records)))


def _weakest(one: Proof | None, other: Proof) -> Proof:
    order: tuple[Proof, ...] = ("open", "checked", "proven")
    return other if one is None else min(one, other, key=order.index)
