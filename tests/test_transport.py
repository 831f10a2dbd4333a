"""The transport on the wire: what it makes of the answers of a server that is scripted byte by byte."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import pytest

from rest_syncer.engine.transport import Transport, direct

TRUST = ssl.create_default_context()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
LAST = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")


def request(connection: socket.socket) -> bytes:
    """Head and body of what was sent."""
    came = b""
    while b"\r\n\r\n" not in came:
        came += connection.recv(10_000)
    length = int(came.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
    while len(came.partition(b"\r\n\r\n")[2]) < length:
        came += connection.recv(10_000)
    return came


@contextmanager
def scripted(*connections: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A server: of each connection, what it answers to one request after the other; then it hangs up. Gives its URL, and what it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answers in connections:
                connection, _ = listener.accept()
                with connection:
                    for answer in answers:
                        got.append(request(connection))
                        connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/list", got
        server.join(10)
        assert not server.is_alive(), "not all of its connections were used"


def test_a_connection_is_used_again() -> None:
    with scripted([OK, OK, LAST]) as (url, got), httpx.Client(transport=Transport(TRUST)) as client:
        assert [client.get(url, params={"page": page}).json() for page in range(3)] == [[], [], []]
    assert [one.split(b" ")[1] for one in got] == [b"/list?page=0", b"/list?page=1", b"/list?page=2"]


def kept(transport: Transport) -> list[socket.socket]:
    """The open connections that wait for a request, as soon as their servers have closed them."""
    sockets = [connection.socket for connections in transport._idle.values() for _, connection in connections]
    assert select.select(sockets, [], [], 10)[0] == sockets
    return sockets


def test_a_connection_that_the_server_has_closed_gives_way_to_another() -> None:
    transport = Transport(TRUST)
    with scripted([OK], [LAST]) as (url, got), httpx.Client(transport=transport) as client:
        assert client.get(url).json() == []
        assert len(kept(transport)) == 1
        assert client.get(url).json() == []
    assert len(got) == 2


def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() -> None:
    with scripted([OK], [LAST]) as (url, got), httpx.Client(transport=Transport(TRUST)) as client:
        client.send(client.build_request("GET", url), stream=True).close()
        assert client.get(url).json() == []
    assert len(got) == 2


def test_a_connection_is_kept_once_however_often_its_answer_is_closed() -> None:
    transport = Transport(TRUST)
    with scripted([OK]) as (url, _), httpx.Client(transport=transport) as client:
        answer = client.get(url)
        answer.stream.close()  # type: ignore[union-attr]
        assert len(kept(transport)) == 1


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(LAST, id="with-a-length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n", id="in-chunks"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n[]", id="to-the-connections-end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + LAST, id="after-a-100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + LAST, id="after-a-103"),
        pytest.param(LAST.replace(b"200 OK", b"200"), id="without-a-reason"),
    ],
)
def test_an_answer_may_come_like_this(wire: bytes) -> None:
    with scripted([wire]) as (url, _), httpx.Client(transport=Transport(TRUST)) as client:
        answer = client.get(url)
    assert (answer.status_code, answer.json()) == (200, [])
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(b"", httpx.RemoteProtocolError, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", httpx.RemoteProtocolError, id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]", httpx.RemoteProtocolError, id="cut-off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nnonsense\r\nLink: <next>\r\n\r\n[]", httpx.RemoteProtocolError, id="a-line-that-is-no-header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[]", httpx.RemoteProtocolError, id="cut-off-in-a-chunk"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(wire: bytes, error: type[Exception]) -> None:
    with scripted([wire]) as (url, _), httpx.Client(transport=Transport(TRUST)) as client, pytest.raises(error):
        client.get(url)


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\n b", "a\x00b", "a "])
def test_a_header_that_http_cannot_carry_is_not_sent(value: str) -> None:
    with scripted([LAST]) as (url, got), httpx.Client(transport=Transport(TRUST)) as client:
        with pytest.raises(httpx.LocalProtocolError):
            client.get(url, headers={"Authorization": value})
        assert client.get(url).json() == []
    assert len(got) == 1


def test_a_body_is_sent_whole_with_its_length() -> None:
    with scripted([LAST]) as (url, got), httpx.Client(transport=Transport(TRUST)) as client:
        client.post(url, content=b'{"query": "all"}')
    assert got[0].endswith(b'\r\n\r\n{"query": "all"}')
    assert b"\r\nContent-Length: 16\r\n" in got[0]


def test_a_server_that_is_silent_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, httpx.Client(transport=Transport(TRUST), timeout=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        listener.accept()[0].close()


def test_where_nobody_listens_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with httpx.Client(transport=Transport(TRUST)) as client, pytest.raises(httpx.ConnectError):
        client.get(f"http://127.0.0.1:{port}/")


def test_who_speaks_no_tls_where_it_is_asked_for_is_no_connection() -> None:
    with scripted([]) as (url, _), httpx.Client(transport=Transport(TRUST)) as client, pytest.raises(httpx.ConnectError):
        client.get(url.replace("http:", "https:"))


def test_a_proxy_is_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(direct(TRUST), Transport)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:8080")
    assert direct(TRUST) is None
