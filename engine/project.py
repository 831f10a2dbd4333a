"""Collection -> which values of its records are wanted, and one SELECT over them. Pure.

What a record's values are is found by `values`, exactly as the API wrote them; the SELECT makes typed columns of them. It reads every
property in its plain forms and tells of each record which properties are odd: have a value that it did not read. `stage` then reads
those, and only those, the slow exact way. Names of its own start with `_syncer_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from .columns import Json, characters
from .fields import Path
from .properties import Property
from .spec import Collection
from .values import SEPARATOR, Steps, Values, values_at

_SHORTEST_LIMIT = 2**20
"""How long DuckDB lets a line be, where none is longer: its buffers are of twice that."""

AT, ODD = "_syncer_at", "_syncer_odd"
_NONE, _BEHIND = "_syncer_none", "_syncer_behind"
DIGEST = "_syncer_digest"
"""What tells whether two records are the same, byte for byte."""


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def lines_of(files: Sequence[str], columns: Sequence[str], longest: int) -> str:
    """A table expression over files of lines of at most `longest` bytes: texts with SEPARATOR between them. What is empty is NULL."""
    limit, types = max(_SHORTEST_LIMIT, longest + 1), ", ".join(f"{name}: 'VARCHAR'" for name in columns)
    return (
        f"read_csv([{', '.join(map(text, files))}], columns = {{{types}}}, "
        f"delim = {text(SEPARATOR.decode())}, new_line = '\\n', quote = '', escape = '', header = false, auto_detect = false, "
        f"max_line_size = {limit}, buffer_size = {2 * limit})"
    )


class Unfit(Struct, frozen=True):
    """Values that a warehouse cannot hold: of which property, why, and the condition for one, over the properties' columns."""

    property: str
    why: str
    condition: str


class Projection(Struct, frozen=True, dict=True):
    """Some properties of a collection: which values of a record they need, and the SQL that makes columns of these."""

    properties: dict[str, Property]
    digested: bool = False
    """Whether a digest of each record is wanted, too."""
    unfit: Sequence[Unfit] = ()
    """What is not to be among the rows, although it is of its type."""

    @cached_property
    def own_paths(self) -> Steps:
        """Where values are wanted of each record."""
        return self._paths(of_parent=False)

    @cached_property
    def parents_paths(self) -> Steps:
        """Where values are wanted of what is kept of its parent."""
        return self._paths(of_parent=True)

    def _paths(self, of_parent: bool) -> Steps:
        words = [(name, prop) for name, prop in self.properties.items() if bool(prop.parent) is of_parent]
        return tuple(dict.fromkeys(path.steps for name, prop in words for path in prop.paths(name)))

    @property
    def own(self) -> Values:
        """What reads each record."""
        return values_at(self.own_paths)

    @property
    def parents(self) -> Values:
        """What reads what is kept of its parent."""
        return values_at(self.parents_paths)

    @cached_property
    def _raws(self) -> dict[tuple[bool, Path], str]:
        """The column of each value's exact text, in the order in which they stand in a line."""
        paths = [*((False, path) for path in self.own.paths), *((True, path) for path in self.parents.paths)]
        return {path: f"_syncer_raw_{number}" for number, path in enumerate(paths)}

    def select(self, file: str, longest: int) -> str:
        """`file` has a line for each record, in their order, of at most `longest` bytes: what `own` gives of it (something empty where that
        has no paths), what `parents` gives, where it is `digested` the digest, and something empty, with SEPARATOR between them.

        Gives the record's place (from 0), a column for each property, and the ordinals (from 0, joined by blanks) of the odd ones, also of
        those that are required and missing. What is odd is NULL.
        """
        raws = [*(() if self.own.paths else [_NONE]), *self._raws.values(), *([DIGEST] if self.digested else []), _BEHIND]
        read = f"SELECT row_number() OVER () - 1 AS {AT}, * FROM {lines_of([file], raws, longest)}"
        columns = [_Column(ordinal, name, prop, self._raws) for ordinal, (name, prop) in enumerate(self.properties.items())]
        matched = ", ".join(f"{one.found} AS {one.raw}" for one in columns if one.found is not None)
        names = ", ".join(one.column for one in columns)
        values = ", ".join(f"{one.value} AS {one.column}" for one in columns)
        odd = ", ".join(f"CASE WHEN {one.odd} THEN {one.ordinal} END" for one in columns)
        digest = f", {DIGEST}" if self.digested else ""
        found = f"SELECT *, {matched} FROM ({read})" if matched else read
        return f"SELECT {AT}, {names}{digest}, concat_ws(' ', {odd}) AS {ODD} FROM (SELECT *, {values} FROM ({found}))"


def row_projection(collection: Collection, unfit: Sequence[Unfit] = ()) -> Projection:
    return Projection(dict(collection.properties), unfit=unfit)


def key_projection(collection: Collection) -> Projection:
    return Projection({name: collection.properties[name] for name in collection.key})


def version_projection(collection: Collection, names: Iterable[str]) -> Projection:
    """Some properties, and what tells records, their versions, and whether two of these are the same."""
    cursor = [collection.cursor.property] if collection.cursor else []
    return Projection({name: collection.properties[name] for name in dict.fromkeys([*collection.key, *cursor, *names])}, digested=True)


class _Column:
    """One property's expressions, over the columns of exact JSON texts."""

    def __init__(self, ordinal: int, name: str, prop: Property, raws: Mapping[tuple[bool, Path], str]) -> None:
        self.ordinal, self.prop, self.column = ordinal, prop, quoted(name)
        texts = [raws[bool(prop.parent), path] for path in prop.paths(name)]
        self.found = self._found(_first(texts)) if prop.match or len(texts) > 1 else None
        """What its exact text is, where it does not stand in one column; NULL where it has none."""
        self.raw = texts[0] if self.found is None else f"_syncer_found_{ordinal}"

    def _found(self, raw: str) -> str:
        if self.prop.match is None:
            return raw
        pattern, plain = text(self.prop.match.text), characters(raw)
        found = f"regexp_extract({plain}, {pattern}, 1)"
        return f"CASE WHEN {found} <> '' OR regexp_matches({plain}, {pattern}) THEN CAST(to_json({found}) AS VARCHAR) END"

    @property
    def value(self) -> str:
        """The value in its plain forms; NULL where it is not there, or odd."""
        if self.prop.match and isinstance(self.prop.column_type, Json):
            return "CAST(NULL AS JSON)"  # what `match` finds is written as JSON by Python alone
        return self.prop.column_type.sql(self.raw)

    @property
    def odd(self) -> str:
        """Whether there is a value that was not read, or none where there must be one."""
        return f"{self.column} IS NULL" + ("" if self.prop.required else f" AND {self.raw} <> 'null'")


def _first(raws: Sequence[str]) -> str:
    """Of several texts, the first that is a value."""
    values = [f"nullif({raw}, 'null')" for raw in raws]
    return f"coalesce({', '.join(values)})"
