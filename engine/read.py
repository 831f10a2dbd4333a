"""An answer as a list: the exact bytes of its records, and the values that paginators ask for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .columns import Integer, Reject, Timestamp
from .errors import PageError
from .exchange import Listing, Page, Request
from .properties import Property
from .record import NoRecords, NotJson, cut
from .spec import Collection, Route
from .values import integers_at

_Values = Sequence[int | str | None]


class Reader:
    """Reads the answers of one way of reading a collection."""

    def __init__(self, collection: Collection, route: Route) -> None:
        self.collection, self.route = collection, route
        self._readers: dict[str, Callable[[Sequence[bytes]], _Values]] = {}

    def listing(self, page: Page, request: Request, parent: Mapping[str, Any] | None) -> Listing:
        """The page as a list; `request` is its own with the secrets in it. Raises PageError where it is none.

        An answer without the list is never read as if it were empty: null in its place is marked, for the paginator to decide.
        """
        null: str | None = None
        try:
            records, envelope = cut(page.body, self.route.records)
        except NoRecords as error:
            null = f"the answer {error}; correct `records`, or the path"
            records, envelope = [], error.around
            if envelope is None:
                raise PageError(null) from None
        except NotJson as error:
            kind = page.headers.get("content-type", "no content type")
            what = f"the answer {error} ({kind}, {len(page.body):,} bytes)"
            raise PageError(f"{what}; correct the path, or ask for JSON in the header Accept") from None
        return Listing(
            request, records, envelope, lambda name: self._values(name, records, parent), self.collection.key, page.headers, null
        )  # fmt: skip

    def again(
        self, records: Sequence[bytes], envelope: Any, headers: Mapping[str, str], request: Request, parent: Mapping[str, Any] | None
    ) -> Listing:
        """A page that has not changed, from what is kept of it."""
        return Listing(request, records, envelope, lambda name: self._values(name, records, parent), self.collection.key, headers)

    def keys(self, records: Sequence[bytes], parent: Mapping[str, Any] | None) -> Iterator[tuple[int | str | None, ...]]:
        """The key of each record; a value that cannot be read is None."""
        return zip(*(self._values(name, records, parent) for name in self.collection.key), strict=True)

    def _values(self, name: str, records: Sequence[bytes], parent: Mapping[str, Any] | None) -> _Values:
        prop = self.collection.properties[name]
        if name not in self._readers:
            self._readers[name] = _reader(name, prop)
        if prop.parent:
            return list(self._readers[name]([msgspec.json.encode(parent)])) * len(records)
        return self._readers[name](records)


def _reader(name: str, prop: Property) -> Callable[[Sequence[bytes]], _Values]:
    """A function from documents to a property's values: numbers for integers and instants, texts for all else."""
    raws, is_number = prop.reader(name), isinstance(prop.column_type, Integer | Timestamp)
    is_plain = isinstance(prop.column_type, Integer) and not prop.match

    def value(raw: str | None) -> int | str | None:
        if is_plain and raw and raw.isdecimal() and len(raw) < 19:
            return int(raw)
        try:
            text = prop.canonical(raw)
        except Reject:
            return None
        return int(text) if is_number and text is not None else text

    def values(documents: Sequence[bytes]) -> _Values:
        return [value(raw) for raw in raws(documents)]

    if not is_plain or len(prop.paths(name)) > 1:
        return values
    integers = integers_at(prop.paths(name)[0])
    return lambda documents: integers(documents) or values(documents)
