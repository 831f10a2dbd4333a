"""A server on loopback that answers as badly as it is told to: what is sent is one function from a request to an `Answer`.

    with Server(lambda asked: json_answer({"data": []})) as server:
        ...  # server.url, server.asked

An answer's bytes go out as they are: its Content-Length may lie, its body may break off, drip, or never come.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Asked:
    """A request as it came; names of headers in lower case."""

    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """As it came: nothing in it is unquoted."""
        return self.target.partition("?")[0]

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """What is sent: a Content-Length is added where `headers` have none."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drips: float = 0.0
    """Seconds between two bytes of the body."""
    silent: bool = False
    """Nothing is sent, until the client gives up."""


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(document).encode(), status, {"Content-Type": "application/json", **headers})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        answer = self.server.take(asked)
        if answer.silent:
            self.close_connection = True
            self.connection.recv(1)
            return
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Such", *(f"{name}: {value}" for name, value in headers.items())]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if answer.drips:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                if self.server.closing.wait(answer.drips):
                    break
        else:
            self.wfile.write(answer.body)
        self.close_connection = headers["Content-Length"] != str(len(answer.body)) or answer.drips > 0

    do_POST = do_GET  # noqa: N815 - as http.server wants it

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Listener(socketserver.ThreadingTCPServer):
    """Knows its open connections, so that none outlives it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, take: Callable[[Asked], Answer]) -> None:
        self.take, self.closing, self.connections = take, threading.Event(), set[Any]()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()
        for connection in list(self.connections):
            with suppress(OSError):  # the client may be faster
                connection.shutdown(socket.SHUT_RDWR)


class Server:
    """Serves from a thread, from its construction until `close`; `asked` are the requests that came, in order."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._listener = _Listener(self._take)
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _take(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            return self.answer(asked)

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
