"""A command as a process of its own, and what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METER = Path(__file__).with_name("meter.py")


@dataclass(frozen=True)
class Measured:
    """Wall and CPU seconds, peak memory in MB, and what the command printed."""

    wall: float
    cpu: float
    mb: float
    out: str

    @property
    def document(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end. Raises AssertionError with what it said, where it fails.

    The disk has nothing to write when it begins: a command that syncs its own files would wait for what others left.
    """
    out, log, took = folder / "out.json", folder / "log", folder / "took.json"
    around = {**os.environ, **(environment or {})}
    around.pop("PYTHONDONTWRITEBYTECODE", None)  # who installs a package has it compiled, and so do we
    os.sync()
    meter = [sys.executable, "-I", "-S", str(METER), str(took)]
    with out.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.run(
            [*meter, *command], cwd=folder, env=around, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, check=False
        )
    assert process.returncode == 0, log.read_text()
    return Measured(**json.loads(took.read_text()), out=out.read_text())


def say(what: str, found: Measured, records: int | None = None) -> None:
    rate = f", {records / found.wall:,.0f} records/s" if records else ""
    print(f"{what}: {found.wall:.2f} s wall, {found.cpu:.2f} s CPU, {found.mb:.0f} MB peak{rate}", flush=True)
