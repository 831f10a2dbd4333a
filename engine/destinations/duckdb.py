"""A DuckDB file as a warehouse. I/O.

Tables carry no primary key: its index would cost memory and forbid replacing a row in one transaction; that a key is there
once is the load's own work. A changed row is deleted and inserted: on scattered keys that is a hundred times faster than MERGE.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WarehouseError
from ..hub.segment import PLACE
from ..project import quoted, text
from . import Batch, InDoubt, Receipt, Seen, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORAGE = "v1.5.0"
"""Files are written so that DuckDB 1.5 reads them, whichever version writes."""

_CATALOG = "warehouse"
"""What the file is called while it is open: its own name may be a schema's too, and then DuckDB cannot tell them apart."""

_BOOK = [one.name for one in fields(Receipt) if one.name != "load"]
_ADDED = {"_synced_at": "TIMESTAMPTZ", "_deleted_at": "TIMESTAMPTZ", "_segment": "VARCHAR"}
_ADDED_COMMENTS = {
    "_synced_at": "When this row last changed here.",
    "_deleted_at": "When the record was found to be gone from the source; null while it is there.",
    "_segment": "Where the record's raw JSON lies: hub/collection/segment#line.",
}
_LATER = {"budget_left": "BIGINT", "budget_resets_at": "TIMESTAMPTZ"}
"""Columns that a ledger of an earlier version lacks: they are added to it."""
_LEDGER = {
    "run": "BIGINT", "verb": "VARCHAR", "collection": "VARCHAR", "status": "VARCHAR", "started_at": "TIMESTAMPTZ",
    "ended_at": "TIMESTAMPTZ", "requests": "BIGINT", "pages": "BIGINT", "bytes": "BIGINT", "received": "BIGINT",
    "api_total": "BIGINT", "stop": "VARCHAR", "proof": "VARCHAR", **_LATER, **dict.fromkeys(_BOOK, "BIGINT"), "error": "VARCHAR",
}  # fmt: skip
_RECEIPTS = {
    "hub": "VARCHAR", "warehouse": "VARCHAR", "collection": "VARCHAR", "load": "BIGINT", "committed_at": "TIMESTAMPTZ",
    **dict.fromkeys(_BOOK, "BIGINT"), "properties": "JSON",
}  # fmt: skip
_REJECTS = {
    "collection": "VARCHAR", "property": "VARCHAR", "type": "VARCHAR", "raw": "VARCHAR", "reason": "VARCHAR",
    "whole_record": "BOOLEAN", "spec_line": "BIGINT", "segment": "VARCHAR", "load": "BIGINT", "rejected_at": "TIMESTAMPTZ",
}  # fmt: skip
_OURS = {
    "_syncer_runs": ("The ledger: what each run asked for, received and wrote.", _LEDGER),
    "_syncer_receipts": ("What was loaded from which hub, committed with the rows.", _RECEIPTS),
    "_syncer_rejects": ("Values that their declared type cannot hold; raw is the exact JSON.", _REJECTS),
}


