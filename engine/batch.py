"""One load of a collection: what a manifest lists, staged as a batch, and committed with its number. I/O.

The hub's history says which segments count, which are read again and from which pass on the rest is gone (`plan`); here that becomes
files, and what is damaged, held back or unreadable on the way is left out of them, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from .destinations import Batch, GonePass, InDoubt, Receipt, Seen, Table, Told, Warehouse
from .errors import HubError, WarehouseError
from .hub import Hub, Manifest
from .hub.fold import CollectionState, Pass, unmended
from .hub.segment import place_of, run_of
from .lists import readable, untold_ends, whole_lists
from .parse import Source
from .piece import Staged
from .plan import Loaded, LoadStep, Telling, WholeList, every_pass_tells, load_step, overtaken_since, proving, settled, telling
from .project import Unfit
from .spec import CURSOR, KEY, MODE, Collection, feed_name, property_fingerprints
from .stage import Stage
from .suggest import Misfit, form


class Done(Struct, frozen=True):
    """A load that was made: its book, what a user should know, and the properties with values that did not fit."""

    receipt: Receipt
    note: str | None
    misfits: Sequence[Misfit]


class Load(Struct, frozen=True, kw_only=True, dict=True):
    """A load to be made: its manifest, what was loaded by the `last` one, and what the warehouse has `seen`."""

    source: Source
    stage: Stage
    hub_id: str
    warehouse_id: str
    table: Table
    seen: Seen
    last: Manifest
    manifest: Manifest
    had: Sequence[str]
    """Segments that the warehouse had taken before it was put back to what it is now."""
    loads_since: Callable[[int], Iterable[Loaded]]
    """The loads that took segments of a run or of later ones."""
    refill: bool
    """Whether everything is read again."""
    anew: bool
    """Whether all rows are made right by the hub, and what it lacks goes."""
    allow_deletes: bool

    def made(self, warehouse: Warehouse, now: int) -> Done:
        """Stage it and commit it. Raises HubError or WarehouseError, also where its books do not balance."""
        try:
            done = self._commit(warehouse, now, self._step())
        except InDoubt:
            done = self._commit(warehouse, now, self._step(in_doubt=True))
        if not done.receipt.balances:
            what = f"the books of load {self.manifest.load} do not balance: {done.receipt}"
            raise WarehouseError(f"{self.table.name}: {what}; report this with the hub")
        return done

    @property
    def hub(self) -> Hub:
        return self.stage.hub

    @cached_property
    def collection(self) -> Collection:
        return self.source.spec.collections[self.table.name]

    @cached_property
    def state(self) -> CollectionState:
        state = self.hub.state(self.table.name).of(self.table.name)
        return every_pass_tells(state) if self.collection.mode == "snapshot" else state

    @cached_property
    def before(self) -> list[str]:
        """The segments that were loaded."""
        return [segment for segment in self.hub.segments(self.table.name) if self.last.has(segment)]

    @cached_property
    def telling(self) -> Telling | None:
        """How far it takes what tells of deletions besides passes. Segments that turn out to be damaged are noted."""
        if not (self.collection.feed or self.table.parent_key):
            return None
        feed = feed_name(self.table.name)
        self.hub.damaged_among(feed, [segment for segment in self.hub.segments(feed) if run_of(segment) > self.seen.told])
        lost = unmended(self.hub.state(feed).of(feed), self.hub.damage(feed))
        held_back = bool(self.seen.held_back)
        return telling(
            self.hub.segments(feed), lost, self.seen.told, self.manifest.segments, self.before, held_back, bool(self.table.parent_key)
        )

    def _step(self, in_doubt: bool = False) -> LoadStep:
        """What it does. Raises WarehouseError where that cannot be."""
        state, new, before, strangers = self.state, self.manifest.segments, self.before, self.seen.strangers
        if self.table.keeps_versions and strangers:
            raise WarehouseError(f"{self.table.name}: some rows came from another hub, and a history is of one; name another --schema")
        owed_since = (self.seen.gone or 0) if self.seen.held_back and self.allow_deletes else None
        since = overtaken_since(state, new, before, strangers, owed_since)
        is_settled = since is None or settled(state, {*before, *new}, self.loads_since(since))
        step = load_step(
            state, self.manifest.load, new, before, self.refill, strangers, in_doubt, owed_since, is_settled=is_settled, had=self.had
        )
        rereads = self.telling is not None and self.telling.rereads
        by_all = self.table.keeps_versions or self.collection.feed is not None
        if (rereads or (step.complete and by_all)) and not self.refill:  # what rows are, by all of their versions, not by the last alone
            step = load_step(state, self.manifest.load, new, before, refill=True)
        return step

    def _commit(self, warehouse: Warehouse, now: int, step: LoadStep) -> Done:
        """Stage what the step names, and commit it. Raises InDoubt where the step cannot rank what is there."""
        self.hub.damaged_among(self.table.name, [*step.again, *step.keys])
        if self.telling:
            self.hub.damaged_among(feed_name(self.table.name), self.telling.segments)
        step = step.without(self.hub.damage(self.table.name))
        makes_anew = self.anew or (self.table.keeps_versions and step.complete)
        if makes_anew and self.table.keeps_versions:
            self._require_all()
        with self.stage.work(), warehouse.receiving(self.table) as receive:
            staged = self._staged(step, warehouse.unfit(self.table), receive)
            batch, note = self._batch(step, staged, makes_anew, now)
            return Done(warehouse.commit(batch), note, _misfits(batch))

    def _require_all(self) -> None:
        """Raises HubError where something is damaged that a history is made of."""
        name, feed = self.table.name, feed_name(self.table.name)
        lost = [segment for segment in self.hub.damage(name) if self.last.has(segment)]
        lost += [segment for segment in self.hub.damage(feed) if self.telling and run_of(segment) <= self.telling.until]
        if lost:
            raise HubError(
                f"{name}: its versions have to be made anew, and {lost[0]}, of which some are, is damaged; restore that file, or drop "
                "the table, and it is filled with what is left"
            )

    def _staged(self, step: LoadStep, unfit: Sequence[Unfit], receive: Callable[[str], None]) -> Staged:
        """The rows of a step; each file is told of as it is there."""
        staged = Staged()
        for segments, counted in ((step.new, True), (step.again, False)):
            self.stage.rows(self.table.name, self.collection, segments, step.epoch, counted, staged, unfit, receive)
        return staged

    def _batch(self, step: LoadStep, staged: Staged, makes_anew: bool, now: int) -> tuple[Batch, str | None]:
        """The batch of what is staged, and what a user should know of it."""
        name, seen, feed = self.table.name, self.seen, self.telling
        proven, note = step, None
        if (passes := self._proving(staged)) != self._proving(Staged(), ()):
            last = max((one.run for one in passes), default=None)
            if last is None or last < (seen.gone or 0):
                proven = replace(step, gone_since=seen.gone, marks_gone=False)
            else:
                proven = step.told_by(last, self.before).without(self.hub.damage(name))
        lists, list_keys = self._lists(proven)
        keys = self.stage.keys(name, self.collection, [*proven.keys, *list_keys], staged)
        is_unreadable = step.marks_gone and any(run >= (step.gone_since or 0) for run in staged.unreadable_in)
        if self._proving(staged) != passes or (is_unreadable and seen.held_back):
            # only what was loaded before could tell, or what was held back may be what could not be read: nothing is marked
            proven = replace(proven, gone_since=seen.gone, marks_gone=False)
        if is_unreadable:
            what = "what their complete pass lacks was not" if proven.marks_gone else "nothing was"
            note = f"records with an unreadable key came, so {what} marked as deleted"
        if not proven.marks_gone and proven.gone_since not in {one.run for one in passes if one.ended in self.manifest.segments}:
            proven = replace(proven, gone_since=seen.gone)  # of earlier passes, the loads that ended with them have judged
        step = proven
        told = self._told(feed, step.complete, lists, staged) if feed else None
        self._may_reject(staged)
        is_owed = bool(self.refill and seen.held_back and not self.allow_deletes and not feed)
        words = [*self.collection.properties, *(self.collection.feed.properties if self.collection.feed else ())]
        batch = Batch(
            table=self.table,
            hub=self.hub_id,
            warehouse=self.warehouse_id,
            load=step.load,
            files=staged.files,
            keys=keys + staged.keys,
            starts=step.starts,
            complete=step.complete,
            lacks=step.lacks,
            gone_since=step.gone_since,
            marks_gone=step.marks_gone and not is_owed,
            prints=property_fingerprints(self.collection),
            read=staged.read,
            rejected=staged.rejected,
            rejected_values=staged.rejected_values,
            rejects=staged.rejects,
            reject_lines={word: self.source.line_of(*self.source.property_at(name, word)) for word in words},
            spec_file=self.source.file,
            clear_rejects=self.refill or makes_anew,
            synced_at=now,
            source=self.source.spec.name.text,
            most_gone=self.collection.max_delete_share if self._has_fuse(feed) else None,
            gone_known=seen.gone,
            held_back=0 if feed and not note else seen.held_back,
            anew=makes_anew,
            passes=[GonePass(one.run, place_of(one.ended), one.began) for one in passes] if self.table.keeps_versions else (),
            told=told,
            named=[name for name in seen.prints if name not in (KEY, CURSOR, MODE)],
            left_out=staged.keys if self._has_all(step) and not makes_anew else (),
            most_left_out=None if self.allow_deletes else self.collection.max_delete_share,
        )
        return batch, note

    def _has_all(self, step: LoadStep) -> bool:
        """Whether a step reads all versions there ever were of this hub, and there are rows of no other."""
        hub, name = self.hub, self.table.name
        is_whole = self.refill and not (step.lacks or self.had or self.seen.strangers)
        return is_whole and not any(hub.head(name, segment).moved for segment in (*step.new, *step.again))

    def _proving(self, staged: Staged, damaged: Iterable[str] | None = None) -> list[Pass]:
        """The passes that prove what is gone, as far as what is staged could be read."""
        lost = self.hub.damage(self.table.name) if damaged is None else damaged
        return proving(self.state, {*self.before, *self.manifest.segments}, staged.unreadable_in, list(lost))

    def _has_fuse(self, feed: Telling | None) -> bool:
        """Whether too many deletions are held back: not where they were let through, or nothing of what is found gone is news, or the
        table was never whole."""
        was_told = self.refill and not (feed and feed.rereads)
        is_first = bool(self.manifest.first_fill) or (self.seen.gone is None and not (feed and self.seen.load))
        return not (was_told or is_first or self.allow_deletes or self.collection.mode == "snapshot")

    def _lists(self, step: LoadStep) -> tuple[list[WholeList], list[str]]:
        """The lists of single parents that tell a step what is gone, of chains that ended since the oldest of what it reads came; and the
        segments that hold further keys of them. Damaged segments are noted, and their lists tell nothing."""
        name, there, read = self.table.name, [*self.before, *step.new], {*step.new, *step.again, *step.keys}
        oldest = min(map(run_of, (*step.new, *step.again)), default=None)
        if not self.table.parent_key or self.table.deletes == "ignore" or oldest is None:
            return [], []
        damage = self.hub.damage(name)
        recent = [segment for segment in there if run_of(segment) >= oldest and segment not in damage]
        ends = untold_ends(self.hub, name, self.state, recent, there)
        first = min((head.chain for head in ends), default=None)
        further = [segment for segment in self.before if first and segment >= first and segment not in read and segment not in damage]
        self.hub.damaged_among(name, further)
        damage = self.hub.damage(name)
        lists = whole_lists(self.hub, name, ends, there, damage)
        return lists, [segment for segment in further if lists and segment not in damage]

    def _told(self, feed: Telling, everything: bool, lists: Sequence[WholeList], staged: Staged) -> Told:
        """What a delete feed and whole lists tell; rejects are added to what is staged."""
        name, collection, files = feed_name(self.table.name), self.collection, list[str]()
        damage = self.hub.damage(name)
        if collection.feed:
            new, before = ([segment for segment in part if segment not in damage] for part in feed.split(everything))
            files = self.stage.told(name, collection.feed, collection.key, new, before, staged)
        lacks = any(run_of(segment) <= feed.until for segment in damage)
        lacks |= bool(self.table.parent_key and self.hub.damage(self.table.name))
        whole = self.stage.lists(collection, self.table.parent_key, readable(lists, staged.unreadable_in))
        return Told(files, feed.until, feed.known, lacks, whole)

    def _may_reject(self, staged: Staged) -> None:
        """Raises WarehouseError where the spec wants no load with values that do not fit."""
        name, lists = self.table.name, self.source.spec.lists
        fatal = [
            one for one in staged.rejects if one.property and lists[one.segment.partition("/")[0]].on_reject_of(one.property) == "fail"
        ]
        if fatal:
            first, many = fatal[0], "1 value does" if len(fatal) == 1 else f"{len(fatal):,} values do"
            place = self.source.place_of(*self.source.property_at(name, first.property))
            raise WarehouseError(
                f"{name}: {many} not fit, and `on_reject: fail` lets nothing of its load through; the first is "
                f"{form(first.raw)} for `{first.property}` ({first.type}: {first.reason}), of segment {first.segment}#{first.line}; "
                f"correct {place}, and load again"
            )


def _misfits(batch: Batch) -> list[Misfit]:
    """What was rejected, by property."""
    found: dict[str, Misfit] = {}
    for one in batch.rejects:
        if one.property:
            found.setdefault(one.property, Misfit(one.property, one.type, one.reason)).add(one.raw)
    return list(found.values())
