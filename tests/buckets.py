"""An S3 server of one's own, on loopback: moto's, with a lock before it, for its preconditions alone are not atomic."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Answer = Callable[[dict[str, Any], Any], Iterable[bytes]]

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
}  # fmt: skip


class Buckets:
    """A running server, for as many buckets as are asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self._lock, self._numbers = answer, threading.Lock(), count(1)
        self.forgetful = False
        """Whether it forgets what a name may only be put for."""
        self.asked: list[str] = []
        self.url = ""

    def __call__(self, request: dict[str, Any], start: Any) -> Iterable[bytes]:
        self.asked.append(f"{request['REQUEST_METHOD']} {request['PATH_INFO']}")
        if self.forgetful:
            request.pop("HTTP_IF_NONE_MATCH", None)
        if request["REQUEST_METHOD"] != "PUT":
            return self._answer(request, start)
        with self._lock:
            return list(self._answer(request, start))

    def bucket(self) -> str:
        """The address of a new, empty one."""
        return made(self.url, f"bucket{next(self._numbers)}")


def made(url: str, name: str) -> str:
    """The address of a new bucket."""
    httpx.put(f"{url}/{name}", headers={"Authorization": "AWS testing:x"}).raise_for_status()
    return f"s3://{name}"


@contextmanager
def serving() -> Iterator[Buckets]:
    buckets = Buckets(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, buckets, threaded=True)
    buckets.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield buckets
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_apart() -> Iterator[str]:
    """The URL of a server in a process of its own, for a client that lets no other thread of its own go on while it waits."""
    with subprocess.Popen([sys.executable, "-m", "tests.buckets"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


if __name__ == "__main__":
    with serving() as known:
        print(known.url, flush=True)
        sys.stdin.read()
