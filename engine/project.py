"""Collection -> one SELECT over lines of raw JSON. Pure.

The SELECT reads every property in its plain forms and tells of each record which properties are odd: have a value that it did
not read. `stage` then reads those, and only those, the slow exact way. Names of its own start with `_syncer_`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from .columns import String
from .fields import Path
from .properties import Property
from .spec import Collection

AT, ODD = "_syncer_at", "_syncer_odd"
_JSON, _KINDS, _TEXTS, _BARE = "_syncer_json", "_syncer_kinds", "_syncer_texts", "_syncer_bare"
DIGEST = "_syncer_digest"
"""What tells whether two records are the same, byte for byte; NULL where that is not known."""

_ESCAPED_NAME = r"""\\["\\/bfnrtu][^"\\]*"[ \t\r\n]*:"""
"""The end of an object's name that has an escape in it."""


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


class Unfit(Struct, frozen=True):
    """Values that a warehouse cannot hold: of which property, why, and the condition for one, over the properties' columns."""

    property: str
    why: str
    condition: str


class Projection(Struct, frozen=True):
    """Some properties of a collection, as SQL."""

    properties: dict[str, Property]
    digested: bool = False
    """Whether a digest of each record is wanted, too."""
    unfit: Sequence[Unfit] = ()
    """What is not to be among the rows, although it is of its type."""

    @property
    def of_parent(self) -> bool:
        """Whether some property takes its value from the parent."""
        return any(prop.parent for prop in self.properties.values())

    def select(self, source: str, slices: str | None = None) -> str:
        """`source` is a table expression with one column `json`, in the order of the records.

        `slices` is one with columns `first` and `parent`: the place from which on records belong to a parent, and a JSON object
        of its values. Gives the record's place (from 0), a column for each property, and the ordinals (from 0, joined by blanks)
        of the odd ones, also of those that are required and missing. What is odd is NULL.
        """
        pointers = list(
            dict.fromkeys((bool(prop.parent), path.pointer) for name, prop in self.properties.items() for path in prop.paths(name))
        )
        pointers.sort(key=lambda pointer: pointer[0])
        columns = [_Column(ordinal, name, prop, pointers) for ordinal, (name, prop) in enumerate(self.properties.items())]
        own, parents = ("[" + ", ".join(text(one) for of_parent, one in pointers if of_parent is which) + "]" for which in (False, True))
        bare = (
            f"NOT (contains(json, '\\') AND regexp_matches(json, {text(_ESCAPED_NAME)}))" if any(one.exact for one in columns) else "NULL"
        )
        found = "".join(f", {one.found_sql} AS {one.found}" for one in columns if one.pattern)
        names = ", ".join(one.column for one in columns)
        values = ", ".join(f"{one.value} AS {one.column}" for one in columns)
        odd = ", ".join(f"CASE WHEN {one.odd} THEN {one.ordinal} END" for one in columns)
        kinds, texts = (
            _both(f"{read}(json, {own})", f"{read}(parent, {parents})", own, parents) for read in ("json_type", "json_extract_string")
        )
        lines = f"SELECT row_number() OVER () - 1 AS {AT}, json FROM {source}"
        if self.of_parent:
            lines = f"SELECT {AT}, json, parent FROM ({lines}) ASOF JOIN {slices} ON {AT} >= first"
        read = f"SELECT {AT}, json AS {_JSON}, {kinds} AS {_KINDS}, {texts} AS {_TEXTS}, {bare} AS {_BARE} FROM ({lines})"
        matched = f"SELECT *{found} FROM ({read})"
        digest = f", nullif(md5({_JSON}), md5('{{}}')) AS {DIGEST}" if self.digested else ""
        return f"SELECT {AT}, {names}{digest}, concat_ws(' ', {odd}) AS {ODD} FROM (SELECT *, {values} FROM ({matched}))"


def row_projection(collection: Collection, unfit: Sequence[Unfit] = ()) -> Projection:
    return Projection(dict(collection.properties), unfit=unfit)


def key_projection(collection: Collection) -> Projection:
    return Projection({name: collection.properties[name] for name in collection.key})


def version_projection(collection: Collection, names: Iterable[str]) -> Projection:
    """Some properties, and what tells records, their versions, and whether two of these are the same."""
    cursor = [collection.cursor.property] if collection.cursor else []
    return Projection({name: collection.properties[name] for name in dict.fromkeys([*collection.key, *cursor, *names])}, digested=True)


