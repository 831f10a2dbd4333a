"""Collection -> one SELECT over lines of raw JSON. Pure.

The SELECT reads every property in its plain forms and marks a record as odd when any value is there that it did not read;
`stage` then reads the odd ones, and only those, the slow exact way. Names of its own start with `_syncer_`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .columns import Property
from .spec import Collection

AT, ODD = "_syncer_at", "_syncer_odd"
_K, _S = "_syncer_k", "_syncer_s"


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True)
class Projection:
    """Some properties of a collection, as SQL."""

    properties: dict[str, Property]

    @property
    def exact(self) -> list[str]:
        """The properties whose exact texts the SELECT takes from a table `exact(_syncer_at, <a column for each>)`."""
        return [name for name, prop in self.properties.items() if prop.exact]

    def select(self, source: str) -> str:
        """`source` is a table expression with one column `json`, in the order of the records.

        Gives the record's place (from 0), a column for each property, and whether something was not read.
        """
        pointers = self._pointers()
        listed = "[" + ", ".join(text(pointer) for pointer in pointers) + "]"
        lines = (
            f"SELECT row_number() OVER () - 1 AS {AT}, json_type(json, {listed}) AS {_K}, "
            f"json_extract_string(json, {listed}) AS {_S} FROM {source}"
        )
        values, odds = [], []
        for name, prop in self.properties.items():
            value, odd = self._reading(name, prop, pointers)
            values.append(f"{value} AS {quoted(name)}")
            odds.append(odd)
        joined = f" LEFT JOIN exact USING ({AT})" if self.exact else ""
        return f"SELECT {AT}, {', '.join(values)}, coalesce({' OR '.join(odds)}, false) AS {ODD} FROM ({lines}){joined}"

    def _pointers(self) -> list[str]:
        found = [path.pointer for name, prop in self.properties.items() for path in prop.paths(name)]
        return list(dict.fromkeys(found))

    def _reading(self, name: str, prop: Property, pointers: Sequence[str]) -> tuple[str, str]:
        """The value, and whether there is one that this SELECT cannot read."""
        places = [pointers.index(path.pointer) + 1 for path in prop.paths(name)]
        k, s = _first_there(places, _K), _first_there(places, _S)
        there = f"{k} <> 'NULL'"
        odd_source = "false"
        if prop.exact:
            s = f"exact.{quoted(name)}"
        if prop.match:
            pattern = text(prop.match.text)
            readable = f"({k} IN ('VARCHAR', 'UBIGINT', 'BOOLEAN') OR ({k} = 'BIGINT' AND {s} <> '0'))"
            odd_source = f"({there} AND NOT {readable})"
            found = f"({readable} AND regexp_matches({s}, {pattern}))"
            k, s = f"CASE WHEN {found} THEN 'VARCHAR' END", f"regexp_extract({s}, {pattern}, 1)"
            if prop.column_type.exact:
                s = f"to_json({s})::VARCHAR"
            there = found
        value = f"CASE WHEN {there} THEN {prop.column_type.sql(f'({k})', f'({s})')} END"
        odd = f"{odd_source} OR ({there} AND ({value}) IS NULL)"
        if prop.required:
            odd = f"({value}) IS NULL"
        return value, f"coalesce({odd}, false)"


def row_projection(collection: Collection) -> Projection:
    return Projection(dict(collection.properties))


def key_projection(collection: Collection) -> Projection:
    return Projection({name: collection.properties[name] for name in collection.key})


def _first_there(places: Sequence[int], values: str) -> str:
    """The first of several paths that has a value."""
    if len(places) == 1:
        return f"{values}[{places[0]}]"
    tests = " ".join(f"WHEN {_K}[{place}] <> 'NULL' THEN {values}[{place}]" for place in places)
    return f"CASE {tests} END"
