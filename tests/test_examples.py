"""Behaviour by example: each folder in tests/examples is a spec, the exchanges with its API in order, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import yaml

from rest_syncer.engine.parse import read_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings
from tests.ducks import opened

EXAMPLES = sorted((Path(__file__).parent / "examples").iterdir())


class Exchanges:
    """Answers the requests of an example, and takes no other, in no other order."""

    def __init__(self, file: Path) -> None:
        self.waiting: list[dict[str, Any]] = yaml.safe_load(file.read_text())

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = f"{request.method} {request.url}"
        assert self.waiting, f"nothing more was expected, but {asked}"
        exchange = self.waiting.pop(0)
        assert asked == exchange["request"]
        for name, value in exchange.get("headers", {}).items():
            assert request.headers[name] == value
        assert _sent(request) == exchange.get("sent")
        back = exchange.get("headers_back", {})
        if "text" in exchange:
            return httpx.Response(exchange.get("status", 200), headers=back, text=exchange["text"])
        return httpx.Response(exchange.get("status", 200), headers=back, json=exchange["body"])


def _sent(request: httpx.Request) -> Any:
    """What a request has as its body: a document, or a form."""
    if request.headers.get("Content-Type") == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.content.decode(), strict_parsing=True))
    return json.loads(request.content) if request.content else None


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name) for folder in EXAMPLES])
def test_example(folder: Path, tmp_path: Path) -> None:
    expected = yaml.safe_load((folder / "expected.yaml").read_text())
    source = read_spec(str(folder / "spec.yaml"))
    exchanges = Exchanges(folder / "exchanges.yaml")
    options = Options(hub=str(tmp_path / "hub"), to=f"duckdb:{tmp_path / 'zoo.db'}")

    settings = given_settings(source.spec, [], str(tmp_path))
    summary = run(source, settings, options, transport=httpx.MockTransport(exchanges)).as_json()

    assert {name: collection["error"] for name, collection in summary["collections"].items() if collection["error"]} == {
        name: collection["error"] for name, collection in expected["collections"].items() if collection.get("error")
    }
    assert summary["status"] == expected["status"]
    for name, book in expected["collections"].items():
        assert {word: summary["collections"][name][word] for word in book} == book
    for table, rows in expected.get("tables", {}).items():
        assert _rows(tmp_path / "zoo.db", table, list(rows[0])) == [_as_text(row) for row in rows]
    if secret := expected.get("nowhere"):
        kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert kept == []
    if expected["status"] == "complete":
        assert exchanges.waiting == []


def _rows(file: Path, table: str, columns: list[str]) -> list[dict[str, str | None]]:
    with opened(file) as con:
        listed = ", ".join(f'"{column}"::VARCHAR' for column in columns)
        order = "" if table.startswith("_") else " ORDER BY 1"
        found = con.execute(f"SELECT {listed} FROM w.zoo.{table}{order}").fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def _as_text(row: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in row.items()}
