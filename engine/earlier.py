"""Pages as they came in an earlier chain, so that an API need not send again what has not changed. I/O.

A 304 proves the page that was asked for: its records are those that the hub holds, byte for byte. They are stored anew with the
chain at hand, as if they had been sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from . import times
from .errors import HubError
from .exchange import Request
from .hub import CollectionState, Hub, StoredPage
from .hub.segment import run_of

_OLD_ENOUGH = 60 * times.SECOND
"""A date tells two versions apart only where the answer came so much later (RFC 9110, 8.8.2.2)."""


@dataclass(frozen=True)
class EarlierPage:
    """A page that came before."""

    headers: Mapping[str, str]
    records: list[bytes] = field(repr=False)
    envelope: Any = field(repr=False)

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask for it only if it has changed; empty where nothing tells its versions apart."""
        return conditions(self.headers)


def conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request that asks for an answer with these only if it has changed (RFC 9110, 13.1)."""
    if "etag" in headers:
        return {"If-None-Match": headers["etag"]}
    modified, sent = times.http_date(headers.get("last-modified")), times.http_date(headers.get("date"))
    if modified is not None and sent is not None and sent - modified >= _OLD_ENOUGH:
        return {"If-Modified-Since": headers["last-modified"]}
    return {}


class Earlier:
    """The pages of the last complete pass that was read the same way, by the same rules, one segment in memory at a time."""

    def __init__(self, hub: Hub, collection: str, state: CollectionState, route: str, spec: str) -> None:
        self._hub, self._collection = hub, collection
        self._segments: list[str] = []
        self._pages: dict[Request, EarlierPage] = {}
        if state.passes:
            chain = state.passes[-1].chain
            names = [name for name in hub.segments(collection) if run_of(chain) <= run_of(name) <= run_of(state.passes[-1].ended)]
            heads = [
                head
                for head in (hub.head(collection, name) for name in names)
                if (head.chain, head.route, head.spec) == (chain, route, spec)
            ]
            self._segments = [head.name for head in heads if head.validators]

    def find(self, request: Request) -> EarlierPage | None:
        """The page that answered a request, where it tells how to ask whether it has changed. Pages are looked for in their order."""
        if request not in self._pages and self._segments:
            following = self._read(self._segments[0])
            if request in following:
                self._segments.pop(0)
                self._pages = following
        return self._pages.get(request)

    def _read(self, name: str) -> dict[Request, EarlierPage]:
        found: dict[Request, EarlierPage] = {}
        with suppress(HubError):  # what is damaged is asked for
            pages, records = self._hub.pages(self._collection, name)
            first = 0
            for page in pages:
                own, first = records[first : first + page.records], first + page.records
                if is_reusable(page):
                    found[Request.from_json(page.request)] = EarlierPage(page.headers, own, page.envelope)
        return found


def is_reusable(page: StoredPage) -> bool:
    """Whether an API can be asked if a page has changed, and what is kept of it is all that it said."""
    return page.as_sent and bool(conditions(page.headers))
