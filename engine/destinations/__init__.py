"""Warehouses: what a load needs of one, and the choice by URL. Pure; each kind of warehouse is one file beside this.

A warehouse takes a batch in one transaction: rows, rejects and receipt together or not at all, and only if the receipt's
number is the next one for its hub and collection. `--to duckdb:PATH` names one by its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Protocol

from msgspec import Struct, field

from ..deletes import Deletes, Share, Tombstone
from ..errors import UsageError
from ..kinds import did_you_mean
from ..piece import RejectedValue
from ..project import Unfit


class Column(Struct, frozen=True):
    """A declared property as a warehouse sees it: `type` is DuckDB's name for the type."""

    name: str
    type: str
    comment: str | None
    was: Sequence[str] = ()
    """What it was called before."""


class Table(Struct, frozen=True):
    """A collection's table."""

    schema: str
    name: str
    comment: str | None
    columns: Sequence[Column]
    key: Sequence[str]
    cursor: str | None
    appends: bool = False
    """Whether a record never changes: then its first version is the one that counts."""
    deletes: Deletes = "soft"
    tombstone: Tombstone | None = None
    keeps_versions: bool = False
    """Whether each version of a record is a row of its own."""
    parent_key: Sequence[str] = ()
    """The columns of the key that tell whose record it is, of a collection with a parent; none where the key does not tell."""

    @property
    def types(self) -> dict[str, str]:
        """The columns' types, by name."""
        return {column.name: column.type for column in self.columns}

    @property
    def key_types(self) -> dict[str, str]:
        return {name: type_ for name, type_ in self.types.items() if name in self.key}

    @property
    def parent_types(self) -> dict[str, str]:
        return {name: type_ for name, type_ in self.types.items() if name in self.parent_key}


class GonePass(Struct, frozen=True):
    """A complete pass that proved gone what it lacks: its run, the place (run, ordinal, number) of the segment that ended it, and
    when it began."""

    run: int
    ended: tuple[int, int, int]
    began: int


TOLD = {"_syncer_told_in": "BIGINT", "_syncer_gone_at": "TIMESTAMPTZ", "_syncer_gone_by": "TIMESTAMPTZ"}
"""What stands in the files of a delete feed beside the key."""


KEYS = {"_syncer_run": "BIGINT"}
"""What stands in the files of further keys beside the key: the run that brought it."""
LISTS = {"_syncer_told_in": "BIGINT", "_syncer_ended_in": "BIGINT", "_syncer_gone_at": "TIMESTAMPTZ"}
"""What stands in the files of whole lists beside the parent's key: the runs in which they began and ended, and since when what they
lack is gone."""


class Told(Struct, frozen=True):
    """What a delete feed, and whole lists of single parents, tell of records that went.

    `files` are Parquet files with the columns of the table's key, `_syncer_told_in`, the run in which it was told, `_syncer_gone_at`,
    when the record went, or else when that was told, and `_syncer_gone_by`, from when on a change of the record is later than that
    (NULL where that cannot be known). A version of the run in which a deletion was told, or of a later one, is newer.
    """

    files: Sequence[str]
    until: int
    """The run up to which it is taken with this batch."""
    known: int = 0
    """The run up to which it was before."""
    lacks: bool = False
    """Whether some of what it told is lost."""
    lists: Sequence[str] = ()
    """Parquet files of the parents whose lists are whole: the columns of `Table.parent_key`, and those of `LISTS`. A record of such a
    parent was gone of which neither the batch's `files` nor its `keys` hold a version that came in the list's runs."""


