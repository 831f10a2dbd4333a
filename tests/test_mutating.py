"""Desk.com while people work on it: every 10 ms a record of some collection changes, comes or goes, before, between and during answers.

One clock for both sides, which each request moves, so nobody waits. SYNCER_SEED tries another course of events than the usual one:
there a list in pages may be `checked` and yet lack a row, where one went and another came between two pages (`tests.test_moving`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.standins.desk_com import Answer
from tests.sync import COLLECTIONS, TABLES, Record, Result, Site, differences, everything, key, query, rows, site

EVERY = 0.01
SIZES = {"cases": 120, "customers": 80, "users": 9, "articles": 40, "brands": 3, "companies": 30, "feedbacks": 40}
SEEDS = [int(os.environ["SYNCER_SEED"])] if "SYNCER_SEED" in os.environ else [2]

Versions = dict[int, list[Record]]


class Busy:
    """People at work on a site: what they do is drawn with a seed, and all that stood since the last `look` is known."""

    def __init__(self, here: Site, seed: int) -> None:
        self.here, self.rng = here, random.Random(seed)
        self.answer: Callable[..., Answer] = here.desk.handle
        self.works, self.next = True, here.clock.now
        self.deeds = 0
        self.look()

    def look(self) -> None:
        """Of each record that is there, the version that stands now, and from here on those that follow; those of deleted ones go."""
        dump = self.here.desk.dump()
        self.alive: dict[str, Versions] = {name: {key(record): [record] for record in dump[name]} for name in COLLECTIONS}

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        self._passes(self.rng.uniform(0.0, 0.08))
        answer = self.answer(method, target, headers, body)
        self._passes(self.rng.uniform(0.0, 0.08))
        answer.headers["Date"] = formatdate(self.here.clock.now, usegmt=True)
        return answer

    def _passes(self, seconds: float) -> None:
        until = self.here.clock.now + seconds
        while self.works and self.next <= until:
            self.here.clock.goes_on(seconds=max(self.next - self.here.clock.now, 0.0))
            self._deed()
            self.next += EVERY
        self.here.clock.goes_on(seconds=max(until - self.here.clock.now, 0.0))

    def _deed(self) -> None:
        desk, name = self.here.desk, self.rng.choice(COLLECTIONS)
        deed = self.rng.choice(["update", "update", "add", "delete"])
        self.deeds += 1
        if deed == "add":
            desk.add(name)
        elif deed == "delete":
            for gone in desk.delete(name, count=1):
                self.alive[name].pop(gone, None)
        else:
            changed = set(desk.update(name, count=1))
            for record in desk.dump(name)[name]:
                if key(record) in changed & self.alive[name].keys():
                    self.alive[name][key(record)].append(record)

    def holes(self, name: str) -> list[str]:
        """The records that were alive since the last look, but that the table does not have as they stood at some moment since."""
        table = {row["id"]: row for row in rows(self.here.project.warehouse, name)}
        found = []
        for number, versions in self.alive[name].items():
            row = table.get(number)
            if row is None or row["_deleted_at"] is not None:
                found.append(f"{name} {number}: {'no row' if row is None else 'marked as deleted'}")
            elif not any(all(row[column] == reading(one) for column, reading in TABLES[name].items()) for one in versions):
                found.append(f"{name} {number}: older than the run's begin")
        return found


def complete(here: Site, result: Result) -> list[str]:
    """The collections that the last run called complete: in its books, and in the warehouse's."""
    told = [name for name in COLLECTIONS if result[name]["error"] is None]
    ledger = query(
        here.project.warehouse,
        f"SELECT collection FROM w.desk_com._syncer_runs WHERE run = {result.summary['run']} AND status = 'complete'",
    )
    assert sorted(told) == sorted(name for (name,) in ledger)
    return told


@pytest.mark.parametrize("seed", SEEDS)
def test_while_all_collections_change_nothing_complete_has_a_hole_and_a_quiet_pass_heals_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    print(f"SYNCER_SEED={seed}")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with site(tmp_path, seed=seed, max_per_page=20, **SIZES) as here:
        busy = Busy(here, seed)
        monkeypatch.setattr(here.desk, "handle", busy.handle)
        said: list[list[str]] = []
        for _ in range(2):
            busy.look()
            said.append(complete(here, result := here.project.run()))
            print(result.summary["run"], result.each("proof"), result.each("error"))
            holes = [hole for name in said[-1] for hole in busy.holes(name)]
            assert holes == []
            here.clock.goes_on(hours=1)
            busy.next = here.clock.now
        assert busy.deeds > 100, "it was quiet"
        assert {"cases", "customers", "brands", "users"} <= {*said[0], *said[1]}
        busy.works = False
        last = here.project.run(full=True, allow_deletes=True)  # in these two hours, much of some lists has gone
        assert (last.code, last.summary["status"]) == (0, "complete")
        assert differences(here.project.warehouse, here.desk.dump()) == []
        assert all(everything(here.project.warehouse).values())
