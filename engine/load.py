"""A warehouse run for one collection: segments -> batch -> destination, until nothing is left to load. I/O.

A load is a numbered manifest in the hub that lists what it takes. The warehouse commits the number with the rows; a load that
died is repeated under its number, so that nothing is loaded twice and nothing is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Collection as Some
from collections.abc import Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from .batch import Done, Load
from .deletes import Deletes
from .destinations import Column, Seen, Table, Warehouse
from .errors import Damaged, DeletesHeld, Incomplete, WarehouseError
from .hub import Ack, Manifest
from .hub.fold import unmended
from .hub.segment import number_of, run_of
from .parse import Source
from .plan import Loaded, telling, up_to_first_gone, up_to_last_pass
from .spec import KEY, Spec, feed_name, property_fingerprints
from .stage import Stage

LOAD_BYTES = 128 * 2**20
"""How many bytes of records one transaction takes: what a kill in its midst costs at most."""


class Loader:
    """Loads the collections of one source into one schema of one warehouse."""

    def __init__(
        self,
        source: Source,
        stage: Stage,
        hub_id: str,
        warehouse: Warehouse,
        schema: str,
        now: int,
        into: str,
        allow_deletes: bool = False,
    ) -> None:
        self.source, self.stage, self.hub, self.hub_id = source, stage, stage.hub, hub_id
        self.warehouse, self.schema, self.now, self.allow_deletes = warehouse, schema, now, allow_deletes
        self.warehouse_id = warehouse.identity(hub_id)
        self.ack = Ack(now, into)

    def load(self, name: str) -> Iterator[Done]:
        """Everything of a collection that is not loaded yet: of each load its book, and a note where something was held back.

        Raises HubError or WarehouseError; what was committed before stays. Raises Incomplete at the end, where segments are damaged
        that were not loaded, and DeletesHeld, where more rows are gone than may be marked without being told to.
        """
        collection, table = self.source.spec.collections[name], self._table(name)
        for listed in self.source.spec.lists_of([name]):
            for segment, damage in self.hub.state(listed).damage.get(listed, {}).items():
                self.hub.note(listed, segment, damage)
        owes = self.allow_deletes
        while True:
            seen = self._seen(name, table)
            last = self._manifest(name, seen.load)
            prints = property_fingerprints(collection, seen.prints)
            if seen.there and seen.prints.get(KEY, prints[KEY]) != prints[KEY]:
                raise WarehouseError(
                    f"{name}: the key is another than that of the rows in {self.schema}.{name}; drop the table, "
                    "and it is filled anew from the hub, or name another --schema"
                )
            refill = seen.load > 0 and (not seen.fits or any(seen.prints.get(word) != print_ for word, print_ in prints.items()))
            owed, owes = bool(seen.held_back) and owes, False  # once: where keys cannot be read, nothing is marked, and it stays owed
            if seen.load:
                self.hub.loads.acknowledge(self.warehouse_id, self.schema, name, seen.load, self.ack)
            manifest = self.hub.loads.manifest(self.warehouse_id, self.schema, name, seen.load + 1)
            if manifest:
                self.hub.damaged_among(name, manifest.segments)
            else:
                manifest = self._next(name, last, refill, owed or seen.renames or self._is_untold(name, last, seen))
            if manifest is None:
                break
            yield self._made(name, seen, last, manifest, refill)
        if lacking := [*self._lacking(name, last), *self._untold(name, seen.told)]:
            raise Incomplete("; ".join(map(str, lacking)))
        if seen.held_back:
            raise DeletesHeld(
                f"{name}: {seen.held_back:,} rows are gone from the source, more than `max_delete_share` "
                f"({collection.max_delete_share}) of the table, so none is marked as deleted; if that is right, say --allow-deletes"
            )

    def replay(self, name: str) -> Iterator[Done]:
        """As `load`; then all rows are made right by the hub, in one transaction. Raises what `load` raises."""
        yield from self.load(name)
        seen = self._seen(name, self._table(name))
        if seen.strangers:
            raise WarehouseError(
                f"{name}: some rows came from another hub, which alone can replay them; bring that back, or name another --schema"
            )
        for listed in self.source.spec.lists_of([name]):
            for segment, one in self.hub.damage(listed).items():
                raise Damaged(f"{listed}/{segment}", f"{one.why}, and a replay would lose what it held")
        last = self._manifest(name, seen.load)
        manifest = self.hub.loads.plan_load(self.warehouse_id, self.schema, name, replace(last, load=last.load + 1, segments=()))
        yield self._made(name, seen, last, manifest, refill=True, anew=True)

    def _table(self, name: str) -> Table:
        return table_of(self.schema, name, self.source.spec)

    def _seen(self, name: str, table: Table) -> Seen:
        """What the warehouse knows. Raises WarehouseError where another spec fills the table."""
        seen, mine = self.warehouse.seen(self.hub_id, table), self.source.spec.name.text
        if others := [source for source in seen.sources if source != mine]:
            raise WarehouseError(
                f"{name}: the table {self.schema}.{name} is filled by another spec, {others[0]}; name another --schema for one of the two"
            )
        return seen

    def _made(self, name: str, seen: Seen, last: Manifest, manifest: Manifest, refill: bool, anew: bool = False) -> Done:
        """One load."""
        taken = {segment for segment in self.hub.segments(name) if last.has(segment)} | {*manifest.segments}
        load = Load(
            source=self.source,
            stage=self.stage,
            hub_id=self.hub_id,
            warehouse_id=self.warehouse_id,
            table=self._table(name),
            seen=seen,
            last=last,
            manifest=manifest,
            had=self._had(name, taken) if self.source.spec.collections[name].mode != "history" else (),  # of which nothing is thinned
            loads_since=partial(self._loads_since, name, seen.load),
            refill=refill,
            anew=anew,
            allow_deletes=self.allow_deletes,
        )
        return load.made(self.warehouse, self.now)

    def _manifest(self, name: str, load: int) -> Manifest:
        manifest = self.hub.loads.manifest(self.warehouse_id, self.schema, name, load)
        if manifest is None:
            raise WarehouseError(
                f"{name}: the warehouse has load {load}, of which {self.hub} knows nothing; "
                "bring that hub back, or load into another --schema"
            )
        return manifest

    def _next(self, name: str, last: Manifest, refill: bool, owed: bool) -> Manifest | None:
        """The next load's manifest, put into the hub; None where there is nothing to do."""
        waiting, taken = [segment for segment in self.hub.segments(name) if not last.has(segment)], list[str]()
        mode, damage = self.source.spec.collections[name].mode, self.hub.damage(name)
        first_fill = last.first_fill if last.load else max(waiting, default="") if mode != "snapshot" else ""
        if there_then := [segment for segment in waiting if segment <= first_fill and segment not in damage]:
            waiting = there_then
        else:
            first_fill = ""
        if refill:  # alone: of what it finds gone, nothing is new
            pass
        elif mode == "snapshot":
            whole = set(up_to_last_pass(self.hub.state(name).of(name), self.hub.segments(name)))
            taken = self._sound(name, [segment for segment in waiting if segment in whole], sys.maxsize)
        elif mode == "history":  # each load learns of one pass what is gone, so that each version ends where it did
            taken = self._sound(name, up_to_first_gone(self.hub.state(name).of(name), waiting), LOAD_BYTES)
        else:
            taken = self._sound(name, waiting, LOAD_BYTES)
        skipped = tuple(segment for segment in self.hub.damage(name) if not last.has(segment))
        if not taken and not refill and not owed and skipped == last.skipped:
            return None
        through = dict(last.through)
        for segment in taken:
            through[segment.rpartition("-")[0]] = number_of(segment)
        return self.hub.loads.plan_load(
            self.warehouse_id,
            self.schema,
            name,
            replace(
                last,
                load=last.load + 1,
                segments=tuple(taken),
                through=through,
                skipped=skipped,
                first_fill=first_fill,
            ),
        )

    def _had(self, name: str, taken: Some[str]) -> list[str]:
        """The segments that the warehouse had taken before it was put back to what it is now."""
        known = self.hub.loads.loading(self.warehouse_id, self.schema, name).last
        return [segment for segment in self.hub.segments(name) if known.has(segment) and segment not in taken]

    def _loads_since(self, name: str, last: int, run: int) -> Iterator[Loaded]:
        """The loads, up to the last, that took segments of a run or of later ones."""
        books = self.warehouse.books(self.hub_id, name)
        for load in range(last, 0, -1):
            segments = self.hub.loads.taken(self.warehouse_id, self.schema, name, load)
            if segments and all(run_of(segment) < run for segment in segments):
                return
            versions = books[load].updated if self.source.spec.collections[name].mode == "history" else 0
            yield Loaded(segments, books[load].stale, books[load].duplicates + versions)

    def _lacking(self, name: str, last: Manifest) -> list[Damaged]:
        """The damaged segments that were not loaded, and that no pass has replaced which was."""
        damage = self.hub.damage(name)
        if not damage:
            return []
        state = self.hub.state(name).of(name)
        loaded = replace(state, passes=tuple(one for one in state.passes if last.has(one.ended)))
        return [Damaged(f"{name}/{segment}", damage[segment].why) for segment in unmended(loaded, damage) if not last.has(segment)]

    def _untold(self, name: str, told: int) -> Iterator[Damaged]:
        """The damaged segments of a collection's delete feed that were not taken, and that no pass has replaced."""
        feed = feed_name(name)
        damage = self.hub.damage(feed)
        for segment in unmended(self.hub.state(feed).of(feed), damage) if damage else ():
            if run_of(segment) > told:
                yield Damaged(f"{feed}/{segment}", damage[segment].why)

    def _is_untold(self, name: str, last: Manifest, seen: Seen) -> bool:
        """Whether its delete feed told, up to what is loaded, what no load took: that was damaged, and is no longer."""
        if seen.held_back or not self.source.spec.collections[name].feed:
            return False
        feed, before = feed_name(name), [segment for segment in self.hub.segments(name) if last.has(segment)]
        lost = unmended(self.hub.state(feed).of(feed), self.hub.damage(feed))
        found = telling(self.hub.segments(feed), lost, seen.told, (), before, held_back=False)
        return any(run_of(segment) > found.known for segment in found.segments)

    def _sound(self, name: str, segments: Sequence[str], most_bytes: int) -> list[str]:
        """The first of some segments: as many as one transaction takes. Damaged ones are noted, and passed over."""
        taken: list[str] = []
        size = 0
        for segment in segments:
            if self.hub.damaged_among(name, [segment]):
                continue
            size += self.hub.head(name, segment).raw_bytes
            if taken and size > most_bytes:
                break
            taken.append(segment)
        return taken


def table_of(schema: str, name: str, spec: Spec) -> Table:
    """A collection's table, as its spec declares it."""
    collection = spec.collections[name]
    columns = [Column(word, prop.column_type.duckdb, prop.description, prop.was) for word, prop in collection.properties.items()]
    cursor = collection.cursor.property if collection.cursor else None
    appends = collection.mode == "append"
    deletes: Deletes = "ignore" if appends else "hard" if collection.mode == "snapshot" else collection.deletes
    versions = collection.mode == "history"
    return Table(
        schema,
        name,
        collection.description,
        columns,
        collection.key,
        cursor,
        appends,
        deletes,
        collection.tombstone,
        versions,
        spec.parent_key(name),
    )
