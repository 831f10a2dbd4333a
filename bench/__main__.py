"""syncer beside its peers, on this machine, in one go.

    python -m bench [--works 100k,1m] [--tools syncer,script] [--rounds 3] [--scale 1] [--write]

Each tool is a process of its own, in an environment of its own, over the same static server on loopback. In each round every tool has its
turn with each work, in another order; what is shown is the median of the rounds, and ratios within the run. A tool whose table is not as
it should be is shown as such. `--write` keeps what was found in `bench/results.json`, and makes docs/benchmarks.md of all that is there.
"""

from __future__ import annotations

import argparse
import compileall
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import rest_syncer
from tests import postgres

from . import results
from .filled import filled
from .machine import place
from .measured import Measured, measured
from .report import markdown, table
from .results import Line
from .rows import Held, held
from .serve import Server, busiest
from .tools import ROOT, TOOLS, Task, Tool, install, warm
from .works import Run, Work, works

PAGES = Path(tempfile.gettempdir()) / "syncer-bench"
"""Where the pages lie: they are made once."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure syncer beside its peers.")
    parser.add_argument("--works", default="", help="only these")
    parser.add_argument("--tools", default="", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="smaller works, to see that they run")
    parser.add_argument("--write", action="store_true", help="keep what is found, and write docs/benchmarks.md")
    options = parser.parse_args()
    named = options.works.split(",") if options.works else []
    chosen = [work for work in works(options.scale) if (work.name in named if named else not work.only_named)]
    if not postgres.programs() and any(work.into_postgresql for work in chosen):
        print("PostgreSQL is left out: its programs (initdb, pg_ctl) are not installed", file=sys.stderr)
        chosen = [work for work in chosen if not work.into_postgresql]
    tools = [tool for tool in TOOLS if not options.tools or tool.name in options.tools.split(",")]
    needed = [tool for tool in tools if any(tool.name in work.tools for work in chosen)]
    install(needed)
    _compile()
    warm(needed)
    bench = Bench(f"{datetime.now(UTC):%Y-%m-%d %H:%M}")
    for number in range(options.rounds):
        for work in chosen:
            bench.turn(work, [tool for tool in tools if tool.name in work.tools], number)
            print(table(bench.lines.values(), work), flush=True)
            if options.write:
                bench.write()


def _compile() -> None:
    """Have syncer compiled, as it is where it was installed: a checkout, in an environment that forbids it, would compile at each start."""
    package = Path(rest_syncer.__file__).parent
    compileall.compile_dir(package, maxlevels=0, quiet=1)
    compileall.compile_dir(package / "engine", quiet=1)


class Bench:
    """All rounds of one call, and what was found in them."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.lines: dict[tuple[str, str, str], Line] = {}
        self.servers = set[str]()

    def turn(self, work: Work, tools: Sequence[Tool], number: int) -> None:
        """Each tool's turn with a work."""
        pages, order = work.prepare(PAGES), list(tools)
        random.Random(number).shuffle(order)  # no secret
        with work.server(pages, work.delay) as server, _databases(work) as database:
            self.servers.add(server.what)
            for tool in order:
                with tempfile.TemporaryDirectory(prefix=f"bench-{tool.name}-") as folder:
                    task = Task(server.url, work.spec(pages), work.collections, Path(folder), database(), work.segments > 0)
                    if work.segments:
                        shutil.copytree(filled(work, pages, tool, task), folder, dirs_exist_ok=True)
                    for run in work.runs:
                        if tool.name not in run.without:
                            work.answer(pages, run.changes)
                            self._note(work, run, tool, task, server)

    def _note(self, work: Work, run: Run, tool: Tool, task: Task, server: Server) -> None:
        """What a call took, and what its tables hold then."""
        line = Line(work.name, run.what, tool.name, work.what, self.when, work.scale, run.least)
        line = self.lines.setdefault(line.key, line)
        before = len(server.times())
        took, times = _measured(tool, task), server.times()[before:]
        if took:
            line.wall.append(took.wall)
            line.cpu.append(took.cpu)
            line.mb.append(took.mb)
            line.requests.append(len(times))
            line.busiest.append(busiest(times))
        found = held(tool, task) if took else None
        line.digest = found.digest if found else 0
        line.wrong = line.wrong or ("failed" if not took else _wrong(found, run, self._digests(work, run)))

    def _digests(self, work: Work, run: Run) -> set[int]:
        """What the tables of all tools held that are to hold the same."""
        return {line.digest for line in self.lines.values() if (line.work, line.run) == (work.name, run.what) and line.digest}

    def write(self) -> None:
        """Keep it, and make the page of all that is kept."""
        tools = {line.tool for line in self.lines.values()}
        kept = results.read().merged(self.lines.values(), place(tools, self.servers))
        results.write(kept)
        notes = (ROOT / "bench" / "notes.md").read_text()
        (ROOT / "docs" / "benchmarks.md").write_text(markdown(kept, works(), TOOLS, notes))


@contextmanager
def _databases(work: Work) -> Iterator[Callable[[], str]]:
    """What gives the address of a new database, of a PostgreSQL server of our own, for works that need one."""
    if not work.into_postgresql:
        yield str
        return
    programs = postgres.programs()
    assert programs
    with postgres.serving(programs) as server:
        yield server.database


def _measured(tool: Tool, task: Task) -> Measured | None:
    """What a call took; None where it failed."""
    try:
        return measured(tool.command(task), task.folder, tool.settings(task))
    except AssertionError as error:
        print(f"{tool.name} fails: {str(error)[-500:]}", file=sys.stderr, flush=True)
        return None


def _wrong(found: Held | None, run: Run, digests: set[int]) -> str:
    """What is wrong with a table."""
    if found is None or found.rows != run.rows:
        return f"{found.rows if found else 'unknown'} rows of {run.rows:,}"
    return "not the same rows" if len(digests) > 1 else ""


if __name__ == "__main__":
    main()
