"""How fast a first run is, and how much memory it takes: N cases from the stand-in, through the hub, into DuckDB.

    python -m bench.first_load [--cases 100000] [--runs 3]

Prints, for each run, wall seconds, records a second, CPU seconds and peak memory of the whole `syncer run` process, then the
same for a second run that finds nothing new. The stand-in runs in a process of its own; on two cores it takes part of one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.standins import desk_com

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
                    first = _measured(url, folder)
                    again = _measured(url, folder)
                    _say(f"run {number + 1}, first load", first, options.cases)
                    _say(f"run {number + 1}, nothing new", again, None)
        finally:
            server.terminate()


def _measured(url: str, folder: str) -> dict[str, float]:
    """One `syncer run` as a process of its own: wall and CPU seconds, peak memory in MB, records read."""
    settings = {"BASE_URL": url, "EMAIL": desk_com.EMAIL, "PASSWORD": desk_com.PASSWORD}
    environment = os.environ | {f"SYNCER_DESK_COM_{name}": value for name, value in settings.items()}
    spec = str(ROOT / "specs" / "desk_com.yaml")
    command = [sys.executable, "-m", "rest_syncer.cli", "run", spec, "--select", "cases", "--json"]
    out = Path(folder) / "summary.json"
    began = time.monotonic()
    with out.open("wb") as stdout, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=log)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    wall = time.monotonic() - began
    assert process.returncode == 0, (Path(folder) / "log").read_text()
    read = json.loads(out.read_text())["collections"]["cases"]["read"]
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024, "read": read}


def _say(what: str, figures: dict[str, float], records: int | None) -> None:
    rate = f", {records / figures['wall']:,.0f} records/s" if records else ""
    print(f"{what}: {figures['wall']:.2f} s wall, {figures['cpu']:.2f} s CPU, {figures['mb']:.0f} MB peak{rate}", flush=True)


if __name__ == "__main__":
    main()
