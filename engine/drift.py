"""What records hold that their spec does not name, and what it names that none of them holds. Pure.

An object is descended into only where the spec names something inside of it; another one is one field, of type json.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct, field

from .columns import PLAIN_TYPES, ColumnType, List, Reject, Timestamp
from .document import yaml_text
from .fields import Path
from .spec import ADDED_COLUMNS, Collection

_SAMPLES, _LONGEST = 200, 2_000
"""Of how many different texts a field's type is told, and how long such a text may be."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Field(Struct):
    """What was seen of a field that the spec does not name."""

    path: Path
    first_seen: int
    """When the run began that brought the first of them: microseconds since 1970."""
    there: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many values of each JSON kind, null left out: string, integer, decimal, boolean, object, list."""
    samples: dict[str, None] = field(default_factory=dict)
    """Some of the exact JSON texts."""

    def see(self, raw: bytes) -> None:
        kind = _kind(raw)
        if kind != "null":
            self.there += 1
            self.kinds[kind] += 1
            if len(self.samples) < _SAMPLES and len(raw) <= _LONGEST:
                self.samples[raw.decode("utf-8", "replace")] = None

    @property
    def type(self) -> str | None:
        """The narrowest type that holds what was seen; None where all was null."""
        return _type_of(set(self.kinds), list(self.samples))


class _Named(Struct):
    """What the spec names at a place in the records, and inside of it."""

    inside: dict[str, _Named] = field(default_factory=dict)
    properties: list[str] = field(default_factory=list)


class Drift:
    """The drift of one collection's records."""

    def __init__(self, collection: Collection) -> None:
        self.records = 0
        self.fields: dict[tuple[str, ...], Field] = {}
        self._collection = collection
        self._named = _Named()
        self._seen: set[str] = set()
        for name, prop in collection.properties.items():
            for path in () if prop.parent else prop.paths(name):
                there = self._named
                for step in path.steps:
                    there = there.inside.setdefault(step, _Named())
                there.properties.append(name)

    def see(self, record: bytes, at: int) -> None:
        """Take in a record that a run brought which began at an instant. One that is no JSON object is passed over."""
        self.records += 1
        self._see(record, self._named, (), at)

    def _see(self, raw: bytes, named: _Named, way: tuple[str, ...], at: int) -> None:
        for step, value in _members(raw):
            there = named.inside.get(step)
            if there is None:
                if not named.properties and not _is_list(raw):
                    self._field((*way, step), at).see(bytes(value))
                continue
            if there.properties and _kind(bytes(value)) != "null":
                self._seen.update(there.properties)
            if there.inside:
                self._see(bytes(value), there, (*way, step), at)

    def _field(self, way: tuple[str, ...], at: int) -> Field:
        found = self.fields.get(way)
        if found is None:
            found = self.fields[way] = Field(Path(way), at)
        return found

    @property
    def never(self) -> list[str]:
        """The properties of which no record had a value."""
        mine = (name for name, prop in self._collection.properties.items() if not prop.parent)
        return [name for name in mine if self.records and name not in self._seen]

    def proposed(self) -> dict[str, str]:
        """The properties that the spec could have besides: the YAML of each by its name."""
        taken = {name.lower() for name in (*self._collection.properties, *ADDED_COLUMNS, "<<")}  # the last is YAML's word for a merge
        found = {}
        for one in self.fields.values():
            if (kind := one.type) is None:
                continue
            name = _free_name(one.path.steps, taken)
            taken.add(name.lower())
            type_ = yaml_text(kind)
            found[name] = type_ if one.path.steps == (name,) else f"{{type: {type_}, from: {yaml_text(one.path.text)}}}"
        return found


def _members(raw: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
    """The members of an object by their name, or of a list by their place."""
    try:
        if _is_list(raw):
            yield from ((str(place), value) for place, value in enumerate(_list.decode(raw)))
        elif _kind(raw) == "object":
            yield from _object.decode(raw).items()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return


def _is_list(raw: bytes) -> bool:
    return _kind(raw) == "list"


def _kind(raw: bytes) -> str:
    first = raw.lstrip()[:1]
    words = {b'"': "string", b"{": "object", b"[": "list", b"t": "boolean", b"f": "boolean", b"n": "null"}
    return words.get(first) or ("decimal" if re.search(rb"[.eE]", raw) else "integer")


def _type_of(kinds: set[str], samples: Sequence[str]) -> str | None:
    if not kinds:
        return None
    if kinds == {"boolean"}:
        return "boolean"
    if kinds <= {"integer", "decimal"}:
        wanted = ["number"] if "decimal" in kinds else ["integer", "decimal(38,0)"]
        return next((name for name in wanted if _all_read(name, samples)), "json")
    if kinds == {"string"}:
        dated = bool(samples) and all(re.match(r'"\d{4}-\d\d-\d\d', one) for one in samples)
        return next((name for name in ("date", "timestamp") if dated and _all_read(name, samples)), "string")
    if kinds == {"list"} and samples:
        items = [bytes(item) for one in samples for item in _list.decode(one)]
        inner = _type_of({_kind(item) for item in items} - {"null"}, [item.decode() for item in items])
        if inner and inner != "json" and not inner.endswith("[]") and _all_read(f"{inner}[]", samples):
            return f"{inner}[]"
    return "json"


def _all_read(name: str, samples: Sequence[str]) -> bool:
    """Whether a type holds all of them."""
    plain = name.removesuffix("[]")
    if plain.startswith("decimal"):
        return all(re.fullmatch(r"-?\d{1,38}", one) for one in samples)
    kind: ColumnType = Timestamp("iso", None) if plain == "timestamp" else PLAIN_TYPES[plain]()
    kind = List(kind) if plain != name else kind
    try:
        return all(kind.convert(one) is not None for one in samples)
    except (Reject, ValueError, RecursionError):
        return False


def _free_name(steps: Sequence[str], taken: set[str]) -> str:
    """A name for a column that no other one has."""
    plain = [step if step.isprintable() and step.strip() else "field" for step in steps]
    name = plain[-1] if len(plain) == 1 else "_".join(plain)
    name = f"field{name}" if name.lower().startswith("_syncer") else name
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        free = f"{name}_{number}"
    return free
