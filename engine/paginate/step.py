"""What a paginator is, and what keeps all of them from ending too early, or never. Pure.

A paginator is a pure step over a small JSON-able state, stored with the page it belongs to:

    first(request)         -> (state, request)
    after(state, listing)  -> (state, request) | End(reason)

`End` is a proof that nothing follows, and names it. What looks like an end without being one (a repeated page, a bound that
the API ignores, an empty page before the total) raises Incomplete: never a quiet success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Struct

from ..errors import Incomplete, PageError
from ..exchange import Listing, Request
from ..fields import Doc, Path
from ..kinds import Kind

State = Mapping[str, Any]

Reason = Literal[
    "one_answer", "total_reached", "last_page_reached", "no_more", "no_next_link", "no_token", "empty_page", "nothing_beyond",
    "past_the_end", "no_link_ever", "ignored", "skipped",
]  # fmt: skip
"""Why a list has ended: the ledger's `stop`."""


class End(Struct, frozen=True):
    """The list has ended, and this is why that is known; not quite known, where it is not `certain`."""

    reason: Reason
    certain: bool = True
    by_emptiness: bool = False
    """Whether it is known from nothing else than that no records came."""
    overlaps: int = 0
    """How many records were asked for twice, so that neighbouring pages show that they join."""
    slips: int = 0
    """How many pages did not join the page before."""


Step = tuple[State, Request]


class Paginator(Kind, frozen=True, kw_only=True):
    """How a list goes on."""

    family: ClassVar[str] = "paginate"
    alternatives: ClassVar[dict[str, type[Kind]]] = {}
    stable: ClassVar[bool] = False
    """Whether no record that is alive throughout can slip between two pages while others come, change and go."""
    instead: ClassVar[str] = "page by a key that does not move, if the API can, or run at a quieter time"
    """What to do about pages that do not fit together."""

    total: Annotated[Path | None, Doc("the path in the answer of the number of records that the query has in all")] = None

    def first(self, request: Request) -> Step:
        raise NotImplementedError

    def after(self, state: State, listing: Listing) -> Step | End:
        raise NotImplementedError

    def ahead(self, state: State, request: Request) -> Iterator[Request]:
        """The requests that will follow `request`, as far as that is known by now: they may be sent side by side."""
        return iter(())

    def refused(self, state: State) -> End:
        """The end of a list of which the API refuses the page past the last, as the spec says of it. Raises Incomplete."""
        seen, total = state.get("seen"), state.get("total")
        if seen is not None and total is not None and seen < total:
            raise Incomplete(f"the API refuses the next page after {seen} of {total} records")
        return End("past_the_end", certain=bool(seen), overlaps=state.get("overlaps", 0), slips=state.get("slips", 0))

    def total_of(self, listing: Listing) -> int | None:
        """How many records the query has, as the API says it. Raises PageError where the declared total is not there."""
        return None if self.total is None else whole(self.total, listing, "the declared total; correct `total`, or leave it out")


class Flagged(Paginator, frozen=True, kw_only=True):
    """A way of paging whose answers may say whether more follow."""

    more: Annotated[Path | None, Doc("the path in the answer of the flag that says whether more records follow: true or false")] = None

    def has_more(self, listing: Listing) -> bool | None:
        """What the flag says; None where none is declared. Raises PageError where a declared one is not there."""
        if self.more is None:
            return None
        flag = self.more.of(listing.envelope)
        if flag is None and not stands(self.more, listing.envelope):
            raise PageError(f"has no flag at {self.more}; correct `more`")
        if flag not in (True, False, None, "true", "false"):
            raise PageError(f"has something at {self.more} that is neither true nor false; correct `more`")
        return flag in (True, "true")

    def end_told(self, listing: Listing, seen: int, where: str, may_go_on: bool, last_page: bool = False) -> Reason | None:
        """Which end the answer tells, by its flag, its total or its last page, once `seen` records have come.

        Who says that more follow is asked once more, where that may go on. Raises Incomplete where flag and total disagree.
        """
        total, more = self.total_of(listing), self.has_more(listing)
        if more is False:
            if total is not None and seen < total:
                raise Incomplete(f"{where} says that no more follow, after {seen} of {total} records")
            return "no_more"
        if more or (may_go_on and says_more(listing)):
            return None
        if total is not None and seen >= total:
            return "total_reached"
        return "last_page_reached" if last_page else None


def whole(path: Path, listing: Listing, what: str) -> int:
    """The whole number at a path of the envelope. Raises PageError, which says what should be there."""
    value = path.of(listing.envelope)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,15}", str(value)):
        raise PageError(f"has no whole number at {path}, {what}")
    return int(value)


def stands(path: Path, envelope: Any) -> bool:
    """Whether the envelope has a path's place, empty as it may be: a misspelt path never has."""
    for depth, step in enumerate(path.steps):
        around = Path(path.steps[:depth]).of(envelope)
        if not isinstance(around, dict) or step not in around:
            return False
        if around[step] is None:
            return True
    return True


def says_more(listing: Listing) -> str | None:
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
