"""A stand-in Snowflake on loopback: fakesnow, in an environment of its own, for it wants an older DuckDB than this project has."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / ".venv/fakesnow/bin/fakesnow"


class Account:
    """A running server, for as many databases as are asked for."""

    def __init__(self, port: int) -> None:
        self.port, self._numbers = port, count(1)

    def database(self) -> str:
        """The URL of a new, empty one."""
        return f"snowflake://me@fakesnow/SHOP{next(self._numbers)}?host=127.0.0.1&port={self.port}&protocol=http&network_timeout=3"


@contextmanager
def serving() -> Iterator[Account]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    surroundings = {"PATH": os.environ.get("PATH", ""), "TZ": "UTC"}
    server = subprocess.Popen([str(PROGRAM), "-s", "-p", str(port)], env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield Account(port)
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Until it listens."""
    for _ in range(1200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, "fakesnow did not start"
        time.sleep(0.05)
    raise AssertionError("fakesnow does not listen")
