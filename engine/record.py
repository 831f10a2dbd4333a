"""Exact bytes out of JSON documents: a page's records, and single values of a record. Pure.

msgspec cuts what is ordinary without decoding it. What it refuses (a lone surrogate, say) goes to a slow, obviously right
slicer over Python's own scanner, so an odd record costs time, never its page. Of a doubled name in an object the first counts,
as in DuckDB; msgspec takes the last, so what it cut is checked, and an object with doubles goes the slow way.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from .fields import Path

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode
_space = re.compile(r"[ \t\n\r]*")
_gap = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*"(?:[^"\\]|\\.)*"[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_string = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_escaped_name = re.compile(rb'\\["\\/bfnrtu][^"\\]*"[ \t\r\n]*:')
_plain_name = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*')
_control = re.compile(r"[\x00-\x1f]")


class NotJson(ValueError):
    """The body is no JSON document."""


class _Doubled(ValueError):
    """An object has a name twice, or is written in a way that does not show that it has not."""


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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, _Doubled):
        try:
            records, envelope = _cut_slow(body, at)
        except RecursionError:
            raise NotJson("is nested too deeply to be read") from None
    return _one_line_each(records) if b"\n" in body or b"\r" in body else records, envelope


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


def texts_at(path: Path) -> Callable[[Sequence[bytes]], list[str | None]]:
    """A function from records to the exact texts at a path, None where there is nothing: what `raw_at` gives, fast.

    It reads many records at once. Raises ValueError, LookupError or RuntimeError where one of them is no JSON.
    """
    members = [_Member(step) for step in path.steps]

    def read(records: Sequence[bytes]) -> list[str | None]:
        try:
            values = [record if record[:1] == b"{" else record.strip(b" \t\r\n") for record in records]
            for member in members:
                values = member.of(values)
            return [value.decode() if value else None for value in values]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Doubled):
            if len(records) == 1:
                return [raw_at(records[0].decode("utf-8", "surrogateescape"), path)]
            return [read([record])[0] for record in records]

    return read


class _Member:
    """What lies beneath a name, or at a place of a list, in many values at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._decoder: msgspec.json.Decoder[list[Any]] | None = None
        if _plain_name.fullmatch(name):
            self._in_quotes = f'"{name}"'.encode()
            wanted = msgspec.defstruct("Wanted", [("found", msgspec.Raw, msgspec.Raw())], rename={"found": name})
            self._decoder = msgspec.json.Decoder(list[wanted])  # type: ignore[valid-type]  # made at run time

    def of(self, values: Sequence[bytes]) -> list[bytes]:
        """The members' exact bytes, empty where there is none. Raises _Doubled, or what msgspec raises."""
        objects = [value for value in values if value[:1] == b"{"]
        found = iter(self._of_objects(objects))
        return [next(found) if value[:1] == b"{" else self._of_list(value) for value in values]

    def _of_objects(self, objects: Sequence[bytes]) -> list[bytes]:
        """Where no object can have the name twice, all are read at once; else each is looked at by itself."""
        if self._decoder:
            together = b"[" + b",".join(objects) + b"]"
            found = [bytes(one.found) for one in self._decoder.decode(together)]
            is_plain = b"\\" not in together or not _escaped_name.search(together)
            if is_plain and together.count(self._in_quotes) == sum(map(bool, found)):
                return found
        return [bytes(_single(value).get(self.name, b"")) for value in objects]

    def _of_list(self, value: bytes) -> bytes:
        if value[:1] != b"[":
            return b""
        items = {str(place): item for place, item in enumerate(_items.decode(value))}
        return bytes(items.get(self.name, b""))


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


def _single(raw: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object. Raises _Doubled where a name may be there twice: msgspec would give the last."""
    members = _members.decode(raw)
    if not members:
        return members
    compact = len("".join(members).encode()) + len(b"".join(members.values())) + 4 * len(members) + 1
    if compact != len(raw) and not _is_single(raw, members.values()):
        raise _Doubled
    return members


def _is_single(raw: bytes, values: Iterable[msgspec.Raw]) -> bool:
    """Whether an object is made of these values, in their order, and of nothing else."""
    end = 0
    for value in map(bytes, values):
        gap = _gap.match(raw, end)
        if gap is None or not raw.startswith(value, gap.end()):
            return False
        end = gap.end() + len(value)
    return raw[end:].strip(b" \t\r\n") == b"}"


def _cut_fast(body: bytes, steps: Sequence[str]) -> tuple[list[bytes], Any]:
    first, behind = _guessed(body, steps[-1]) if steps else (0, 0)
    if behind:
        with contextlib.suppress(msgspec.MsgspecError, KeyError, _Doubled):
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
        around.append(_single(bytes(here).strip(b" \t\r\n")))
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


def _first_counts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


def _integer(digits: str) -> int | float:
    """An integer; one of more digits than Python would read, as the API hardly means it, is what msgspec makes of it."""
    return int(digits) if len(digits) < 4000 else float(digits)


_decode = json.JSONDecoder(strict=False, object_pairs_hook=_first_counts, parse_int=_integer).raw_decode


def _without_controls(string: re.Match[str]) -> str:
    return _control.sub(lambda found: f"\\u{ord(found.group()):04x}", string.group())


def _one_line_each(records: Iterable[bytes]) -> list[bytes]:
    return [record.replace(b"\r", b" ").replace(b"\n", b" ") for record in records]
