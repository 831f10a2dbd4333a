"""How a list continues on its next page: one class a kind. Pure.

A paginator is a pure step over a small JSON-able state, stored with the page it belongs to:

    first(request)         -> (state, request)
    after(state, listing)  -> (state, request) | End(reason)

`End` is a proof that nothing follows, and names it. What looks like an end without being one (a repeated page, a bound that
the API ignores, an empty page before the total) raises Incomplete: never a quiet success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from . import times
from .errors import Incomplete, PageError
from .exchange import Listing, Request
from .fields import Doc, Path, Text
from .kinds import Kind, kind

State = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """The list has ended, and this is why that is known; not quite known, where it is not `certain`."""

    reason: str
    certain: bool = True


Step = tuple[State, Request]


@dataclass(frozen=True, kw_only=True)
class Paginator(Kind):
    """How a list goes on."""

    family: ClassVar[str] = "paginate"
    stable: ClassVar[bool] = False
    """Whether no record that is alive throughout can slip between two pages while others come, change and go."""

    total: Annotated[Path | None, Doc("the path in the answer of the number of records that the query has in all")] = None

    def first(self, request: Request) -> Step:
        raise NotImplementedError

    def after(self, state: State, listing: Listing) -> Step | End:
        raise NotImplementedError

    def total_of(self, listing: Listing) -> int | None:
        """How many records the query has, as the API says it. Raises PageError where the declared total is not there."""
        return None if self.total is None else _whole(self.total, listing, "the declared total; correct `total`, or leave it out")


@kind("single")
@dataclass(frozen=True, kw_only=True)
class Single(Paginator):
    """The whole list comes in one answer."""

    stable: ClassVar[bool] = True

    def first(self, request: Request) -> Step:
        return {}, request

    def after(self, state: State, listing: Listing) -> Step | End:
        total = self.total_of(listing)
        if total is not None and total > len(listing.records):
            raise Incomplete(f"one answer holds {len(listing.records)} of {total} records; say how its pages follow, in `paginate`")
        if more := _more(listing):
            raise Incomplete(f"one answer was expected, but it says at {more} that more follow; say how, in `paginate`")
        return End("one_answer")


@kind("number")
@dataclass(frozen=True, kw_only=True)
class Number(Paginator):
    """Pages are numbered. They end with the declared total or last page; where neither is declared, with an empty page."""

    param: Annotated[str, Doc("the parameter that takes the page's number")] = "page"
    start: Annotated[int, Doc("the first page's number", {"minimum": 0})] = 1
    pages: Annotated[Path | None, Doc("the path in the answer of the last page's number")] = None

    def first(self, request: Request) -> Step:
        return {"page": self.start, "seen": 0}, request.with_params({self.param: str(self.start)})

    def after(self, state: State, listing: Listing) -> Step | End:
        page, seen, got = state["page"], state["seen"] + len(listing.records), len(listing.records)
        total = self.total_of(listing)
        last = _whole(self.pages, listing, "the last page's number; correct `pages`, or leave it out") if self.pages else None
        if total is not None and seen >= total:
            return End("total_reached")
        if last is not None and page >= last:
            return End("last_page_reached")
        if not got and (total is not None or last is not None):
            promised = f"{total} records" if total is not None else f"{last} pages"
            raise Incomplete(f"page {page} is empty, but the API declares {promised} and sent {seen} records")
        if not got:
            return End("empty_page")
        mark = watch(state, listing.identity(), f"page {page} repeats an earlier page; does the API know {self.param!r}?")
        following = {"page": page + 1, "seen": seen, **mark}
        return following, listing.request.with_params({self.param: str(page + 1)})


@kind("next_link")
@dataclass(frozen=True, kw_only=True)
class NextLink(Paginator):
    """Each answer holds the URL of the next page, whole or relative; no URL there is the end."""

    link: Annotated[Path, Doc("the path in the answer of the next page's URL")]

    def first(self, request: Request) -> Step:
        return {"seen": 0}, request

    def after(self, state: State, listing: Listing) -> Step | End:
        link = self.link.of(listing.envelope)
        seen = state["seen"] + len(listing.records)
        if link is None or link == "":
            around = Path(self.link.steps[:-1])
            if around.steps and around.of(listing.envelope) is None and not self._may_lack(listing):
                raise Incomplete(f"the answer has no {around}, where the next page's link should stand; correct `link`")
            total = self.total_of(listing)
            if total is not None and seen < total:
                raise Incomplete(f"no next link after {seen} of {total} records")
            if total is None and not self._stands(listing):
                if more := _more(listing):
                    raise Incomplete(f"the answer has no next link at {self.link}, but says at {more} that more follow; correct `link`")
                if not state.get("mark"):
                    return End("no_link_ever", certain=False)
            return End("no_next_link")
        if not isinstance(link, str):
            raise PageError(f"has something at {self.link} that is no URL; correct `link`")
        request = listing.request.moved(link)
        mark = watch(state, request.full_url.encode(), "the next link leads in a circle: it repeats an earlier page's")
        return {"seen": seen, **mark}, request

    def _stands(self, listing: Listing) -> bool:
        """Whether the answer has the link's place, empty as it is: a misspelt path never has."""
        for depth, step in enumerate(self.link.steps):
            around = Path(self.link.steps[:depth]).of(listing.envelope)
            if not isinstance(around, dict) or step not in around:
                return False
            if around[step] is None:
                return True
        return True

    def _may_lack(self, listing: Listing) -> bool:
        """`_links.next.href` may be absent because `next` is null: then what is around `next` is there."""
        return len(self.link.steps) > 2 and isinstance(Path(self.link.steps[:-2]).of(listing.envelope), dict)


