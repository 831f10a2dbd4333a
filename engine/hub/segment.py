"""A segment: one file of exact records, with a head that says what it is. Pure.

    skippable frame   the head, JSON and its CRC-32: chain, counts, how far it has come, whether and why it ended
    skippable frame   of a collection with a parent: which records belong to which parent, zstd
    skippable frame   of a thinned segment: where the newer versions lie of the records that it has no more, zstd
    zstd frame        the records' exact bytes, one a line, with zstd's own checksum
    skippable frame   the envelopes, zstd: of each page its request, status, kept headers, and the document around its records

Skippable frames (RFC 8878, 3.1.2) are passed over by every zstd reader: `zstdcat FILE | jq` and DuckDB see the records alone.
A record's line (from 1) is that of the segment as it was first written: thinning changes no record's place.

A segment's name is its place in the hub's order: `000003-01-000002` is number 2 (from 0) of a chain, written by run 3 as its
first chain of that collection. `000003-01` is its leg. Names sort as places do.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeVar
from zlib import crc32

import msgspec
import zstandard
from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from ..errors import Damaged, HubError
from ..record import split

FORMAT = 1
_HEAD, _ENVELOPES, _SLICES, _MOVED = 0x184D2A50, 0x184D2A51, 0x184D2A52, 0x184D2A53
_LEVEL = 1
"""Level 1 is a third of level 3's time for a tenth more bytes."""

Proof = Literal["proven", "checked", "open"]
T = TypeVar("T")


class Ended(Struct, frozen=True):
    """A chain's end: its proven reason, how far the pages can be trusted, and whether what it lacks is gone from the API."""

    reason: str
    proof: Proof
    gone: bool = False
    whole: bool = False
    """Whether nothing that the hub held was lacking."""


class Slice(Struct, frozen=True):
    """So many of a segment's records, in their order: those of one parent's list, as it was read for the `reading`-th time."""

    number: int
    """The parent's place among those of the chain, from 0."""
    reading: int
    records: int
    parent: dict[str, Any] | None
    """The values of the parent's properties that requests and columns use."""
    gone_since: str | None = None
    """Where the list ends here, and what it lacks is gone: the segment in which it began."""


class StoredPage(Struct, frozen=True):
    """What is kept of one answer: all but its records as they were sent, and no secret."""

    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    records: int
    envelope: Any = None
    as_sent: bool = False
    """Whether the envelope is as it was sent: there was no secret in it."""


