"""Pages that start where the last record of the page before ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from .. import times
from ..errors import Incomplete, PageError
from ..exchange import Listing, Request
from ..fields import Doc, Text
from ..kinds import kind
from .step import End, Paginator, State, Step


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
            return End("empty_page", by_emptiness=True)
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