@dataclass(frozen=True, kw_only=True)
class TieBreaker:
    """How to go on inside a group of records that share one value and fill more than a page."""

    on: Annotated[str, Doc("the property that tells such records apart: unique, and never changing")]
    param: Annotated[str, Doc("the parameter that takes its last value; the API must return from it upwards")]
    params: Annotated[Mapping[str, Text] | None, Doc("parameters that make the API sort by it")] = None


@kind("key_set")
@dataclass(frozen=True, kw_only=True)
class KeySet(Paginator):
    """The list is sorted, and each page starts where the last record of the page before ended.

    Stable: a record keeps its place whatever happens to others, or moves towards the end, where it is met again. The order
    is checked; the record at the bound comes twice, which is how an API that ignores the bound is found out.
    """

    stable: ClassVar[bool] = True

    on: Annotated[str, Doc("the property that the list is sorted by, upwards")]
    param: Annotated[str, Doc("the parameter that takes the last record's value")]
    start: Annotated[Text | None, Doc("what the first request sends there (default: nothing)")] = None
    format: Annotated[str | None, Doc("how an instant is written there: iso, epoch_s, epoch_ms, epoch_us or a strftime pattern")] = None
    inclusive: Annotated[bool, Doc("whether the API returns the record at the bound again; false only where `on` is the key")] = True
    tie_breaker: Annotated[TieBreaker | None, Doc("how to go on where more records share a value than a page holds")] = None

    def first(self, request: Request) -> Step:
        return {}, request.with_params({self.param: self.start.text}) if self.start else request

    def after(self, state: State, listing: Listing) -> Step | End:
        tie = self.tie_breaker if state.get("tied") else None
        on, param = (tie.on, tie.param) if tie else (self.on, self.param)
        keys = listing.values(on)
        if any(key is None for key in keys):
            raise PageError(f"has a record without {on}, which the list is to be sorted by; sort by a property that every record has")
        last = keys[-1] if keys else None
        before = state.get("last") if not isinstance(last, int) or "last" not in state else int(state["last"])
        self._check(keys, before, on, param)
        total, seen, longest = self.total_of(listing), state.get("seen", 0), max(state.get("longest", 0), len(keys))
        whole = total is not None and total == state.get("total", total)  # not only of what comes from the bound on
        known = min(sum(1 for key in keys if key == before), state.get("ties", 0))
        if total is not None and len(keys) >= total:
            return End("total_reached")
        if not keys and total is not None and seen < total:
            raise Incomplete(f"an empty page, but the API declares {total} records from here on")
        if not keys:
            return End("empty_page")
        if last == before:
            if whole and total is not None and seen + len(keys) - known >= total:
                return End("total_reached")
            if tie or self.tie_breaker is None:
                if len(keys) == 1 and (total is None or seen >= total):  # an API that gives one at a time would look the same
                    return End("nothing_beyond", certain=total is not None or longest > 1)
                raise Incomplete(
                    f"{len(keys)} records share one {on}, more than a page holds, so the next page cannot be asked for; "
                    "declare a `tie_breaker`, or ask for larger pages"
                )
            sorting = {name: value.text for name, value in (self.tie_breaker.params or {}).items()}
            return {"tied": True, "longest": longest, "total": total}, listing.request.with_params(sorting)
        written = times.write(last, self.format) if isinstance(last, int) and self.format and not tie else str(last)
        count = {"seen": seen + len(keys) - known, "ties": sum(1 for key in keys if key == last), "longest": longest}
        return {**state, "total": total, "last": str(last), **count}, listing.request.with_params({param: written})

    def _check(self, keys: Sequence[Any], before: Any, on: str, param: str) -> None:
        """Raises Incomplete where the records are not in order, or not from the bound on."""
        if len({type(key) for key in keys}) > 1 or any(one > other for one, other in pairwise(keys)):
            raise Incomplete(f"the records do not come in the order of {on}; ask the API to sort by it, in `params`")
        if self.format and isinstance(before, int) and on == self.on:
            before = times.floor(before, self.format)
        if before is not None and keys and keys[0] < before:
            raise Incomplete(f"records from before the bound came back; the API seems to ignore {param!r}")


