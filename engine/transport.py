"""HTTP/1.1 over the standard library's client, as a transport of httpx: half the work of httpx's own for each answer. I/O.

What httpx promises of a transport holds: its timeouts, its errors, connections that are used again, from any number of threads. There is
no HTTP/2 and no proxy here; where the environment names a proxy, httpx's own transport is taken.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import getproxies

import httpx

_AT_ONCE = 2**18
"""How many bytes are read at most in one go."""
_KEPT_FOR = 5.0
"""Seconds that an open connection waits for its next request."""
_VALUE = re.compile(rb"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?")
"""A header's value (RFC 9110, 5.5)."""

_Origin = tuple[str, str, int]


def direct(trust: ssl.SSLContext) -> Transport | None:
    """A transport; None where the environment names a proxy, so that httpx has to take its own."""
    return None if getproxies() else Transport(trust)


class Transport(httpx.BaseTransport):
    """Sends requests over connections that stay open, one at a time on each."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self.trust = trust
        self._idle: dict[_Origin, list[tuple[float, _Connection]]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and read the head of its answer. Raises httpx's errors."""
        for name, value in request.headers.raw:
            if not _VALUE.fullmatch(value):
                raise httpx.LocalProtocolError(f"the header {name!r} has a value that HTTP cannot carry")
        origin = (request.url.scheme, request.url.raw_host.decode("ascii"), request.url.port or 0)
        connection = self._waiting(origin) or _Connection(self, origin, _seconds(request, "connect"))
        try:
            return connection.answer(request)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        for connections in self._idle.values():
            for _, connection in connections:
                connection.close()
        self._idle.clear()

    def keep(self, connection: _Connection) -> None:
        """Its answer was read to the end, so it may carry another request."""
        self._idle.setdefault(connection.origin, []).append((time.monotonic(), connection))

    def _waiting(self, origin: _Origin) -> _Connection | None:
        """One of those that were kept, if it is open still."""
        connections = self._idle.get(origin, [])
        while connections:
            since, connection = connections.pop()
            if time.monotonic() - since < _KEPT_FOR and not connection.has_hung_up:
                return connection
            connection.close()
        return None


class _Connection:
    """An open connection. Raises httpx's errors where it cannot be opened."""

    def __init__(self, transport: Transport, origin: _Origin, timeout: float | None) -> None:
        self.transport, self.origin = transport, origin
        scheme, host, port = origin
        if scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port or 443, timeout=timeout, context=transport.trust
            )
        else:
            self._http = http.client.HTTPConnection(host, port or 80, timeout=timeout)
        self._http.response_class = _Answer
        with _errors(httpx.ConnectTimeout, httpx.ConnectError):
            self._http.connect()
        self.socket: socket.socket = self._http.sock

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What comes for a request, with a body that is read as it is asked for."""
        body = request.read()
        with _errors(httpx.WriteTimeout, httpx.WriteError):
            self.socket.settimeout(_seconds(request, "write"))
            self._http.putrequest(request.method, request.url.raw_path.decode("ascii"), skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.raw:
                self._http.putheader(name, value)
            self._http.endheaders(body or None)
        with _errors(httpx.ReadTimeout, httpx.ReadError):
            self.socket.settimeout(_seconds(request, "read"))
            answer = self._http.getresponse()
        if answer.headers.defects:
            raise httpx.RemoteProtocolError("the answer's headers are none")
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.raw_items()]
        return httpx.Response(answer.status, headers=headers, stream=_Body(self, answer, request))

    @property
    def has_hung_up(self) -> bool:
        """Whether the server has closed it: where nothing was asked, only the end can come. `select` would end at 1,024 open files."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._http.close()


class _Body(httpx.SyncByteStream):
    """The bytes of an answer as they come."""

    def __init__(self, connection: _Connection, answer: http.client.HTTPResponse, request: httpx.Request) -> None:
        self._connection, self._answer, self._request = connection, answer, request
        self._is_whole = self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with _errors(httpx.ReadTimeout, httpx.ReadError):
                self._connection.socket.settimeout(_seconds(self._request, "read"))
                chunk = self._answer.read1(_AT_ONCE)
            if not chunk:
                break
            yield chunk
        if self._answer.length:
            raise httpx.RemoteProtocolError("the answer ends before its declared length")
        self._is_whole = True

    def close(self) -> None:
        if self._is_closed:  # a connection is kept once: two requests on one would get each other's answers
            return
        self._is_closed = True
        self._answer.close()
        if self._is_whole and not self._answer.will_close:
            self._connection.transport.keep(self._connection)
        else:
            self._connection.close()


class _Answer(http.client.HTTPResponse):
    """One that is told of in advance (103 and its like) is waited for (RFC 9110, 15.2); the library does so for 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # it has no types, and no other place to do this in
        return version, 100 if 101 < status < 200 else status, reason


def _seconds(request: httpx.Request, what: str) -> float | None:
    """How long something may take; it may change while an answer is read."""
    found: float | None = request.extensions.get("timeout", {}).get(what)
    return found


@contextmanager
def _errors(late: type[httpx.TimeoutException], failed: type[httpx.NetworkError]) -> Iterator[None]:
    """What goes wrong on the wire, in httpx's words."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(type(error).__name__) from error
    except OSError as error:
        raise failed(str(error)) from error
