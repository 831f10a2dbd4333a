"""A segment is one file whose every byte is accounted for; any zstd reader sees its records alone."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace

from rest_syncer.engine.errors import HubError
from rest_syncer.engine.hub.segment import Ended, Head, decode_head, decode_records, encode, leg_name, number_of, run_of, segment_name

HEAD = Head(collection="orders", name="000003-01-000002", chain="000002-01", purpose="full", began=5, since=None, until=7, route="abc")
RECORDS = [b'{"id":1,"sum":1.10}', b'{"id":2,"name":"\\u00e9"}']
ENVELOPES = [{"request": {"url": "https://x"}, "status": 200, "envelope": {"total": 2}}]
FILE = encode(HEAD, RECORDS, ENVELOPES)


def seen_by_zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


lines = st.lists(st.binary(min_size=1, max_size=40).filter(lambda record: b"\n" not in record), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3),
    max_leaves=6,
)
heads = st.builds(
    Head,
    collection=st.text("abc_", min_size=1),
    name=st.just("000001-01-000000"),
    chain=st.just("000001-01"),
    purpose=st.sampled_from(["full", "changed"]),
    began=st.integers(0, 2**60),
    since=st.none() | st.integers(-(2**60), 2**60),
    until=st.none() | st.integers(-(2**60), 2**60),
    route=st.text("0123456789abcdef"),
    records=st.integers(0, 2**40),
    api_total=st.none() | st.integers(0, 2**70),
    state=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), plain, max_size=3),
    ended=st.none() | st.builds(Ended, st.text(max_size=5), st.sampled_from(["proven", "checked", "open"]), st.booleans()),
)


@settings(max_examples=60)
@given(heads, lines, st.lists(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), plain, max_size=3), max_size=3))
def test_what_is_encoded_is_decoded_byte_for_byte(head: Head, records: list[bytes], envelopes: list[dict[str, Any]]) -> None:
    data = encode(head, records, envelopes)
    found, _ = decode_head(data, "x")
    assert found is not None
    assert replace(found, sha256="") == head
    assert decode_records(data, "x") == records
    assert seen_by_zstd(data) == b"".join(record + b"\n" for record in records)


def test_a_zstd_reader_sees_the_records_alone_one_a_line() -> None:
    assert seen_by_zstd(FILE) == b'{"id":1,"sum":1.10}\n{"id":2,"name":"\\u00e9"}\n'


def test_several_files_in_a_row_are_read_as_their_records() -> None:
    """`cat *.zst | zstdcat`."""
    assert seen_by_zstd(FILE + encode(HEAD, [], []) + FILE) == seen_by_zstd(FILE) * 2


def test_a_segment_without_records_is_an_empty_body() -> None:
    data = encode(HEAD, [], ENVELOPES)
    assert (decode_records(data, "x"), seen_by_zstd(data)) == ([], b"")


def test_the_head_is_a_skippable_frame_of_json_before_all_else() -> None:
    magic, length = struct.unpack("<II", FILE[:8])
    told = json.loads(FILE[8 : 8 + length])
    assert magic == 0x184D2A50
    assert len(told.pop("crc32")) == 8
    assert {**told, "sha256": ""} == json.loads(json.dumps(to_builtins(HEAD)))


def test_the_envelopes_are_a_skippable_frame_behind_all_else() -> None:
    start = FILE.rindex(struct.pack("<I", 0x184D2A51))
    (length,) = struct.unpack("<I", FILE[start + 4 : start + 8])
    assert start + 8 + length == len(FILE)
    around = zstandard.ZstdDecompressor().decompress(FILE[start + 8 :])
    assert [json.loads(line) for line in around.splitlines()] == ENVELOPES


@pytest.mark.parametrize(
    "around",
    [
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param(2**70, id="long-integer"),
        pytest.param("\u2028\n", id="line-separators"),
    ],
)
def test_an_odd_value_around_the_records_does_not_keep_them_out_of_the_hub(around: object) -> None:
    assert decode_records(encode(HEAD, RECORDS, [{"envelope": {"x": around}}]), "x") == RECORDS


@pytest.mark.parametrize(
    "change", [pytest.param(lambda byte: byte ^ 1, id="one-bit"), pytest.param(lambda byte: byte ^ 0xFF, id="all-bits")]
)
def test_a_changed_byte_anywhere_is_found(change: Any) -> None:
    unseen = []
    for place in range(len(FILE)):
        damaged = FILE[:place] + bytes([change(FILE[place])]) + FILE[place + 1 :]
        try:
            decode_records(damaged, "orders/x")
        except HubError as error:
            assert str(error).startswith("segment orders/x: ")
        else:
            unseen.append(FILE[max(place - 8, 0) : place + 8])
    assert unseen == []


def test_a_file_that_is_cut_off_anywhere_is_found() -> None:
    for length in range(len(FILE)):
        with pytest.raises(HubError, match=r"^segment x: "):
            decode_records(FILE[:length], "x")


def test_bytes_behind_the_end_are_found() -> None:
    with pytest.raises(
        HubError,
        match=r"^segment x: is damaged \(its checksum does not fit\); restore the file, or let the next pull ask for",
    ):
        decode_records(FILE + b"\0", "x")


def test_a_head_says_how_many_bytes_it_takes() -> None:
    _, end = decode_head(FILE, "x")
    assert decode_head(FILE[: end - 1], "x") == (None, end)
    assert decode_head(FILE[:end], "x") == decode_head(FILE, "x")


def framed(content: bytes) -> bytes:
    return struct.pack("<II", 0x184D2A50, len(content)) + content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "segment orders/1: is damaged (it is cut off)", id="empty"),
        pytest.param(
            b"{}" * 9,
            "segment orders/1: is damaged (it is no segment)",
            id="another-file",
        ),
        pytest.param(
            framed(b"{}"),
            "segment orders/1: is damaged (its head cannot be read)",
            id="empty-head",
        ),
        pytest.param(
            framed(b"{"),
            "segment orders/1: is damaged (its head cannot be read)",
            id="half-a-head",
        ),
        pytest.param(
            framed(msgspec.json.encode({**to_builtins(HEAD), "collection": "~"}).replace(b"~", b"\xff")),
            "segment orders/1: is damaged (its head cannot be read)",
            id="head-that-is-not-utf-8",
        ),
        pytest.param(
            encode(replace(HEAD, format=2), [], []),
            "segment orders/1: was written by a newer syncer (format 2); upgrade this one",
            id="later-format",
        ),
    ],
)
def test_what_is_no_segment_is_said_with_what_to_do(data: bytes, message: str) -> None:
    with pytest.raises(HubError) as caught:
        decode_head(data, "orders/1")
    assert str(caught.value).startswith(message)


places = st.tuples(st.integers(0, 999_999), st.integers(0, 99), st.integers(0, 999_999))


@given(st.lists(places))
def test_names_sort_as_places_do(some: list[tuple[int, int, int]]) -> None:
    names = {place: segment_name(leg_name(*place[:2]), place[2]) for place in some}
    assert [names[place] for place in sorted(names)] == sorted(names.values())


@given(places)
def test_a_name_tells_its_place(place: tuple[int, int, int]) -> None:
    leg = leg_name(*place[:2])
    head = replace(HEAD, name=segment_name(leg, place[2]))
    assert (head.leg, head.number, run_of(head.name), run_of(leg), number_of(head.name)) == (leg, place[2], place[0], place[0], place[2])


def test_a_name_looks_like_this() -> None:
    assert segment_name(leg_name(3, 1), 2) == "000003-01-000002"
