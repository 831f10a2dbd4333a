"""What a hub and a warehouse hold, for those who look. I/O: reads; verifying also notes what is damaged, forgetting removes notes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from msgspec.structs import asdict

from . import times
from .account import lock_name
from .destinations import warehouse
from .drift import Drift
from .errors import Damaged, UsageError
from .hub import Found, Hub, Loading
from .hub.segment import SEGMENT
from .kinds import did_you_mean
from .parse import Source
from .run import Options, selected
from .schedule import Turn
from .suggest import suggestion
from .turns import loads_of, turns_of


def status(source: Source, options: Options) -> dict[str, Any]:
    """What a hub holds of each collection, and where its next pull goes on: for those who only look."""
    hub = Hub(options.hub, source.spec.name.text)
    identity, state = hub.identity(), hub.state()
    collections = {}
    for name, collection in source.spec.lists.items():
        found, heads = state.of(name), [hub.head(name, segment) for segment in hub.segments(name)]
        collections[name] = {
            "segments": len(heads),
            "records": sum(head.records for head in heads),
            "passes": len(found.passes),
            "last_pass": times.show(found.passes[-1].began) if found.passes else None,
            "changes_since": times.show(found.cursor) if found.cursor is not None and collection.can_ask_changes else None,
            "open": {purpose: chain.after for purpose, chain in found.open.items()},
        }
    return {
        "hub": hub.store.name,
        "id": identity and identity.id,
        "origin": identity and identity.origin,
        "runs": state.run,
        "collections": collections,
        "pulls": _told(turns_of(hub.local, lock_name(*options.lock_of("pull", hub.source))).turns),
        "loads": [{"into": past.into, "schema": past.schema, "turns": _told(past.turns)} for past in loads_of(hub.local)],
    }


def _told(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Turns for those who look, the last one first."""
    return [turn.as_json() for turn in reversed(turns)]


def holdings(source: Source, options: Options) -> dict[str, Any]:
    """How large a hub is: of each collection its segments, records, bytes on the disk and of its records, and how old it is."""
    hub = Hub(options.hub, source.spec.name.text)
    damage = hub.state().damage
    collections = {}
    for name in source.spec.lists:
        names = [segment for segment in hub.segments(name) if segment not in damage.get(name, {})]
        heads = [hub.head(name, segment) for segment in names]
        collections[name] = {
            "segments": len(heads),
            "damaged": len(damage.get(name, {})),
            "records": sum(head.records for head in heads),
            "bytes": sum(hub.size(name, segment) for segment in names),
            "raw_bytes": sum(head.raw_bytes for head in heads),
            "oldest": times.show(min(head.began for head in heads)) if heads else None,
            "newest": times.show(max(head.began for head in heads)) if heads else None,
        }
    identity = hub.identity()
    known = [(name, one) for name in source.spec.collections for one in hub.loads.loadings(name)]
    return {
        "hub": hub.store.name,
        "id": identity and identity.id,
        "collections": collections,
        "warehouses": [_loaded(*one, hub, known) for one in dict.fromkeys((one.warehouse, one.schema) for _, one in known)],
    }


def _loaded(warehouse: str, schema: str, hub: Hub, known: Sequence[tuple[str, Loading]]) -> dict[str, Any]:
    """What one schema of a warehouse has of a hub, as far as it has told."""
    own = [(name, one) for name, one in known if (one.warehouse, one.schema) == (warehouse, schema)]
    last = max((one.ack for _, one in own if one.ack), key=attrgetter("at"), default=None)
    return {
        "id": warehouse,
        "schema": schema,
        "into": last and last.into,
        "loaded_at": last and times.show(last.at),
        "segments_to_load": sum(1 for name, one in own for segment in hub.segments(name) if not one.last.has(segment)),
    }


def record(source: Source, options: Options, place: str) -> tuple[bytes, str]:
    """The exact record to which a row's `_segment` points, or, where that was thinned, the newest version, and where it lies."""
    hub = Hub(options.hub, source.spec.name.text)
    identity, found = hub.identity(), re.fullmatch(rf"(\w+)/([\w.]+)/({SEGMENT})#(\d+)", place)
    if found is None:
        raise UsageError(
            f"{place}: is no place of a record; write what stands in a row's `_segment`, like 1a2b3c4d/orders/000003-01-000000#17"
        )
    if identity is None or found[1] != identity.id:
        mine = identity.id if identity else "empty"
        raise UsageError(f"{place}: is of another hub than {hub.store.name} ({mine}); name that one with --hub")
    data, there = hub.record(found[2], found[3], int(found[4]))
    return data, f"{found[1]}/{found[2]}/{there}"


def forget(source: Source, options: Options, warehouse: str) -> None:
    """Let compaction wait for a warehouse no longer. Raises UsageError for one that the hub does not know."""
    hub = Hub(options.hub, source.spec.name.text)
    known = {one.warehouse for name in source.spec.collections for one in hub.loads.loadings(name)}
    if warehouse not in known:
        raise UsageError(f"{warehouse}: {hub} knows no such warehouse; {did_you_mean(warehouse, known)}")
    hub.loads.forget(warehouse)


def verify(source: Source, options: Options) -> tuple[int, list[Found]]:
    """Read every byte of a hub: how many segments it has, and what is not as it was written. Damage is noted, for the next pull."""
    hub = Hub(options.hub, source.spec.name.text)
    found = hub.verify()
    return sum(len(hub.segments(name)) for name in source.spec.lists), found


def rejects(source: Source, options: Options) -> list[dict[str, Any]]:
    """What a warehouse tells of values that did not fit, by property: how many, some of them, and what the spec could say instead."""
    name = source.spec.name.text
    target = warehouse(options.warehouse_of(name), options.schema_of(name))
    with contextlib.closing(target):
        target.check()
        if not target.hubs():
            place = f"{options.warehouse_of(name)}, schema {options.schema_of(name)}"
            raise UsageError(f"{place}: nothing was ever loaded there; name another with --to or --schema")
        found = [one for one in target.rejects() if one.collection in selected(source, options.select)]
    return [
        {
            **asdict(one),
            "place": source.place_of(*source.property_at(one.collection, one.property or "")),
            "perhaps": suggestion(one.type, one.samples) if one.type else None,
        }
        for one in found
    ]


def drift(source: Source, options: Options) -> dict[str, Drift]:
    """Of each collection, what the hub's records hold that the spec does not name, and what it names that none of them holds."""
    hub = Hub(options.hub, source.spec.name.text)
    found = {}
    for name in selected(source, options.select):
        found[name] = Drift(source.spec.collections[name])
        for segment in hub.segments(name):
            with contextlib.suppress(Damaged):  # a load names it
                began = hub.head(name, segment).began
                for record in hub.records(name, segment):
                    found[name].see(record, began)
    return found
