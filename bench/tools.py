"""The tools that are compared: how each is called, and what it needs in an environment of its own.

A tool is called as `python bench/tools/NAME.py URL COLLECTION,... FOLDER`; it keeps whatever it has to in the folder, so that a second call
goes on from the first, and its rows are in tables of `FOLDER/out.duckdb`, or of a PostgreSQL database, whose address comes last then.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.standins import desk_com

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENTS = ROOT / ".venv" / "bench"
SYNCER = str(ENVIRONMENTS / "syncer" / "bin" / "syncer")
NEEDS = {
    "syncer": ("--editable", f"{ROOT}[postgresql]"),
    "plain": ("duckdb>=2.0,<3", "orjson>=3.10,<4", "requests>=2.32,<3", "pandas>=2.2,<4"),
    "dlt": ("dlt[duckdb,parquet]==1.31.*", "orjson>=3.10,<4", "requests>=2.32,<3", "pyarrow"),
    "dlt_postgresql": ("dlt[postgres,parquet]==1.31.*", "adbc-driver-manager", "adbc-driver-postgresql"),
    "airbyte_cdk": ("airbyte-cdk==7.39.*",),
    "pyairbyte": ("airbyte==0.71.*",),
    "singer": ("tap-rest-api-msdk==1.4.*", "target-duckdb==0.8.*", "setuptools"),
}
"""What is installed into which environment."""


@dataclass(frozen=True)
class Task:
    """What a tool has to do: collections of a server, which a spec tells of; in a folder, and into a database, if not one in there."""

    url: str
    spec: Path
    collections: Sequence[str]
    folder: Path
    database: str = ""
    moved: bool = False
    """Whether what is in the folder already came from another address."""


@dataclass(frozen=True)
class Tool:
    """A tool by the name of its script, in the environment it needs."""

    name: str
    what: str
    environment: str
    script: str = ""
    arguments: Sequence[str] = ()
    table: str = "{}"
    """What it calls a collection's table; nothing, where it makes none."""
    added: str = ""
    """The columns that it adds by itself, where what all others hold is to be compared."""

    def settings(self, task: Task) -> dict[str, str]:
        """What of its environment is its own."""
        return {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}

    @property
    def python(self) -> str:
        return str(ENVIRONMENTS / self.environment / "bin/python")

    def command(self, task: Task) -> list[str]:
        script = str(HERE / "tools" / f"{self.script or self.name}.py")
        database = [task.database] if task.database else []
        return [self.python, script, task.url, ",".join(task.collections), str(task.folder), *self.arguments, *database]


@dataclass(frozen=True)
class Syncer(Tool):
    """syncer as a user calls it: `syncer run SPEC`, with hub and warehouse in the folder."""

    environment: str = "syncer"
    table: str = "bench.{}"
    added: str = "_synced_at, _deleted_at, _segment"
    variant: str = ""
    """What its spec is called besides the work's."""

    def settings(self, task: Task) -> dict[str, str]:
        return {"SYNCER_STATE": str(task.folder / "state")}

    def command(self, task: Task) -> list[str]:
        spec = task.spec.with_stem(task.spec.stem + self.variant)
        places = ["--hub", str(task.folder / "hub"), "--to", task.database or f"duckdb:{task.folder}/out.duckdb", "--schema", "bench"]
        moved = ["--same-account"] if task.moved else []
        return [SYNCER, "run", str(spec), *places, "--set", f"base_url={task.url}", *moved]


@dataclass(frozen=True)
class Start(Tool):
    """A command of syncer's that has next to nothing to do, as its arguments have it."""

    environment: str = "syncer"
    table: str = ""

    def settings(self, task: Task) -> dict[str, str]:
        known = {"BASE_URL": task.url, "EMAIL": desk_com.EMAIL, "PASSWORD": desk_com.PASSWORD}
        return {"SYNCER_STATE": str(task.folder / "state"), **{f"SYNCER_DESK_COM_{name}": value for name, value in known.items()}}

    def command(self, task: Task) -> list[str]:
        return [SYNCER, *self.arguments]


_DESK = str(ROOT / "specs" / "desk_com.yaml")
TOOLS = [
    Syncer("syncer", "syncer, all promises on"),
    Syncer("syncer_1", "syncer, `concurrency: 1`", variant="_1"),
    Syncer("syncer_16", "syncer, `concurrency: 16`", variant="_16"),
    Start("help", "`syncer --help`", arguments=("--help",)),
    Start("validate", "`syncer validate specs/desk_com.yaml`", arguments=("validate", _DESK)),
    Start("empty", "`syncer run specs/desk_com.yaml`, where there is nothing", arguments=("run", _DESK)),
    Tool("floor", "the floor: a raw socket, pages cut into lines, one typed table", "plain"),
    Tool("script", "15 lines: requests, orjson, one NDJSON file, MERGE", "plain"),
    Tool("naive", "requests and pandas, the table replaced as a whole", "plain"),
    Tool("dlt_arrow", "dlt, own resource that yields Arrow", "dlt", table="bench.{}"),
    Tool("dlt_tuned", "dlt rest_api, best tuning found", "dlt", "dlt_rest", ("tuned",), "bench.{}"),
    Tool("dlt", "dlt rest_api, defaults", "dlt", "dlt_rest", ("default",), "bench.{}"),
    Tool("dlt_postgresql", "dlt rest_api into PostgreSQL, best tuning found", "dlt_postgresql", "dlt_rest", ("tuned",), "bench.{}"),
    Tool("cdk", "Airbyte CDK, reading only", "airbyte_cdk", table=""),
    Tool("pyairbyte", "PyAirbyte, declarative manifest, DuckDB cache", "pyairbyte", table="main_.{}"),
    Tool("singer", "tap-rest-api-msdk and target-duckdb", "singer", table="main_.{}"),
]


def install(tools: Sequence[Tool]) -> None:
    """Make the environments that are not there yet."""
    for name in dict.fromkeys(tool.environment for tool in tools):
        place = ENVIRONMENTS / name
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS[name]]
            subprocess.run(pip, check=True)
            (place / "ready").touch()


def warm(tools: Sequence[Tool]) -> None:
    """Read once what these tools are made of: or else who comes first waits for the disk."""
    for place in {Path(tool.python).parents[1] / "lib" for tool in tools}:
        for file in place.rglob("*"):
            if file.suffix in (".pyc", ".so"):
                file.read_bytes()


def versions(tool: Tool) -> str:
    """What is installed of a tool, by the packages it was asked for."""
    names = [need.partition("[")[0].partition("=")[0].partition(">")[0] for need in NEEDS[tool.environment]]
    found = _installed(tool.environment)
    return ", ".join(f"{name} {found[name]}" for name in dict.fromkeys([*names, "rest-syncer", "duckdb"]) if name in found)


@cache
def _installed(environment: str) -> dict[str, str]:
    """The packages of an environment, and their versions."""
    pip = [str(ENVIRONMENTS / environment / "bin/python"), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.split()
    return dict(line.split("==") for line in listed if "==" in line)
