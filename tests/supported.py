"""What each warehouse can do, told by the tests that show it: a table in the README. A whole run fails where it differs.

A test with the fixture `client` and the mark `shows("…")` is a row's evidence. `make warehouses` writes the table anew.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- what the tests show: `make warehouses` writes it -->\n", "<!-- end -->\n"
KINDS = {"duckdb": "DuckDB", "postgresql": "PostgreSQL", "delta": "Delta lake", "snowflake": "Snowflake", "bigquery": "BigQuery"}
ROWS = (
    "rows and receipt together, or nothing", "two loaders at once, and none loads twice",
    "the newest wins, and what is the same is not written", "`mode: history`", "`mode: snapshot`", "deletes: soft, hard, by tombstone",
    "deletes that a feed tells (`deleted`)", "deletes that a single parent's list tells", "columns added, retyped, renamed (`was`)",
    "columns of your own stay", "descriptions as comments", "odd names of columns and keys", "`syncer replay`",
    "rejects with their raw JSON", "values of a megabyte", "tables of 1,600 columns",
)  # fmt: skip
_SHOWN = "shows"


class Table:
    """Collects what the tests show. With xdist it is the one of the process that hands out the tests."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], set[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        mark, call = item.get_closest_marker("shows"), getattr(item, "callspec", None)
        kind = call.params.get("client") if call else None
        if mark and kind and (report.when == "call" or report.outcome != "passed"):
            but = next((words for name, words in item.user_properties if name == "but"), "yes")
            shown = {"passed": str(but), "skipped": "not tried"}.get(report.outcome, "no")
            report.user_properties.append((_SHOWN, (mark.args[0], kind, shown)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == _SHOWN:
                row, kind, shown = value  # type: ignore[misc]  # pytest says `object`; it is what `pytest_runtest_makereport` put there
                self.found.setdefault((row, kind), set()).add(shown)

    def cells(self) -> dict[tuple[str, str], str] | None:
        """What each warehouse can do; None where not every cell has come, or a warehouse is not there to be tried."""
        if any((row, kind) not in self.found for row in ROWS for kind in KINDS):
            return None
        cells = {(row, kind): _cell(self.found[row, kind]) for row in ROWS for kind in KINDS}
        return None if any(all(cells[row, kind] == "not tried" for row in ROWS) for kind in KINDS) else cells

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        cells = None if hasattr(session.config, "workerinput") else self.cells()
        if cells is None:
            return
        before, _, rest = README.read_text().partition(BEGIN)
        there, _, after = rest.partition(END)
        if os.environ.get("SYNCER_WRITE_TABLE"):
            lines = [f"| | {' | '.join(KINDS.values())} |", "| --- |" + " --- |" * len(KINDS)]
            lines += [f"| {row} | {' | '.join(cells[row, kind] for kind in KINDS)} |" for row in ROWS]
            README.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)
            return
        known = _read(there)
        other = [f"{row}, {kind}: {shown}" for (row, kind), shown in cells.items() if shown not in ("not tried", known.get((row, kind)))]
        if other:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(
                "\nREADME.md says otherwise of the warehouses than the tests show; write it anew with `make warehouses`:", *other, sep="\n"
            )


def _cell(shown: set[str]) -> str:
    """What all tests of a cell say together: the worst of it, and what one says besides."""
    for word in ("no", "not tried"):
        if word in shown and (word == "no" or shown == {word}):
            return word
    return ", ".join(sorted(shown - {"yes", "not tried"})) or "yes"


def _read(table: str) -> dict[tuple[str, str], str]:
    """What a table says."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {(row, kind): said for row, *texts in rows for kind, said in zip(KINDS, texts, strict=True)}
