"""Many records at once -> the exact bytes of their values at some paths. Pure.

msgspec takes each record apart once, for all paths, and decodes none of the values. Records are JSON texts, as `record.cut` gives them.
What msgspec refuses all the same (it is strict) is for the slow way, `record.raw_at`, which gives the same of all else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from .fields import Path, item_at
from .record import raw_at, split

SEPARATOR = b"\x1f"
"""Stands between a record's values: a control character, of which no JSON text has one."""

Steps = tuple[tuple[str, ...], ...]
"""Paths, as their steps."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_items = msgspec.json.Decoder(list[msgspec.Raw])
_plain_name = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*')
_CHUNK = 2**18
"""So many bytes are taken apart in one go: other threads have to wait for that long."""


class Values:
    """The exact texts of a record's values at some paths (empty where there is nothing), joined by SEPARATOR in the order of `paths`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._members = _Members([path.steps for path in paths])
        self.paths: list[Path] = [Path(steps) for steps in self._members.paths]
        self.nothing: bytes = self._members.nothing
        """What a record has that has nothing at any path."""

    def of(self, records: Sequence[bytes]) -> list[bytes]:
        """Raises one of UNREADABLE where it cannot read one of them."""
        return self._members.of([record if record[:1] == b"{" else record.strip(b" \t\r\n") for record in records])

    def of_lines(self, lines: bytes) -> tuple[list[bytes], list[int]]:
        """The same of many records, one a line, in UTF-8, and which of them it cannot read: of these, there is nothing."""
        with suppress(*UNREADABLE):
            lines.decode()
            values = list(self._members.of_lines(lines))
            if len(values) == lines.count(b"\n") and not (b"\n\n" in lines or lines[:1] == b"\n" or b"\r" in lines):
                return values, []
        found = [self._alone(line) for line in split(lines)]
        return [self.nothing if one is None else one for one in found], [at for at, one in enumerate(found) if one is None]

    def _alone(self, record: bytes) -> bytes | None:
        try:
            (found,) = self.of([record])
            found.decode()
        except UNREADABLE:
            return None
        return None if b"\r" in found else found


@lru_cache(32)  # each collection has a few, and to make one takes as long as some records
def values_at(paths: Steps) -> Values:
    """What reads the values at some paths."""
    return Values([Path(steps) for steps in paths])


def chunks(lines: bytes) -> Iterator[bytes]:
    """Whole lines, some at a time."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + _CHUNK, len(lines) - 1)) + 1 or len(lines)
        yield lines[start:end]
        start = end


def texts_at(path: Path) -> Callable[[Sequence[bytes]], list[str | None]]:
    """A function from records to the exact texts at a path, None where there is nothing: what `raw_at` gives, fast.

    It reads many records at once. Raises ValueError, LookupError or RuntimeError where one of them turns out to be no JSON text.
    """
    values = Values([path])

    def read(records: Sequence[bytes]) -> list[str | None]:
        try:
            return [value.decode() if value else None for value in values.of(records)]
        except UNREADABLE:
            if len(records) == 1:
                return [raw_at(records[0].decode("utf-8", "surrogateescape"), path)]
            return [read([record])[0] for record in records]

    return read


def integers_at(path: Path) -> Callable[[Sequence[bytes]], list[int] | None]:
    """A function from records to the whole numbers of 64 bits at a path; None where it cannot read one of them so.

    It reads many records at once, in half the time of `texts_at`: of each, that is the key.
    """
    if not _are_plain(path.steps):
        return lambda _: None
    kind: Any = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    for step in reversed(path.steps):
        kind = msgspec.defstruct("Object", [("found", kind)], rename={"found": step}, gc=False)
    decoder, get = msgspec.json.Decoder(list[kind]), attrgetter(".".join(["found"] * len(path.steps)))

    def read(records: Sequence[bytes]) -> list[int] | None:
        try:
            return list(map(get, decoder.decode(b"[" + b",".join(records) + b"]")))
        except UNREADABLE:
            return None

    return read


class _Members:
    """What lies beneath some names, or at some places of a list, in many values at once."""

    def __init__(self, paths: Iterable[Sequence[str]]) -> None:
        here, beneath = dict[str, None](), dict[str, list[Sequence[str]]]()
        for first, *rest in paths:
            if rest:
                beneath.setdefault(first, []).append(rest)
            else:
                here[first] = None
        self._inner = {name: _Members(rests) for name, rests in beneath.items()}
        self._here = list(here)
        self.paths: list[tuple[str, ...]] = [(name,) for name in here] + [
            (name, *path) for name, inner in self._inner.items() for path in inner.paths
        ]
        self.nothing: bytes = SEPARATOR * max(len(self.paths) - 1, 0)
        names = list(dict.fromkeys([*here, *beneath]))
        kind = _object_of(names)
        self._all: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # made at run time
        self._each: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._get = {name: _getter(names, [name]) for name in self._inner}
        self._get_here = _getter(names, self._here)

    def of(self, values: Sequence[bytes]) -> list[bytes]:
        """Their members' exact texts, each value being one JSON text. Raises what msgspec raises."""
        objects = [value for value in values if value[:1] == b"{"]
        decoded = self._all.decode(b"[" + b",".join(objects) + b"]")
        if len(decoded) != len(objects):
            raise msgspec.DecodeError("some are more than one JSON text")
        found = self._joined(decoded)
        if len(objects) == len(values):
            return list(found)
        there = iter(found)
        return [next(there) if value[:1] == b"{" else self._of_other(value) for value in values]

    def of_lines(self, lines: bytes) -> Iterable[bytes]:
        """The same of objects, one a line."""
        return self._joined(self._each.decode_lines(lines))

    def _joined(self, objects: Sequence[Any]) -> Iterable[bytes]:
        if not self.paths:
            return [b""] * len(objects)
        parts: list[Iterable[bytes]] = [map(SEPARATOR.join, map(self._get_here, objects))] if self._here else []
        for name, inner in self._inner.items():
            parts.append(inner.of([bytes(value) for (value,) in map(self._get[name], objects)]))
        return parts[0] if len(parts) == 1 else map(SEPARATOR.join, zip(*parts, strict=True))

    def _of_other(self, value: bytes) -> bytes:
        """Of a list, what stands at its places; of all else, nothing."""
        if value[:1] != b"[":
            return self.nothing
        items = _items.decode(value)
        here = [item_at(name, items) or b"" for name in self._here]
        inner = [members.of([bytes(item_at(name, items) or b"")])[0] for name, members in self._inner.items()]
        return SEPARATOR.join([*here, *inner])


def _are_plain(names: Iterable[str]) -> bool:
    """Whether msgspec can have members of these names in a class."""
    return all(map(_plain_name.fullmatch, names))


def _object_of(names: Sequence[str]) -> type:
    """A type for objects of which only some members are wanted; of names that msgspec cannot have in a class, for all members."""
    if _are_plain(names):
        fields = {f"_{number}": name for number, name in enumerate(names)}
        return msgspec.defstruct("Object", [(field, msgspec.Raw, msgspec.Raw()) for field in fields], rename=fields, gc=False)
    return dict[str, msgspec.Raw]


def _getter(names: Sequence[str], wanted: Sequence[str]) -> Callable[[Any], Sequence[bytes]]:
    """A function from an object of `_object_of` these names to the members that are wanted."""
    if not _are_plain(names):
        return lambda members: [members.get(name, b"") for name in wanted]
    fields = [f"_{names.index(name)}" for name in wanted]
    if len(fields) == 1:
        (field,) = fields
        return lambda members: (getattr(members, field),)
    return attrgetter(*fields) if fields else lambda _: ()
