"""A property: one column of a table, its type as the spec names it, and where in a record its value stands. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeGuard

from msgspec import Struct, field

from .columns import PLAIN_TYPES, ColumnType, Date, Decimal, List, Reject, Timestamp
from .fields import Doc, OnReject, Path, Pattern, Scalar
from .kinds import did_you_mean
from .record import raw_at, text_of
from .values import texts_at


class TypeName(Scalar, frozen=True):
    """A property's type: string, integer, number, decimal(p,s), boolean, timestamp, date, json, or a list of one: `T[]`."""

    text: str
    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": f"^({'|'.join(PLAIN_TYPES)})(\\[\\])?$".replace("decimal", r"decimal\([0-9]+,[0-9]+\)"),
    }

    @classmethod
    def parse(cls, text: Any) -> TypeName:
        match = re.fullmatch(r"(\w+)(?:\((\d+), ?(\d+)\))?(\[\])?", str(text))
        if not match or match.group(1) not in PLAIN_TYPES:
            word = match.group(1) if match else str(text)
            raise ValueError(f"{text!r} is not a type; {did_you_mean(word, PLAIN_TYPES)}")
        if (match.group(1) == "decimal") != bool(match.group(2)):
            raise ValueError(f"{text!r} is not a type; a decimal, and only a decimal, has its digits: decimal(18,2)")
        precision, scale = int(match.group(2) or 1), int(match.group(3) or 0)
        if not (1 <= precision <= 38 and scale <= precision):
            raise ValueError(f"{text!r} is not a type; a decimal has 38 digits at most, and no more of them after the point")
        return cls(str(text))

    def __str__(self) -> str:
        return self.text


class Property(Struct, frozen=True, kw_only=True, dict=True):
    """One column of a table: its type, and where in a record its value stands."""

    type: Annotated[TypeName, Doc("string, integer, number, decimal(p,s), boolean, timestamp, date, json, or a list of one: T[]")]
    source: Annotated[
        tuple[Path, ...] | None,
        Doc("the path of the value in the record (default: the property's name); of several, the first that has a value"),
    ] = field(default=None, name="from")
    parent: Annotated[str | None, Doc("the property of the parent whose value it takes, instead of one in the record")] = None
    match: Annotated[Pattern | None, Doc("a regular expression; its one group is the value, and no match is no value")] = None
    format: Annotated[
        str | None, Doc("how a timestamp or date is written: iso (the default), epoch_s, epoch_ms, epoch_us, or a strptime pattern")
    ] = None
    timezone: Annotated[str | None, Doc("the zone of timestamps that have no offset, like UTC or Europe/Berlin")] = None
    required: Annotated[bool, Doc("a record without this value is reported among the rejects")] = False
    on_reject: Annotated[OnReject | None, Doc("what becomes of a value that the type cannot hold, if not as in the collection")] = None
    was: Annotated[tuple[str, ...], Doc("what the column was called before: it is renamed, and keeps its values")] = ()
    description: Annotated[str | None, Doc("what the column holds; the warehouse shows it as the column's comment")] = None

    @cached_property
    def column_type(self) -> ColumnType:
        """The type with its format. Raises ValueError where the two do not go together."""
        name = self.type.text.removesuffix("[]")
        plain: ColumnType
        if name.startswith("decimal"):
            precision, scale = re.findall(r"\d+", name)
            plain = Decimal(int(precision), int(scale))
        elif name == "timestamp":
            plain = Timestamp(self.format or "iso", self.timezone)
        elif name == "date":
            plain = Date(self.format or "iso")
        else:
            plain = PLAIN_TYPES[name]()
        return List(plain) if self.type.text.endswith("[]") else plain

    def paths(self, name: str) -> Sequence[Path]:
        """Where its value stands in the record; or, of a parent's property, in what the hub keeps of the parent's row."""
        return self.source or (Path((self.parent or name,)),)

    def reader(self, name: str) -> Callable[[Sequence[bytes]], list[str | None]]:
        """A function from records to the exact JSON texts of the property: of its paths, the first that has a value decides.

        It raises what `texts_at` raises.
        """
        first, *others = [texts_at(path) for path in self.paths(name)]

        def read(records: Sequence[bytes]) -> list[str | None]:
            raws = first(records)
            for other in others:
                lacking = [place for place, raw in enumerate(raws) if not _is_value(raw)]
                for place, raw in zip(lacking, other([records[place] for place in lacking]), strict=True):
                    raws[place] = raw
            return raws

        return read

    def canonical(self, raw: str | None) -> str | None:
        """The canonical text of the property's value, from the exact text where it stands, or None. Raises Reject."""
        if not _is_value(raw):
            return None
        if self.match is None:
            return self.column_type.convert(raw)
        found = self.match.find(str(text_of(raw)))
        return None if found is None else self.column_type.convert(json.dumps(found))

    def value(self, raw: str | None) -> str | None:
        """As `canonical`; a Reject, too, for a required value that is not there, and for one nested too deeply."""
        try:
            found = self.canonical(raw)
        except RecursionError:
            raise Reject("is nested too deeply to be read") from None
        if found is None and self.required:
            raise Reject("is required, and not there")
        return found

    def read(self, name: str, record: str) -> str | None:
        """The slow, obviously right reading of the property from a whole record. Raises Reject."""
        return self.value(next(filter(_is_value, (raw_at(record, path) for path in self.paths(name))), None))


def _is_value(raw: str | None) -> TypeGuard[str]:
    return raw is not None and raw != "null"
