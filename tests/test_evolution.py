"""A spec that changes: what the hub holds is enough for the rows to be as the new one says, without a request. On 100,000 cases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rest_syncer.engine.hub import Head, Hub
from rest_syncer.engine.hub.segment import Ended
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import Settings
from tests.ducks import opened

MANY = int(os.environ.get("SYNCER_CASES", "100000"))
SEGMENT = 8_000

SPEC = """
syncer: 1
name: desk
api: {base_url: "https://desk.invalid"}
collections:
  cases:
    key: id
    cursor: {property: updated_at}
    properties:
      id: integer
      subject: string
      priority: string
      updated_at: timestamp
      customer_id: {type: integer, from: _links.customer.href, match: "/customers/([0-9]+)$"}
"""


def case(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "subject": f"case {number}",
        "priority": str(number % 10) if number % 1000 else "high",
        "status": ["new", "open", "resolved"][number % 3],
        "updated_at": f"2016-11-22T{number % 24:02}:{number % 60:02}:00Z",
        "_links": {"customer": {"href": f"/api/v2/customers/{number % 777}", "class": "customer"}},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub of many cases, and a warehouse that was loaded from it."""
    place = tmp_path_factory.mktemp("desk")
    hub = Hub(place / "hub", "desk")
    hub.claim("https://desk.invalid", {})
    for number, first in enumerate(range(0, MANY, SEGMENT)):
        records = [json.dumps(case(id_)).encode() for id_ in range(first, min(first + SEGMENT, MANY))]
        head = Head(
            collection="cases", name=f"000001-01-{number:06}", chain="000001-01", purpose="full", began=10**12,
            since=None, until=None, route="", pages=1, records=len(records), longest=max(map(len, records)),
            raw_bytes=sum(map(len, records)), ended=Ended("last page", "proven", True) if first + SEGMENT >= MANY else None,
        )  # fmt: skip
        hub.append(head, records, [{}])
    load(place, SPEC)
    return place


def load(folder: Path, text: str) -> None:
    """`syncer load`: it has no way to the API at all."""
    options = Options(hub=str(folder / "hub"), to=f"duckdb:{folder / 'w.duckdb'}")
    summary = run(parse_spec(text), Settings({}, frozenset()), options, "load")
    assert summary.status == "complete", [outcome.errors for outcome in summary.collections.values()]


def table(folder: Path, columns: str) -> list[tuple[Any, ...]]:
    with opened(folder / "w.duckdb") as con:
        return con.execute(f"SELECT {columns} FROM desk.cases ORDER BY id").fetchall()


CHANGES = {
    "a property more": (("subject: string", "subject: string\n      status: string"), "status", lambda one: one["status"]),
    "another type": (
        ("priority: string", "priority: integer"), "priority",
        lambda one: int(one["priority"]) if one["priority"] != "high" else None,
    ),
    "another name": (
        ("      priority: string", "      urgency: {type: string, from: priority, was: priority}"), "urgency",
        lambda one: one["priority"],
    ),
    "another match": (
        ("/customers/([0-9]+)$", "/customers/[0-9]*([0-9])$"), "customer_id", lambda one: int(one["_links"]["customer"]["href"][-1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_spec_is_right_for_all_that_is_stored(folder: Path, name: str) -> None:
    (old, new), column, expected = CHANGES[name]
    assert old in SPEC
    load(folder, SPEC.replace(old, new))
    assert table(folder, f"id, {column}") == [(number, expected(case(number))) for number in range(MANY)]
