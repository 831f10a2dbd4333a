"""What several tests need: a listing made by hand, a walk over an API that lives in memory, and a user without rights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rest_syncer.engine.exchange import Listing, Request
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.paginate import End, Paginator

URL = "https://api.example.com/items"


def segment_file(hub: Hub, collection: str, name: str) -> Path:
    """The file of a segment, in a hub that lies in a folder."""
    return max((hub.local / "segments" / collection).glob(f"{name}.*"), key=lambda file: len(file.name))


def listing(rows: Sequence[Any] = (), envelope: Any = None, request: Request | None = None) -> Listing:
    """A page of these rows, with this around them; whole numbers are read as such, all else as text, as `pull` does."""

    def values(name: str) -> list[int | str | None]:
        return [row.get(name) if isinstance(row.get(name), int | None) else str(row[name]) for row in rows]

    return Listing(request or Request(URL), [json.dumps(row).encode() for row in rows], envelope, values)


def walk(paginate: Paginator, answer: Callable[[Mapping[str, str]], Listing], most: int = 200) -> tuple[list[Any], str]:
    """All rows of an in-memory API, and why the walk ended; `answer` gets a request's parameters. State is stored on its way, as JSON."""
    rows: list[Any] = []
    state, request = paginate.first(Request(URL))
    for _ in range(most):
        page = answer(dict(request.params))
        page = replace(page, request=request)
        rows += [json.loads(record) for record in page.records]
        outcome = paginate.after(json.loads(json.dumps(state)), page)
        if isinstance(outcome, End):
            return rows, outcome.reason
        state, request = outcome
    raise AssertionError(f"no end after {most} pages")


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere, so what root is refused is tried as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
