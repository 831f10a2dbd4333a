"""The house: which module may import which, and where I/O may happen. Read from the imports themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [
    "errors", "document", "exchange", "times", "fields", "kinds", "record", "values", "template", "columns", "properties", "suggest",
    "paginate.step", "paginate.pages", "paginate.links", "paginate.key_set", "paginate", "grant", "auth", "window", "quota", "budget",
    "permits", "retry", "rules", "limits", "deletes", "schedule", "timers", "spec", "drift", "schema", "reference", "fits", "parse",
    "settings", "hub.segment", "hub.fold", "proof", "plan", "project", "egress", "clock", "account", "turns", "side_by_side",
    "spare", "freed", "hub.store", "hub.folder", "hub.bucket", "hub.loads", "hub", "tokens", "transport", "fetch", "retention", "earlier",
    "read", "lists", "newness", "extract", "helper", "piece", "stage",
    "destinations",
    "destinations.dialect", "destinations.upsert", "destinations.versions", "destinations.shape", "destinations.sql",
    "destinations.staged", "destinations.copying", "destinations.duckdb", "destinations.postgresql", "destinations.delta",
    "destinations.snowflake", "destinations.bigquery", "outcome", "ahead",
    "walked", "parents", "keys", "met", "chain",
    "pull", "batch", "load", "run", "compact", "look", "serve", "show",
]  # fmt: skip
"""Lower layers first: a module imports only from what stands before it."""

WITH_IO = {
    "parse", "settings", "egress", "clock", "account", "turns", "side_by_side", "spare", "freed", "tokens", "transport", "fetch", "hub",
    "hub.store", "hub.folder", "hub.bucket", "hub.loads", "earlier", "lists", "helper", "piece", "stage", "destinations.dialect",
    "destinations.upsert", "destinations.versions", "destinations.shape", "destinations.sql", "destinations.staged",
    "destinations.copying", "destinations.duckdb", "destinations.postgresql", "destinations.delta", "destinations.snowflake",
    "destinations.bigquery", "ahead", "parents", "keys", "met", "chain", "pull", "batch", "load", "run", "compact", "look", "serve", "show",
}  # fmt: skip

SEAMS = {
    "destinations": {f"destinations.{kind}" for kind in ("duckdb", "postgresql", "delta", "snowflake", "bigquery")},
    "hub.store": {"hub.folder", "hub.bucket"},
}
"""A family's front door opens its own rooms, on use."""

OUTSIDE = {
    "duckdb", "httpx", "socket", "urllib.request", "os", "shutil", "tempfile", "fcntl", "time", "subprocess", "threading", "sys", "dotenv",
}  # fmt: skip
"""What reaches files, sockets, clocks or databases; `pathlib` counts where it opens something."""

ONLY_IMPORTERS = {
    "jinja2": {"template"},
    "httpx": {"fetch", "transport"},
    "yaml": {"document"},
    "jsonschema": {"parse"},
    "duckdb": {
        "piece",
        "stage",
        "spare",
        "destinations.duckdb",
        "destinations.postgresql",
        "destinations.snowflake",
        "destinations.bigquery",
    },
    "psycopg": {"destinations.postgresql"},
    "snowflake": {"destinations.snowflake"},
    "google": {"destinations.bigquery"},
    "deltalake": {"destinations.delta"},
    "oauthlib": {"auth"},
    "zstandard": {"hub.segment"},
    "rich": {"show"},
    "dotenv": {"settings"},
    "cronsim": {"schedule"},
    "obstore": {"hub.bucket"},
}


def modules() -> dict[str, Path]:
    files = (ROOT / "engine").rglob("*.py")
    named = {".".join(path.relative_to(ROOT / "engine").with_suffix("").parts).removesuffix("__init__").rstrip("."): path for path in files}
    return {name: path for name, path in named.items() if name}


def imports(path: Path, name: str) -> Iterator[tuple[str, bool, bool]]:
    """(module, whether it is ours, whether it is for type checkers only) of each import of a file."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    is_package = path.name == "__init__.py"
    for node in ast.walk(tree):
        only = id(node) in typing_only
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, False, only
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", False, only
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".") if is_package else name.split(".")[:-1]
            base = here[: len(here) - node.level + 1]
            target = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            for alias in node.names:
                deeper = f"{target}.{alias.name}".strip(".")
                yield (deeper if deeper in LAYERS else target), True, only


def test_every_module_has_its_place() -> None:
    assert sorted(modules()) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_imports_only_from_lower_layers(name: str) -> None:
    place = LAYERS.index(name)
    for target, ours, _ in imports(modules()[name], name):
        if ours and target != name and target not in SEAMS.get(name, set()):
            assert target in LAYERS, f"{name} imports {target}"
            assert LAYERS.index(target) < place, f"{name} imports {target}, which stands above it"


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in WITH_IO])
def test_a_pure_module_reaches_nothing_outside(name: str) -> None:
    for target, ours, typing_only in imports(modules()[name], name):
        if not ours and not typing_only:
            assert target.partition(".")[0] not in OUTSIDE and target not in OUTSIDE, f"{name} imports {target}"


@pytest.mark.parametrize("name", LAYERS)
def test_the_docstring_says_whether_there_is_io(name: str) -> None:
    doc = (ast.get_docstring(ast.parse(modules()[name].read_text())) or "").split("\n\n")[0]
    says_pure, says_io = "Pure" in doc, bool(re.search(r"\bI/O\b|Reads ", doc))
    assert (says_pure, says_io) == (name not in WITH_IO, name in WITH_IO), doc


@pytest.mark.parametrize("library", sorted(ONLY_IMPORTERS))
def test_a_library_is_imported_in_one_place(library: str) -> None:
    found = {
        name
        for name, path in modules().items()
        for target, ours, typing_only in imports(path, name)
        if not ours and not typing_only and target.partition(".")[0] == library
    }
    assert found <= ONLY_IMPORTERS[library]


def test_no_source_is_named_in_the_engine() -> None:
    texts = [*modules().values(), ROOT / "cli.py", ROOT / "schemas" / "spec.schema.json"]
    assert [path.name for path in texts if re.search("desk", path.read_text(), re.IGNORECASE)] == []


def test_help_imports_nothing_heavy() -> None:
    heavy = {"duckdb", "httpx", "jsonschema", "jinja2", "yaml", "rich.progress"}
    tree = ast.parse((ROOT / "cli.py").read_text())
    at_top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    at_top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not at_top & heavy
    assert "engine.run" not in at_top
