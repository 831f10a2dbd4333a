"""Pages that start where the last record of the page before ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from msgspec import Struct

from .. import times
from ..errors import Incomplete, PageError
from ..exchange import Listing, Request
from ..fields import Doc, Text
from ..kinds import kind
from .step import End, Paginator, State, Step

_NEVER = 3
"""On so many pages the record at the bound is missing by chance only where each time just that one has gone."""


class TieBreaker(Struct, frozen=True, kw_only=True):
    """How to go on inside a group of records that share one value and fill more than a page."""

    on: Annotated[str, Doc("the property that tells such records apart: unique, and never changing")]
    param: Annotated[str, Doc("the parameter that takes its last value; the API must return from it upwards")]
    params: Annotated[Mapping[str, Text] | None, Doc("parameters that make the API sort by it")] = None


@kind("key_set")
class KeySet(Paginator, frozen=True, kw_only=True):
    """The list is sorted, and each page starts where the last record of the page before ended.

    Stable: a record keeps its place whatever happens to others, or moves towards the end, where it is met again. The order
    is checked; the record at the bound comes twice, which is how an API that ignores the bound is found out.
    """

    stable: ClassVar[bool] = True
    instead: ClassVar[str] = (
        "if the API leaves out the record at the bound, say `inclusive: false`; if it reads the bound in another way, correct `format`"
    )

    on: Annotated[str, Doc("the property that the list is sorted by, upwards")]
    param: Annotated[str, Doc("the parameter that takes the last record's value")]
    start: Annotated[Text | None, Doc("what the first request sends there (default: nothing)")] = None
    format: Annotated[
        str | None,
        Doc("how an instant is written there: iso, epoch_s, epoch_ms, epoch_us or a strftime pattern (default: as in the records)"),
    ] = None
    timezone: Annotated[str | None, Doc("the zone in which a strftime pattern is written there (default: the property's, or UTC)")] = None
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
        joins, apart = self._joined(state, before, keys) if tie is None else (state.get("joins", 0), state.get("apart", 0))
        slips = apart if self.inclusive and not joins and apart >= _NEVER else 0
        total, longest = self.total_of(listing), max(state.get("longest", 0), len(keys))
        if total is not None and len(keys) >= total:
            return End("total_reached", slips=slips)
        met_before = min(sum(1 for key in keys if key == before), state.get("ties", 0))
        seen = state.get("seen", 0) + len(keys) - met_before
        is_full = len(keys) == longest and (longest > 1 or total is not None)  # an API that gives one at a time looks like the end
        if keys and last == before and tie is None and self.tie_breaker is not None and (len(keys) > 1 or is_full):
            sorting = {name: value.text for name, value in (self.tie_breaker.params or {}).items()}
            return {"tied": True, "longest": longest, "seen": seen}, listing.request.with_params(sorting)
        if not keys or (last == before and not is_full):
            if total is not None and (self._is_of_the_rest(state, total) or seen < total):
                raise Incomplete(f"nothing more comes after {seen} records, but the API declares {total}")
            return End("nothing_beyond", longest > 1, slips=slips) if keys else End("empty_page", by_emptiness=True, slips=slips)
        if last == before:
            raise Incomplete(
                f"{len(keys)} records share one {on}, more than a page holds, so the next page cannot be asked for; "
                "declare a `tie_breaker`, or ask for larger pages"
            )
        written = (
            times.write(last, self.format, times.zone(self.timezone)) if isinstance(last, int) and self.format and not tie else str(last)
        )
        ties = sum(1 for key in keys if key == last)
        known = {"longest": longest, "total": total, "seen": seen, "ties": ties, "rest": self._is_of_the_rest(state, total)}
        known |= {"joins": joins, "apart": apart}
        return {**state, **known, "passed": len(keys) - ties, "last": str(last)}, listing.request.with_params({param: written})

    def _joined(self, state: State, before: Any, keys: Sequence[Any]) -> tuple[int, int]:
        """On how many pages the record at the bound came again, and on how many it did not.

        One may have gone, or moved on; where none ever comes, the API does not read the bound as it is meant.
        """
        comes = before in keys
        return state.get("joins", 0) + (before is not None and comes), state.get("apart", 0) + (before is not None and not comes)

    def _is_of_the_rest(self, state: State, total: int | None) -> bool:
        """Whether the total counts the records from the bound on, and not those of the whole list: it falls by those that are passed."""
        if state.get("rest") or total is None or state.get("total") is None:
            return bool(state.get("rest"))
        return bool(state["passed"]) and total <= state["total"] - state["passed"]

    def _check(self, keys: Sequence[Any], before: Any, on: str, param: str) -> None:
        """Raises Incomplete where the records are not in order, or not from the bound on."""
        if len({type(key) for key in keys}) > 1 or any(one > other for one, other in pairwise(keys)):
            raise Incomplete(f"the records do not come in the order of {on}; ask the API to sort by it, in `params`")
        if self.format and isinstance(before, int) and on == self.on:
            before = times.floor(before, self.format, times.zone(self.timezone))
        if before is not None and keys and keys[0] < before:
            what = f"records from before the bound came back; the API seems to ignore {param!r}, or to read it in another `format`"
            raise Incomplete(what)
