"""What was measured, by work, run and tool, as `results.json` beside this keeps it from one time to the next. I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

FILE = Path(__file__).with_name("results.json")


@dataclass
class Line:
    """What a tool took for a run of a work, in each round: seconds, peak memory in MB, requests, and those of the busiest minute."""

    work: str
    run: str
    tool: str
    what: str
    """The work, for people: it has the number of records."""
    when: str
    """When the rounds began: lines with the same time can be compared."""
    scale: float
    """How small the work was made; 1: it is whole."""
    least: int
    """The fewest requests that could do it."""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    busiest: list[int] = field(default_factory=list)
    digest: int = 0
    """Of what its table held after the last round."""
    wrong: str = ""
    """What is wrong with what it did, if something is."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.work, self.run, self.tool

    @property
    def rounds(self) -> int:
        return len(self.wall)

    def median(self, unit: str) -> float | None:
        """Of the rounds, in a unit that is named like its field; None where no round came to its end."""
        values = [self.least] if unit == "least" else getattr(self, unit)
        return median(values) if values and self.wall else None


@dataclass
class Results:
    """All lines by their keys, and of each time something was measured at, on which machine, with what."""

    lines: dict[tuple[str, str, str], Line] = field(default_factory=dict)
    places: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def merged(self, found: Iterable[Line], place: Mapping[str, str]) -> Results:
        """These, with what was found now in the place of what was; only that smaller works never take the place of whole ones."""
        lines = dict(self.lines)
        for line in found:
            known = lines.get(line.key)
            if known is None or line.scale >= 1 or known.scale < 1:
                lines[line.key] = line
        times = {line.when for line in lines.values()}
        return Results(lines, {when: its for when, its in {**self.places, **{line.when: place for line in found}}.items() if when in times})


def read() -> Results:
    if not FILE.exists():
        return Results()
    document = json.loads(FILE.read_text())
    lines = [Line(**line) for line in document["lines"]]
    return Results({line.key: line for line in lines}, document["places"])


def write(results: Results) -> None:
    """One line for each, so that a comparison shows what is different."""
    lines = ",\n".join(json.dumps({name: _rounded(value) for name, value in asdict(line).items()}) for line in results.lines.values())
    FILE.write_text(f'{{"places": {json.dumps(results.places, indent=1)},\n"lines": [\n{lines}\n]}}\n')


def _rounded(value: object) -> object:
    return [round(one, 3) if isinstance(one, float) else one for one in value] if isinstance(value, list) else value
