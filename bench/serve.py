"""A static server for `data`, on loopback: nginx where it is installed, else granian; with a delay, always the latter. I/O.

`GET /NAME?page=2` gives `NAME/2.json`, `GET /NAME?since=...` a page of `NAME.changes`; since the year 2000 is since ever, for tools that
have to say something.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

_NGINX = """
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
daemon off;
events {{ worker_connections 512; }}
http {{
  access_log {place}/access.log;
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
    """A running server: where it listens, what it is, and the log that has a line for each request."""

    url: str
    what: str
    log: Path

    def requests(self) -> int:
        """How many requests were answered by now."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0


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
