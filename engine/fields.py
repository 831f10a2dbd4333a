"""What a field of the spec can be, besides plain text and numbers: documented, and written as one word. Pure.

A field is declared `name: Annotated[type, Doc("what it means")] = default` in a frozen Struct. From that declaration
come the parser, the JSON Schema and the documentation.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any, ClassVar, Self, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Doc(Struct, frozen=True):
    """What a field means, for the reader of a spec; `limits` are JSON Schema keywords that hold besides its type."""

    text: str
    limits: Mapping[str, Any] | None = None


MOST = 10**15
"""The largest number that is believed of what an API says to count: more is as good as no end."""

HEADER = {"pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}
"""What the name of a header looks like (RFC 9110, 5.1)."""


class Scalar(Struct, frozen=True):
    """A value that a spec writes as text. `parse` raises ValueError with 'what; what instead'."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @classmethod
    def parse(cls, text: Any) -> Self:
        raise NotImplementedError


class Text(Scalar, frozen=True):
    """Plain text, or a number that stands for its text."""

    text: str
    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "integer"]}

    @classmethod
    def parse(cls, text: Any) -> Text:
        return cls(str(text))


class OnReject(Scalar, frozen=True):
    """What becomes of a value that its type cannot hold: `null` (its row is kept without it), `record`, or `fail`."""

    word: str
    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "null"], "enum": ["null", None, "record", "fail"]}

    @classmethod
    def parse(cls, text: Any) -> OnReject:
        if text not in cls.schema["enum"]:
            raise ValueError(f"{text!r} is not one of null, record, fail")
        return cls(text or "null")  # in YAML, a bare null is none

    def __str__(self) -> str:
        return self.word


class Duration(Scalar, frozen=True):
    """A length of time: `30s`, `5m`, `3h`, `7d`, or several together (`1h30m`)."""

    seconds: float
    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"}

    longest: ClassVar[float] = 36_525 * 86_400
    _units: ClassVar[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

    @classmethod
    def parse(cls, text: Any) -> Duration:
        if not re.fullmatch(cls.schema["pattern"], text):
            raise ValueError("is no length of time; write one like 30s, 5m or 1h30m")
        parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
        seconds = sum(float(number) * cls._units[unit] for number, unit in parts)
        if seconds > cls.longest:
            raise ValueError(f"{text} is longer than 100 years; write a shorter time")
        return cls(seconds)

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self.seconds and self.seconds % self._units[unit] == 0:
                return f"{int(self.seconds / self._units[unit])}{unit}"
        return f"{round(self.seconds * 1000)}ms"


class Keep(Scalar, frozen=True):
    """How much of the past is kept: `all` of it, only the `latest` version of each record, or all of some time (`90d`)."""

    age: Duration | None
    """How long a version is kept that a newer one has replaced; None: for ever."""
    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "pattern": f"^all$|^latest$|{Duration.schema['pattern']}"}

    @classmethod
    def parse(cls, text: Any) -> Keep:
        if text in ("all", "latest"):
            return cls(Duration(0) if text == "latest" else None)
        try:
            return cls(Duration.parse(text))
        except ValueError:
            raise ValueError("is not all, latest, or a length of time like 90d") from None

    def __str__(self) -> str:
        return "all" if self.age is None else str(self.age) if self.age.seconds else "latest"


class Size(Scalar, frozen=True):
    """An amount of data: `512KB`, `64MB`, `2GB`; 1 KB is 1,024 bytes, and so on."""

    bytes: int
    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "pattern": "^[1-9][0-9]{0,8}(B|KB|MB|GB)$"}

    _units: ClassVar[Mapping[str, int]] = {"GB": 2**30, "MB": 2**20, "KB": 2**10, "B": 1}

    @classmethod
    def parse(cls, text: Any) -> Size:
        match = re.fullmatch("([1-9][0-9]{0,8})(B|KB|MB|GB)", text)
        if match is None:
            raise ValueError("is not an amount of data; write one like 512KB or 64MB")
        return cls(int(match.group(1)) * cls._units[match.group(2)])

    def __str__(self) -> str:
        unit = next(unit for unit, size in self._units.items() if self.bytes % size == 0)
        return f"{self.bytes // self._units[unit]}{unit}"


_PLACE = re.compile("0|[1-9][0-9]{0,17}")


def item_at(step: str, items: Sequence[T]) -> T | None:
    """What stands at a step's place in a list; None where it is no place, or nothing stands there."""
    return items[int(step)] if _PLACE.fullmatch(step) and int(step) < len(items) else None


