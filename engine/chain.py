"""Walks a chain, from where a step begins to its end, into the hub. I/O.

A chain is one list, or, where the collection has a parent, one list for each of its records. A page counts when its segment is
durable: segments close after some seconds or megabytes, at the chain's end, and before any error leaves here. What was
received stays, and the next run goes on behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from .ahead import Ahead
from .earlier import Earlier, EarlierPage, is_reusable
from .errors import Astray, FetchError, Incomplete, PageError
from .exchange import Listing, Page, Request, origin
from .hub import CollectionState, Head, Hub, Slice, StoredPage
from .hub.fold import fold
from .hub.segment import Ended, run_of, segment_name
from .met import Met
from .outcome import PullBook, Watcher
from .paginate import End
from .paginate import Step as PageStep
from .parents import Parents
from .plan import Step
from .proof import ReadAgain, Reading, grade, grade_again, snapshot, weakest
from .read import Reader
from .spec import Collection, Route, Spec, collection_fingerprint, is_feed
from .stage import Stage
from .walked import Owed, Place, Walked

if TYPE_CHECKING:
    from .fetch import Fetcher

SEGMENT_BYTES = 8 * 2**20
SEGMENT_SECONDS = 5.0

READINGS = 2
"""How often a list is read in one run, where there is evidence that records slipped between its pages."""
MOST_FAILED = 20
"""How many parents' lists may fail in one run before the others are left for later, too."""

_NO_LIST = "; or, where some have no such list, leave those out by a rule: `errors: [{status: 404, then: skip}]`"
"""Of a 404 in the place of one parent's list."""

_FORGOTTEN = (400, 404, 410, 422)
"""What an API says to a page token that it does not know any more."""


