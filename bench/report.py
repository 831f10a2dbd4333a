"""What was measured, as tables: medians, and ratios within the run. Pure."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from .measured import Measured
from .tools import Tool, versions
from .works import Work

_HEAD = "| tool | wall s | CPU s | peak MB | requests | wall, syncer = 1 |"
_RULE = "|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Found:
    """One call of a tool: what it took (None: it failed), its requests, and how many rows its table had, and should have."""

    work: str
    run: str
    tool: str
    took: Measured | None
    requests: int
    rows: int | None
    expected: int


def table(found: Iterable[Found], work: Work) -> str:
    """The tables of a work, one for each of its runs."""
    of_work = [one for one in found if one.work == work.name]
    parts = []
    for run in work.runs:
        of_run = [one for one in of_work if one.run == run.what]
        rows = sorted(((_median(of_run, tool), tool) for tool in {one.tool for one in of_run}), key=lambda row: (row[0] is None, row[0]))
        parts.append("\n".join([f"**{work.what}: {run.what}**", "", _HEAD, _RULE, *(_line(of_run, tool) for _, tool in rows), ""]))
    return "\n".join(parts)


def _median(found: Sequence[Found], tool: str) -> float | None:
    walls = [one.took.wall for one in found if one.tool == tool and one.took]
    return median(walls) if walls else None


def _line(found: Sequence[Found], tool: str) -> str:
    mine = [one for one in found if one.tool == tool]
    took = [one.took for one in mine if one.took]
    if not took:
        return f"| {tool} | failed | | | | |"
    wall, ours = median(one.wall for one in took), _median(found, "syncer")
    wrong = next((one for one in mine if one.rows != one.expected), None)
    note = f" ({wrong.rows if wrong.rows is not None else 'unknown'} rows of {wrong.expected:,})" if wrong else ""
    figures = f"{wall:.2f} | {median(one.cpu for one in took):.2f} | {median(one.mb for one in took):.0f}"
    ratio = f"{wall / ours:.2f}" if ours else ""
    return f"| {tool}{note} | {figures} | {median(one.requests for one in mine):.0f} | {ratio} |"


def markdown(found: Sequence[Found], works: Sequence[Work], tools: Sequence[Tool], rounds: int) -> str:
    """docs/benchmarks.md."""
    told = "\n".join(f"- `{tool.name}`: {tool.what}{f' ({versions(tool)})' if tool.environment else ''}" for tool in tools)
    tables = "\n".join(table(found, work) for work in works)
    return (
        f"# Benchmarks\n\nMedians of {rounds} rounds on {platform.processor() or platform.machine()}, Python {platform.python_version()}. "
        f"`make bench` makes this page anew.\n\n{told}\n\n{tables}"
    )
