"""What was measured, as tables and as a page: medians, and ratios within the run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .bars import BARS, Bar, Figure
from .results import Line, Results
from .tools import Tool
from .works import Work

REPRODUCE = """\
`make bench` measures everything anew and writes this page, which takes an hour or more, and some 10 GB in the folder for temporary files;
`make bench BENCH="--works 100k,1m --tools syncer,script"` measures a part of it, and the rest stays as it was. First loads of 5,000,000 are
measured where they are asked for (`--works 5m`). Each tool is a process of its own, in an environment of its own (`.venv/bench`), over the
same static server on loopback. In each round each tool has its turn, in another order; the figures are the medians of the rounds. Wall and
CPU seconds are those of the whole command, from its start to its end, peak memory is that of all its processes together. A tool whose table
is not as it should be is marked, and so is a figure of a single round."""


def table(found: Iterable[Line], work: Work) -> str:
    """The tables of a work, one for each of its runs; nothing where none was measured."""
    lines = [line for line in found if line.work == work.name]
    runs = [of_run for run in work.runs if (of_run := [line for line in lines if line.run == run.what])]
    return "\n".join([f"### {_title(lines[0])}\n\n{_times(lines)}\n", *(_table(of_run, work) for of_run in runs)]) if runs else ""


def _title(line: Line) -> str:
    return line.what[0].upper() + line.what[1:]


def _table(lines: Sequence[Line], work: Work) -> str:
    ours = work.tools[0] if len(work.tools) > 1 and work.collections else ""
    base = next((line.median("wall") for line in lines if line.tool == ours), None)
    head = ["tool", "wall s", "CPU s", "peak MB", "requests", *(["the busiest minute"] if work.budget else [])]
    head += [f"wall, {ours} = 1"] if base else []
    rows = [
        _row(line, base, bool(work.budget)) for line in sorted(lines, key=lambda line: (line.median("wall") is None, line.median("wall")))
    ]
    least = f" (at least {lines[0].least:,} request{'s' * (lines[0].least > 1)})" if lines[0].least else ""
    body = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"**{lines[0].run[0].upper()}{lines[0].run[1:]}**{least}", "", *body, ""])


def _row(line: Line, base: float | None, busiest: bool) -> list[str]:
    note = f" ({line.wrong})" if line.wrong else ""
    forms = {"wall": ".2f", "cpu": ".2f", "mb": ",.0f", "requests": ",.0f"} | ({"busiest": ",.0f"} if busiest else {})
    figures = {unit: line.median(unit) for unit in forms}
    cells = [f"{value:{forms[unit]}}" if value is not None else "" for unit, value in figures.items()]
    wall = figures["wall"]
    return [f"{line.tool}{note}", *cells, *([f"{wall / base:.2f}" if wall else ""] if base else [])]


def _times(lines: Sequence[Line]) -> str:
    """When it was measured, and in how many rounds: of all lines, or of each tool that is of another time."""
    times: dict[str, list[str]] = {}
    for line in lines:
        times.setdefault(f"{line.when}, {_rounds([line])}", []).append(line.tool)
    if len(times) == 1:
        return f"Measured {next(iter(times))}."
    told = "; ".join(f"{', '.join(dict.fromkeys(tools))}: {when}" for when, tools in times.items())
    return f"Not all of it was measured at the same time, and in as many rounds: {told}."


def _rounds(lines: Sequence[Line]) -> str:
    rounds = min(line.rounds for line in lines)
    return ("no whole round", "a single round")[rounds] if rounds < 2 else f"{rounds} rounds"


def markdown(results: Results, works: Sequence[Work], tools: Sequence[Tool], notes: str) -> str:
    """docs/benchmarks.md."""
    tables = "\n".join(filter(None, (table(results.lines.values(), work) for work in works)))
    return (
        f"# Benchmarks\n\nMade by `make bench`, with the notes in [bench/notes.md](../bench/notes.md); do not edit by hand.\n\n"
        f"{REPRODUCE}\n\n## Bars\n\n{bars(results.lines)}\n\n{notes.strip()}\n\n"
        f"## Where\n\n{_places(results)}\n\n## Tools\n\n{_tools(results, tools)}\n\n## All figures\n\n{tables}"
    )


def bars(lines: Mapping[tuple[str, str, str], Line]) -> str:
    """Each bar, what was measured, and whether it is met."""
    rows = (f"| {bar.what} | {bar.limit} | {measured} | {met} |" for bar in BARS for measured, met in (_bar(bar, lines),))
    return "\n".join(["| | bar | measured | met |", "|---|---|---|---|", *rows])


def _bar(bar: Bar, lines: Mapping[tuple[str, str, str], Line]) -> tuple[str, str]:
    """What a bar's figures come to, and whether that is enough."""
    found = [_best(figure, lines) for figure in bar.figures]
    used = [line for line in found if line]
    if len(used) < len(found) or any(line.scale < 1 for line in used):
        return "not measured", ""
    over, *under = (line.median(figure.unit) or 0.0 for figure, line in zip(bar.figures, used, strict=True))
    value = over / under[0] if under and under[0] else over
    doubts = [_rounds(used)] if min(line.rounds for line in used) == 1 else []
    doubts += ["of two times"] if len({line.when for line in used}) > 1 else []
    doubts += [line.wrong for line in used if line.wrong]
    met = "yes" if bar.is_met(value) and not any(line.wrong for line in used) else "**no**"
    return bar.shown(value) + (f" ({', '.join(doubts)})" if doubts else ""), met


def _best(figure: Figure, lines: Mapping[tuple[str, str, str], Line]) -> Line | None:
    """The line of a figure: of several tools, that of the one with the least."""
    known = [line for tool in figure.tools if (line := lines.get((figure.work, figure.run, tool))) and line.rounds]
    return min(known, key=lambda line: line.median(figure.unit) or 0.0, default=None)


def _places(results: Results) -> str:
    """The machines that the figures are of, with the times at which."""
    times: dict[str, list[str]] = {}
    for when, its in sorted(results.places.items()):
        times.setdefault(f"{its['machine']}; served by {its['servers']}; syncer as of {its['commit']}", []).append(when)
    return "\n".join(f"- {', '.join(whens)}: {where}" for where, whens in times.items())


def _tools(results: Results, tools: Sequence[Tool]) -> str:
    """The tools, and the versions with which they were measured last."""
    known: dict[str, str] = {}
    for _, its in sorted(results.places.items()):
        known |= its
    return "\n".join(f"- `{tool.name}`: {tool.what} ({known[tool.name]})" for tool in tools if tool.name in known)