class Chain:
    """One step being carried out. `parent` is the state of the parent's collection, where there is one."""

    def __init__(
        self,
        spec: Spec,
        step: Step,
        route: Route,
        scope: str,
        state: CollectionState,
        parent: CollectionState | None,
        *,
        hub: Hub,
        fetcher: Fetcher,
        stage: Stage,
        watcher: Watcher,
        stored: Callable[[str], None],
        book: PullBook,
    ) -> None:
        self.spec, self.step, self.route, self.scope = spec, step, route, scope
        self.hub, self.fetcher, self.stage, self.watcher, self.stored, self.book = hub, fetcher, stage, watcher, stored, book
        self.state = state
        self.collection: Collection = spec.lists[step.collection]
        self.parents = None
        if self.collection.parent:
            name, state_of_it = self.collection.parent.collection, parent or CollectionState()
            self.parents = Parents(hub, stage, spec, name, state_of_it, self.collection.of_parent)
        self.cursor = self.collection.cursor and self.collection.cursor.of(self.collection.properties)
        self.parent_key = spec.parent_key(step.collection)
        self.spec_print = collection_fingerprint(spec, step.collection)
        self.reader = Reader(self.collection, route)
        self.until = step.until
        self.walked = msgspec.convert({"covered": step.covered, **step.state}, Walked)
        self.met = Met(hub, stage, self.reader, step.collection, self.collection, step.chain, state, self._parents_key)
        self.owed = {self._parents_key(one.parent): one for one in self.walked.owed}
        self.name = step.first_name
        self.buffer = _Buffer(fetcher.clock.monotonic())
        is_conditional = step.purpose == "full" and spec.api.conditional and route.request.method == "GET"
        self.earlier = Earlier(hub, step.collection, state, route.fingerprint, self.spec_print) if is_conditional else None
        self.unchanged: dict[Request, EarlierPage] = {}
        """Of the requests under way: the page that is asked for only if it has changed."""
        self.has_read = False
        """Whether a page came."""
        self.reason = ""
        """Why the last list ended."""
        self.troubles: list[str] = []

    def walk(self) -> None:
        """From where the step begins to the chain's end. Raises RunError, with all that was received in the hub."""
        ahead = Ahead(self._sender, self.spec.api.concurrency or 1, lambda: self.fetcher.stopped)
        try:
            for place, upcoming in self._places():
                try:
                    self._walk_list(place, upcoming, ahead)
                except (FetchError, PageError, Incomplete) as error:
                    if self.collection.parent is None:
                        raise
                    self._set_aside(error)
        except BaseException:
            if self.buffer.pages:
                self._close()
            raise
        if self.troubles:
            self._close()
            others = f"; and {len(self.troubles) - 1} more lists" if len(self.troubles) > 1 else ""
            raise Incomplete(f"{self.troubles[0]}{others}; the others are complete, and the next run tries these again")
        self._end()

    def _places(self) -> Iterator[tuple[Place, Sequence[Place]]]:
        """The lists to walk, each with some of those that follow it: what is in hand, then the rest, then what failed before."""
        walked = self.walked
        earlier = list(walked.failed)
        if walked.place is not None:
            yield walked.place, ()
        coming: deque[Place] = deque()
        rest = self._slices(walked.slices)
        while True:
            coming.extend(islice(rest, (self.spec.api.concurrency or 1) - len(coming)))
            if not coming:
                break
            place = coming.popleft()
            walked.slices = place.slice + 1
            yield replace(place, began=self.name), coming
        # a list that could not be read may have gone with its parent
        there = self.parents.still({self._parents_key(one.parent or {}) for one in earlier}, run_of(self.step.leg)) if self.parents else ()
        for place in earlier:
            walked.failed.remove(place)
            if self._parents_key(place.parent or {}) in there:
                yield place, ()
            else:
                self.watcher.goes_on(self.step.collection, "a parent whose list could not be read is gone")

    def _slices(self, done: int) -> Iterator[Place]:
        """The lists that were not begun yet: one, or one for each parent. Raises Incomplete where no parent was ever read."""
        of = self.collection.parent
        if self.parents is None or of is None:
            yield from [] if done else [Place(since=self.step.since)]
            return
        if not self.parents.were_read:
            raise Incomplete(f"{self.step.collection}: no {of.collection} were ever read, whose lists these are; select them, too")
        number = 0
        for found in self.parents.alive(run_of(self.step.chain), self.walked.covered):
            owed = self._owed(found["parent"])
            if self.step.purpose == "changed" and of.only_changed and found["known"] and found["same"] and owed is None:
                continue
            if number >= done:
                since = self.step.since if found["known"] else None
                yield Place(number, found["parent"], owed.since if owed else since)
            number += 1

    def _owed(self, parent: dict[str, Any]) -> Owed | None:
        """What an earlier chain left out of a parent's list."""
        return self.owed.get(self._parents_key(parent)) if self.owed else None

    def _parents_key(self, parent: Mapping[str, Any]) -> str:
        return self.parents.key(parent) if self.parents else ""

    def _set_aside(self, error: FetchError | PageError | Incomplete) -> None:
        """Leave a list for later, with how far it has come. Raises Incomplete where too many have failed."""
        place = self.walked.place
        if place is None:
            raise error
        self.walked.failed.append(place)
        self.walked.place = None
        hint = _NO_LIST if isinstance(error, FetchError) and error.status == 404 else ""
        self.troubles.append(f"{error}{hint}")
        if len(self.troubles) > MOST_FAILED:
            self._close()
            raise Incomplete(f"{self.troubles[0]}; and {MOST_FAILED} more lists, so that the others are left for the next run") from None

    def _walk_list(self, place: Place, upcoming: Sequence[Place], ahead: Ahead) -> None:
        """One list, from where it is to its end."""
        self.walked.place = place
        self.met.begin(place)
        resumed, readings = place.next is not None, 1
        request = Request.from_json(place.next) if place.next else self._first(place)
        while True:
            ahead.expect(request, self._foreseen(place, request), self._begun(upcoming))
            outcome = self._answered(place, request, resumed, ahead)
            resumed = False
            if outcome is None:
                place, request = self._anew(place.anew(self.name))
            elif not isinstance(outcome, End):
                walk, request = dict(outcome[0]), self._storable(outcome[1])
                place.walk, place.next = walk, request.as_json()
            else:
                verdict = self._graded(place, outcome)
                if isinstance(verdict, Ended):
                    self._require(place, verdict)
                    self._ended(place, verdict)
                    return
                place, request = self._anew(place.again())
                place.next, readings = request.as_json(), readings + 1
                if readings > READINGS:
                    self._close()
                    raise Incomplete(f"{self.step.collection}: read twice, and still {verdict.why}; {self.route.paginate.instead}")
                self.watcher.goes_on(self.step.collection, f"read again: {verdict.why}")
            if self.buffer.is_full(self.fetcher.clock.monotonic()):
                self._close()

    def _answered(self, place: Place, request: Request, resumed: bool, ahead: Ahead) -> PageStep | End | None:
        """Take the next page; gives what follows it, or None where a list that was `resumed` cannot be gone on with from there."""
        try:
            page = ahead.get(request)
        except FetchError as error:
            if not resumed or not (error.status in _FORGOTTEN or isinstance(error, Astray)):
                raise
            why = f"the page to go on with is gone (status {error.status})" if error.status else "its next link led elsewhere"
            self.watcher.goes_on(self.step.collection, f"begins anew, for {why}")
            return None
        if resumed and page.told == "end":
            self.watcher.goes_on(self.step.collection, f"begins anew, for the page to go on with is refused (status {page.status})")
            return None
        listing = self._listing(place, page)
        outcome: PageStep | End | None
        try:
            outcome = self._after(place, page, listing)
        except Incomplete:
            if not resumed:
                raise
            self.watcher.goes_on(self.step.collection, "begins anew, for the page to go on with does not fit those before")
            outcome = None
        self._take(place, page, listing)
        return outcome

    def _anew(self, place: Place) -> tuple[Place, Request]:
        """Put a list into hand, to be read from its first page on."""
        self.walked.place = place
        return place, self._first(place)

    def _require(self, place: Place, verdict: Ended) -> None:
        """Raises Incomplete where a list's proof is weaker than the spec asks for; the next run reads it anew."""
        if self._is_enough(verdict):
            return
        self.walked.place = place.anew(self.name)
        self._close()
        what = f"the list has ended ({verdict.reason}), which is {verdict.proof} only, and {self.collection.require} is required"
        raise Incomplete(f"{self.step.collection}: {what}; {self.route.paginate.instead}")

    def _is_enough(self, verdict: Ended) -> bool:
        required = self.collection.require
        return required is None or weakest(required, verdict.proof) == required

    def _foreseen(self, place: Place, request: Request) -> Iterator[Request]:
        """The requests of the list in hand that will follow, as far as they are known by now."""
        yield from map(self._storable, self.route.paginate.ahead(place.walk, self.fetcher.settings.unmasked(request)))

    def _begun(self, upcoming: Sequence[Place]) -> Iterator[Request]:
        """The first requests of the lists that will follow."""
        with suppress(Incomplete):  # it is told when that list is walked
            for other in upcoming:
                yield self._first(replace(other))

    def _first(self, place: Place) -> Request:
        """The first request of a list, and its state. Raises Incomplete where the parent's values make none."""
        try:
            request = self.route.for_parent(place.parent or {})
        except ValueError as error:
            of = self.collection.parent.collection if self.collection.parent else "parent"
            what = f"one of the {of} {error}, which a request takes from it; take another property"
            raise Incomplete(f"{self.step.collection}: {what}") from None
        cursor = self.cursor
        if self.step.purpose == "changed" and cursor and cursor.param:
            if place.since is not None:
                request = request.with_params({cursor.param: cursor.bound(place.since)})
            elif cursor.start is not None:
                request = request.with_params({cursor.param: cursor.start.render(self.fetcher.settings.values)})
        state, request = self.route.paginate.first(request)
        place.walk = dict(state)
        return self._storable(request)

    def _storable(self, request: Request) -> Request:
        """The request with secrets by name instead of value: what is sent, and what is stored."""
        return self.fetcher.settings.masked(request)

    def _sender(self, request: Request) -> Callable[[], Page]:
        """What sends a request, in whichever thread."""
        earlier = self.earlier.find(request) if self.earlier else None
        if earlier is not None:
            self.unchanged[request] = earlier
        conditions = earlier.conditions if earlier else None
        return partial(self.fetcher.send, request, self.collection.errors, self.collection.cost, conditions)

    def _listing(self, place: Place, page: Page) -> Listing:
        """The page as a list; one without it where a rule takes the answer. Raises PageError where there is none, and no rule."""
        earlier = self.unchanged.pop(page.request, None)
        request = self.fetcher.settings.unmasked(page.request)
        none = Listing(request, [], None, headers=page.headers, null="a rule of the spec takes the answer")
        if page.told and (page.told == "skip" or page.status >= 300):
            return none
        try:
            if page.status == 304 and earlier is not None:
                headers = {**earlier.headers, **page.headers}
                return self.reader.again(earlier.records, earlier.envelope, headers, request, place.parent)
            listing = self.reader.listing(page, request, place.parent)
        except PageError as error:
            if page.told:
                return none
            raise PageError(f"{self._where(place, page)}: {error}") from None
        is_answer = not page.told or (not listing.null and (page.told == "ignore" or listing.records))
        return listing if is_answer else none

    def _after(self, place: Place, page: Page, listing: Listing) -> PageStep | End:
        """What follows a page. Raises PageError or Incomplete."""
        try:
            if page.told and listing.null:
                return self._told(place, page)
            total = self.route.paginate.total_of(listing)
            outcome = self.route.paginate.after(place.walk, listing)
            if page.told == "end" and not isinstance(outcome, End):
                outcome = self.route.paginate.refused(outcome[0])
            if not isinstance(outcome, End):
                origin(outcome[1].url)  # raises ValueError where it is no URL
        except Incomplete as error:
            raise Incomplete(f"{self._where(place, page)}: {error}") from None
        except PageError as error:
            raise PageError(f"{self._where(place, page)}: the answer {error}") from None
        except ValueError:
            raise PageError(f"{self._where(place, page)}: the answer has a next link that is no URL in UTF-8") from None
        if listing.null and isinstance(outcome, End) and (outcome.by_emptiness or not outcome.certain):
            raise PageError(f"{self._where(place, page)}: {listing.null}")
        place.moved |= place.pages > 0 and total != place.last_total
        place.last_total = total
        return outcome

    def _told(self, place: Place, page: Page) -> End:
        """What an answer means to its list that a rule of the spec has taken. Raises Incomplete where it ends in the midst of it."""
        if page.told == "end":
            return self.route.paginate.refused(place.walk)
        if page.told == "skip" and self.collection.parent:
            return End("skipped", certain=False)
        if place.pages:
            why = page.message or f"a rule says {page.told}"
            raise Incomplete(f"an answer in the midst of the list is to be left out ({why}), and what follows it is not known")
        return End("ignored", certain=False)

    def _take(self, place: Place, page: Page, listing: Listing) -> None:
        if self.step.is_new and self.collection.cursor:  # of several that were under way at once, the earliest answer counts
            until = self.collection.cursor.window_end(page.headers, page.seconds, self.fetcher.clock.time())
            earliest = None if until is None or self.until is None else min(until, self.until)
            self.until = earliest if self.has_read else until
        place.pages += 1
        place.records += len(listing.records)
        self.has_read = True
        self.buffer.add(place, page, listing, self.fetcher)
        self.met.take(place, listing)
        book = self.book
        book.requests += page.requests
        book.pages += 1
        book.bytes += len(page.body)
        book.received += len(listing.records)
        book.budget_left, book.budget_resets_at = self.fetcher.remaining() or (None, None)
        if self.collection.parent is None and (place.pages == 1 or not self.route.paginate.stable):
            book.api_total = place.last_total
        self.watcher.pulled(self.step.collection, book)

    def _ended(self, place: Place, verdict: Ended) -> None:
        """Sum up a list that has ended."""
        walked = self.walked
        walked.proof = weakest(walked.proof, verdict.proof)
        walked.gone, walked.whole = walked.gone and verdict.gone, walked.whole and verdict.whole
        walked.place = None
        if verdict.gone and self._tells_of_parent(place):
            self.buffer.mark_gone_since(place)
        self.reason = verdict.reason
        if verdict.reason in ("ignored", "skipped") and place.parent is not None:
            walked.left.append(Owed(place.parent, place.since if self.step.purpose == "changed" else None))
        elif verdict.reason == "ignored" or (verdict.reason == "past_the_end" and not place.records):
            self.until = None  # what was not said is asked for again: no window ends with it
        if self.collection.parent and place.last_total is not None:
            walked.total = self.book.api_total = (walked.total or 0) + place.last_total

    def _tells_of_parent(self, place: Place) -> bool:
        """Whether a list tells what is gone of its own parent: what it lacks is in no other's, and it was asked for as a whole."""
        if not self.parent_key or is_feed(self.step.collection):
            return False
        if self.step.purpose == "full":
            return True
        since = place.since if self.cursor is None or self.cursor.start is None else self.cursor.start
        return self.collection.asks_alike and (since is None or not self.collection.asks_since)

    def _end(self) -> None:
        """Write the chain's end."""
        walked = self.walked
        if self.parents is None:
            verdict = Ended(self.reason, walked.proof, walked.gone, walked.whole)
        else:
            knows_all = bool(self.parents.state.passes)
            lacks_all = self.step.purpose == "full" and self._lacks_all()
            proof = weakest(walked.proof, "open" if lacks_all else "checked" if self._may_move() else "proven")
            verdict = Ended("all_parents", proof, gone=walked.gone and knows_all and not lacks_all)
        self.book.stop = verdict.reason
        self.book.proof = verdict.proof if self.book.proof is None else weakest(self.book.proof, verdict.proof)
        self._close(verdict)

    def _may_move(self) -> bool:
        """Whether a record could go from one parent's list to another's between the two, and so be in neither."""
        return self.collection.parent is not None and self.walked.slices > 1 and not self.parent_key

    def _close(self, ended: Ended | None = None) -> None:
        """Make what was received durable."""
        buffer, place = self.buffer, self.walked.place
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
            spec=self.spec_print,
            pages=len(buffer.pages),
            requests=buffer.requests,
            bytes=buffer.bytes,
            records=len(buffer.records),
            longest=max(map(len, buffer.records), default=0),
            raw_bytes=buffer.raw_bytes,
            api_total=place.last_total if place else self.book.api_total,
            validators=sum(map(is_reusable, buffer.pages)),
            state=to_builtins(self.walked) if ended is None else {"owed": to_builtins(self.walked)["left"]} if self.walked.left else {},
            reading=buffer.reading,
            ended=ended,
        )
        stored = self.hub.append(
            head, buffer.records, [to_builtins(page) for page in buffer.pages], buffer.slices if self.collection.parent else ()
        )
        self.state = fold(self.state, stored)
        self.stored(self.step.collection)
        self.name = segment_name(self.step.leg, stored.number + 1)
        self.buffer = _Buffer(self.fetcher.clock.monotonic())

    def _graded(self, place: Place, end: End) -> Ended | ReadAgain:
        """What a list's end proves; one whose pages can shift is checked against its keys."""
        if not end.certain:
            return Ended(end.reason, "open")
        tells_gone = self.collection.parent is None and self.step.purpose == "full" and not is_feed(self.step.collection)
        if tells_gone and place.reading == 1 and self._lacks_all():
            return ReadAgain("the list is empty, and the hub holds records of it")
        if not end.slips and (self.route.paginate.stable or (place.pages == 1 and place.last_total in (None, place.records))):
            return snapshot(end.reason)
        met, is_in_hub = self.met, self.met.is_in_hub(tells_gone)
        if is_in_hub:
            self._close()
        with self.stage.work() if is_in_hub else nullcontext():
            came, keys, distinct = met.counted(place, place.reading)
            reading = Reading(
                place.pages,
                keys,
                distinct,
                place.last_total,
                moved=place.moved,
                unreadable=came - keys,
                overlaps=end.overlaps,
                slips=end.slips,
            )
            if place.reading > place.first_reading:
                _, _, both = met.counted(place, place.reading - 1, place.reading)
                return grade_again(end.reason, reading, both)
            missing = None
            if tells_gone:
                missing = met.missing(place)
            elif self._tells_of_parent(place) and not met.lacks_some():
                missing = met.missing_of_parent(place)
        verdict = grade(end.reason, replace(reading, missing=missing or 0))
        if self.collection.parent is None or missing is None or not isinstance(verdict, Ended):
            return verdict
        return replace(verdict, gone=True)  # all came that the hub holds of this parent

    def _lacks_all(self) -> bool:
        """Whether the chain brought no record at all, but the hub holds some."""
        return not (self.buffer.records or self.book.received) and self.met.holds_none()

    def _where(self, place: Place, page: Page) -> str:
        return f"{self.step.collection}, page {place.pages + 1}, status {page.status}, {self.fetcher.shown(page.request)}"


