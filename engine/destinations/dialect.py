"""What a warehouse that speaks SQL says in its own way: how a statement gets there, what it calls types, and the few expressions in which
dialects differ. Each kind is one class in one file beside this. I/O, through its connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct, field

from ..project import quoted, text

LONGEST_SHOWN = 2000
"""Characters of a value that a column cannot hold as a whole."""


class Known(Struct):
    """What is known of a table: its columns' types and comments by name (none, where there is no such table), and its own comment."""

    columns: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str | None] = field(default_factory=dict)
    comment: str | None = None
    computed: set[str] = field(default_factory=set)
    """The columns whose values the warehouse makes itself."""


class Dialect:
    """One schema of a warehouse, as its statements have it."""

    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """What a statement may raise."""
    shapes_apart: ClassVar[bool] = False
    """Whether making or changing a table would end a transaction, or cannot stand in one: then it is done before."""

    def __init__(self, where: str, schema: str) -> None:
        self.where, self.schema = where, schema
        self._made: set[str] = set()
        """The temporary tables that there may be."""

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives; it opens the connection where there is none. Raises WarehouseError where that cannot be."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def told(self, error: Exception) -> tuple[str, str]:
        """What went wrong, without anything that may be data, and what to do."""
        raise NotImplementedError

    @property
    def lost(self) -> bool:
        """Whether the connection was lost, so that what it was in may be tried again."""
        return False

    def quoted(self, name: str) -> str:
        """A name as a statement has it."""
        return quoted(name)

    def text(self, value: str) -> str:
        """A text as a statement has it."""
        return text(value)

    def kind(self, type_: str) -> str:
        """What the warehouse calls a type of DuckDB's, as `look` gives it, too."""
        return type_

    def fold(self, name: str) -> str:
        """A column's name, so that it equals those that are the same to the warehouse."""
        return name

    def name(self, table: str) -> str:
        return f"{self.quoted(self.schema)}.{self.quoted(table)}"

    def temporary(self, table: str) -> str:
        """What a temporary table is called."""
        return f"temp.{table}"

    def keep(self, table: str, select: str) -> None:
        """Keep what a SELECT gives in a temporary table, until the load ends or it is discarded."""
        self._made.add(table)
        self.ask(f"CREATE TEMP TABLE {table} AS {select}")

    def discard(self, table: str) -> None:
        """Keep it no longer; something else may be kept in its place."""
        self.ask(f"DROP TABLE {self.temporary(table)}")

    def standing(self, table: str, where: str) -> int:
        """How many rows of a table are so, by columns of ours."""
        ((number,),) = self.ask(f"SELECT count(*) FROM {self.name(table)} WHERE {where}")
        return int(number)

    def constraints(self, key: Sequence[str]) -> list[str]:
        """What stands behind the columns of a table with a key."""
        return []

    def make_schema(self) -> None:
        """Where there is none."""
        raise NotImplementedError

    def look(self) -> dict[str, Known]:
        """All tables of the schema, by their folded names."""
        raise NotImplementedError

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows into one of `OURS`, by name; instants are microseconds, `columns` are those that any row has."""
        raise NotImplementedError

    def instant(self, micros: int | str) -> str:
        """An instant, from microseconds since 1970, or an expression of them."""
        raise NotImplementedError

    def place(self, column: str) -> list[str]:
        """The four numbers of a record's place (`hub.segment.PLACE`) out of a column."""
        raise NotImplementedError

    def comparable(self, value: str, type_: str) -> str:
        """A value as one that can be compared, in the order in which DuckDB has them."""
        return value

    def digest(self, values: Mapping[str, str]) -> str:
        """What is the same for the same values, and for no others; they come with their types."""
        listed = ", ".join(f"CAST({value} AS VARCHAR)" for value in values)
        return f"md5(CAST(to_json(list_value({listed})) AS VARCHAR))"

    def before(self, one: Sequence[str], other: Sequence[str]) -> str:
        """Whether some numbers come before others: the first that differ decide."""
        return f"row({', '.join(one)}) < row({', '.join(other)})"

    def later(self, one: str, other: str) -> str:
        """The later of two instants, or the one that is not NULL."""
        return f"greatest({one}, {other})"

    def values(self, alias: str, names: Sequence[str], rows: Sequence[Sequence[int]]) -> str:
        """A table expression of numbers, with names behind its alias."""
        listed = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
        return f"(VALUES {listed}) AS {alias}({', '.join(names)})"

    def joined(self, value: str, order: Sequence[str]) -> str:
        """The texts of a group behind each other, in an order."""
        return f"string_agg({value}, '' ORDER BY {', '.join(order)})"

    def alter(self, table: str, changes: Sequence[str]) -> None:
        """Change a table's columns."""
        for change in changes:
            self.ask(f"ALTER TABLE {self.name(table)} {change}")

    def words(self, said: str | None, of_table: bool) -> str | None:
        """A description of a table or column, as far as the warehouse can hold it."""
        return said

    def describe(self, table: str, words: Mapping[str | None, str | None]) -> None:
        """Say in the warehouse what some columns of a table are, and (None) the table itself."""
        for column, said in words.items():
            what = f"TABLE {self.name(table)}" if column is None else f"COLUMN {self.name(table)}.{self.quoted(column)}"
            self.ask(f"COMMENT ON {what} IS {'NULL' if said is None else self.text(said)}")


def cut(value: Any, most: int) -> Any:
    """A value of syncer's own tables: a rejected one may be longer than a column, of so many bytes, and is shown in part."""
    is_long = isinstance(value, str) and len(value.encode()) > most
    return value[:LONGEST_SHOWN] + "…" if is_long else value


def stepwise(one: Sequence[str], other: Sequence[str]) -> str:
    """`Dialect.before`, for dialects that cannot compare rows."""
    first = f"{one[0]} < {other[0]}"
    return first if len(one) == 1 else f"({first} OR ({one[0]} = {other[0]} AND {stepwise(one[1:], other[1:])}))"