class DuckDB:
    """One schema of a DuckDB file."""

    def __init__(self, path: str, schema: str) -> None:
        self.path, self.schema = path, schema
        self._con: DuckDBPyConnection | None = None
        self._tables: dict[str, _Known] | None = None

    def check(self) -> None:
        folder = Path(self.path).resolve().parent
        if not folder.is_dir():
            raise WarehouseError(f"warehouse {self.path}: there is no folder {folder}; make it, or name another file with --to")
        if Path(self.path).is_dir():
            raise WarehouseError(f"warehouse {self.path}: is a folder; name a file in it")
        if Path(self.path).exists():
            self._connection()
            self.close()
        elif not os.access(folder, os.W_OK, effective_ids=True):
            raise WarehouseError(f"warehouse {self.path}: cannot be opened (permission denied); correct it, or name another file with --to")

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None
        self._tables = None

    def identity(self, hub: str) -> str:
        with self._transaction() as con:
            known = self._own_id(con) or secrets.token_hex(4)
            met = con.execute(f"SELECT 1 FROM {self._name('_syncer_receipts')} WHERE hub = ? AND load = 0", [hub]).fetchone()
            if met is None:
                self._insert(con, "_syncer_receipts", [{"hub": hub, "warehouse": known, "collection": "", "load": 0}])
        return known

    def _own_id(self, con: DuckDBPyConnection) -> str | None:
        row = con.execute(f"SELECT any_value(warehouse) FROM {self._name('_syncer_receipts')}").fetchone()
        return str(row[0]) if row and row[0] else None

    def hubs(self) -> Sequence[str]:
        con = self._connection()
        if not self._is_ours(con, "_syncer_receipts", _RECEIPTS):
            return []
        return [row[0] for row in con.execute(f"SELECT DISTINCT hub FROM {self._name('_syncer_receipts')} ORDER BY 1").fetchall()]

    def seen(self, hub: str, table: Table) -> Seen:
        con = self._connection()
        columns = {name.lower(): kind for name, kind in self._known(con, table.name).columns.items()}
        fits = all(columns.get(column.name.lower()) == column.type for column in table.columns)
        strangers = bool(columns) and self._has_strangers(con, table, hub)
        row = con.execute(
            f"SELECT load, properties FROM {self._name('_syncer_receipts')} WHERE hub = ? AND collection = ? ORDER BY load DESC LIMIT 1",
            [hub, table.name],
        ).fetchone()
        load, prints = (int(row[0]), json.loads(row[1] or "{}")) if row else (0, {})
        return Seen(load, prints, bool(columns), fits, strangers)

    def commit(self, batch: Batch) -> Receipt:
        with self._transaction() as con:
            done = self._receipt(con, batch)
            if done:
                return done
            self._shape(con, batch.table, batch.hub)
            self._add_rejects(con, batch)
            receipt = _Upsert(con, batch, self._name(batch.table.name), self._kept(con, batch.table), self._refused(con, batch)).run()
            self._prune_rejects(con, batch)
            row = {
                "hub": batch.hub,
                "collection": batch.table.name,
                "committed_at": batch.synced_at,
                "properties": json.dumps(batch.prints),
            }
            self._insert(con, "_syncer_receipts", [{**row, "warehouse": self._own_id(con), **asdict(receipt)}])
        return receipt

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._transaction() as con:
            self._insert(con, "_syncer_runs", rows)

    def _receipt(self, con: DuckDBPyConnection, batch: Batch) -> Receipt | None:
        """The receipt of a batch that was committed before. Raises WarehouseError where the batch is not the next one."""
        book = ", ".join(quoted(name) for name in _BOOK)
        rows = con.execute(
            f"SELECT load, {book} FROM {self._name('_syncer_receipts')} WHERE hub = ? AND collection = ? ORDER BY load DESC LIMIT 1",
            [batch.hub, batch.table.name],
        ).fetchall()
        last = int(rows[0][0]) if rows else 0
        if last == batch.load:
            return Receipt(*(int(value or 0) for value in rows[0]))
        if last + 1 != batch.load:
            raise WarehouseError(f"warehouse {self.path}: load {batch.load} of {batch.table.name} is not the next; another loader was here")
        return None

    def _shape(self, con: DuckDBPyConnection, table: Table, hub: str) -> None:
        """Make the table what the spec declares. A retyped column is made anew: the load fills it."""
        name, there = self._name(table.name), self._known(con, table.name)
        declared = {column.name: column.type for column in table.columns}
        if not there.columns:
            self._create(con, table.name, {**declared, **_ADDED})
        else:
            for column, kind in declared.items():
                there_as = {name.lower(): k for name, k in there.columns.items()}.get(column.lower())
                if there_as not in (None, kind):
                    self._may_retype(con, table, hub, column, f"{there_as}, the spec says {kind}")
                    con.execute(f"ALTER TABLE {name} DROP COLUMN {quoted(column)}")
                if there_as != kind:
                    con.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {kind}")
                    self._tables = None
        self._comment(con, table.name, table.comment, {column.name: column.comment for column in table.columns} | _ADDED_COMMENTS)

    def _create(self, con: DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
        listed = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns.items())
        con.execute(f"CREATE TABLE {self._name(table)} ({listed})")
        self._known(con, table).columns.update(columns)

    def _may_retype(self, con: DuckDBPyConnection, table: Table, hub: str, column: str, difference: str) -> None:
        """Raises WarehouseError where the hub could not fill the column anew for every row."""
        why = "it is of the key" if column in table.key else None
        if self._has_strangers(con, table, hub):
            why = "rows came from another hub"
        if why:
            place = f"warehouse {self.path}: {self.schema}.{table.name}.{column}"
            raise WarehouseError(f"{place} is {difference}, but {why}; drop the table, or name another --schema")

    def _is_ours(self, con: DuckDBPyConnection, table: str, columns: Iterable[str]) -> bool:
        """Whether a table is there. Raises WarehouseError where it is another one than syncer makes, with these columns."""
        there = self._known(con, table).columns
        if missing := there and set(columns).difference(there):
            place = f"warehouse {self.path}: {self.schema}.{table}"
            raise WarehouseError(f"{place} is not syncer's (it has no column {min(missing)}); name another --schema")
        return bool(there)

    def _has_strangers(self, con: DuckDBPyConnection, table: Table, hub: str) -> bool:
        """Whether there are rows of another hub. Raises WarehouseError where the table is not syncer's at all."""
        self._is_ours(con, table.name, _ADDED)
        stranger = f"SELECT 1 FROM {self._name(table.name)} WHERE NOT starts_with(_segment, ?) LIMIT 1"
        return con.execute(stranger, [hub + "/"]).fetchone() is not None

    def _comment(self, con: DuckDBPyConnection, table: str, comment: str | None, columns: Mapping[str, str | None]) -> None:
        """Say in the warehouse what the table and its columns are."""
        name, known = self._name(table), self._known(con, table)
        if known.comment != comment:
            con.execute(f"COMMENT ON TABLE {name} IS {_text_or_null(comment)}")
            known.comment = comment
        wanted = {column: text for column, text in columns.items() if column in known.columns and known.comments.get(column) != text}
        if wanted:
            con.execute("; ".join(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {_text_or_null(text)}" for column, text in wanted.items()))
            known.comments.update(wanted)

    def _kept(self, con: DuckDBPyConnection, table: Table) -> list[str]:
        """Columns that the spec no longer names: what they hold stays."""
        declared = {column.name.lower() for column in table.columns} | _ADDED.keys()
        return [name for name in self._known(con, table.name).columns if name.lower() not in declared]

    def _add_rejects(self, con: DuckDBPyConnection, batch: Batch) -> None:
        """Write down what the batch's records had that could not be read."""
        if batch.clear_rejects:
            con.execute(f"DELETE FROM {self._name('_syncer_rejects')} WHERE collection = ?", [batch.table.name])
        rows = [
            {
                "collection": batch.table.name,
                "property": reject.property or None,
                "type": reject.type or None,
                "raw": reject.raw,
                "reason": reject.reason,
                "whole_record": reject.whole,
                "spec_line": batch.reject_lines.get(reject.property),
                "segment": f"{batch.hub}/{reject.segment}#{reject.line}",
                "load": batch.load,
                "rejected_at": batch.synced_at,
            }
            for reject in batch.rejects
        ]
        if rows:
            met = {"table": batch.table.name, "segments": [row["segment"] for row in rows]}
            again = "(SELECT DISTINCT unnest($segments::VARCHAR[]) AS segment) AS met"
            con.execute(
                f"DELETE FROM {self._name('_syncer_rejects')} r USING {again} WHERE r.collection = $table AND r.segment = met.segment", met
            )
        self._insert(con, "_syncer_rejects", rows)

    def _refused(self, con: DuckDBPyConnection, batch: Batch) -> str | None:
        """A table expression of what was rejected of each version, by `_segment`; None where nothing was."""
        mine = f"FROM {self._name('_syncer_rejects')} WHERE collection = {text(batch.table.name)} AND NOT whole_record"
        if con.execute(f"SELECT 1 {mine} LIMIT 1").fetchone() is None:
            return None
        return f"(SELECT segment AS _segment, list_sort(list([property, raw, reason])) AS told {mine} GROUP BY ALL)"

    def _prune_rejects(self, con: DuckDBPyConnection, batch: Batch) -> None:
        """Keep the rejects that explain today's rows: of the very versions that rows show, and of whole records since the last pass.

        A key that could not be read is told once, however often it came; of records without any, each is told.
        """
        name, collection = self._name("_syncer_rejects"), [batch.table.name]
        if con.execute(f"SELECT 1 FROM {name} WHERE collection = ? LIMIT 1", collection).fetchone() is None:
            return
        shown = f"SELECT 1 FROM {self._name(batch.table.name)} t WHERE t._segment = r.segment"
        con.execute(f"DELETE FROM {name} r WHERE collection = ? AND NOT whole_record AND NOT EXISTS ({shown})", collection)
        run = f"regexp_extract(segment, {text(PLACE)}, 1)::BIGINT"
        last_pass = max(batch.starts, default=0)
        con.execute(f"DELETE FROM {name} WHERE collection = ? AND whole_record AND {run} < {last_pass}", collection)
        again = "n.whole_record AND n.collection = r.collection AND n.raw = r.raw AND n.reason = r.reason AND n.segment > r.segment"
        con.execute(f"DELETE FROM {name} r WHERE whole_record AND raw <> 'null' AND EXISTS (SELECT 1 FROM {name} n WHERE {again})")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[DuckDBPyConnection]:
        """One transaction, with the schema and syncer's own tables there; rolled back on any error."""
        import duckdb

        con = self._connection()
        try:
            con.execute("BEGIN")
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {_CATALOG}.{quoted(self.schema)}")
            for table, (comment, columns) in _OURS.items():
                if not self._is_ours(con, table, columns.keys() - _LATER):
                    self._create(con, table, columns)
                    self._comment(con, table, comment, {})
                for column in columns.keys() - self._known(con, table).columns:
                    con.execute(f"ALTER TABLE {self._name(table)} ADD COLUMN {quoted(column)} {columns[column]}")
                    self._known(con, table).columns[column] = columns[column]
            yield con
            con.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(duckdb.Error):
                con.execute("ROLLBACK")
            self._tables = None  # what was known of them may have been rolled back
            self._drop_temporary(con)
            if isinstance(error, duckdb.Error):
                raise WarehouseError(f"warehouse {self.path}: the load was rolled back ({_cause(error)}); {_way_out(error)}") from error
            raise
        self._drop_temporary(con)

    def _drop_temporary(self, con: DuckDBPyConnection) -> None:
        for table in ("losers", "verdicts"):
            con.execute(f"DROP TABLE IF EXISTS temp.{table}")

    def _insert(self, con: DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows by name, in one statement: lists go in whole; instants are microseconds."""
        if not rows:
            return
        columns = {name: kind for name, kind in _OURS[table][1].items() if any(row.get(name) is not None for row in rows)}
        values = {f"c{place}": [row.get(name) for row in rows] for place, name in enumerate(columns)}
        listed = []
        for place, kind in enumerate(columns.values()):
            if kind == "TIMESTAMPTZ":
                listed.append(f"make_timestamptz(unnest($c{place}::BIGINT[]))")
            else:
                listed.append(f"unnest($c{place}::{kind}[])")
        names = ", ".join(quoted(name) for name in columns)
        con.execute(f"INSERT INTO {self._name(table)} ({names}) SELECT {', '.join(listed)}", values)

    def _known(self, con: DuckDBPyConnection, table: str) -> _Known:
        """What is known of a table. It is looked up once: no other process can change the file while it is open."""
        if self._tables is None:
            self._tables = {}
            where = "WHERE database_name = ? AND lower(schema_name) = lower(?)"
            columns = f"SELECT table_name, column_name, data_type, comment FROM duckdb_columns() {where} ORDER BY column_index"
            for name, column, kind, comment in con.execute(columns, [_CATALOG, self.schema]).fetchall():
                known = self._tables.setdefault(name.lower(), _Known())
                known.columns[column] = kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
                known.comments[column] = comment
            for name, comment in con.execute(
                f"SELECT table_name, comment FROM duckdb_tables() {where}", [_CATALOG, self.schema]
            ).fetchall():
                self._tables[name.lower()].comment = comment
        return self._tables.setdefault(table.lower(), _Known())

    def _name(self, table: str) -> str:
        return f"{_CATALOG}.{quoted(self.schema)}.{quoted(table)}"

    def _connection(self) -> DuckDBPyConnection:
        if self._con is None:
            import duckdb

            try:
                self._con = duckdb.connect(":memory:")
                form = "" if Path(self.path).exists() else f", STORAGE_VERSION {text(STORAGE)}"
                self._con.execute(f"ATTACH {text(self.path)} AS {_CATALOG} (TYPE duckdb{form})")
                self._con.execute("SET TimeZone = 'UTC'")
                self._con.execute("SET memory_limit = '250MB'")
            except duckdb.Error as error:
                self.close()
                raise WarehouseError(f"warehouse {self.path}: cannot be opened ({_cause(error)}); {_way_out(error)}") from None
        return self._con


@dataclass
class _Known:
    """What is known of a table: its columns' types and comments by name (none, where there is no such table), and its own comment."""

    columns: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str | None] = field(default_factory=dict)
    comment: str | None = None


class _Upsert:
    """The rows of one batch into its table, inside of a transaction that the caller holds.

    The batch's values stay in their files; temporary tables hold keys and verdicts only, so that memory stays small.
    """

    def __init__(self, con: DuckDBPyConnection, batch: Batch, name: str, kept: Sequence[str], refused: str | None) -> None:
        self.con, self.batch, self.name, self.kept, self.refused = con, batch, name, kept, refused
        table = batch.table
        self.columns = [column.name for column in table.columns]
        self.key = ", ".join(quoted(name) for name in table.key)
        self.same_key = " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in table.key)
        self.all = f"read_parquet([{', '.join(text(file) for file in batch.files)}])"
        self.best = self.all
        """The rows of which no other in the batch is a newer version."""

    def run(self) -> Receipt:
        book = dict.fromkeys(_BOOK, 0)
        book |= {name: getattr(self.batch, name) for name in ("read", "rejected", "rejected_values")}
        if self.batch.files:
            book |= self._find_losers()
            if self._are_new():
                self._insert(self.best, "NULL")
                book["inserted"] = self._number(f"SELECT count(*) FROM {self.best} WHERE _syncer_counted")
            else:
                for verdict, number in self._merge().items():
                    book[verdict] += number
        if self.batch.marks_gone:
            book["deleted"] = self._mark_gone()
        return Receipt(self.batch.load, **book)

    def _find_losers(self) -> dict[str, int]:
        """The table `losers`: versions that another one of this batch outranks. Most batches have none."""
        twice = f"SELECT {self.key} FROM {self.all} GROUP BY ALL HAVING count(*) > 1"
        if self.con.execute(f"{twice} LIMIT 1").fetchone() is None:
            return {}
        cursor = self.batch.table.cursor
        by_cursor = f"{quoted(cursor)} DESC NULLS LAST, " if cursor else ""
        self.con.execute(
            f"CREATE TEMP TABLE losers AS SELECT _segment, {self.key}, _syncer_counted, _syncer_beaten FROM ("
            f"SELECT *, row_number() OVER newest AS _syncer_place, first_value(_syncer_counted) OVER newest AS _syncer_beaten "
            f"FROM {self.all} AS b SEMI JOIN ({twice}) AS t ON {self.same_key} "
            f"WINDOW newest AS (PARTITION BY {self.key} ORDER BY {_newest(by_cursor)})) WHERE _syncer_place > 1"
        )
        self.best = f"(SELECT * FROM {self.all} AS a ANTI JOIN losers AS l ON a._segment = l._segment)"
        beaten = "SELECT count(DISTINCT row({key})) FROM losers WHERE _syncer_counted AND NOT _syncer_beaten"
        stale = self._number(beaten.format(key=self.key))
        return {"stale": stale, "duplicates": self._number("SELECT count(*) FROM losers WHERE _syncer_counted") - stale}

    def _are_new(self) -> bool:
        """Whether the table has none of the batch's keys: then there is nothing to compare."""
        return self.con.execute(f"SELECT 1 FROM {self.all} AS b SEMI JOIN {self.name} AS t ON {self.same_key} LIMIT 1").fetchone() is None

    def _merge(self) -> dict[str, int]:
        """The best versions against the rows that are there; how many counted ones got which verdict. Raises InDoubt."""
        differs = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM b.{quoted(name)}" for name in self.columns)
        older, doubt = ("false", "false") if self.batch.complete else self._older(self.batch.table.cursor)
        back = f"(t._deleted_at IS NOT NULL AND b._syncer_run >= {self.batch.gone_since or 0})"
        kept = "".join(f", t.{quoted(name)}" for name in self.kept)
        refused = ""
        if self.refused:  # of two versions with one NULL, the API may have sent different values that could not be read
            differs += " OR is_refused.told IS DISTINCT FROM was_refused.told"
            refused = (
                f" LEFT JOIN {self.refused} AS is_refused ON is_refused._segment = b._segment"
                f" LEFT JOIN {self.refused} AS was_refused ON was_refused._segment = t._segment"
            )
        self.con.execute(
            f"CREATE TEMP TABLE verdicts AS SELECT b._segment, b._syncer_counted, "
            f"{', '.join('b.' + quoted(name) for name in self.batch.table.key)}{kept}, t._deleted_at AS _syncer_gone_at, "
            f"CASE WHEN t._segment IS NULL THEN 'inserted' WHEN {doubt} THEN 'doubt' WHEN {older} THEN 'stale' "
            f"WHEN {back} OR {differs} THEN 'updated' ELSE 'unchanged' END AS _syncer_verdict "
            f"FROM {self.best} AS b LEFT JOIN {self.name} AS t ON {self.same_key}{refused}"
        )
        rows = self.con.execute("SELECT _syncer_verdict, count(*) FILTER (_syncer_counted) FROM verdicts GROUP BY 1").fetchall()
        found = dict(rows)
        if "doubt" in found:
            raise InDoubt
        if "updated" in found:
            changed = "SELECT * FROM verdicts WHERE _syncer_verdict = 'updated'"
            self.con.execute(f"DELETE FROM {self.name} AS t USING ({changed}) AS b WHERE {self.same_key}")
        if found.keys() & {"inserted", "updated"}:
            gone_at = f"CASE WHEN b._syncer_run < {self.batch.gone_since or 0} THEN v._syncer_gone_at END AS _syncer_gone_at"
            columns = ", ".join(["b.*", gone_at, *(f"v.{quoted(name)}" for name in self.kept)])
            accepted = "b._segment = v._segment AND v._syncer_verdict IN ('inserted', 'updated')"
            self._insert(f"(SELECT {columns} FROM {self.best} AS b JOIN verdicts AS v ON {accepted})", "_syncer_gone_at", self.kept)
        return found

    def _older(self, cursor: str | None) -> tuple[str, str]:
        """Whether the incoming version is older than the row, and whether only the hub can tell.

        The row's place is where its values were first received; its epoch may have been raised since, by a pass that met the
        same values again. That matters only where the incoming version has a lower cursor.
        """
        mine = f"starts_with(t._segment, {text(self.batch.hub + '/')})"
        place = [f"regexp_extract(t._segment, {text(PLACE)}, {group})::BIGINT" for group in (1, 2, 3, 4)]
        starts = "[" + ", ".join(str(start) for start in self.batch.starts[-200:]) + "]::BIGINT[]"
        epoch = f"CASE WHEN {mine} THEN coalesce(list_max(list_filter({starts}, lambda s: s <= {place[0]})), 0) ELSE -1 END"
        t, b = (f"t.{quoted(cursor)}", f"b.{quoted(cursor)}") if cursor else ("NULL", "NULL")
        lower = f"({t} IS NOT NULL AND ({b} IS NULL OR {b} < {t}))"
        equal = f"({t} IS NOT DISTINCT FROM {b})" if cursor else "true"
        earlier = f"row({', '.join(place)}) > row(b._syncer_run, b._syncer_ordinal, b._syncer_number, b._syncer_line)"
        same_epoch_older = f"({epoch}) = b._syncer_epoch AND ({lower if cursor else 'false'} OR ({equal} AND {earlier}))"
        older = f"(({epoch}) > b._syncer_epoch OR ({same_epoch_older}))"
        doubt = f"(({epoch}) BETWEEN 0 AND b._syncer_epoch - 1 AND {lower})" if cursor else "false"
        return older, doubt

    def _insert(self, source: str, gone_at: str, kept: Sequence[str] = ()) -> None:
        columns = ", ".join(quoted(name) for name in [*self.columns, *kept])
        now = f"make_timestamptz({self.batch.synced_at})"
        self.con.execute(
            f"INSERT INTO {self.name} ({columns}, _synced_at, _deleted_at, _segment) "
            f"SELECT {columns}, {now}, {gone_at}, _segment FROM {source}"
        )

    def _mark_gone(self) -> int:
        now = f"make_timestamptz({self.batch.synced_at})"
        there = "false"
        if self.batch.files:
            there = f"EXISTS (SELECT 1 FROM {self.all} AS b WHERE b._syncer_run >= {self.batch.gone_since} AND {self.same_key})"
        gone = f"t._deleted_at IS NULL AND NOT {there}"
        return self._number(f"UPDATE {self.name} AS t SET _deleted_at = {now}, _synced_at = {now} WHERE {gone}")

    def _number(self, sql: str) -> int:
        row = self.con.execute(sql).fetchone()
        return int(row[0]) if row else 0


def _newest(by_cursor: str) -> str:
    """The order of versions, the newest first."""
    return f"_syncer_epoch DESC, {by_cursor}_syncer_run DESC, _syncer_ordinal DESC, _syncer_number DESC, _syncer_line DESC"


def _text_or_null(value: str | None) -> str:
    return "NULL" if value is None else text(value)


_CAUSES = {
    "no space left": ("the disk is full", "free space, and run again"),
    "out of memory": ("its memory ran out", "free memory, and run again"),
    "permission denied": ("permission denied", "correct it, or name another file with --to"),
    "depend on it": ("an index or a view depends on a column that has to change", "drop that, and run again"),
    "read-only": ("permission denied", "correct it, or name another file with --to"),
    "lock on file": ("another process has it open", "close that process (it is named by `lsof`), or name another file with --to"),
    "not a valid duckdb": ("it is no DuckDB database", "name another file with --to"),
    "version number": ("another version of DuckDB wrote it", "upgrade the package duckdb, or name another file with --to"),
}


def _cause(error: Exception) -> str:
    """What went wrong, without anything that may be data."""
    return next((cause for sign, (cause, _) in _CAUSES.items() if sign in str(error).lower()), type(error).__name__)


def _way_out(error: Exception) -> str:
    otherwise = "run again; if it stays, name another file with --to, and report it"
    return next((way for sign, (_, way) in _CAUSES.items() if sign in str(error).lower()), otherwise)
