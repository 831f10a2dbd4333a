"""Pages that lead to the next one themselves: by a URL in the answer or its header, or by a token. Pure."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from ..errors import Incomplete, PageError
from ..exchange import Listing, Request
from ..fields import Doc, Path
from ..kinds import kind
from .step import End, Flagged, Paginator, Reason, State, Step, says_more, stands, watch

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))?)*)\s*(?:,|$)')
"""One link of a Link header (RFC 8288, 3): its URL, and its parameters."""
_PARAMETER = re.compile(r';\s*([^\s=;,]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


class _Led(Paginator, frozen=True, kw_only=True):
    """A way of paging on which each page leads to the next; `word` is the spec's for the way."""

    word: ClassVar[str] = "paginate"

    def first(self, request: Request) -> Step:
        return {"seen": 0}, request

    def _goes_on(self, state: State, listing: Listing, request: Request, repeated: str) -> Step:
        seen = state["seen"] + len(listing.records)
        mark = watch(state, request.full_url.encode(), repeated)
        return {"seen": seen, "total": self.total_of(listing), **mark}, request

    def _ends(self, state: State, listing: Listing, at: str, stands: bool, reason: Reason) -> End:
        """The end of a list whose answer leads nowhere. Raises Incomplete where it says otherwise elsewhere.

        `stands` says whether the place is there, empty as it is: else the first answer may be without it for being the only
        one, or for a mistake of the spec.
        """
        seen, total = state["seen"] + len(listing.records), self.total_of(listing)
        what = at.rpartition(" at ")[0] or at
        if total is not None and seen < total and not state.get("mark"):  # of several pages, whether they are all is graded by keys
            raise Incomplete(f"no {what} after {seen} of {total} records")
        if total is None and not stands:
            if more := says_more(listing):
                raise Incomplete(f"the answer has no {at}, but says at {more} that more follow; correct `{self.word}`")
            if not state.get("mark"):
                return End("no_link_ever", certain=False, by_emptiness=True)
        return End(reason)


@kind("next_link")
class NextLink(_Led, frozen=True, kw_only=True):
    """Each answer holds the URL of the next page, whole or relative; no URL there is the end."""

    word: ClassVar[str] = "link"

    link: Annotated[Path, Doc("the path in the answer of the next page's URL")]

    def after(self, state: State, listing: Listing) -> Step | End:
        link = self.link.of(listing.envelope)
        if link is None or link == "":
            _expect_around(self.link, listing, "link")
            return self._ends(state, listing, f"next link at {self.link}", stands(self.link, listing.envelope), "no_next_link")
        if not isinstance(link, str):
            raise PageError(f"has something at {self.link} that is no URL; correct `link`")
        request = listing.request.moved(link)
        return self._goes_on(state, listing, request, "the next link leads in a circle: it repeats an earlier page's")


@kind("link_header")
class LinkHeader(_Led, frozen=True, kw_only=True):
    """The answer's header Link holds the URL of the next page, with rel=next (RFC 8288); no such link is the end."""

    def after(self, state: State, listing: Listing) -> Step | End:
        header = listing.headers.get("link", "")
        link = _next_in(header)
        if link is None:
            return self._ends(state, listing, "link with rel=next", bool(header), "no_next_link")
        request = listing.request.moved(link)
        return self._goes_on(state, listing, request, "the next link leads in a circle: it repeats an earlier page's")


@kind("token")
class Token(_Led, Flagged, frozen=True, kw_only=True):
    """Each answer holds a token that asks for the next page; none there, or a flag that says so, is the end."""

    word: ClassVar[str] = "token"

    token: Annotated[Path, Doc("the path in the answer of the next page's token")]
    param: Annotated[str, Doc("the parameter that takes it")]

    def after(self, state: State, listing: Listing) -> Step | End:
        token, more = self.token.of(listing.envelope), self.has_more(listing)
        if isinstance(token, bool | dict | list | float):
            raise PageError(f"has something at {self.token} that is no token; correct `token`")
        if token is None or token == "" or more is False:
            if more:
                raise Incomplete(f"the answer says at {self.more} that more follow, but has no token at {self.token}")
            if more is None:
                _expect_around(self.token, listing, "token")
            known = more is False or stands(self.token, listing.envelope)
            return self._ends(state, listing, f"token at {self.token}", known, "no_more" if more is False else "no_token")
        request = listing.request.with_params({self.param: str(token)})
        return self._goes_on(state, listing, request, "the token repeats an earlier page's, so the list would never end")


def _expect_around(path: Path, listing: Listing, word: str) -> None:
    """Raises Incomplete where not even what should be around a path is there: a misspelt path looks the same as the end.

    `_links.next.href` may be absent because `next` is null: then what is around `next` is there.
    """
    around, farther = Path(path.steps[:-1]), Path(path.steps[:-2])
    may_lack = len(path.steps) > 2 and isinstance(farther.of(listing.envelope), dict)
    if around.steps and around.of(listing.envelope) is None and not may_lack:
        raise Incomplete(f"the answer has no {around}, where the next page's {word} should stand; correct `{word}`")


def _next_in(header: str) -> str | None:
    """The URL that a Link header gives the relation `next`. Relations are written in any case, several parted by blanks."""
    for url, parameters in _LINK.findall(header):
        relations = [quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters) if name.lower() == "rel"]
        if relations and "next" in relations[0].lower().split():
            return str(url)
    return None