class Head(Struct, frozen=True, kw_only=True):
    """What a segment says of itself; everything that is known of a chain is folded from its segments' heads."""

    collection: str
    name: str
    chain: str
    """The leg in which the chain began."""
    purpose: Literal["full", "changed"]
    began: int
    """When the chain began, by the clock of the machine that ran it (microseconds)."""
    since: int | None
    """Where the chain's window starts; None: at the beginning of time."""
    until: int | None
    """Until when the chain's answers are complete, by the API's clock; None where it does not tell."""
    route: str
    """Fingerprint of the way of reading: a stored request is only used while it stays the same."""
    scope: str = ""
    """Fingerprint of which records the spec asked for."""
    spec: str = ""
    """Fingerprint of what the spec said of the collection."""
    pages: int = 0
    requests: int = 0
    bytes: int = 0
    records: int = 0
    longest: int = 0
    """The longest record's bytes."""
    raw_bytes: int = 0
    """All records' bytes."""
    slices: int = 0
    """How many slices its records are made of; 0 where the collection has no parent."""
    api_total: int | None = None
    validators: int = 0
    """How many of its pages can be asked for again only if they have changed."""
    reading: int = 1
    """The how-manieth reading of its list the records are of, where the collection has no parent."""
    state: dict[str, Any] = field(default_factory=dict)
    """How far the chain has come: with the request of the page after this segment's last, without credentials."""
    ended: Ended | None = None
    generation: int = 0
    """How often it was thinned."""
    moved: int = 0
    """How many of its records it has no more, for newer versions of them lie elsewhere."""
    format: int = FORMAT
    sha256: str = ""
    """Of all that follows the head."""

    @property
    def leg(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def number(self) -> int:
        return number_of(self.name)


SEGMENT = r"\d{6,}-\d{2,}-\d{6,}"
"""The form of a segment's name."""

PLACE = r"/(\d+)-(\d+)-(\d+)#(\d+)$"
"""How the place of a record ends, `hub/collection/segment#line`: its run, the leg's ordinal, the segment's number, the line (from 1)."""


def segment_name(leg: str, number: int) -> str:
    return f"{leg}-{number:06}"


def leg_name(run: int, ordinal: int) -> str:
    return f"{run:06}-{ordinal:02}"


def run_of(name: str) -> int:
    """The run that wrote a segment, or a leg."""
    return int(name.partition("-")[0])


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def place_of(name: str) -> tuple[int, int, int]:
    """Where a segment stands in the hub's order: its run, its leg's ordinal, its number."""
    run, ordinal, number = map(int, name.split("-"))
    return run, ordinal, number


Moved = Mapping[int, str]
"""Of the lines that a thinned segment has no more, the places (`segment#line`) of newer versions."""


def encode(
    head: Head, records: Sequence[bytes], envelopes: Sequence[dict[str, Any]], slices: Sequence[Slice] = (), moved: Moved | None = None
) -> bytes:
    """The whole file."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    lines = compressor.compress(b"\n".join((*records, b"")))
    around = compressor.compress("\n".join(json.dumps(one, separators=(",", ":")) for one in envelopes).encode())
    parts = _frame(_SLICES, compressor.compress(msgspec.json.encode(slices))) if slices else b""
    parts += _frame(_MOVED, compressor.compress(msgspec.json.encode(_packed(moved)))) if moved else b""
    rest = parts + lines + _frame(_ENVELOPES, around)
    sealed = to_builtins(head) | {"sha256": sha256(rest).hexdigest(), "slices": len(slices), "moved": len(moved or {})}
    content = json.dumps(sealed, separators=(",", ":")).encode()
    return _frame(_HEAD, content[:-1] + _seal(content)) + rest


def decode_head(data: bytes, name: str) -> tuple[Head | None, int]:
    """The head, and where it ends; None where `data` is too short to hold it whole (then: how many bytes it takes).

    Raises Damaged where this is no segment, and HubError for one of a later format.
    """
    if len(data) < 8:
        raise Damaged(name, "it is cut off")
    magic, length = struct.unpack("<II", data[:8])
    if magic != _HEAD:
        raise Damaged(name, "it is no segment")
    if len(data) < 8 + length:
        return None, 8 + length
    content = data[8 : 8 + length]
    try:
        if not content.endswith(_seal(content[: -len(_seal(b""))] + b"}")):
            raise ValueError
        head = msgspec.json.decode(content, type=Head)
    except (msgspec.MsgspecError, ValueError):
        raise Damaged(name, "its head cannot be read") from None
    if head.format > FORMAT:
        raise HubError(f"segment {name}: was written by a newer syncer (format {head.format}); upgrade this one")
    return head, 8 + length


def check(data: bytes, name: str) -> None:
    """Raises Damaged where a byte of a whole file is not as it was written."""
    head, start = decode_head(data, name)
    if head is None or sha256(data[start:]).hexdigest() != head.sha256:
        raise Damaged(name, "its checksum does not fit")


def decode_ndjson(data: bytes, name: str) -> bytes:
    """The records of a whole file, one a line. Raises Damaged where a byte of it is not as it was written."""
    return _decode_body(data, name)[0]


def decode_records(data: bytes, name: str) -> list[bytes]:
    """The records of a whole file. Raises Damaged like `decode_ndjson`."""
    return split(decode_ndjson(data, name))


def decode_pages(data: bytes, name: str) -> tuple[list[StoredPage], list[bytes]]:
    """What is kept of the answers in a whole file, and all their records. Raises Damaged like `decode_ndjson`."""
    records, rest = _decode_body(data, name)
    around = zstandard.ZstdDecompressor().decompressobj().decompress(rest[8:]).splitlines()
    try:
        return [msgspec.json.decode(line, type=StoredPage) for line in around], split(records)
    except msgspec.MsgspecError:
        raise Damaged(name, "what it keeps of the answers cannot be read") from None


def _decode_body(data: bytes, name: str) -> tuple[bytes, bytes]:
    """The records, one a line, and the frame behind them."""
    check(data, name)
    head, start = decode_head(data, name)
    for part, decode in ((head and head.slices, decode_slices), (head and head.moved, decode_moved)):
        if part:
            _, start = decode(data, name)
    if data[start : start + 4] == struct.pack("<I", _ENVELOPES):
        return b"", data[start:]
    frame = zstandard.ZstdDecompressor().decompressobj()
    body = frame.decompress(data[start:])
    return body, frame.unused_data


def decode_slices(data: bytes, name: str) -> tuple[list[Slice] | None, int]:
    """The slices of a segment that has some, and where they end; None where `data` is too short (then: how many bytes it takes).

    Raises Damaged where they cannot be read.
    """
    head, start = decode_head(data, name)
    return _decode_part(data, start, _SLICES, list[Slice], name) if head else (None, start)


def decode_moved(data: bytes, name: str) -> tuple[Moved | None, int]:
    """What a thinned segment has no more, and where that ends; None where `data` is too short (then: how many bytes it takes).

    Raises Damaged where it cannot be read.
    """
    head, start = decode_head(data, name)
    if head is not None and head.slices:
        slices, start = decode_slices(data, name)
        head = None if slices is None else head
    packed, end = _decode_part(data, start, _MOVED, _Packed, name) if head else (None, start)
    return (packed.moved if packed else None), end


def _decode_part(data: bytes, start: int, magic: int, kind: type[T], name: str) -> tuple[T | None, int]:
    """What stands in a frame behind the head, and where that ends; None where `data` is too short (then: how many bytes it takes)."""
    if len(data) < start + 8:
        return None, start + 8
    found, length = struct.unpack("<II", data[start : start + 8])
    end = start + 8 + length
    if found == magic and len(data) < end:
        return None, end
    try:
        if found != magic:
            raise ValueError
        return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(data[start + 8 : end]), type=kind), end
    except (msgspec.MsgspecError, zstandard.ZstdError, ValueError):
        raise Damaged(name, "what stands before its records cannot be read") from None


def thinned(data: bytes, name: str, gone: Moved) -> bytes:
    """A whole file's next generation, without the records at some lines, of which newer versions lie elsewhere. Raises Damaged."""
    head, _ = decode_head(data, name)
    pages, records = decode_pages(data, name)
    if head is None:
        raise Damaged(name, "it is cut off")
    moved = dict((head.moved and decode_moved(data, name)[0]) or {})
    stays = [line not in gone for line in lines(head, moved)]
    left = list(accumulate(stays, initial=0))
    """How many of the first records stay."""

    def of(counts: Sequence[int]) -> list[int]:
        """Of records in a row, so many each, how many stay."""
        return [left[behind] - left[first] for first, behind in pairwise(accumulate(counts, initial=0))]

    slices = (head.slices and decode_slices(data, name)[0]) or []
    slices = [replace(one, records=some) for one, some in zip(slices, of([one.records for one in slices]), strict=True)]
    pages = [
        replace(page, records=some, as_sent=page.as_sent and some == page.records)
        for page, some in zip(pages, of([page.records for page in pages]), strict=True)
    ]
    kept = [record for record, stay in zip(records, stays, strict=True) if stay]
    head = replace(
        head,
        generation=head.generation + 1,
        records=len(kept),
        longest=max(map(len, kept), default=0),
        raw_bytes=sum(map(len, kept)),
        validators=min(head.validators, sum(page.as_sent for page in pages)),
    )
    return encode(head, kept, [to_builtins(page) for page in pages], slices, dict(sorted({**moved, **gone}.items())))


def lines(head: Head, moved: Moved) -> list[int]:
    """The lines of the records that a segment has."""
    return [line for line in range(1, head.records + len(moved) + 1) if line not in moved]


class _Packed(Struct, frozen=True):
    """What was moved, as differences from one line to the next: lists that compress well."""

    segments: list[str]
    lines: list[int]
    to: list[int]
    """Which of the segments."""
    at: list[int]
    """Which line of it."""

    @property
    def moved(self) -> Moved:
        to, at = accumulate(self.to), accumulate(self.at)
        places = (f"{self.segments[segment]}#{line}" for segment, line in zip(to, at, strict=True))
        return dict(zip(accumulate(self.lines), places, strict=True))


def _packed(moved: Moved) -> _Packed:
    places = [place.rpartition("#") for place in moved.values()]
    segments = list(dict.fromkeys(segment for segment, _, _ in places))
    numbers = {segment: number for number, segment in enumerate(segments)}
    columns = list(moved), [numbers[segment] for segment, _, _ in places], [int(line) for _, _, line in places]
    return _Packed(segments, *([now - before for before, now in pairwise([0, *column])] for column in columns))


def _seal(content: bytes) -> bytes:
    """What closes a head instead of its last brace: the checksum of the head, so that it can be trusted without the rest."""
    return b',"crc32":"%08x"}' % crc32(content)


def _frame(magic: int, content: bytes) -> bytes:
    return struct.pack("<II", magic, len(content)) + content