class Path(Scalar, frozen=True):
    """A way into a JSON document: names joined by dots (`_links.self.href`), digits for a place in a list (`items.0`).

    A name that holds a dot is written in double quotes (`"a.b".c`).
    """

    steps: tuple[str, ...]

    @classmethod
    def parse(cls, text: Any) -> Path:
        pieces = re.findall(r'"((?:[^"\\]|\\.)*)"|([^."]+)', text)
        steps = tuple(plain or re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in pieces)
        if not steps or cls(steps).text != text:
            raise ValueError('is not a path; write names joined by dots, and "quote" a name that holds a dot')
        return cls(steps)

    @property
    def text(self) -> str:
        return ".".join(step if re.fullmatch(r'[^."]+', step) else '"' + re.sub(r'(["\\])', r"\\\1", step) + '"' for step in self.steps)

    def of(self, document: Any) -> Any:
        """The value there, or None where there is nothing."""
        for step in self.steps:
            if isinstance(document, dict):
                document = document.get(step)
            elif isinstance(document, list):
                document = item_at(step, document)
            else:
                return None
        return document

    def __str__(self) -> str:
        return self.text


class Pattern(Scalar, frozen=True):
    """A regular expression with one group, in RE2's syntax (no look-around, no back-references): its group is the value."""

    text: str

    @classmethod
    def parse(cls, text: Any) -> Pattern:
        groups = _groups(text)
        if groups != 1:
            raise ValueError(f"has {groups} groups; put the part that is the value, and only that, in round brackets")
        _check_alike(text)
        if _repeats_its_group(text):
            raise ValueError("repeats its group, and one value cannot be many; put the repetition inside of the round brackets")
        return cls(text)

    def find(self, text: str) -> str | None:
        """The group's text at the first match (empty where the group took no part); None where nothing matches. As RE2 has it."""
        match = _compiled(self.text).search(text)
        return None if match is None else match.group(1) or ""

    def __str__(self) -> str:
        return self.text


class Expression(Scalar, frozen=True):
    """A regular expression that is looked for anywhere in a text, in RE2's syntax (no look-around, no back-references)."""

    text: str

    @classmethod
    def parse(cls, text: Any) -> Expression:
        _groups(text)
        _check_alike(text)
        return cls(text)

    def is_in(self, text: str) -> bool:
        return _compiled(self.text).search(text) is not None

    def __str__(self) -> str:
        return self.text


_IN_CLASS = r"\\[dDwWstnrfva]|\\x[0-9a-fA-F]{2}|\\[!-/:-@\[-`{-~]"
_PART = re.compile(
    rf"{_IN_CLASS}|\\[SbA]"  # escapes
    rf"|\[\^?\]?(?:{_IN_CLASS}|(?!&&|--|~~|\|\|)[^\[\]\\])*\]"  # a class of characters
    r"|\((?:\?:|\?P<[A-Za-z_]\w*>|(?!\?))|\)"  # groups
    r"|[*+?]\??(?!\+)|\{(?:[0-9]{1,3}|1000)(?:,(?:[0-9]{1,3}|1000)?)?\}\??(?!\+)"  # repetitions
    r"|[^\\\[\](){}*+?]"
)
"""A part that Python and RE2 read alike, once what differs a little is spelled out."""

_SPELLED_OUT = {"$": r"\Z", r"\s": r"[ \t\n\r\f]", r"\S": r"[^ \t\n\r\f]"}
"""`$` is the very end in RE2, and in Python also before a last newline; a blank is a vertical tab more in Python."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as RE2 reads it."""
    parts = _PART.findall(pattern)
    spelled = [part.replace(r"\s", r" \t\n\r\f") if part[0] == "[" else _SPELLED_OUT.get(part, part) for part in parts]
    return re.compile("".join(spelled), re.ASCII)


def _groups(pattern: str) -> int:
    """How many groups a pattern has. Raises ValueError where it is none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what `_only_pythons` refuses in plain words
            return re.compile(pattern, re.ASCII).groups
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None


def _check_alike(pattern: str) -> None:
    """Raises ValueError for a pattern that Python and RE2 do not read alike."""
    if odd := _only_pythons(pattern):
        raise ValueError(f"uses {odd!r}, which not every warehouse's expressions know; write it without")
    if "){" in pattern and prod(map(int, re.findall(r"([0-9]+),?\}", pattern))) > 1000:
        raise ValueError("may repeat something more than 1,000 times; write * or +")


def _only_pythons(pattern: str) -> str:
    """The first piece of a pattern that RE2 lacks or reads in another way; empty where there is none."""
    at = 0
    while at < len(pattern):
        part = _PART.match(pattern, at)
        if part is None:
            odd = re.compile(r"\(\?(?:P?[^\w\s]|\w)|\\.|[*+?}]\??\+|.", re.DOTALL).match(pattern, at)
            return odd.group() if odd else pattern[at:]
        at = part.end()
    return ""


def _repeats_its_group(pattern: str) -> bool:
    """Whether the group, or one around it, is repeated: what it then holds is told differently by Python and RE2."""
    around: list[bool] = []
    closed = False
    for part in _PART.findall(pattern):
        if closed and part[0] in "*+{":
            return True
        closed = False
        if part[0] == "(":
            around.append(part != "(?:")
        elif part == ")":
            closed = around.pop()
            if closed and around:
                around[-1] = True
    return False
