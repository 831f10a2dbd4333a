"""How fast a first run is, and how much memory it takes: N cases from the stand-in, through the hub, into DuckDB.

    python -m bench.first_load [--cases 100000] [--runs 3]

Prints, for each run, wall seconds, records a second, CPU seconds and peak memory of the whole `syncer run` process, then the
same for a second run that finds nothing new. The stand-in runs in a process of its own; on two cores it takes part of one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.standins import desk_com

from .measured import Measured, measured, say

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure first loads from the stand-in.")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-m", "tests.standins.desk_com", "--cases", str(options.cases), "--customers", "10"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        url = server.stdout.readline().decode().strip() if server.stdout else ""
        try:
            for number in range(options.runs):
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    first = _run(url, folder)
                    again = _run(url, folder)
                    say(f"run {number + 1}, first load", first, options.cases)
                    say(f"run {number + 1}, nothing new", again)
        finally:
            server.terminate()


def _run(url: str, folder: str) -> Measured:
    settings = {"BASE_URL": url, "EMAIL": desk_com.EMAIL, "PASSWORD": desk_com.PASSWORD}
    environment = os.environ | {f"SYNCER_DESK_COM_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "rest_syncer.cli", "run", str(ROOT / "specs" / "desk_com.yaml"), "--select", "cases", "--json"]
    return measured(command, Path(folder), environment)


if __name__ == "__main__":
    main()