def _whole(path: Path, listing: Listing, what: str) -> int:
    value = path.of(listing.envelope)
    if isinstance(value, bool) or not re.fullmatch("[0-9]+", str(value)):
        raise PageError(f"has no whole number at {path}, {what}")
    return int(value)


def _more(listing: Listing) -> str | None:
    """Where an answer says that more records follow, whatever the spec says: its place, or None."""
    if re.search(r"rel=\"?next\b", listing.headers.get("link", "")):
        return "the header Link"
    found = _next_like(listing.envelope)
    return None if found is None else Path(found).text


def _next_like(value: Any, around: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Where a document has what looks like the URL of a next page, or a flag that there is one, by its name and its form."""
    if isinstance(value, list):
        related = [str(one.get("rel", one.get("relation"))) if isinstance(one, dict) else "" for one in value]
        value = {str(place): {rel: one} for place, (rel, one) in enumerate(zip(related, value, strict=True))}
    for name, inner in value.items() if isinstance(value, dict) else ():
        here = (*around, name)
        if isinstance(inner, str) and re.search("next", ".".join(here), re.IGNORECASE) and re.match(r"https?://|[/?]", inner):
            return here
        if inner is True and re.fullmatch("has_?(more|next)(_?page)?", name, re.IGNORECASE):
            return here
        if deeper := _next_like(inner, here):
            return deeper
    return None


def watch(state: State, seen: bytes, sentence: str) -> dict[str, Any]:
    """Brent's mark against cycles of any length: the state's next mark. Raises Incomplete where `seen` was met before.

    The mark stays at one place for 1, 2, 4, 8... steps, so a cycle is met at the latest one lap after it is long enough.
    """
    digest = sha256(seen).hexdigest()[:16]
    mark, lap, power = state.get("mark"), state.get("lap", 0) + 1, state.get("power", 1)
    if digest == mark:
        raise Incomplete(sentence)
    if mark is None or lap == power:
        return {"mark": digest, "lap": 0, "power": power * 2}
    return {"mark": mark, "lap": lap, "power": power}
