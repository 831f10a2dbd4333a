"""What a spec says of answers that HTTP's own words do not tell right: its error rules. Pure.

The first rule that an answer matches decides, before anything that is built in. They see every answer, also those with a
status of success: some APIs tell an error in a 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from .fields import Doc, Expression, Path, Text
from .record import text_of
from .values import texts_at

_NOTHING = re.compile(r'null|false|""|\[\s*\]|\{\s*\}')
"""The JSON values that tell of no error where an error would stand."""


class Rule(Struct, frozen=True, kw_only=True):
    """One sort of answer, and what it means. All that a rule says of an answer must hold."""

    status: Annotated[tuple[int, ...], Doc("the answer's status, one or several (default: any)")] = ()
    body: Annotated[Path | None, Doc("a path in the answer that leads to a value: not to null, false, or an empty one (0 is a value)")] = (
        None
    )
    equals: Annotated[Text | None, Doc("the value at `body` is this text")] = None
    matches: Annotated[Expression | None, Doc("a regular expression that is found in the value at `body`")] = None
    text: Annotated[str | None, Doc("the answer holds this text, letter for letter")] = None
    then: Annotated[
        Literal["retry", "ignore", "fail", "skip", "end"],
        Doc(
            "try again, take it as it is, fail at once, leave this part of the collection out, or end the list here; records that come "
            "with what is taken as it is, or with the end, count"
        ),
    ]
    message: Annotated[str | None, Doc("what people are told of it")] = None

    def mistakes(self) -> list[str]:
        """What no schema can see, for the one who writes the spec."""
        found = [f"no answer has the status {status}; write some of 200 to 599" for status in self.status if not 200 <= status <= 599]
        if not self.status and self.body is None and not self.text:
            found.append("says nothing of the answers it is for; give at least one of `status`, `body` and `text`")
        if self.body is None and (self.equals or self.matches):
            found.append("has nothing to compare; give `body`, the path of a value")
        if self.equals and self.matches:
            found.append("compares one value in two ways; leave `equals` or `matches` out")
        return found

    def covers(self, status: int, body: bytes) -> bool:
        """Whether an answer is of this sort. A body that is no JSON has no values."""
        if self.status and status not in self.status:
            return False
        if self.text and self.text.encode() not in body:
            return False
        return self.body is None or self._holds(_raw_at(self.body, body))

    def _holds(self, raw: str | None) -> bool:
        found = text_of(raw)
        if raw is None or found is None:
            return False
        if self.equals:
            return found == self.equals.text
        return self.matches.is_in(found) if self.matches else not _NOTHING.fullmatch(raw)


def first_match(rules: Iterable[Rule], status: int, body: bytes) -> Rule | None:
    """The rule that decides about an answer."""
    return next((rule for rule in rules if rule.covers(status, body)), None)


def _raw_at(path: Path, body: bytes) -> str | None:
    """The exact text of the value at a path of a body; None where there is none, or the body is no JSON."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return _reader(path)([body])[0] if _is_json(body) else None
    except (ValueError, LookupError, RuntimeError):
        return None


def _is_json(body: bytes) -> bool:
    """Whether a body is a whole JSON document; one that is odd (a lone surrogate) takes Python's time. Raises RecursionError."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.MsgspecError:
        try:
            json.loads(body, strict=False)
        except ValueError:
            return False
    return True


@cache
def _reader(path: Path) -> Callable[[Sequence[bytes]], list[str | None]]:
    return texts_at(path)
