"""Exact bytes out of JSON documents: a page's records, and single values of a record. Pure.

msgspec cuts what is ordinary without decoding it. What it refuses (a lone surrogate, say) goes to a slow, obviously right
slicer over Python's own scanner, so an odd record costs time, never its page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from .fields import Path

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_scan = json.JSONDecoder(strict=False).raw_decode
_space = re.compile(r"[ \t\n\r]*")


class NotJson(ValueError):
    """The body is no JSON document."""


class NoRecords(ValueError):
    """There is no list of records at the path; the message names the paths that do exist, never a value."""


def cut(body: bytes, at: Path | None) -> tuple[list[bytes], Any]:
    """The exact bytes of each record, and the envelope: the rest of the document with the records left out.

    `at` leads to a list (or to one object: one record); None means that the whole document is it. A newline inside a
    record can only stand between two tokens and becomes a space, so that a record is always one line.
    Raises NotJson or NoRecords.
    """
    try:
        records, envelope = _cut_fast(body, at.steps if at else ())
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        records, envelope = _cut_slow(body, at)
    return [_one_line(record) for record in records], envelope


def raw_at(record: str, path: Path) -> str | None:
    """The exact text of the value at a path of a JSON text; None where there is nothing. A doubled name counts once, the first."""
    start, end = 0, len(record)
    for step in path.steps:
        for name, first, last in _parts(record, start):
            if name == step:
                start, end = first, last
                break
        else:
            return None
    return record[start:end].strip(" \t\r\n")


def items(raw: str) -> list[str]:
    """The exact texts of a JSON list's elements."""
    return [raw[first:last] for _, first, last in _parts(raw, 0)]


def reader(paths: Sequence[Path]) -> Callable[[bytes], Sequence[str | None]]:
    """A function from a record to the exact texts at these paths, None where there is nothing."""
    tree: dict[str, Any] = {}
    for place, path in enumerate(paths):
        branch = tree
        for step in path.steps[:-1]:
            branch = branch.setdefault(step, {})
            if not isinstance(branch, dict):
                return _slow_reader(paths)
        if path.steps[-1] in branch:
            return _slow_reader(paths)
        branch[path.steps[-1]] = place
    decoder = msgspec.json.Decoder(_struct(tree))
    slow = _slow_reader(paths)

    def read(record: bytes) -> Sequence[str | None]:
        found: list[str | None] = [None] * len(paths)
        try:
            _collect(decoder.decode(record), found)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return slow(record)
        return found

    return read


def text_of(raw: str | None) -> str | None:
    """A JSON value as plain text: a string's characters, any other value's exact text; None for null and for nothing."""
    if raw is None or raw == "null":
        return None
    return str(json.loads(raw, strict=False)) if raw.startswith('"') else raw


def paths_of(envelope: Any, depth: int = 3) -> list[str]:
    """The paths of a document that exist, down to a depth: what an error may show, for it holds names and no values."""
    found: list[str] = []
    if isinstance(envelope, dict) and depth:
        for name, value in envelope.items():
            path = Path((name,)).text
            found += [path] + [f"{path}.{deeper}" for deeper in paths_of(value, depth - 1)]
    return found


def _cut_fast(body: bytes, steps: Sequence[str]) -> tuple[list[msgspec.Raw], Any]:
    around: list[dict[str, msgspec.Raw]] = []
    here = msgspec.Raw(body)
    for step in steps:
        around.append(_members.decode(here))
        here = around[-1].pop(step)
    if bytes(here[:1] if isinstance(here, bytes) else memoryview(here)[:1]) == b"{":
        _members.decode(here)
        records = [here]
    else:
        records = _items.decode(here)
    envelope: Any = None
    for members, step in zip(reversed(around), reversed(steps), strict=True):
        outer = {name: msgspec.json.decode(value) for name, value in members.items()}
        envelope = outer | ({step: envelope} if envelope is not None else {})
    return records, envelope


def _cut_slow(body: bytes, at: Path | None) -> tuple[list[bytes], Any]:
    try:
        text = body.decode("utf-8-sig")
        document, end = _scan(text, _skip(text, 0))
        if text[end:].strip(" \t\r\n"):
            raise NotJson("has more after its JSON document")
    except (ValueError, RecursionError) as error:
        raise NotJson("is not JSON in UTF-8") from error
    list_text = raw_at(text, at) if at else text.strip(" \t\r\n")
    if list_text is None or list_text[:1] not in ("[", "{"):
        kinds = {None: "nothing", "n": "null", '"': "a text", "t": "a boolean", "f": "a boolean"}
        there = kinds.get(list_text[:1] if list_text else None, "a number")
        known = ", ".join(paths_of(document)[:40]) or ("a bare list" if isinstance(document, list) else "no names at all")
        raise NoRecords(f"has {there} at {at.text if at else 'its root'}, where a list of records should be; it has: {known}")
    if list_text[0] == "{":
        if at is None:
            raise NoRecords(f"is an object, not a list; give `records`, one of: {', '.join(paths_of(document)[:40])}")
        slices = [list_text]
    else:
        slices = items(list_text)
    if at:
        parent = Path(at.steps[:-1]).of(document)
        if isinstance(parent, dict):
            del parent[at.steps[-1]]
    return [piece.encode("utf-8", "surrogatepass") for piece in slices], document if at else None


def _parts(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """(name or place, first, last) of each member of the object, or item of the list, that starts at `start`."""
    at = _skip(text, start)
    opening = text[at : at + 1]
    if opening not in ("{", "["):
        return
    at, place = _skip(text, at + 1), 0
    while text[at] not in "}]":
        name = str(place)
        if opening == "{":
            name, at = _scan(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _, end = _scan(text, at)
        yield name, at, end
        at, place = _skip(text, end), place + 1
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _space.match(text, at)
    return match.end() if match else at


def _one_line(record: bytes | msgspec.Raw) -> bytes:
    exact = bytes(record)
    return exact.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in exact or b"\r" in exact else exact


def _struct(tree: dict[str, Any]) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for name, branch in tree.items():
        field = f"at_{branch}" if isinstance(branch, int) else f"in_{len(names)}"
        names[field] = name
        fields.append((field, msgspec.Raw, msgspec.Raw()) if isinstance(branch, int) else (field, _struct(branch) | None, None))
    return msgspec.defstruct("Record", fields, rename=names)


def _collect(struct: msgspec.Struct, found: list[str | None]) -> None:
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if field.startswith("at_"):
            found[int(field[3:])] = str(bytes(value), "utf-8") or None
        elif value is not None:
            _collect(value, found)


def _slow_reader(paths: Sequence[Path]) -> Callable[[bytes], Sequence[str | None]]:
    def read(record: bytes) -> Sequence[str | None]:
        text = record.decode("utf-8", "surrogatepass")
        return [raw_at(text, path) for path in paths]

    return read
