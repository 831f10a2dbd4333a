"""What granian runs: the pages of `data`, after a delay, with the time of each request in a log. Its settings come from the environment."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

ROOT, DELAY = Path(os.environ["BENCH_ROOT"]), float(os.environ["BENCH_DELAY"])
LOG = Path(os.environ["BENCH_LOG"]).open("ab", buffering=0)  # noqa: SIM115  # it ends with the process


async def app(scope: Any, protocol: Any) -> None:
    """RSGI (granian's own interface)."""
    LOG.write(f"{time.time():.3f}\n".encode())
    query = parse_qs(scope.query_string)
    changes = ".changes" if not query.get("since", ["2000"])[0].startswith("2000") else ""
    file = ROOT / f"{scope.path.strip('/')}{changes}" / f"{query.get('page', ['1'])[0]}.json"
    if DELAY:
        await asyncio.sleep(DELAY)
    if file.is_file():
        protocol.response_file(200, [("content-type", "application/json")], str(file))
    else:
        protocol.response_empty(404, [])
