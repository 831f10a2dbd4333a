"""Servers on loopback. I/O.

A static one for `data`: nginx where it is installed, else granian; with a delay, always the latter. `GET /NAME?page=2` gives
`NAME/2.json`, `GET /NAME?since=...` a page of `NAME.changes`; since the year 2000 is since ever, for tools that have to say something.
And the stand-in for Desk.com, with nothing in it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.standins.desk_com import SIZES

ROOT = Path(__file__).parents[1]
_NGINX = """
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
daemon off;
events {{ worker_connections 512; }}
http {{
  log_format times $msec;
  access_log {place}/access.log times;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  sendfile on; tcp_nodelay on; keepalive_requests 1000000; default_type application/json;
  map $arg_page $page {{ "" 1; default $arg_page; }}
  map $arg_since $changes {{ "" ""; "~^2000" ""; default ".changes"; }}
  server {{
    listen 127.0.0.1:{port};
    root {root};
    location ~ ^/(?<name>[a-z0-9_]+)$ {{ try_files /$name$changes/$page.json =404; }}
  }}
}}
"""


@dataclass
class Server:
    """A running server: where it listens, what it is, and the log that has the time of each request."""

    url: str
    what: str
    log: Path

    def times(self) -> list[float]:
        """When each of the requests came, up to now."""
        return sorted(map(float, self.log.read_text().split())) if self.log.exists() else []


def busiest(times: Sequence[float], seconds: float = 60.0) -> int:
    """The most requests in any stretch of so many seconds."""
    return max((bisect_left(times, start + seconds) - place for place, start in enumerate(times)), default=0)


@contextmanager
def serving(root: Path, delay: float = 0.0) -> Iterator[Server]:
    """Serve a folder, each answer after so many seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory(prefix="bench-serve-") as folder:
        place, nginx = Path(folder), shutil.which("nginx")
        if nginx and not delay:
            place.chmod(0o755)
            (place / "nginx.conf").write_text(_NGINX.format(place=place, port=port, root=root))
            command, what = [nginx, "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")], "nginx"
        else:
            loop = ["--interface", "rsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-ws"]
            command, what = [sys.executable, "-m", "granian", *loop, "bench.app:app"], "granian"
        environment = os.environ | {"BENCH_ROOT": str(root), "BENCH_DELAY": str(delay), "BENCH_LOG": str(place / "access.log")}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield Server(f"http://127.0.0.1:{port}", what, place / "access.log")
        finally:
            process.terminate()
            process.wait()


@contextmanager
def desk(root: Path, delay: float = 0.0) -> Iterator[Server]:
    """Serve a Desk.com in which there is nothing."""
    sizes = [word for name in SIZES for word in (f"--{name}", "0")]
    with subprocess.Popen([sys.executable, "-m", "tests.standins.desk_com", *sizes], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            yield Server(process.stdout.readline().decode().strip() if process.stdout else "", "the stand-in", root / "no.log")
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers. Raises RuntimeError where it ends before, or never does."""
    for _ in range(200):
        try:
            httpx.get(f"{url}/nothing", timeout=5)
        except httpx.HTTPError:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode} before it answered") from None
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server does not answer")
