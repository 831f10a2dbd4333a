"""What a field of the spec can be, besides plain text and numbers: documented, and written as one word. Pure.

A field is declared `name: Annotated[type, Doc("what it means")] = default` in a frozen dataclass. From that declaration
come the parser, the JSON Schema and the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Doc:
    """What a field means, for the reader of a spec; `limits` are JSON Schema keywords that hold besides its type."""

    text: str
    limits: Mapping[str, Any] | None = None


class Scalar:
    """A value that a spec writes as text. `parse` raises ValueError with 'what; what instead'."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @classmethod
    def parse(cls, text: Any) -> Self:
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Scalar):
    """Plain text, or a number that stands for its text."""

    text: str
    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "integer"]}

    @classmethod
    def parse(cls, text: Any) -> Text:
        return cls(str(text))


@dataclass(frozen=True)
class Duration(Scalar):
    """A length of time: `30s`, `5m`, `3h`, `7d`, or several together (`1h30m`)."""

    seconds: float
    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"}

    _units: ClassVar[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

    @classmethod
    def parse(cls, text: Any) -> Duration:
        parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
        return cls(sum(float(number) * cls._units[unit] for number, unit in parts))

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self.seconds and self.seconds % self._units[unit] == 0:
                return f"{int(self.seconds / self._units[unit])}{unit}"
        return f"{int(self.seconds * 1000)}ms"


@dataclass(frozen=True)
class Path(Scalar):
    """A way into a JSON document: names joined by dots (`_links.self.href`), digits for a place in a list (`items.0`).

    A name that holds a dot is written in double quotes (`"a.b".c`).
    """

    steps: tuple[str, ...]

    @classmethod
    def parse(cls, text: Any) -> Path:
        pieces = re.findall(r'"((?:[^"\\]|\\.)*)"|([^."]+)', text)
        steps = tuple(re.sub(r"\\(.)", r"\1", quoted) if not plain else plain for quoted, plain in pieces)
        if not steps or cls(steps).text != text:
            raise ValueError('is not a path; write names joined by dots, and "quote" a name that holds a dot')
        return cls(steps)

    @property
    def text(self) -> str:
        return ".".join(
            step if re.fullmatch(r'[^."]+', step) else '"' + re.sub(r'(["\\])', r"\\\1", step) + '"' for step in self.steps
        )

    @property
    def pointer(self) -> str:
        """The same as a JSON pointer (RFC 6901)."""
        return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in self.steps)

    def of(self, document: Any) -> Any:
        """The value there, or None where there is nothing."""
        for step in self.steps:
            if isinstance(document, dict):
                document = document.get(step)
            elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
                document = document[int(step)]
            else:
                return None
        return document

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Pattern(Scalar):
    """A regular expression with one group, in RE2's syntax (no look-around, no back-references): its group is the value."""

    text: str

    @classmethod
    def parse(cls, text: Any) -> Pattern:
        try:
            groups = re.compile(text, re.ASCII).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from None
        if groups != 1:
            raise ValueError(f"has {groups} groups; put the part that is the value, and only that, in round brackets")
        if odd := re.search(r"\(\?[=!<]|\(\?P=|\\[1-9]|[*+?}]\+", text):
            raise ValueError(f"uses {odd.group()!r}, which not every warehouse's expressions know; write it without")
        return cls(text)

    def find(self, text: str) -> str | None:
        """The group's text at the first match (empty where the group took no part); None where nothing matches. As RE2 has it."""
        match = re.search(self._for_python(), text, re.ASCII)
        return None if match is None else match.group(1) or ""

    def _for_python(self) -> str:
        """`$` is the very end in RE2; Python's also stands before a last newline."""
        return re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", lambda m: r"\Z" if m.group() == "$" else m.group(), self.text, flags=re.S)

    def __str__(self) -> str:
        return self.text
