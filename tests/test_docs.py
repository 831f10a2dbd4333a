"""What README, CONTRIBUTING and docs/ say holds: commands exist, specs are valid, words are explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine import paginate
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.reference import reference
from rest_syncer.engine.schema import spec_schema

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


def test_every_stop_reason_of_the_code_is_in_the_readme() -> None:
    assert {reason for reason in get_args(paginate.Reason) if f"`{reason}`" not in README} == set()


def test_the_committed_schema_is_what_the_code_says() -> None:
    assert json.loads((ROOT / "schemas" / "spec.schema.json").read_text()) == spec_schema()


def test_the_committed_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference()


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
