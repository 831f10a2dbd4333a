"""Exact bytes out of JSON documents: a page's records, and single values of a record. Pure.

msgspec cuts what is ordinary without decoding it. What it refuses (a lone surrogate, say) goes to a slow, obviously right
slicer over Python's own scanner, so an odd record costs time, never its page. Of a doubled name in an object the last counts, as
with most that read JSON (RFC 8259, 4).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from .fields import Path

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode
_space = re.compile(r"[ \t\n\r]*")
_string = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_control = re.compile(r"[\x00-\x1f]")


class NotJson(ValueError):
    """The body is no JSON document."""


class NoRecords(ValueError):
    """There is no list of records at the path; the message names the paths that do exist, never a value.

    `around` is the envelope where null stands in the list's place, as some APIs write an empty one; None otherwise.
    """

    def __init__(self, sentence: str, around: Any = None) -> None:
        super().__init__(sentence)
        self.around = around


def cut(body: bytes, at: Path | None) -> tuple[list[bytes], Any]:
    """The exact bytes of each record, and the envelope: the rest of the document with the records left out.

    `at` leads to a list (or to one object: one record); None means that the whole document is it. A newline inside a
    record can only stand between two tokens and becomes a space, so that a record is always one line.
    A raw control character inside a text, which JSON forbids and some APIs send, becomes its escape: the value is the same.
    Raises NotJson or NoRecords.
    """
    try:
        body.decode()
        records, envelope = _cut_fast(body, at.steps if at else ())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        try:
            records, envelope = _cut_slow(body, at)
        except RecursionError:
            raise NotJson("is nested too deeply to be read") from None
    return _one_line_each(records) if b"\n" in body or b"\r" in body else records, envelope


def raw_at(record: str, path: Path) -> str | None:
    """The exact text of the value at a path of a JSON text; None where there is nothing."""
    start, end = 0, len(record)
    for step in path.steps:
        found = [(first, last) for name, first, last in _parts(record, start) if name == step]
        if not found:
            return None
        start, end = found[-1]
    return record[start:end].strip(" \t\r\n")


def items(raw: str) -> list[str]:
    """The exact texts of a JSON list's elements."""
    return [raw[first:last] for _, first, last in _parts(raw, 0)]


def split(lines: bytes) -> list[bytes]:
    """Records that stand one a line, each with a newline behind it."""
    return lines.split(b"\n")[:-1]


def text_of(raw: str | None) -> str | None:
    """A JSON value as plain text: a string's characters, any other value's exact text; None for null and for nothing."""
    if raw is None or raw == "null":
        return None
    if not raw.startswith('"'):
        return raw
    try:
        return _text.decode(raw)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return str(json.loads(raw, strict=False))


def paths_of(envelope: Any, depth: int = 3) -> list[str]:
    """The paths of a document that exist, down to a depth: what an error may show, for it holds names and no values."""
    found: list[str] = []
    if isinstance(envelope, dict) and depth:
        for name, value in envelope.items():
            path = Path((name,)).text
            found += [path] + [f"{path}.{deeper}" for deeper in paths_of(value, depth - 1)]
    return found


def _cut_fast(body: bytes, steps: Sequence[str]) -> tuple[list[bytes], Any]:
    first, behind = _guessed(body, steps[-1]) if steps else (0, 0)
    if behind:
        with contextlib.suppress(msgspec.MsgspecError, KeyError):
            raws = _items.decode(memoryview(body)[first:behind])
            marked = body[:first] + _MARK + body[behind:]
            around, there = _opened(marked, steps)
            if bytes(there) == _MARK and marked.count(_MARK) == 1:
                return [bytes(raw) for raw in raws], _envelope(around, steps)
    around, here = _opened(body, steps)
    if bytes(here)[:1] == b"{" and steps:
        _members.decode(here)
        return [bytes(here)], _envelope(around, steps)
    return [bytes(raw) for raw in _items.decode(here)], _envelope(around, steps)


_MARK = b'"the list of records stood here"'


def _guessed(body: bytes, name: str) -> tuple[int, int]:
    """Where the list beneath a name seems to begin and end: it is the last thing with brackets, in most answers. (0, 0) where not.

    If that is a list, and the answer is a document whose value at the path is a mark that was put into its place, it is the list.
    So the answer is read once, and not once more for each object around the list.
    """
    found = re.compile(rb'"%s"[ \t\r\n]*:[ \t\r\n]*\[' % re.escape(name.encode())).search(body)
    return (found.end() - 1, body.rfind(b"]") + 1) if found else (0, 0)


def _opened(body: bytes, steps: Sequence[str]) -> tuple[list[dict[str, msgspec.Raw]], msgspec.Raw]:
    """The members of the objects around a path, without the one that leads on, and what is at its end."""
    around: list[dict[str, msgspec.Raw]] = []
    here = msgspec.Raw(body)
    for step in steps:
        around.append(_members.decode(here))
        here = around[-1].pop(step)
    return around, here


def _envelope(around: Sequence[dict[str, msgspec.Raw]], steps: Sequence[str]) -> Any:
    """The objects around a path as Python values, one in the other."""
    envelope: Any = None
    for members, step in zip(reversed(around), reversed(steps), strict=True):
        outer = {name: msgspec.json.decode(value) for name, value in members.items()}
        envelope = outer | ({step: envelope} if envelope is not None else {})
    return envelope


def _cut_slow(body: bytes, at: Path | None) -> tuple[list[bytes], Any]:
    try:
        text = _string.sub(_without_controls, body.decode("utf-8-sig"))
        document, end = _decode(text, _skip(text, 0))
    except ValueError as error:
        raise NotJson("is not JSON in UTF-8") from error
    if text[end:].strip(" \t\r\n"):
        raise NotJson("has more after its JSON document")
    list_text = raw_at(text, at) if at else text.strip(" \t\r\n")
    if list_text is None or list_text[:1] not in ("[", "{"):
        kinds = {None: "nothing", "n": "null", '"': "a text", "t": "a boolean", "f": "a boolean"}
        there = kinds.get(list_text[:1] if list_text else None, "a number")
        known = ", ".join(paths_of(document)[:40]) or ("a bare list" if isinstance(document, list) else "no names at all")
        is_null = list_text == "null" and isinstance(document, dict)
        raise NoRecords(
            f"has {there} at {at.text if at else 'its root'}, where a list of records should be; it has: {known}",
            document if is_null else None,
        )
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


def _integer(digits: str) -> int | float:
    """An integer; one of more digits than Python would read, as the API hardly means it, is what msgspec makes of it."""
    return int(digits) if len(digits) < 4000 else float(digits)


_decode = json.JSONDecoder(strict=False, parse_int=_integer).raw_decode


def _without_controls(string: re.Match[str]) -> str:
    return _control.sub(lambda found: f"\\u{ord(found.group()):04x}", string.group())


def _one_line_each(records: Iterable[bytes]) -> list[bytes]:
    return [record.replace(b"\r", b" ").replace(b"\n", b" ") for record in records]
