"""What README, CONTRIBUTING and docs/ say holds: commands exist, specs are valid, words are explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import duckdb
import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine import paginate
from rest_syncer.engine.hub.segment import Proof
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.reference import reference
from rest_syncer.engine.schema import spec_schema
from tests import test_examples

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            if text.startswith("syncer:"):
                found.append((f"{page.name}-{number}", text))
    return found


@pytest.mark.parametrize(("name", "text"), [pytest.param(*one, id=one[0]) for one in snippets()])
def test_every_spec_in_the_documentation_is_valid(name: str, text: str) -> None:
    parse_spec(text, name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_has_a_help_text(command: str) -> None:
    assert f"`syncer {command}" in README
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


LEDGER = (ROOT / "docs" / "ledger.md").read_text()


@pytest.mark.parametrize("reason", [*get_args(paginate.Reason), "all_parents"])
def test_every_stop_reason_is_explained_with_an_example_of_it(reason: str) -> None:
    """The examples' expectations are what `test_examples` finds."""
    lines = re.findall(rf"^\| `{reason}` \|.*\((\.\./tests/examples/[\w-]+)\) \|$", LEDGER, re.MULTILINE)
    if reason == "skipped":  # of a parent's list: of all of them, it is all_parents
        assert "`skipped`" in LEDGER
        return
    assert f"stop: {reason}" in (ROOT / "docs" / lines[0] / "expected.yaml").read_text()


@pytest.mark.parametrize("proof", get_args(Proof))
def test_every_proof_is_explained_with_an_example_of_it(proof: str) -> None:
    (example,) = re.findall(rf"^\| `{proof}` \|.*\((\.\./tests/examples/[\w-]+)\) \|$", LEDGER, re.MULTILINE)
    assert f"proof: {proof}" in (ROOT / "docs" / example / "expected.yaml").read_text()


def test_the_line_of_the_ledger_that_is_shown_is_what_its_example_gives(tmp_path: Path) -> None:
    test_examples.test_example(ROOT / "tests/examples/015-pages-offset", tmp_path)
    with duckdb.connect(str(tmp_path / "zoo.db")) as con:
        found = con.execute("SELECT COLUMNS(*)::VARCHAR FROM zoo.zoo._syncer_runs")
        names = [column[0] for column in found.description or ()]
        row = dict(zip(names, found.fetchone() or (), strict=True))
    shown: dict[str, str] = {}
    for cells in re.findall(r"^\| (`[^|]*`) \|.*\| ?([^|]*?) ?\|$", LEDGER.partition("## Why")[0], re.MULTILINE):
        shown |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1].strip("`"))
    assert sorted(shown) == sorted(names)
    assert {name: text for name, text in shown.items() if text} == {name: str(row[name]) for name, text in shown.items() if text}


def test_the_committed_schema_is_what_the_code_says() -> None:
    assert json.loads((ROOT / "schemas" / "spec.schema.json").read_text()) == spec_schema()


def test_the_committed_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference()


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