class Batch(Struct, frozen=True):
    """What one load brings.

    `files` are Parquet files with the table's columns, `_segment`, and the stage's order columns. `complete` says that they
    hold every version since the oldest epoch among them, so that no row outranks theirs. A deleted row comes back with a
    version of run `gone_since` or later. Where `marks_gone`, rows of which no file holds such a version are gone.
    """

    table: Table
    hub: str
    warehouse: str
    """The id of the schema, as `Warehouse.identity` gives it."""
    load: int
    files: Sequence[str]
    starts: Sequence[int]
    complete: bool
    gone_since: int | None
    marks_gone: bool
    prints: Mapping[str, str]
    read: int
    rejected: int
    rejected_values: int
    rejects: Sequence[RejectedValue]
    reject_lines: Mapping[str, int]
    """The line of each property in the spec."""
    spec_file: str
    clear_rejects: bool
    """Whether everything was read again, so that older rejects no longer hold."""
    synced_at: int
    keys: Sequence[str] = ()
    """Parquet files of further keys that are not gone: the columns of the key, and those of `KEYS`."""
    lacks: bool = False
    """Whether versions are lacking, so that rows may be newer than all of the batch although it is `complete`."""
    source: str = ""
    """The name of the spec."""
    most_gone: Share | None = None
    """If a larger part of the rows is gone, it is not marked, and the receipt says how many they are; None: any may go."""
    gone_known: int | None = None
    """The run of the last pass whose missing records were marked before."""
    held_back: int = 0
    """How many rows later passes had found gone that were not marked."""
    anew: bool = False
    """Whether the files are all there is: rows are made right by them, and what they lack goes."""
    left_out: Sequence[str] = ()
    """Parquet files, like `keys`, of records that are left out for they do not fit: their rows go, where the batch has all that does."""
    most_left_out: Share | None = None
    """If more of the rows would go by `left_out`, the load fails; None: any may go."""
    passes: Sequence[GonePass] = ()
    """The passes that tell what is gone, for a table that keeps versions: oldest first, up to `gone_since`."""
    told: Told | None = None
    """What tells of deletions besides complete passes, where something does."""
    named: Collection[str] = ()
    """The properties at the last load, as far as that is known."""


class Receipt(Struct, frozen=True):
    """What a load did, committed with its rows: read is the sum of all up to `rejected`."""

    load: int
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    stale: int = 0
    filtered: int = 0
    rejected: int = 0
    rejected_values: int = 0
    deleted: int = 0
    held_back: int = 0
    """Rows that a pass found gone, too many to be marked without being told to."""

    @property
    def balances(self) -> bool:
        parts = (self.inserted, self.updated, self.unchanged, self.duplicates, self.stale, self.filtered, self.rejected)
        return self.read == sum(parts)

    def plus(self, later: Receipt) -> Receipt:
        """The books of two loads together, under the later one's number."""
        book = {name: getattr(self, name) + getattr(later, name) for name in self.__struct_fields__}
        return Receipt(**{**book, "load": later.load, "held_back": later.held_back})


class Seen(Struct, frozen=True):
    """What a warehouse knows of a hub's collection."""

    load: int = 0
    """The number of the last load."""
    prints: Mapping[str, str] = field(default_factory=dict)
    """The properties' fingerprints at that load."""
    there: bool = False
    """Whether the table is there; a table that was dropped is filled again from the hub."""
    fits: bool = False
    """Whether it has the declared columns, each of its type; what it has not is filled from the hub."""
    renames: bool = False
    """Whether some of these still have the names of before."""
    strangers: bool = False
    """Whether it has rows of another hub."""
    gone: int | None = None
    """The run of the last pass whose missing records are marked as gone; None where there was no such pass."""
    held_back: int = 0
    """How many rows a later pass found gone that are not marked, for they were too many."""
    sources: Sequence[str] = ()
    """The specs that this collection was ever loaded by."""
    told: int = 0
    """The run up to which its delete feed is taken."""


class Rejected(Struct, frozen=True):
    """Values of one property (None: records without a readable key), or records that went with them, that did not fit."""

    collection: str
    property: str | None
    type: str | None
    whole: bool
    count: int
    reason: str
    segment: str
    """Where the first of them lies."""
    samples: Sequence[str]
    """The raw JSON of some."""


class InDoubt(Exception):
    """Rows were met that only the hub's history can rank; the batch was rolled back and has to come `complete`."""