class _Column:
    """One property's expressions, over the lists of JSON types and of texts at all pointers."""

    def __init__(self, ordinal: int, name: str, prop: Property, pointers: list[tuple[bool, str]]) -> None:
        self.ordinal, self.prop, self.column = ordinal, prop, quoted(name)
        self.pattern = text(prop.match.text) if prop.match else ""
        self.exact = prop.column_type.exact and not prop.match
        self._paths = {pointers.index((bool(prop.parent), path.pointer)) + 1: path for path in prop.paths(name)}
        self.kind = self._first(lambda place: f"{_KINDS}[{place}]")
        self.text = self._first(lambda place: f"{_TEXTS}[{place}]")
        self.found = f"_syncer_found_{ordinal}"

    @property
    def value(self) -> str:
        """The value in its plain forms; NULL where it is not there, or odd."""
        sql = self.prop.column_type.sql
        if not self.pattern:
            exact = self._first(self._exact) if self.exact else "NULL"
            return sql(self.kind, self.text, exact)
        matches = f"{self.found} <> ''"
        if isinstance(self.prop.column_type, String):
            matches += f" OR ({self.found} = '' AND regexp_matches({self.text}, {self.pattern}))"
        return sql(f"(CASE WHEN {matches} THEN 'VARCHAR' END)", self.found, "NULL")

    @property
    def odd(self) -> str:
        """Whether there is a value that was not read, or none where there must be one."""
        missing = f"{self.column} IS NULL"
        if self.prop.required:
            return missing
        there = " OR ".join(f"{_KINDS}[{place}] <> 'NULL'" for place in self._paths)
        matched = f" AND ({self.found} IS NULL OR regexp_matches({self.text}, {self.pattern}))" if self.pattern else ""
        return f"{missing} AND ({there}){matched}"

    @property
    def found_sql(self) -> str:
        """What `match` finds in the text, empty where it does not match, too; NULL where the text at hand is not the exact one."""
        exact = f"{self.kind} IN ('VARCHAR', 'UBIGINT', 'BOOLEAN') OR ({self.kind} = 'BIGINT' AND {self.text} <> '0')"
        return f"CASE WHEN {exact} THEN regexp_extract({self.text}, {self.pattern}, 1) END"

    def _exact(self, place: int) -> str:
        """What is kept of a parent is written by us: a text stands there as it is."""
        return f"'\"' || {_TEXTS}[{place}] || '\"'" if self.prop.parent else _exact(self._paths[place], place)

    def _first(self, of: Callable[[int], str]) -> str:
        """Of several paths, the first that has a value decides."""
        if len(self._paths) == 1:
            return of(next(iter(self._paths)))
        return "(CASE " + " ".join(f"WHEN {_KINDS}[{place}] <> 'NULL' THEN {of(place)}" for place in self._paths) + " END)"


def _both(own: str, parents: str, own_list: str, parent_list: str) -> str:
    """Two lists of the record's and of the parent's values as one; what nothing asks for is not read."""
    if parent_list == "[]":
        return own
    return parents if own_list == "[]" else f"list_concat({own}, {parents})"


def _exact(path: Path, place: int) -> str:
    """The exact JSON text of the value at a path, or NULL where it is not certain.

    DuckDB gives a value as it would write it itself. If the value's name stands in the record only once, in plain letters, and
    the value written so stands right behind it, then that is how the API wrote it: a JSON text never goes on behind its end
    (but for numbers, which therefore need a comma or a bracket behind them).
    """
    name = f'"{path.steps[-1]}"'
    if json.dumps(path.steps[-1], ensure_ascii=False) != name:
        return "NULL"
    kind, value, start = f"{_KINDS}[{place}]", f"{_TEXTS}[{place}]", text(name + ":")

    def stands(written: str, behind: str = "") -> str:
        return f"contains({_JSON}, {start} || {written}" + (f" || {text(behind)})" if behind else ")")

    in_quotes = f"'\"' || {value} || '\"'"
    return (
        f"(CASE WHEN {kind} = 'NULL' OR NOT {_BARE} OR len(string_split({_JSON}, {text(name)})) <> 2 THEN NULL "
        f"WHEN {kind} IN ('OBJECT', 'ARRAY', 'BOOLEAN') THEN CASE WHEN {stands(value)} THEN {value} END "
        f"WHEN {kind} = 'VARCHAR' THEN CASE WHEN {stands(in_quotes)} THEN {in_quotes} END "
        f"WHEN {stands(value, ',')} OR {stands(value, '}')} THEN {value} END)"
    )
