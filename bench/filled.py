"""A hub as it is after all records of a work were pulled, and the warehouse that was loaded from it: made once, directly. I/O.

No segment comes over a network, so that ten million records take minutes, not an hour; `syncer run` then loads them, and writes the plan
that carries what all heads say.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from rest_syncer.engine.hub import Head, Hub
from rest_syncer.engine.hub.segment import Ended, leg_name, segment_name

from .measured import measured
from .tools import Task, Tool
from .works import Work

_HOUR = 3_600_000_000
_PAST = 1_451_606_400_000_000
"""The year 2016, in microseconds."""


def filled(work: Work, place: Path, tool: Tool, task: Task) -> Path:
    """The folder of such a hub, and its warehouse."""
    folder = place / "filled"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _fill(work, Hub(folder / "hub", work.source))
        work.answer(place, "nothing")
        its = replace(task, folder=folder)
        measured(tool.command(its), folder, tool.settings(its))
        (folder / "ready").touch()
    return folder


def _fill(work: Work, hub: Hub) -> None:
    """The segments: of one complete pass, or the first of that, and each other one of a later run, three hours after the one before."""
    hub.claim("http://127.0.0.1", {})
    each, (name,) = -(-work.records // work.segments), work.collections
    segments = -(-work.records // each)
    for place in range(segments):
        first = place * each + 1
        records = [work.record(number, 1) for number in range(first, min(first + each, work.records + 1))]
        run, number = (place + 1, 0) if work.by_run else (1, place)
        at, last = _PAST + 3 * run * _HOUR, work.by_run or place == segments - 1
        head = Head(
            collection=name, name=segment_name(leg_name(run, 1), number), chain=leg_name(run, 1), purpose="full" if run == 1 else "changed",
            began=at, since=None if run == 1 else at - 3 * _HOUR, until=at, route="", pages=1, records=len(records),
            longest=max(map(len, records)), raw_bytes=sum(map(len, records)), ended=Ended("no_next_link", "checked") if last else None,
        )  # fmt: skip
        hub.append(head, records, [{"request": {}, "status": 200, "headers": {}, "records": len(records)}])
        if number == 0:
            hub.store.put(f"plans/{run:06}.json", json.dumps({"run": run, "at": at}).encode())
