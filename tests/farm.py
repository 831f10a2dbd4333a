"""A project of one collection whose API lists what a test tells it to, in one answer; an hour goes by with each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx

from rest_syncer.engine.clock import Clock
from rest_syncer.engine.compact import Compacted, compact
from rest_syncer.engine.outcome import Summary
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import Settings
from tests.shop import Client

Row = dict[str, Any]

SPEC = """
syncer: 1
name: shop
api: {base_url: https://api.example.com, records: data}
collections:
  orders:
    key: id
    properties: {id: integer, sum: string, state: string, at: timestamp}
"""
NOON = 1_479_816_000


def spec(more: str = "", properties: str | None = None) -> str:
    """The spec, with more words for its one collection, or with other properties."""
    text = SPEC.replace("    key: id\n", f"    key: id\n    {more}\n") if more else SPEC
    return text if properties is None else text.replace("{id: integer, sum: string, state: string, at: timestamp}", properties)


def row(id_: int, sum_: str = "1.00", state: str | None = None, at: int = 0) -> Row:
    return {"id": id_, "sum": sum_, "state": state, "at": f"2016-11-22T11:00:{at:02}Z"}


class Hours(Clock):
    """An hour goes by with each run."""

    def __init__(self, hour: int) -> None:
        self.hour = hour

    def time(self) -> float:
        return NOON + 3600.0 * self.hour

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


@dataclass
class Farm:
    """A project, its warehouse, and an API that lists what it is told to, in one answer."""

    folder: Path
    client: Client
    hour: int = 0
    asked: list[str] = field(default_factory=list)
    where: str | None = None
    """Where the hub lies, if not in the folder."""
    lists: dict[str, Sequence[Row] | int] = field(default_factory=dict)
    """What other paths answer, with their query or without: these rows, or a status alone."""
    nexts: dict[str, str] = field(default_factory=dict)
    """Where the answer of a path goes on, as a link `next`."""

    def run(self, rows: Sequence[Row], text: str = SPEC, verb: str = "run", to: str | None = None, **options: Any) -> Summary:
        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.url.raw_path.decode())
            found = self.lists.get(self.asked[-1], self.lists.get(request.url.path, rows))
            if isinstance(found, int):
                return httpx.Response(found)
            link = {"next": f"https://api.example.com{self.nexts[self.asked[-1]]}"} if self.asked[-1] in self.nexts else {}
            return httpx.Response(
                200, json={"data": list(found), **link}, headers={"Date": formatdate(NOON + 3600 * self.hour, usegmt=True)}
            )

        self.hour += 1
        given = Options(hub=self.where or str(self.folder / "hub"), to=to or self.client.url, **options)
        source, transport = parse_spec(text), httpx.MockTransport(answer)
        return run(source, Settings({}, frozenset()), given, verb, clock=Hours(self.hour), transport=transport)

    def book(self, rows: Sequence[Row], text: str = SPEC, verb: str = "run", **options: Any) -> dict[str, int]:
        """What the load of a run that went well did: the numbers of its book that are not 0."""
        summary = self.run(rows, text, verb, **options)
        assert summary.status == "complete", [outcome.errors for outcome in summary.collections.values()]
        book = summary.collections["orders"].book()
        words = ("inserted", "updated", "unchanged", "duplicates", "stale", "filtered", "rejected", "deleted", "held_back")
        return {word: book[word] for word in words if book[word]}

    def table(self, columns: str = "id, sum, _deleted_at IS NOT NULL") -> list[tuple[Any, ...]]:
        return self.client.ask(f"SELECT {columns} FROM shop.orders ORDER BY id")

    def written(self) -> dict[int, int]:
        """In which hour each row was written."""
        return {id_: int(at - NOON) // 3600 for id_, at in self.table("id, extract(epoch FROM _synced_at)::BIGINT")}


def told(summary: Summary) -> str:
    return "; ".join(summary.collections["orders"].errors)


MANY = [row(number) for number in range(1, 31)]
LATEST = SPEC + "keep: latest\n"


def thin(farm: Farm, text: str = LATEST) -> Compacted:
    """Compact the hub, an hour later."""
    farm.hour += 1
    return compact(parse_spec(text), Options(hub=str(farm.folder / "hub")), Hours(farm.hour))["orders"]
