"""A warehouse run for one collection: segments -> batch -> destination, until nothing is left to load. I/O.

A load is a numbered manifest in the hub that lists what it takes. The warehouse commits the number with the rows; a load that
died is repeated under its number, so that nothing is loaded twice and nothing is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Collection as Some
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .deletes import Deletes
from .destinations import Batch, Column, GonePass, InDoubt, Receipt, Seen, Table, Told, Warehouse
from .errors import Damaged, DeletesHeld, HubError, Incomplete, WarehouseError
from .hub import Ack, Damage, Manifest
from .hub.fold import CollectionState, unmended
from .hub.segment import number_of, place_of, run_of
from .parse import Source
from .plan import (
    Loaded,
    LoadStep,
    Telling,
    every_pass_tells,
    load_step,
    overtaken_since,
    settled,
    telling,
    up_to_first_gone,
    up_to_last_pass,
)  # fmt: skip
from .spec import KEY, Collection, feed_name, property_fingerprints
from .stage import RejectedValue, Stage, Staged
from .suggest import Misfit, form

LOAD_BYTES = 400 * 2**20
"""How many bytes of records one transaction takes: what a kill in its midst costs at most."""


@dataclass(frozen=True)
class Done:
    """A load that was made: its book, what a user should know, and the properties with values that did not fit."""

    receipt: Receipt
    note: str | None
    misfits: Sequence[Misfit]


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
        collection, table = self._table(name)
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
                self._check(name, manifest.segments)
            else:
                manifest = self._next(name, last, refill, owed)
            if manifest is None:
                break
            yield self._carry_out(name, seen, last, manifest, refill)
        if lacking := [*self._lacking(name, last), *self._untold(name, seen.told)]:
            raise Incomplete("; ".join(map(str, lacking)))
        if seen.held_back:
            raise DeletesHeld(
                f"{name}: {seen.held_back:,} rows are gone from the source, more than `max_delete_share` "
                f"({collection.max_delete_share}) of the table, so none is marked as deleted; if that is right, say --allow-deletes"
            )

    def replay(self, name: str) -> Iterator[Done]:
        """As `load`; then all rows are made anew from the hub, in one transaction. Raises what `load` raises."""
        yield from self.load(name)
        _, table = self._table(name)
        seen = self._seen(name, table)
        if seen.strangers:
            raise WarehouseError(
                f"{name}: some rows came from another hub, which alone can replay them; bring that back, or name another --schema"
            )
        for listed in self.source.spec.lists_of([name]):
            for segment, one in self.hub.damage(listed).items():
                raise Damaged(f"{listed}/{segment}", f"{one.why}, and a replay would lose what it held")
        last = self._manifest(name, seen.load)
        manifest = self.hub.loads.plan_load(self.warehouse_id, self.schema, name, replace(last, load=last.load + 1, segments=()))
        yield self._carry_out(name, seen, last, manifest, refill=True, anew=True)

    def _table(self, name: str) -> tuple[Collection, Table]:
        collection = self.source.spec.collections[name]
        return collection, table_of(self.schema, name, collection)

    def _seen(self, name: str, table: Table) -> Seen:
        """What the warehouse knows. Raises WarehouseError where another spec fills the table."""
        seen, mine = self.warehouse.seen(self.hub_id, table), self.source.spec.name.text
        if others := [source for source in seen.sources if source != mine]:
            raise WarehouseError(
                f"{name}: the table {self.schema}.{name} is filled by another spec, {others[0]}; name another --schema for one of the two"
            )
        return seen

    def _carry_out(self, name: str, seen: Seen, last: Manifest, manifest: Manifest, refill: bool, anew: bool = False) -> Done:
        """One load. Raises WarehouseError where its books do not balance."""
        collection, table = self._table(name)
        before = [segment for segment in self.hub.segments(name) if last.has(segment)]
        state = self.hub.state(name).of(name)
        state = every_pass_tells(state) if collection.mode == "snapshot" else state
        owed_since = (seen.gone or 0) if seen.held_back and self.allow_deletes else None
        since = overtaken_since(state, manifest.segments, before, seen.strangers, owed_since)
        is_settled = since is None or settled(state, {*before, *manifest.segments}, self._loads_since(name, seen.load, since))
        step = partial(load_step, state, manifest.load, manifest.segments, before, strangers=seen.strangers)
        step = partial(step, owed_since=owed_since, is_settled=is_settled, had=self._had(name, {*before, *manifest.segments}))
        keeps_versions, words = table.keeps_versions, [*collection.properties, *(collection.feed.properties if collection.feed else ())]
        if keeps_versions and seen.strangers:
            raise WarehouseError(f"{name}: some rows came from another hub, and a history is of one; name another --schema")
        feed = self._telling(name, seen, manifest.segments, before) if collection.feed else None
        finds_anew = refill and not (feed and feed.rereads)
        """Whether what it finds gone was told before."""
        is_first = seen.gone is None and not (feed and seen.load)
        most = None if finds_anew or self.allow_deletes or collection.mode == "snapshot" or is_first else collection.max_delete_share

        def commit(step: LoadStep) -> Done:
            """Stage what the step names, and commit it. Raises InDoubt where the step cannot rank what is there."""
            is_told_by_all = feed.rereads or step.complete if feed else keeps_versions and step.complete
            if is_told_by_all and not refill:  # what rows are, by all of their versions, and not by the last ones alone
                step = load_step(state, manifest.load, manifest.segments, before, refill=True)
            whole = anew or (keeps_versions and step.complete)
            self._check(name, [*step.again, *step.keys])
            lost = [segment for segment in self.hub.damage(name) if last.has(segment)]
            if feed:
                self._check(feed_name(name), feed.segments)
                lost += [segment for segment in self.hub.damage(feed_name(name)) if run_of(segment) <= feed.until]
            if keeps_versions and whole and lost:
                raise HubError(
                    f"{name}: its versions have to be made anew, and {lost[0]}, of which some are, is damaged; restore that file, or drop "
                    "the table, and it is filled with what is left"
                )
            step = step.without(self.hub.damage(name))
            with self.stage.work():
                staged = Staged()
                self.stage.rows(name, collection, step.new, step.epoch, True, staged)
                self.stage.rows(name, collection, step.again, step.epoch, False, staged)
                keys = self.stage.keys(name, collection, step.keys, staged)
                told = self._told(name, collection, feed, step.complete, staged) if feed else None
                self._may_reject(name, staged.rejects)
                marks_gone, note = step.marks_gone and not (refill and seen.held_back and not self.allow_deletes and not feed), None
                if marks_gone and (staged.unreadable_since or 0) >= (step.gone_since or 0) and staged.unreadable_since is not None:
                    marks_gone, note = False, "records with an unreadable key came, so nothing was marked as deleted"
                batch = Batch(
                    table=table,
                    hub=self.hub_id,
                    load=step.load,
                    files=staged.files,
                    keys=keys + staged.keys,
                    starts=step.starts,
                    complete=step.complete,
                    lacks=step.lacks,
                    gone_since=step.gone_since,
                    marks_gone=marks_gone,
                    prints=property_fingerprints(collection),
                    read=staged.read,
                    rejected=staged.rejected,
                    rejected_values=staged.rejected_values,
                    rejects=staged.rejects,
                    reject_lines={word: self.source.line_of(*self.source.property_at(name, word)) for word in words},
                    spec_file=self.source.file,
                    clear_rejects=refill or whole,
                    synced_at=self.now,
                    source=self.source.spec.name.text,
                    most_gone=most,
                    gone_known=seen.gone,
                    held_back=0 if feed and not note else seen.held_back,
                    anew=whole,
                    passes=_gone_passes(state, step.gone_since) if keeps_versions else (),
                    told=told,
                )
                return Done(self.warehouse.commit(batch), note, _misfits(staged.rejects))

        try:
            done = commit(step(refill))
        except InDoubt:
            done = commit(step(refill, in_doubt=True))
        if not done.receipt.balances:
            raise WarehouseError(f"{name}: the books of load {manifest.load} do not balance: {done.receipt}; report this with the hub")
        return done

    def _telling(self, name: str, seen: Seen, new: Sequence[str], before: Sequence[str]) -> Telling:
        """How far a load takes the delete feed of a collection. Segments that turn out to be damaged are noted."""
        feed = feed_name(name)
        self._check(feed, [segment for segment in self.hub.segments(feed) if run_of(segment) > seen.told])
        lost = unmended(self.hub.state(feed).of(feed), self.hub.damage(feed))
        return telling(self.hub.segments(feed), lost, seen.told, new, before, bool(seen.held_back))

    def _told(self, name: str, collection: Collection, feed: Telling, everything: bool, staged: Staged) -> Told | None:
        """What the delete feed of a collection tells a load; rejects are added to what is staged."""
        listed = collection.feed
        if listed is None:
            return None
        damage = self.hub.damage(feed_name(name))
        new, before = ([segment for segment in part if segment not in damage] for part in feed.split(everything))
        files = self.stage.told(feed_name(name), listed, collection.key, new, before, staged)
        return Told(files, feed.until, feed.known, any(run_of(segment) <= feed.until for segment in damage))

    def _may_reject(self, name: str, rejects: Sequence[RejectedValue]) -> None:
        """Raises WarehouseError where the spec wants no load with such values."""
        lists = self.source.spec.lists
        fatal = [one for one in rejects if one.property and lists[one.segment.partition("/")[0]].on_reject_of(one.property) == "fail"]
        if fatal:
            first, many = fatal[0], "1 value does" if len(fatal) == 1 else f"{len(fatal):,} values do"
            place = self.source.place_of(*self.source.property_at(name, first.property))
            raise WarehouseError(
                f"{name}: {many} not fit, and `on_reject: fail` lets nothing of its load through; the first is "
                f"{form(first.raw)} for `{first.property}` ({first.type}: {first.reason}), of segment {first.segment}#{first.line}; "
                f"correct {place}, and load again"
            )

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
        mode = self.source.spec.collections[name].mode
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
            self.warehouse_id, self.schema, name, replace(last, load=last.load + 1, segments=tuple(taken), through=through, skipped=skipped)
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

    def _check(self, name: str, segments: Sequence[str]) -> list[str]:
        """Those of some segments that turn out to be damaged: it is noted."""
        found = {segment: why for segment in segments if (why := self.hub.check(name, segment))}
        for segment, why in found.items():
            self.hub.note(name, segment, Damage(why))
        return list(found)

    def _lacking(self, name: str, last: Manifest) -> list[Damaged]:
        """The damaged segments that were not loaded, and that no pass has replaced which was."""
        state, damage = self.hub.state(name).of(name), self.hub.damage(name)
        loaded = replace(state, passes=tuple(one for one in state.passes if last.has(one.ended)))
        return [Damaged(f"{name}/{segment}", damage[segment].why) for segment in unmended(loaded, damage) if not last.has(segment)]

    def _untold(self, name: str, told: int) -> Iterator[Damaged]:
        """The damaged segments of a collection's delete feed that were not taken, and that no pass has replaced."""
        feed = feed_name(name)
        damage = self.hub.damage(feed)
        for segment in unmended(self.hub.state(feed).of(feed), damage):
            if run_of(segment) > told:
                yield Damaged(f"{feed}/{segment}", damage[segment].why)

    def _sound(self, name: str, segments: Sequence[str], most_bytes: int) -> list[str]:
        """The first of some segments: as many as one transaction takes. Damaged ones are noted, and passed over."""
        taken: list[str] = []
        size = 0
        for segment in segments:
            if self._check(name, [segment]):
                continue
            size += self.hub.head(name, segment).raw_bytes
            if taken and size > most_bytes:
                break
            taken.append(segment)
        return taken


def _gone_passes(state: CollectionState, until: int | None) -> list[GonePass]:
    """The passes that proved what is gone, up to the one that began with a run."""
    passes = [one for one in state.passes if one.gone and until is not None and one.run <= until]
    return [GonePass(one.run, place_of(one.ended), one.began) for one in passes]


def _misfits(rejects: Sequence[RejectedValue]) -> list[Misfit]:
    """What was rejected, by property."""
    found: dict[str, Misfit] = {}
    for one in rejects:
        if one.property:
            found.setdefault(one.property, Misfit(one.property, one.type, one.reason)).add(one.raw)
    return list(found.values())


def table_of(schema: str, name: str, collection: Collection) -> Table:
    """A collection's table, as its spec declares it."""
    columns = [Column(word, prop.column_type.duckdb, prop.description, prop.was) for word, prop in collection.properties.items()]
    cursor = collection.cursor.property if collection.cursor else None
    appends = collection.mode == "append"
    deletes: Deletes = "ignore" if appends else "hard" if collection.mode == "snapshot" else collection.deletes
    versions = collection.mode == "history"
    return Table(schema, name, collection.description, columns, collection.key, cursor, appends, deletes, collection.tombstone, versions)