class Warehouse(Protocol):
    """One schema of one warehouse. One loader at a time; its methods belong to one thread."""

    def check(self, tables: Sequence[Table] = ()) -> None:
        """Open it and write nothing.

        Raises WarehouseError where it cannot be opened or written, and UsageError where it cannot have such tables.
        """

    def identity(self, hub: str) -> str:
        """The schema's own random id, made at the first call; it stays with the data when they are moved."""

    def hubs(self) -> Sequence[str]:
        """The hubs that it was ever loaded from."""

    def seen(self, hub: str, table: Table) -> Seen:
        """What it knows of a hub's collection."""

    def books(self, hub: str, collection: str) -> Mapping[int, Receipt]:
        """The receipts of a hub's collection, by load."""

    def unfit(self, table: Table) -> Sequence[Unfit]:
        """Which values of a table's types it cannot hold: a batch comes without them."""

    def receiving(self, table: Table) -> AbstractContextManager[Callable[[str], None]]:
        """For as long as a batch of a table is staged, and until it is committed: a function to call with each of its `files` once that is
        ready, in their order, so that less is left to do for `commit`, which is all that is asked meanwhile. Nothing shows, or stays, of
        what is not committed."""

    def commit(self, batch: Batch) -> Receipt:
        """Take a batch, whole or not at all; a batch whose number was committed before gives that receipt.

        Raises InDoubt, or WarehouseError.
        """

    def rejects(self, samples: int = 5) -> Sequence[Rejected]:
        """What did not fit, the worst first, with so many samples each."""

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to the ledger, `_syncer_runs`."""

    def close(self) -> None:
        """Let go of it, so that others may open it."""


RECEIVES_NOTHING: AbstractContextManager[Callable[[str], None]] = nullcontext(lambda _: None)
"""For `Warehouse.receiving`, where a file is of use with all the others only."""


class _Kind(Struct, frozen=True):
    """A kind of warehouse: its class, in the module of that name beside this, and how its URLs look."""

    module: str
    cls: str
    form: str
    extra: str | None = None
    """What to install for it."""


_KINDS = {
    "duckdb": _Kind("duckdb", "DuckDB", "duckdb:PATH"),
    "postgresql": _Kind("postgresql", "PostgreSQL", "postgresql://USER@HOST:PORT/DATABASE", "postgresql"),
    "delta": _Kind("delta", "DeltaLake", "delta:FOLDER", "delta"),
    "snowflake": _Kind("snowflake", "Snowflake", "snowflake://USER@ACCOUNT/DATABASE", "snowflake"),
    "bigquery": _Kind("bigquery", "BigQuery", "bigquery://PROJECT", "bigquery"),
}
_ALIASES = {"postgres": "postgresql"}


def warehouse(url: str, schema: str) -> Warehouse:
    """The warehouse that a URL names. Raises UsageError for one of no known kind, and where a package is missing for it."""
    word, colon, rest = url.partition(":")
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", schema) or schema.lower() in ("information_schema", "pg_catalog"):
        raise UsageError(f"--schema {schema}: cannot name a schema; use letters, digits and underscores, a letter first")
    if rest.startswith(":memory:"):
        raise UsageError(f"--to {url}: would be gone with this process; name a file")
    if not colon or not rest:
        raise UsageError(f"--to {url}: names no warehouse; write {' or '.join(kind.form for kind in _KINDS.values())}")
    if re.search("//[^/@]*:[^/@]+@", rest) or re.search("[?&](password|token)=", rest):
        raise UsageError(f"--to {word}: the URL holds a password, which others can read there; give it in the environment (see the README)")
    kind = _KINDS.get(_ALIASES.get(word, word))
    if kind is None:
        raise UsageError(f"--to {word}: there is no such kind of warehouse; {did_you_mean(word, _KINDS)}")
    try:
        module = import_module(f".{kind.module}", __package__)
    except ModuleNotFoundError as error:
        what = f"the package {error.name} is not installed; get it with `pip install 'rest-syncer[{kind.extra}]'`"
        raise UsageError(f"--to {word}: {what}") from None
    made: Warehouse = getattr(module, kind.cls)(rest, schema)
    return made
