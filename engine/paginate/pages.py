"""Pages that are asked for by their number, or by how many records come before them; or one for all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, ClassVar

from ..errors import Incomplete
from ..exchange import Listing, Request
from ..fields import Doc, Path
from ..kinds import kind
from .step import End, Flagged, Paginator, State, Step, says_more, watch, whole

_MOST_EMPTY = 100
"""How many empty pages in a row are believed to be no end, because the answer says that more follow."""


@kind("single")
class Single(Paginator, frozen=True, kw_only=True):
    """The whole list comes in one answer."""

    stable: ClassVar[bool] = True

    def first(self, request: Request) -> Step:
        return {}, request

    def after(self, state: State, listing: Listing) -> Step | End:
        total = self.total_of(listing)
        if total is not None and total > len(listing.records):
            raise Incomplete(f"one answer holds {len(listing.records)} of {total} records; say how its pages follow, in `paginate`")
        if more := says_more(listing):
            raise Incomplete(f"one answer was expected, but it says at {more} that more follow; say how, in `paginate`")
        return End("one_answer", by_emptiness=total is None)


@kind("number")
class Number(Flagged, frozen=True, kw_only=True):
    """Pages are numbered. They end with the declared total, flag or last page; where none is declared, with an empty page."""

    param: Annotated[str, Doc("the parameter that takes the page's number")] = "page"
    start: Annotated[int, Doc("the first page's number", {"minimum": 0})] = 1
    pages: Annotated[Path | None, Doc("the path in the answer of the last page's number")] = None

    def first(self, request: Request) -> Step:
        return {"page": self.start, "seen": 0}, request.with_params({self.param: str(self.start)})

    def after(self, state: State, listing: Listing) -> Step | End:
        page, seen, got = state["page"], state["seen"] + len(listing.records), len(listing.records)
        total, more = self.total_of(listing), self.has_more(listing)
        last = whole(self.pages, listing, "the last page's number; correct `pages`, or leave it out") if self.pages else None
        if end := self.end_told(listing, seen, f"page {page}", may_go_on=got > 0, last_page=last is not None and page >= last):
            return End(end)
        if not got and (total is not None or last is not None):
            promised = f"{total} records" if total is not None else f"{last} pages"
            raise Incomplete(f"page {page} is empty, but the API declares {promised} and sent {seen} records")
        following = {"page": page + 1, "seen": seen, "total": total, "last": last, "size": max(got, state.get("size", 0))}
        if not got:
            if empties_end(state, listing, more, f"page {page}"):
                return End("empty_page", by_emptiness=True)
            return {**state, **following, "empty": state.get("empty", 0) + 1}, self._page(listing.request, page + 1)
        mark = watch(state, listing.identity(), f"page {page} repeats an earlier page; does the API know {self.param!r}?")
        return {**following, **mark}, self._page(listing.request, page + 1)

    def ahead(self, state: State, request: Request) -> Iterator[Request]:
        page, seen = state["page"], state["seen"] + (state.get("size") or 0)
        while (state.get("total") or 0) > seen if state.get("total") is not None else page < (state.get("last") or 0):
            page, seen = page + 1, seen + state["size"]
            yield self._page(request, page)

    def _page(self, request: Request, page: int) -> Request:
        return request.with_params({self.param: str(page)})


@kind("offset")
class Offset(Flagged, frozen=True, kw_only=True):
    """A page begins behind so many records. They end with the declared total or flag, else where nothing follows the last record.

    How far the next page is follows from what came, never from what was asked for. Each page is asked for from the last
    record of the page before, which shows that the two join: that nothing has moved between them.
    """

    param: Annotated[str, Doc("the parameter that takes the number of records before the page")] = "offset"
    start: Annotated[int, Doc("the first page's offset", {"minimum": 0})] = 0
    overlap: Annotated[
        bool,
        Doc("whether each page is asked for from the last record of the one before; false where the API takes multiples of a page only"),
    ] = True

    def first(self, request: Request) -> Step:
        return {"at": self.start, "seen": 0}, self._from(request, self.start)

    def after(self, state: State, listing: Listing) -> Step | End:
        at, got, last = state["at"], len(listing.records), state.get("tail")
        joins = last is None or (got > 0 and _digest(listing, 0) == last)
        if last is not None and not joins and got > 1 and _digest(listing, got - 1) == last:
            raise Incomplete(
                f"the page from {at} on repeats the page before; if the API knows multiples of the page only, say `overlap: false`"
            )
        overlaps = state.get("overlaps", 0) + (last is not None and joins)
        slips = state.get("slips", 0) + (last is not None and not joins)
        signs, seen = {"overlaps": overlaps, "slips": slips}, at - self.start + got
        total, more = self.total_of(listing), self.has_more(listing)
        only_tail = last is not None and joins and got == 1
        if end := self.end_told(listing, seen, f"the page from {at} on", may_go_on=got > 0 and not only_tail):
            return End(end, **signs)
        if (not got or only_tail) and total is not None:
            raise Incomplete(f"nothing follows from {at} on, but the API declares {total} records")
        following = {"at": at + got, "seen": seen, "total": total, "size": max(got, state.get("size", 0)), **signs}
        if not got or only_tail:
            if empties_end(state, listing, more, f"the page from {at} on"):
                return End("nothing_beyond" if only_tail else "empty_page", by_emptiness=not only_tail, **signs)
            step = state.get("size") or 1  # what the API leaves out of its pages still counts for their places
            skipped = {**state, **following, "at": at + step, "empty": state.get("empty", 0) + 1}
            skipped.pop("tail", None)
            return skipped, self._from(listing.request, at + step)
        mark = watch(state, listing.identity(), f"the page from {at} on repeats an earlier one; does the API know {self.param!r}?")
        if self.overlap and got > 1:  # from a page of one record on, it would ask for the same page for ever
            following |= {"at": at + got - 1, "tail": _digest(listing, got - 1)}
        return {**following, **mark}, self._from(listing.request, following["at"])

    def ahead(self, state: State, request: Request) -> Iterator[Request]:
        at, total, step = state["at"], state.get("total"), (state.get("size") or 0) - self.overlap
        while total is not None and step > 0 and at + step + self.overlap < self.start + total:
            at += step
            yield self._from(request, at)

    def _from(self, request: Request, at: int) -> Request:
        return request.with_params({self.param: str(at)})


def empties_end(state: State, listing: Listing, more: bool | None, where: str) -> bool:
    """Whether a page without records is the end. Raises Incomplete where the answer says otherwise, but nothing follows."""
    if more is None and (place := says_more(listing)):
        raise Incomplete(f"{where} is empty, but says at {place} that more follow; declare that flag in `more`")
    if more and state.get("empty", 0) >= _MOST_EMPTY:
        raise Incomplete(f"{where} is empty, like {_MOST_EMPTY} before it, but the API says that more follow")
    return not more


def _digest(listing: Listing, place: int) -> str:
    return sha256(listing.identities[place]).hexdigest()[:16]
