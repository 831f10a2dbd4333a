"""A body is whole, decompressed and within its limits, or it is none."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.fields import Size
from rest_syncer.engine.limits import BrokeOff, Limits, TooMuch, Undecodable, check_headers, whole_body

SMALL = Limits(body=Size(1000), compressed=Size(100), headers=Size(20))
BODY = b'{"id": 1}' * 20


def bare(data: bytes) -> bytes:
    """Deflate as some servers send it: without the header of zlib."""
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


PACKED = {"gzip": gzip.compress(BODY), "x-gzip": gzip.compress(BODY), "GZIP": gzip.compress(BODY), "deflate": zlib.compress(BODY)}


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        *(pytest.param(name, data, id=name) for name, data in PACKED.items()),
        pytest.param("deflate", bare(BODY), id="bare-deflate"),
        pytest.param("identity", BODY, id="identity"),
        pytest.param("", BODY, id="none"),
        pytest.param("gzip", gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), id="two-gzips"),
        pytest.param("gzip", gzip.compress(BODY) + bytes(20), id="gzip-and-padding"),
    ],
)
def test_a_body_is_the_same_however_it_is_packed_and_cut(encoding: str, data: bytes, piece: int) -> None:
    chunks = [data[at : at + piece] for at in range(0, len(data), piece)]
    headers = {"content-encoding": encoding, "content-length": str(len(data))}
    assert whole_body(chunks, headers, Limits()) == BODY


@given(st.binary(min_size=1, max_size=400), st.integers(1, 50))
def test_any_bytes_come_out_as_they_went_in(data: bytes, piece: int) -> None:
    for encoding, packed in (("gzip", gzip.compress(data)), ("deflate", zlib.compress(data)), ("deflate", bare(data))):
        chunks = [packed[at : at + piece] for at in range(0, len(packed), piece)]
        if piece > 1 or packed[0] & 15 != 8:  # of one byte alone nobody can tell which deflate it begins
            assert whole_body(chunks, {"content-encoding": encoding}, Limits()) == data


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_body_that_breaks_off_is_none(encoding: str) -> None:
    for end in range(len(PACKED[encoding])):
        with pytest.raises(BrokeOff):
            whole_body([PACKED[encoding][:end]], {"content-encoding": encoding}, Limits())


def test_a_body_that_is_not_what_it_says_is_none() -> None:
    with pytest.raises(BrokeOff):
        whole_body([b"plain text"], {"content-encoding": "gzip"}, Limits())


def test_a_body_shorter_than_its_declared_length_is_none() -> None:
    with pytest.raises(BrokeOff):
        whole_body([b"[]"], {"content-length": "3"}, Limits())
    assert whole_body([b"[]"], {"content-length": "3", "transfer-encoding": "chunked"}, Limits()) == b"[]"


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        pytest.param("", bytes(1001), "the answer is larger than 1000B; ask for smaller pages, or raise `api.limits.body`", id="plain"),
        pytest.param(
            "gzip",
            gzip.compress(bytes(1001)),
            "the answer is larger than 1000B; ask for smaller pages, or raise `api.limits.body`",
            id="bomb",
        ),
        pytest.param(
            "gzip",
            gzip.compress(bytes(range(256))),
            "the answer is larger than 100B, compressed; ask for smaller pages, or raise `api.limits.compressed`",
            id="compressed",
        ),
    ],
)
def test_a_body_beyond_a_limit_is_refused_with_the_limits_word(encoding: str, data: bytes, message: str) -> None:
    with pytest.raises(TooMuch) as caught:
        whole_body([data], {"content-encoding": encoding}, SMALL)
    assert str(caught.value) == message


def test_a_body_at_the_limit_is_taken() -> None:
    assert len(whole_body([gzip.compress(bytes(1000))], {"content-encoding": "gzip"}, SMALL)) == 1000


def test_a_bomb_is_unpacked_no_further_than_the_limit() -> None:
    """Of a gigabyte of zeros in a megabyte, a few chunks are read."""
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        packer, zeros = zlib.compressobj(9, wbits=31), bytes(2**20)
        while True:
            read += 1
            yield packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)

    with pytest.raises(TooMuch):
        whole_body(chunks(), {"content-encoding": "gzip"}, Limits(body=Size(10 * 2**20)))
    assert read == 11


def test_a_bomb_in_one_chunk_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(TooMuch):
            whole_body([bomb], {"content-encoding": "gzip"}, Limits(body=Size(2**20)))
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_an_encoding_that_nobody_asked_for_is_said(encoding: str) -> None:
    with pytest.raises(Undecodable) as caught:
        whole_body([b"x"], {"content-encoding": encoding}, Limits())
    assert str(caught.value) == f"the answer is encoded as {encoding!r}, which syncer cannot read; leave Accept-Encoding to syncer"


def test_headers_beyond_the_limit_are_refused() -> None:
    check_headers([(b"x" * 10, b"y" * 10)], SMALL)
    with pytest.raises(TooMuch, match=r"^the answer's headers are larger than 20B in all; if that is right, raise `api\.limits\.headers`$"):
        check_headers([(b"x" * 10, b"y" * 10), (b"z", b"")], SMALL)
