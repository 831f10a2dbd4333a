"""How much of an answer is read, and its bytes decompressed on their way. Pure: the bytes are the caller's.

What an API sends is not trusted to be small: a few kilobytes may unpack to gigabytes, or never end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Struct

from .fields import Doc, Size

ENCODINGS = "gzip, deflate"
"""What an API is told that it may compress with."""

_EITHER = 32 + zlib.MAX_WBITS
"""Of zlib: gzip or zlib, whichever the header says. What is called deflate is mostly zlib (RFC 9110, 8.4.1.2)."""


class Limits(Struct, frozen=True, kw_only=True):
    """How large an answer may be, so that no answer fills the memory. An answer that goes over is refused at once."""

    body: Annotated[Size, Doc("the body, decompressed")] = Size(256 * 2**20)
    compressed: Annotated[Size, Doc("the body as it comes over the wire, where it is compressed")] = Size(64 * 2**20)
    headers: Annotated[Size, Doc("names and values of all headers together; more than 100KB is never read")] = Size(64 * 2**10)
    redirects: Annotated[int, Doc("how many redirects a request follows", {"minimum": 0})] = 5


class TooMuch(ValueError):
    """An answer goes over a limit; the message names it, and what to do."""


class BrokeOff(ValueError):
    """An answer is not whole."""


class Undecodable(ValueError):
    """An answer is compressed in a way that nobody asked for."""


def check_headers(headers: Iterable[tuple[bytes, bytes]], limits: Limits) -> None:
    """Raises TooMuch."""
    if sum(len(name) + len(value) for name, value in headers) > limits.headers.bytes:
        raise TooMuch(f"the answer's headers are larger than {limits.headers} in all; if that is right, raise `api.limits.headers`")


def check_body(size: int, limits: Limits) -> None:
    """Raises TooMuch."""
    if size > limits.body.bytes:
        raise TooMuch(f"the answer is larger than {limits.body}; ask for smaller pages, or raise `api.limits.body`")


def whole_body(chunks: Iterable[bytes], headers: Mapping[str, str], limits: Limits) -> bytes:
    """The decompressed body out of the bytes of an answer; `headers` have names in lower case.

    No more than the limits is read or unpacked. Raises TooMuch, BrokeOff, or Undecodable.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        body, came = _plain(chunks, limits)
    elif encoding in ("gzip", "x-gzip", "deflate"):
        body, came = _inflated(chunks, encoding, limits)
    else:
        raise Undecodable(f"the answer is encoded as {encoding[:40]!r}, which syncer cannot read; leave Accept-Encoding to syncer")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and "transfer-encoding" not in headers and came < int(declared):
        raise BrokeOff
    return body


def _plain(chunks: Iterable[bytes], limits: Limits) -> tuple[bytes, int]:
    pieces, came = [], 0
    for chunk in chunks:
        came += len(chunk)
        check_body(came, limits)
        pieces.append(chunk)
    return b"".join(pieces), came


def _inflated(chunks: Iterable[bytes], encoding: str, limits: Limits) -> tuple[bytes, int]:
    pieces: list[bytes] = []
    came = size = 0
    inflater: zlib._Decompress | None = None
    for chunk in chunks:
        came += len(chunk)
        if came > limits.compressed.bytes:
            what = f"the answer is larger than {limits.compressed}, compressed"
            raise TooMuch(f"{what}; ask for smaller pages, or raise `api.limits.compressed`")
        data = chunk
        while data:
            if inflater is None:
                inflater = _opened(data, encoding)
            elif inflater.eof:  # a gzip file may go on with another (RFC 1952, 2.2); anything else behind the end is padding
                if not data.startswith(b"\x1f\x8b"[: len(data)]):
                    break
                inflater = _opened(data, encoding)
            try:
                piece = inflater.decompress(data, limits.body.bytes - size + 1)
            except zlib.error:
                raise BrokeOff from None
            size += len(piece)
            check_body(size, limits)
            pieces.append(piece)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if inflater is None or not inflater.eof:
        raise BrokeOff
    return b"".join(pieces), came


def _opened(data: bytes, encoding: str) -> zlib._Decompress:
    """What unpacks a stream that begins with these bytes; some servers send deflate without its header."""
    is_bare = encoding == "deflate" and not (data[0] & 0x0F == 8 and (len(data) < 2 or int.from_bytes(data[:2]) % 31 == 0))
    return zlib.decompressobj(-zlib.MAX_WBITS if is_bare else _EITHER)
