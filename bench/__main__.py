"""syncer beside its peers, on this machine, in one go.

    python -m bench [--works 100k,1m] [--tools syncer,script] [--rounds 3] [--scale 1] [--write]

Each tool is a process of its own, in an environment of its own, over the same static server on loopback. In each round every tool has its
turn with each work, in another order; what is shown is the median of the rounds, and ratios within the run. A tool whose table has another
number of rows than it should is shown as such. `--write` writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from .measured import Measured, measured
from .report import Found, markdown, table
from .serve import serving
from .tools import TOOLS, Tool, install
from .works import Work, works

PAGES = Path(tempfile.gettempdir()) / "syncer-bench"
"""Where the pages lie: they are made once."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure syncer beside its peers.")
    parser.add_argument("--works", default="", help="only these")
    parser.add_argument("--tools", default="", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="smaller works, to see that they run")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    chosen = [work for work in works(options.scale) if not options.works or work.name in options.works.split(",")]
    tools = [tool for tool in TOOLS if not options.tools or tool.name in options.tools.split(",")]
    install([tool for tool in tools if any(tool.name in work.tools for work in chosen)])
    found: list[Found] = []
    for number in range(options.rounds):
        for work in chosen:
            found += _round(work, [tool for tool in tools if tool.name in work.tools], number)
            print(table(found, work), flush=True)
    if options.write:
        (Path(__file__).parents[1] / "docs" / "benchmarks.md").write_text(markdown(found, chosen, tools, options.rounds))


def _round(work: Work, tools: list[Tool], number: int) -> list[Found]:
    """Each tool's turn with a work."""
    place, found = work.prepare(PAGES), list[Found]()
    random.Random(number).shuffle(tools)  # no secret
    with serving(place, work.delay) as server:
        for tool in tools:
            with tempfile.TemporaryDirectory(prefix=f"bench-{tool.name}-") as folder:
                for run in work.runs:
                    if tool.name not in run.tools:
                        continue
                    work.answer(place, run.changes)
                    before = server.requests()
                    took = _measured(tool, server.url, work, Path(folder))
                    rows = _rows(tool, work, Path(folder)) if took else None
                    requests = server.requests() - before
                    found.append(Found(work.name, run.what, tool.name, took, requests, rows, run.rows))
    return found


def _measured(tool: Tool, url: str, work: Work, folder: Path) -> Measured | None:
    """What a call took; None where it failed."""
    try:
        return measured(tool.command(url, work.collection, folder), folder, tool.settings(url, work.collection, folder))
    except AssertionError as error:
        print(f"{tool.name} fails at {work.name}: {str(error)[-500:]}", file=sys.stderr, flush=True)
        return None


def _rows(tool: Tool, work: Work, folder: Path) -> int | None:
    """How many rows its table has: asked for with its own DuckDB, for the file may be too new for another."""
    if not tool.table:
        return int((folder / "rows").read_text())
    asked = f"SELECT count(*) FROM {tool.table.format(work.collection)}"
    code = f"import duckdb; print(duckdb.connect({str(folder / 'out.duckdb')!r}, read_only=True).execute({asked!r}).fetchone()[0])"
    found = subprocess.run([tool.python, "-c", code], capture_output=True, text=True, check=False)
    return json.loads(found.stdout) if found.returncode == 0 else None


if __name__ == "__main__":
    main()
