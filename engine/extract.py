"""Segments -> lines of the values that a projection wants of their records, written into a file that is open. Pure, but for that.

All that it takes is in `Extraction`, so that another process may do it (`helper`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import md5
from itertools import islice, repeat
from typing import IO

from msgspec import Struct

from .errors import Damaged
from .hub.segment import decode_ndjson
from .record import split
from .values import SEPARATOR, Steps, Values, chunks, values_at

_END = SEPARATOR + b"\n"
"""What ends a record's line of values: so none is empty, which DuckDB would pass over."""


class Stored(Struct, frozen=True):
    """A segment as it lies in the hub, and how many records it has."""

    name: str
    records: int
    data: bytes
    parents: Sequence[tuple[int, bytes]] = ()
    """The values that are kept of parents, as JSON, and of how many of the records each is the parent; where such values are wanted."""


class Extraction(Struct, frozen=True):
    """What is wanted of each record of some segments: values at the paths `own`, its parent's at the paths `parents`, and a digest of it
    where it is `digested`."""

    collection: str
    segments: Sequence[Stored]
    own: Steps
    parents: Steps
    digested: bool


class Extracted(Struct, frozen=True):
    """The longest line's bytes, and the places of the records that have to be read the slow way: their lines hold no values."""

    longest: int
    refused: Sequence[int]


def extract(wanted: Extraction, out: IO[bytes]) -> Extracted:
    """Write a line for each record, with SEPARATOR behind each value. Raises Damaged for a segment that is not as it was written."""
    behind, longest, refused = 0, 0, list[int]()
    for segment in wanted.segments:
        first = behind
        for values, unread in _values(wanted, segment):
            out.write(_END.join([*values, b""]))
            refused += [behind + at for at in unread]
            behind, longest = behind + len(values), max(longest, *map(len, values), 0)
        if behind - first != segment.records:
            why = f"it holds {behind - first:,} records, and its head says {segment.records:,}"
            raise Damaged(f"{wanted.collection}/{segment.name}", why)
    return Extracted(longest + len(_END), refused)


def _values(wanted: Extraction, segment: Stored) -> Iterator[tuple[list[bytes], list[int]]]:
    """The values of a segment's records, some at a time, and which of these have to be read the slow way."""
    own, of_parents = values_at(wanted.own), _of_parents(values_at(wanted.parents), segment)
    for ndjson in chunks(decode_ndjson(segment.data, f"{wanted.collection}/{segment.name}")):
        values, refused = own.of_lines(ndjson)
        parts = [values]
        if wanted.parents:
            parts.append(list(islice(of_parents, len(values))))
        if wanted.digested:
            parts.append([md5(record, usedforsecurity=False).hexdigest().encode() for record in split(ndjson)])
        yield list(map(SEPARATOR.join, zip(*parts, strict=True))) if len(parts) > 1 else values, refused


def _of_parents(reader: Values, segment: Stored) -> Iterator[bytes]:
    """For each record of a segment, its parent's values."""
    for records, parent in segment.parents:
        yield from repeat(reader.of([parent])[0], records)
