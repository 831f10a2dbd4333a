"""How fast is fast enough: the bars, over the figures that were measured. Data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A median of a work's run: of a tool, or of the best among several."""

    work: str
    run: str
    tools: Sequence[str] = ("syncer",)
    unit: str = "wall"


@dataclass(frozen=True)
class Bar:
    """A figure, or the ratio of two, that has to be at most so much, or at least."""

    what: str
    figures: Sequence[Figure]
    most: float | None = None
    least: float | None = None
    unit: str = "x"

    @property
    def limit(self) -> str:
        return f"at most {self._number(self.most)}" if self.most is not None else f"at least {self._number(self.least)}"

    def _number(self, value: float | None) -> str:
        return f"{value:,g} {self.unit}".replace(" x", "x").strip()

    def shown(self, value: float) -> str:
        return (f"{value:,.0f} {self.unit}" if value >= 100 else f"{value:.2f} {self.unit}").replace(" x", "x").strip()

    def is_met(self, value: float) -> bool:
        return value <= self.most if self.most is not None else value >= (self.least or 0.0)


FIRST, AGAIN, SAME = "first load", "1 % changed", "nothing changed"


def _time(what: str, work: str, run: str, tool: str, most: float) -> Bar:
    return Bar(what, [Figure(work, run, (tool,))], most=most, unit="s")


def _slower(what: str, work: str, most: float, *than: str, run: str = FIRST) -> Bar:
    """syncer's time is at most so many times that of the fastest of these."""
    return Bar(what, [Figure(work, run), Figure(work, run, than)], most=most)


def _faster(what: str, work: str, least: float, than: str, ours: str = "syncer") -> Bar:
    """Another's time is at least so many times syncer's."""
    return Bar(what, [Figure(work, FIRST, (than,)), Figure(work, FIRST, (ours,))], least=least)


def _requests(what: str, work: str, run: str, most: float) -> Bar:
    return Bar(what, [Figure(work, run, unit="requests"), Figure(work, run, unit="least")], most=most)


def _memory(work: str) -> Figure:
    return Figure(work, FIRST, unit="mb")


BARS = [
    _slower("First load of 100,000: time over the script's", "100k", 1.0, "script"),
    _slower("First load of 100,000: time over the floor's", "100k", 1.6, "floor"),
    _slower("First load of 1,000,000: time over the script's", "1m", 1.0, "script"),
    _slower("First load of 1,000,000: time over the floor's", "1m", 1.6, "floor"),
    _faster("First load of 100,000: dlt's best rest_api tuning over ours", "100k", 7, "dlt_tuned"),
    _faster("First load of 100,000: dlt's defaults over ours", "100k", 40, "dlt"),
    _faster("First load of 100,000: PyAirbyte over ours", "100k", 8, "pyairbyte"),
    _faster("First load of 100,000: tap and target over ours", "100k", 6, "singer"),
    Bar("Memory of a first load of 100,000", [_memory("100k")], most=300, unit="MB"),
    Bar("Memory at 1,000,000 over that at 100,000", [_memory("1m"), _memory("100k")], most=1.1),
    Bar("Memory at 5,000,000 over that at 100,000", [_memory("5m"), _memory("100k")], most=1.1),
    Bar("Growth: first load of 1,000,000 over that of 100,000", [Figure("1m", FIRST), Figure("100k", FIRST)], most=10.5),
    Bar(
        "1,000 changed of 10,000,000 over 1,000 of 100,000",
        [Figure("into_10m", "1,000 changed"), Figure("into_100k", "1,000 changed")],
        most=1.5,
    ),
    _slower("1 % changed: time over dlt's best", "100k", 0.4, "dlt", "dlt_tuned", "dlt_arrow", run=AGAIN),
    _slower("1 % changed: time over the script's", "100k", 1.5, "script", run=AGAIN),
    _time("Nothing changed, in a hub of 10,000 segments", "hub", SAME, "syncer", 1.0),
    _requests("First load of 100,000: requests over the least possible", "100k", FIRST, 1.02),
    _requests("1 % changed: requests over the least possible", "100k", AGAIN, 1.02),
    _requests("Nothing changed: requests over the least possible", "100k", SAME, 1.0),
    _requests("Within a budget: requests over the least possible", "budget", FIRST, 1.02),
    Bar("Within a budget of 300 a minute: requests in the busiest minute", [Figure("budget", FIRST, unit="busiest")], most=300, unit=""),
    _faster("50 ms latency: one request at a time over 16 at once", "latency", 8, "syncer_1", "syncer_16"),
    _time("`syncer --help`", "start", "on loopback", "help", 0.3),
    _time("`syncer validate specs/desk_com.yaml`", "start", "on loopback", "validate", 0.5),
    _time("`syncer run` over 7 empty collections", "start", "on loopback", "empty", 0.8),
    _faster("Into PostgreSQL: dlt's best tuning over ours", "postgresql", 5, "dlt_postgresql"),
]
