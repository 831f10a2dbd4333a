"""The tools that are compared: how each is called, and what it needs in an environment of its own.

A tool is called as `python bench/tools/NAME.py URL COLLECTION FOLDER`; it keeps whatever it has to in the folder, so that a second call
goes on from the first, and its rows are in a table of `FOLDER/out.duckdb`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".venv" / "bench"
NEEDS = {
    "plain": ("duckdb>=2.0,<3", "orjson>=3.10,<4", "requests>=2.32,<3", "pandas>=2.2,<4"),
    "dlt": ("dlt[duckdb,parquet]==1.31.*", "orjson>=3.10,<4", "requests>=2.32,<3", "pyarrow"),
    "airbyte_cdk": ("airbyte-cdk==7.39.*",),
    "pyairbyte": ("airbyte==0.71.*",),
    "singer": ("tap-rest-api-msdk==1.4.*", "target-duckdb==0.8.*", "setuptools"),
}
"""What is installed into which environment."""


@dataclass(frozen=True)
class Tool:
    """A tool by the name of its script, in the environment it needs; syncer's own is this one."""

    name: str
    what: str
    environment: str = ""
    script: str = ""
    arguments: Sequence[str] = ()
    table: str = "{}"
    """What it calls a collection's table."""

    def settings(self, url: str, collection: str, folder: Path) -> dict[str, str]:
        """What of its environment is its own."""
        return {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}

    @property
    def python(self) -> str:
        return str(ENVIRONMENTS / self.environment / "bin/python") if self.environment else sys.executable

    def command(self, url: str, collection: str, folder: Path) -> list[str]:
        return [self.python, str(HERE / "tools" / f"{self.script or self.name}.py"), url, collection, str(folder), *self.arguments]


class Syncer(Tool):
    """syncer as a user calls it: `syncer run SPEC`, with hub and warehouse in the folder."""

    def settings(self, url: str, collection: str, folder: Path) -> dict[str, str]:
        return {f"SYNCER_{collection.upper()}_BASE_URL": url, "SYNCER_STATE": str(folder / "state")}

    def command(self, url: str, collection: str, folder: Path) -> list[str]:
        places = ["--hub", str(folder / "hub"), "--to", f"duckdb:{folder}/out.duckdb"]
        return [str(Path(sys.executable).parent / "syncer"), "run", str(HERE / "specs" / f"{collection}.yaml"), *places, *self.arguments]


TOOLS = [
    Syncer("syncer", "syncer, all promises on", table="{0}.{0}"),
    Tool("floor", "floor: a raw socket, whole pages into a typed table", "plain"),
    Tool("script", "15 lines: requests, orjson, one NDJSON file, MERGE", "plain"),
    Tool("naive", "requests and pandas, the table replaced as a whole", "plain"),
    Tool("dlt_arrow", "dlt, own resource that yields Arrow", "dlt", table="bench.{}"),
    Tool("dlt_tuned", "dlt rest_api, best tuning found", "dlt", "dlt_rest", ("tuned",), "bench.{}"),
    Tool("dlt", "dlt rest_api, defaults", "dlt", "dlt_rest", ("default",), "bench.{}"),
    Tool("cdk", "Airbyte CDK, reading only", "airbyte_cdk", table=""),
    Tool("pyairbyte", "PyAirbyte, declarative manifest, DuckDB cache", "pyairbyte", table="main_.{}"),
    Tool("singer", "tap-rest-api-msdk and target-duckdb", "singer", table="main_.{}"),
]


def install(tools: Sequence[Tool]) -> None:
    """Make the environments that are not there yet."""
    for name in dict.fromkeys(tool.environment for tool in tools if tool.environment):
        place = ENVIRONMENTS / name
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS[name]]
            subprocess.run(pip, check=True)
            (place / "ready").touch()


def versions(tool: Tool) -> str:
    """What is installed of a tool, by the packages it was asked for."""
    if not tool.environment:
        return ""
    names = [need.partition("[")[0].partition("=")[0].partition(">")[0] for need in NEEDS[tool.environment]]
    pip = [str(ENVIRONMENTS / tool.environment / "bin/python"), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.split()
    found = dict(line.split("==") for line in listed if "==" in line)
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)
