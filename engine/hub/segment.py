"""A segment: one file of exact records, with a head that says what it is. Pure.

    skippable frame   the head, JSON and its CRC-32: chain, counts, how far it has come, whether and why it ended
    skippable frame   of a collection with a parent: which records belong to which parent, zstd
    zstd frame        the records' exact bytes, one a line, with zstd's own checksum
    skippable frame   the envelopes, zstd: of each page its request, status, kept headers, and the document around its records

Skippable frames (RFC 8878, 3.1.2) are passed over by every zstd reader: `zstdcat FILE | jq` and DuckDB see the records alone.

A segment's name is its place in the hub's order: `000003-01-000002` is number 2 (from 0) of a chain, written by run 3 as its
first chain of that collection. `000003-01` is its leg. Names sort as places do.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal
from zlib import crc32

import msgspec
import zstandard

from ..errors import Damaged, HubError

FORMAT = 1
_HEAD, _ENVELOPES, _SLICES = 0x184D2A50, 0x184D2A51, 0x184D2A52
_LEVEL = 1
"""Level 1 is a third of level 3's time for a tenth more bytes."""

Proof = Literal["proven", "checked", "open"]


@dataclass(frozen=True)
class Ended:
    """A chain's end: its proven reason, how far the pages can be trusted, and whether what it lacks is gone from the API."""

    reason: str
    proof: Proof
    gone: bool = False
    whole: bool = False
    """Whether nothing that the hub held was lacking."""


@dataclass(frozen=True)
class Slice:
    """So many of a segment's records, in their order: those of one parent's list, as it was read for the `reading`-th time."""

    number: int
    """The parent's place among those of the chain, from 0."""
    reading: int
    records: int
    parent: dict[str, Any] | None
    """The values of the parent's properties that requests and columns use."""


@dataclass(frozen=True)
class StoredPage:
    """What is kept of one answer: all but its records as they were sent, and no secret."""

    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    records: int
    envelope: Any = None
    as_sent: bool = False
    """Whether the envelope is as it was sent: there was no secret in it."""


@dataclass(frozen=True, kw_only=True)
class Head:
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
    format: int = FORMAT
    sha256: str = ""
    """Of all that follows the head."""

    @property
    def leg(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def number(self) -> int:
        return number_of(self.name)


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


def encode(head: Head, records: Sequence[bytes], envelopes: Sequence[dict[str, Any]], slices: Sequence[Slice] = ()) -> bytes:
    """The whole file."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    lines = compressor.compress(b"\n".join(records) + b"\n" if records else b"")
    around = compressor.compress("\n".join(json.dumps(one, separators=(",", ":")) for one in envelopes).encode())
    parts = _frame(_SLICES, compressor.compress(msgspec.json.encode(slices))) if slices else b""
    rest = parts + lines + _frame(_ENVELOPES, around)
    sealed = asdict(head) | {"sha256": sha256(rest).hexdigest(), "slices": len(slices)}
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


def decode_records(data: bytes, name: str) -> list[bytes]:
    """The records of a whole file, checked against its head. Raises Damaged where a byte of it is not as it was written."""
    return _decode_body(data, name)[0]


def decode_pages(data: bytes, name: str) -> tuple[list[StoredPage], list[bytes]]:
    """What is kept of the answers in a whole file, and all their records. Raises Damaged like `decode_records`."""
    records, rest = _decode_body(data, name)
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(rest[8:]).splitlines()
    try:
        return [msgspec.json.decode(line, type=StoredPage) for line in lines], records
    except msgspec.MsgspecError:
        raise Damaged(name, "what it keeps of the answers cannot be read") from None


def _decode_body(data: bytes, name: str) -> tuple[list[bytes], bytes]:
    """The records, and the frame behind them."""
    check(data, name)
    head, start = decode_head(data, name)
    if head and head.slices:
        _, start = decode_slices(data, name)
    if data[start : start + 4] == struct.pack("<I", _ENVELOPES):
        return [], data[start:]
    frame = zstandard.ZstdDecompressor().decompressobj()
    body = frame.decompress(data[start:])
    return body.split(b"\n")[:-1], frame.unused_data


def decode_slices(data: bytes, name: str) -> tuple[list[Slice] | None, int]:
    """The slices of a segment that has some, and where they end; None where `data` is too short (then: how many bytes it takes).

    Raises Damaged where they cannot be read.
    """
    head, start = decode_head(data, name)
    if head is None or len(data) < start + 8:
        return None, start + (8 if head else 0)
    magic, length = struct.unpack("<II", data[start : start + 8])
    end = start + 8 + length
    if magic == _SLICES and len(data) < end:
        return None, end
    try:
        if magic != _SLICES:
            raise ValueError
        return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(data[start + 8 : end]), type=list[Slice]), end
    except (msgspec.MsgspecError, zstandard.ZstdError, ValueError):
        raise Damaged(name, "its slices cannot be read") from None


def _seal(content: bytes) -> bytes:
    """What closes a head instead of its last brace: the checksum of the head, so that it can be trusted without the rest."""
    return b',"crc32":"%08x"}' % crc32(content)


def _frame(magic: int, content: bytes) -> bytes:
    return struct.pack("<II", magic, len(content)) + content
