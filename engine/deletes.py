"""What becomes of rows whose records are gone: the words of the spec. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Struct

from .fields import Doc, Scalar, Text

Deletes = Literal["soft", "hard", "ignore"]

FEW = 10
"""So many rows may always go: a share of a small table says little."""


class Share(Scalar, frozen=True):
    """A part of a whole: `10%`, `0.5%`, `100%`."""

    percent: float
    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]+)?%$"}

    @classmethod
    def parse(cls, text: Any) -> Share:
        percent = float(text.removesuffix("%")) if re.fullmatch(cls.schema["pattern"], text) else 101.0
        if percent > 100:
            raise ValueError("is no share; write one like 10%, and 100% at most")
        return cls(percent)

    def __str__(self) -> str:
        return f"{self.percent:g}%"

    def exceeded_by(self, some: int, of: int) -> bool:
        """Whether `some` are more than this share of so many, and more than a few."""
        return some > FEW and some * 100 > self.percent * of


class Tombstone(Struct, frozen=True, kw_only=True):
    """What a record says of itself when it is gone."""

    property: Annotated[str, Doc("the property that says so: by having a value (of a boolean: true)")]
    values: Annotated[tuple[Text, ...], Doc("the values that say so, one or several, if not every one does")] = ()
