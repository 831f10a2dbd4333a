"""A warehouse run for one collection: segments -> batch -> destination, until nothing is left to load. I/O.

A load is a numbered manifest in the hub that lists what it takes. The warehouse commits the number with the rows; a load that
died is repeated under its number, so that nothing is loaded twice and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from .destinations import Batch, Column, InDoubt, Receipt, Table, Warehouse
from .errors import WarehouseError
from .hub import Manifest
from .hub.segment import number_of
from .parse import Source
from .plan import LoadStep, load_step
from .spec import KEY, Collection, property_fingerprints
from .stage import Stage, Staged

LOAD_BYTES = 400 * 2**20
"""How many bytes of records one transaction takes: what a kill in its midst costs at most."""


class Loader:
    """Loads the collections of one source into one schema of one warehouse."""

    def __init__(self, source: Source, stage: Stage, hub_id: str, warehouse: Warehouse, schema: str, now: int) -> None:
        self.source, self.stage, self.hub, self.hub_id = source, stage, stage.hub, hub_id
        self.warehouse, self.schema, self.now = warehouse, schema, now
        self.warehouse_id = warehouse.identity(hub_id)

    def load(self, name: str) -> Iterator[tuple[Receipt, str | None]]:
        """Everything of a collection that is not loaded yet: of each load its book, and a note where something was held back.

        Raises HubError or WarehouseError; what was committed before stays.
        """
        collection = self.source.spec.collections[name]
        table = table_of(self.schema, name, collection)
        prints = property_fingerprints(collection)
        while True:
            seen = self.warehouse.seen(self.hub_id, table)
            last = self._manifest(name, seen.load)
            if seen.there and seen.prints.get(KEY, prints[KEY]) != prints[KEY]:
                raise WarehouseError(
                    f"{name}: the key is another than that of the rows in {self.schema}.{name}; drop the table, "
                    "and it is filled anew from the hub, or name another --schema"
                )
            refill = seen.load > 0 and (not seen.fits or any(seen.prints.get(word) != print_ for word, print_ in prints.items()))
            manifest = self.hub.manifest(self.warehouse_id, self.schema, name, seen.load + 1) or self._next(name, last, refill)
            if manifest is None:
                return
            before = [segment for segment in self.hub.segments(name) if last.has(segment)]
            step = partial(load_step, self.hub.state(name).of(name), manifest.load, manifest.segments, before, refill, seen.strangers)
            try:
                receipt, note = self._commit(name, collection, table, step(), refill)
            except InDoubt:
                receipt, note = self._commit(name, collection, table, step(in_doubt=True), refill)
            if not receipt.balances:
                raise WarehouseError(f"{name}: the books of load {receipt.load} do not balance: {receipt}; report this with the hub")
            yield receipt, note

    def _manifest(self, name: str, load: int) -> Manifest:
        manifest = self.hub.manifest(self.warehouse_id, self.schema, name, load)
        if manifest is None:
            raise WarehouseError(
                f"{name}: the warehouse has load {load}, of which hub {self.hub.root} knows nothing; "
                "bring that hub back, or load into another --schema"
            )
        return manifest

    def _next(self, name: str, last: Manifest, refill: bool) -> Manifest | None:
        """The next load's manifest, put into the hub; None where there is nothing to do."""
        names = [segment for segment in self.hub.segments(name) if not last.has(segment)]
        taken: list[str] = []
        size = 0
        for segment in names:
            size += self.hub.head(name, segment).raw_bytes
            if taken and size > LOAD_BYTES:
                break
            taken.append(segment)
        if not taken and not refill:
            return None
        through = dict(last.through)
        for segment in taken:
            through[segment.rpartition("-")[0]] = number_of(segment)
        return self.hub.plan_load(
            self.warehouse_id, self.schema, name, replace(last, load=last.load + 1, segments=tuple(taken), through=through)
        )

    def _commit(self, name: str, collection: Collection, table: Table, step: LoadStep, refill: bool) -> tuple[Receipt, str | None]:
        """Stage what a step names, and commit it. Raises InDoubt where the step cannot rank what is there."""
        with self.stage.work():
            staged = Staged()
            self.stage.rows(name, collection, step.new, step.epoch, True, staged)
            self.stage.rows(name, collection, step.again, step.epoch, False, staged)
            marks_gone, note = step.marks_gone, None
            if marks_gone and (staged.unreadable_since or 0) >= (step.gone_since or 0) and staged.unreadable_since is not None:
                marks_gone, note = False, "records with an unreadable key came, so nothing was marked as deleted"
            batch = Batch(
                table=table,
                hub=self.hub_id,
                load=step.load,
                files=staged.files,
                starts=step.starts,
                complete=step.complete,
                gone_since=step.gone_since,
                marks_gone=marks_gone,
                prints=property_fingerprints(collection),
                read=staged.read,
                rejected=staged.rejected,
                rejected_values=staged.rejected_values,
                rejects=staged.rejects,
                reject_lines={word: self.source.line_of("collections", name, "properties", word) for word in collection.properties},
                clear_rejects=refill,
                synced_at=self.now,
            )
            return self.warehouse.commit(batch), note


def table_of(schema: str, name: str, collection: Collection) -> Table:
    """A collection's table, as its spec declares it."""
    columns = [Column(word, prop.column_type.duckdb, prop.description) for word, prop in collection.properties.items()]
    cursor = collection.cursor.property if collection.cursor else None
    return Table(schema, name, collection.description, columns, collection.key, cursor)
