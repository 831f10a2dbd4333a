"""What machine this is, and what is measured on it. I/O."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .tools import ROOT, TOOLS, versions


def machine() -> str:
    """The machine, in one line."""
    model = re.search(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text("/etc/os-release"), re.MULTILINE)
    cpu, name = model[1] if model else platform.machine(), system[1] if system else platform.system()
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB of memory; {name}, Linux {platform.release()}; Python {platform.python_version()}"
    )


def place(tools: Iterable[str], servers: Iterable[str]) -> dict[str, str]:
    """All that was measured with: the machine, the servers, syncer's commit, each tool's versions."""
    log = ["git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "engine", "cli.py"]
    commit = subprocess.run(log, capture_output=True, text=True, check=False).stdout.strip()
    its = {"machine": machine(), "servers": ", ".join(sorted(servers)), "commit": commit or "an unknown commit"}
    return its | {tool.name: versions(tool) for tool in TOOLS if tool.name in tools}


def _text(file: str) -> str:
    return Path(file).read_text() if Path(file).exists() else ""