class _Buffer(Struct):
    """What was received and is not yet durable."""

    opened: float
    records: list[bytes] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    pages: list[StoredPage] = field(default_factory=list)
    raw_bytes: int = 0
    bytes: int = 0
    requests: int = 0
    reading: int = 1

    def add(self, place: Place, page: Page, listing: Listing, fetcher: Fetcher) -> None:
        self.records += listing.records
        self.raw_bytes += sum(map(len, listing.records))
        self.bytes += len(page.body)
        self.requests += page.requests
        self.reading = place.reading
        last = self.slices[-1] if self.slices else None
        if last is not None and (last.number, last.reading) == (place.slice, place.reading):
            self.slices[-1] = replace(last, records=last.records + len(listing.records))
        else:
            self.slices.append(Slice(place.slice, place.reading, len(listing.records), place.parent))
        around = fetcher.settings.hidden(listing.envelope)
        headers = {name: fetcher.settings.hide(value) for name, value in listing.headers.items()}
        as_sent = page.told in (None, "ignore") and listing.null is None and headers == listing.headers and around == listing.envelope
        self.pages.append(StoredPage(page.request.as_json(), page.status, headers, len(listing.records), around, as_sent))

    def mark_gone_since(self, place: Place) -> None:
        """Note that a list ends here, and that what it lacks is gone."""
        last = self.slices[-1] if self.slices else None
        if last is None or (last.number, last.reading) != (place.slice, place.reading):
            self.slices.append(Slice(place.slice, place.reading, 0, place.parent))
        self.slices[-1] = replace(self.slices[-1], gone_since=place.began)

    def is_full(self, now: float) -> bool:
        return self.raw_bytes >= SEGMENT_BYTES or now - self.opened >= SEGMENT_SECONDS
