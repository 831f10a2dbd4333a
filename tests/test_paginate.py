"""Pages end only for a proven reason; what merely looks like an end is Incomplete."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rest_syncer.engine import times
from rest_syncer.engine.errors import Incomplete, PageError
from rest_syncer.engine.exchange import Listing, Request
from rest_syncer.engine.fields import Path, Text
from rest_syncer.engine.paginate import End, KeySet, NextLink, Number, Paginator, Single, TieBreaker, watch
from tests.support import URL, listing, walk

TOTAL = Path.parse("total")
ROW = {"id": 1}


def rows(*ids: int) -> list[dict[str, int]]:
    return [{"id": one} for one in ids]


def request(**params: str) -> Request:
    return Request(URL, tuple(params.items()))


def onwards(outcome: object) -> tuple[dict[str, Any], Request]:
    """Where a key set goes on: what it has to remember of that, and the next request."""
    assert isinstance(outcome, tuple)
    state, following = outcome
    return {name: state[name] for name in ("tied", "last") if name in state}, following


def test_only_one_answer_and_a_key_set_are_stable() -> None:
    assert {name: kind.stable for name, kind in Paginator.alternatives.items()} == {
        "single": True,
        "number": False,
        "offset": False,
        "next_link": False,
        "link_header": False,
        "token": False,
        "key_set": True,
    }


@pytest.mark.parametrize("value", [pytest.param(7, id="number"), pytest.param("7", id="text")])
def test_the_declared_total_is_read_from_the_envelope(value: object) -> None:
    assert Single(total=TOTAL).total_of(listing([], {"total": value})) == 7
    assert Single().total_of(listing([], {"total": value})) is None


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param({}, id="missing"),
        pytest.param({"total": None}, id="null"),
        pytest.param({"total": True}, id="boolean"),
        pytest.param({"total": -1}, id="negative"),
        pytest.param({"total": 7.5}, id="fraction"),
        pytest.param({"total": "s3cret"}, id="text"),
        pytest.param(None, id="no-envelope"),
    ],
)
def test_a_declared_total_that_is_not_there_is_no_page(envelope: object) -> None:
    with pytest.raises(PageError, match=r"^has no whole number at total, the declared total; correct `total`, or leave it out$"):
        Single(total=TOTAL).total_of(listing([], envelope))


# single


def test_single_sends_the_request_as_it_is_and_ends_with_its_answer() -> None:
    assert Single().first(request(a="1")) == ({}, request(a="1"))
    assert Single().after({}, listing([ROW])) == End("one_answer", by_emptiness=True)
    assert Single(total=TOTAL).after({}, listing([ROW], {"total": 1})) == End("one_answer")


def test_single_is_incomplete_where_the_total_is_higher() -> None:
    with pytest.raises(Incomplete, match=r"^one answer holds 1 of 2 records; say how its pages follow, in `paginate`$"):
        Single(total=TOTAL).after({}, listing([ROW], {"total": 2}))


# number


def test_number_asks_for_one_page_after_the_other() -> None:
    paginate = Number(param="p", start=0)
    state, first = paginate.first(request(size="2"))
    assert first == request(size="2", p="0")
    outcome = paginate.after(state, listing(rows(1, 2), request=first))
    assert isinstance(outcome, tuple)
    assert outcome[1] == request(size="2", p="1")
    assert (outcome[0]["page"], outcome[0]["seen"]) == (1, 2)


@pytest.mark.parametrize(("inclusive", "slips"), [(True, 3), (False, 0)])
def test_a_bound_that_never_comes_again_is_evidence(inclusive: bool, slips: int) -> None:
    paginate, state = KeySet(on="id", param="since", inclusive=inclusive), dict[str, Any]()
    for page in (rows(1, 2), rows(3, 4), rows(5, 6)):
        outcome = paginate.after(state, listing(page))
        assert not isinstance(outcome, End)
        state = dict(outcome[0])
    assert paginate.after(state, listing([])) == End("empty_page", by_emptiness=True, slips=slips)


@pytest.mark.parametrize(
    ("paginate", "state", "page", "reason"),
    [
        pytest.param(Number(total=TOTAL), {"page": 3, "seen": 4}, listing(rows(5), {"total": 5}), "total_reached", id="total"),
        pytest.param(Number(total=TOTAL), {"page": 1, "seen": 0}, listing([], {"total": 0}), "total_reached", id="nothing-at-all"),
        pytest.param(
            Number(pages=Path.parse("pages")), {"page": 3, "seen": 4}, listing(rows(5), {"pages": 3}), "last_page_reached", id="last-page"
        ),
        pytest.param(
            Number(pages=Path.parse("pages")), {"page": 1, "seen": 0}, listing([], {"pages": 0}), "last_page_reached", id="no-pages"
        ),
        pytest.param(Number(), {"page": 3, "seen": 4}, listing([]), "empty_page", id="empty-page"),
    ],
)
def test_number_ends_for_this_reason(paginate: Number, state: dict[str, Any], page: Listing, reason: str) -> None:
    outcome = paginate.after(state, page)
    assert isinstance(outcome, End) and (outcome.reason, outcome.certain) == (reason, True)


@pytest.mark.parametrize(
    ("paginate", "page", "message"),
    [
        pytest.param(
            Number(total=TOTAL),
            listing([], {"total": 9}),
            "page 3 is empty, but the API declares 9 records and sent 4 records",
            id="total",
        ),
        pytest.param(
            Number(pages=Path.parse("pages")),
            listing([], {"pages": 9}),
            "page 3 is empty, but the API declares 9 pages and sent 4 records",
            id="pages",
        ),
    ],
)
def test_an_empty_page_before_the_declared_end_is_incomplete(paginate: Number, page: Listing, message: str) -> None:
    with pytest.raises(Incomplete) as caught:
        paginate.after({"page": 3, "seen": 4}, page)
    assert str(caught.value) == message


@pytest.mark.parametrize("envelope", [{}, {"pages": None}, {"pages": "many"}, {"pages": 2.5}, {"pages": True}])
@pytest.mark.parametrize("page", [pytest.param(rows(1), id="records"), pytest.param([], id="no-records")])
def test_a_declared_last_page_that_is_not_there_is_no_page(envelope: object, page: list[dict[str, int]]) -> None:
    """As with a declared total: a selector that leads nowhere is never a quiet success."""
    with pytest.raises(PageError):
        Number(pages=Path.parse("pages")).after({"page": 1, "seen": 0}, listing(page, envelope))


def numbered(size: int, count: int, clamp: int | None = None, **around: Any) -> Any:
    def answer(params: Mapping[str, str]) -> Listing:
        got = min(size, clamp or size)
        start = (int(params["page"]) - 1) * got
        return listing(rows(*range(count)[start : start + got]), {"total": count, **around})

    return answer


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("clamp", [None, 40])
@pytest.mark.parametrize("total", [None, TOTAL])
def test_numbered_pages_are_all_read_even_if_the_api_makes_them_smaller(count: int, clamp: int | None, total: Path | None) -> None:
    found, reason = walk(Number(total=total), numbered(100, count, clamp))
    assert (found, reason) == (rows(*range(count)), "total_reached" if total else "empty_page")


def test_an_api_that_does_not_know_the_page_parameter_is_found_out() -> None:
    with pytest.raises(Incomplete, match=r"^page 2 repeats an earlier page; does the API know 'page'\?$"):
        walk(Number(), lambda params: listing(rows(1, 2)))


def test_a_page_that_comes_again_is_known_by_its_keys_though_its_records_change() -> None:
    calls = count()

    def answer(params: Mapping[str, str]) -> Listing:
        return replace(listing([{"id": 1, "seen": next(calls)}, {"id": 2}]), key=("id",))

    with pytest.raises(Incomplete, match=r"^page 2 repeats an earlier page"):
        walk(Number(), answer)


def test_a_page_of_records_without_a_readable_key_is_known_by_all_that_they_are() -> None:
    def answer(params: Mapping[str, str]) -> Listing:
        return replace(listing([{"n": params["page"]}] if int(params["page"]) < 4 else []), key=("id",))

    assert walk(Number(), answer) == ([{"n": "1"}, {"n": "2"}, {"n": "3"}], "empty_page")


# next_link


NEXT = Path.parse("_links.next.href")


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        pytest.param("/v2/items?page=2", Request("https://api.example.com/v2/items", (("page", "2"),)), id="host-less"),
        pytest.param("?page=2", Request(URL, (("page", "2"),)), id="query-only"),
        pytest.param("items?page=2", Request(URL, (("page", "2"),)), id="relative"),
        pytest.param("https://api.example.com/x?a=1&b=", Request("https://api.example.com/x", (("a", "1"), ("b", ""))), id="whole"),
        pytest.param("?q=a%20b%26c&q=d", Request(URL, (("q", "a b&c"), ("q", "d"))), id="escaped-and-doubled"),
        pytest.param("?page=2#top", Request(URL, (("page", "2"),)), id="fragment-is-dropped"),
    ],
)
def test_the_next_link_is_followed_with_its_own_query_and_nothing_of_ours(link: str, expected: Request) -> None:
    outcome = NextLink(link=NEXT).after({"seen": 0}, listing([ROW], {"_links": {"next": {"href": link}}}, request(size="50")))
    assert isinstance(outcome, tuple)
    assert outcome[1] == expected


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param({"_links": {"next": None}}, id="next-is-null"),
        pytest.param({"_links": {"next": {"href": None}}}, id="href-is-null"),
        pytest.param({"_links": {"next": {"href": ""}}}, id="href-is-empty"),
    ],
)
def test_no_next_link_is_the_end(envelope: object) -> None:
    assert NextLink(link=NEXT).after({"seen": 0}, listing([ROW], envelope)) == End("no_next_link")


@pytest.mark.parametrize("envelope", [{}, {"links": {"next": {"href": "/2"}}}, {"_links": None}, None])
def test_an_answer_without_the_place_of_the_link_is_incomplete(envelope: object) -> None:
    with pytest.raises(Incomplete, match=r"^the answer has no _links\.next, where the next page's link should stand; correct `link`$"):
        NextLink(link=NEXT).after({"seen": 0}, listing([ROW], envelope))


@pytest.mark.parametrize(
    ("link", "envelope"),
    [
        pytest.param("_links.nxet.href", {"_links": {"self": {"href": "/1"}, "next": {"href": "/2"}}}, id="misspelt-in-the-middle"),
        pytest.param("paging.nxet", {"paging": {"next": "/2"}}, id="misspelt-at-the-end"),
        pytest.param("nxet", {"next": "/2"}, id="misspelt-at-the-root"),
    ],
)
def test_a_link_that_no_answer_ever_had_proves_no_end(link: str, envelope: object) -> None:
    """The first page of many must not be taken for the whole list, graded `proven`, and the rest deleted."""
    try:
        outcome = NextLink(link=Path.parse(link)).after({"seen": 0}, listing([ROW], envelope))
    except Incomplete:
        return
    assert outcome != End("no_next_link")


def test_no_next_link_before_the_total_is_incomplete() -> None:
    with pytest.raises(Incomplete, match=r"^no next link after 5 of 9 records$"):
        NextLink(link=NEXT, total=TOTAL).after({"seen": 4}, listing([ROW], {"_links": {"next": None}, "total": 9}))


def test_an_empty_page_with_a_next_link_goes_on() -> None:
    outcome = NextLink(link=NEXT).after({"seen": 4}, listing([], {"_links": {"next": {"href": "?page=3"}}}))
    assert isinstance(outcome, tuple)
    assert outcome[1] == request(page="3")


@pytest.mark.parametrize("link", [5, True, {"href": "/2"}, ["/2"]])
def test_something_else_than_a_url_at_the_link_is_no_page(link: object) -> None:
    with pytest.raises(PageError, match=r"^has something at next that is no URL; correct `link`$"):
        NextLink(link=Path.parse("next")).after({"seen": 0}, listing([ROW], {"next": link}))


@pytest.mark.parametrize("length", range(1, 51))
@pytest.mark.parametrize("lead", [0, 7])
def test_links_that_lead_in_a_circle_are_found_out(lead: int, length: int) -> None:
    def answer(params: Mapping[str, str]) -> Listing:
        page = int(params.get("page", "0"))
        return listing(rows(page), {"next": f"?page={page + 1 if page + 1 < lead + length else lead}"})

    with pytest.raises(Incomplete, match=r"^the next link leads in a circle: it repeats an earlier page's$"):
        walk(NextLink(link=Path.parse("next")), answer, most=4 * (lead + length) + 4)


@pytest.mark.parametrize(
    ("envelope", "path"),
    [
        pytest.param({"next": "https://api.example.com/items?page=2"}, "next", id="url"),
        pytest.param({"paging": {"next_page": "/items?page=2"}}, "paging.next_page", id="beneath"),
        pytest.param({"links": {"next": {"uri": "?page=2"}}}, "links.next.uri", id="around"),
    ],
)
def test_a_misspelt_link_is_found_out_where_the_answer_has_one_elsewhere(envelope: Any, path: str) -> None:
    with pytest.raises(Incomplete, match=f"^the answer has no next link at nxt, but says at {path} that more follow; correct `link`$"):
        NextLink(link=Path.parse("nxt")).after({"seen": 0}, listing([ROW], envelope))


@pytest.mark.parametrize("envelope", [{}, {"next": None}, {"next_sync": "2016-11-22"}, {"self": "/items"}, {"next": 5}])
def test_what_is_no_link_is_not_taken_for_one(envelope: Any) -> None:
    assert NextLink(link=Path.parse("nxt")).after({"seen": 0}, listing([ROW], envelope)) == End(
        "no_link_ever", certain=False, by_emptiness=True
    )


def test_a_link_that_is_not_in_utf_8_is_not_followed_altered() -> None:
    with pytest.raises(ValueError):
        NextLink(link=Path.parse("next")).after({"seen": 0}, listing([ROW], {"next": "?q=%FF"}))


# watch


@pytest.mark.parametrize("length", range(1, 51))
@pytest.mark.parametrize("lead", [0, 1, 13])
def test_the_watch_meets_a_cycle_of_any_length(lead: int, length: int) -> None:
    state: dict[str, Any] = {}
    with pytest.raises(Incomplete, match=r"^a circle$"):
        for step in range(4 * (lead + length) + 4):
            place = step if step < lead else lead + (step - lead) % length
            state = json.loads(json.dumps(watch(state, str(place).encode(), "a circle")))


def test_the_watch_never_cries_without_a_cycle_and_stays_small() -> None:
    state: dict[str, Any] = {}
    for step in range(5_000):
        state = watch(state, str(step).encode(), "a circle")
    assert sorted(state) == ["lap", "mark", "power"]
    assert len(json.dumps(state)) < 80


# key_set


BY_ID = KeySet(on="id", param="since_id")


@pytest.mark.parametrize(
    ("paginate", "expected"),
    [
        pytest.param(BY_ID, request(size="2"), id="nothing"),
        pytest.param(KeySet(on="id", param="since_id", start=Text("0")), request(size="2", since_id="0"), id="start"),
    ],
)
def test_a_key_set_starts_with_what_is_declared(paginate: KeySet, expected: Request) -> None:
    assert paginate.first(request(size="2")) == ({}, expected)


def test_each_page_starts_where_the_last_record_ended() -> None:
    outcome = BY_ID.after({}, listing(rows(3, 7), request=request(size="2")))
    assert onwards(outcome) == ({"last": "7"}, request(size="2", since_id="7"))


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        pytest.param("iso", "2016-11-22T12:00:00.25Z", id="iso"),
        pytest.param("epoch_s", "1479816000", id="epoch"),
        pytest.param("%d.%m.%Y", "22.11.2016", id="pattern"),
    ],
)
def test_an_instant_is_written_as_the_api_takes_it(format: str, expected: str) -> None:
    outcome = KeySet(on="at", param="since", format=format).after({}, listing([{"at": 1_479_816_000_250_000}]))
    assert onwards(outcome) == ({"last": "1479816000250000"}, request(since=expected))


@pytest.mark.parametrize(
    ("paginate", "state", "page", "reason"),
    [
        pytest.param(BY_ID, {}, listing([]), "empty_page", id="nothing-at-all"),
        pytest.param(BY_ID, {"last": "7"}, listing([]), "empty_page", id="nothing-beyond-a-deleted-bound"),
        pytest.param(BY_ID, {"last": "7", "longest": 2}, listing(rows(7)), "nothing_beyond", id="the-bound-alone"),
        pytest.param(
            KeySet(on="id", param="s", total=TOTAL), {"last": "7"}, listing(rows(7, 8), {"total": 2}), "total_reached", id="total"
        ),
        pytest.param(
            KeySet(on="id", param="s", total=TOTAL), {"last": "7"}, listing(rows(7), {"total": 1}), "total_reached", id="total-of-one"
        ),
        pytest.param(
            KeySet(on="id", param="s", total=TOTAL), {"last": "7"}, listing([], {"total": 0}), "total_reached", id="total-of-none"
        ),
    ],
)
def test_a_key_set_ends_for_this_reason(paginate: KeySet, state: dict[str, Any], page: Listing, reason: str) -> None:
    outcome = paginate.after(state, page)
    assert isinstance(outcome, End) and (outcome.reason, outcome.certain) == (reason, True)


@pytest.mark.parametrize("count", [1, 4, 5, 6, 24, 25, 26])
@pytest.mark.parametrize("group", [1, 2, 3, 4])
@pytest.mark.parametrize("remaining", [True, False], ids=["total-of-the-rest", "total-of-all"])
def test_ties_are_read_once_whatever_the_total_counts(count: int, group: int, remaining: bool) -> None:
    """Pages of five, groups of up to four that share a value: each page begins with the group that the last one ended in."""
    everything = [{"id": one, "t": one // group} for one in range(count)]

    def answer(params: Mapping[str, str]) -> Listing:
        rest = [row for row in everything if row["t"] >= int(params.get("since", "0"))]
        return listing(rest[:5], {"total": len(rest) if remaining else count})

    found, reason = walk(KeySet(on="t", param="since", total=TOTAL), answer)
    assert {row["id"] for row in found} == {row["id"] for row in everything}
    assert reason == ("total_reached" if remaining or count <= 5 else "nothing_beyond")


def test_an_api_that_gives_one_record_at_a_time_is_not_believed_to_have_no_more() -> None:
    """Nor is one that has only one record: the two look the same, and what is not certain deletes nothing."""
    outcome = BY_ID.after({}, listing(rows(7)))
    assert isinstance(outcome, tuple)
    assert BY_ID.after(outcome[0], listing(rows(7))) == End("nothing_beyond", certain=False)


def test_an_api_that_gives_one_record_at_a_time_but_tells_how_many_there_are_is_incomplete() -> None:
    counted = KeySet(on="id", param="since_id", total=TOTAL)
    outcome = counted.after({}, listing(rows(7), {"total": 2}))
    assert isinstance(outcome, tuple)
    with pytest.raises(Incomplete):
        counted.after(outcome[0], listing(rows(7), {"total": 2}))


@pytest.mark.parametrize(
    ("paginate", "state", "page", "message"),
    [
        pytest.param(
            BY_ID,
            {},
            listing(rows(3, 9, 7)),
            "the records do not come in the order of id; ask the API to sort by it, in `params`",
            id="unsorted",
        ),
        pytest.param(
            BY_ID,
            {},
            listing(rows(9, 7)),
            "the records do not come in the order of id; ask the API to sort by it, in `params`",
            id="downwards",
        ),
        pytest.param(
            BY_ID,
            {},
            listing([{"id": 1}, {"id": "a"}]),
            "the records do not come in the order of id; ask the API to sort by it, in `params`",
            id="numbers-and-texts",
        ),
        pytest.param(
            BY_ID,
            {"last": "7"},
            listing(rows(1, 7, 8)),
            "records from before the bound came back; the API seems to ignore 'since_id', or to read it in another `format`",
            id="ignored-bound",
        ),
        pytest.param(
            KeySet(on="id", param="s", total=TOTAL),
            {"last": "7", "seen": 2},
            listing([], {"total": 3}),
            "nothing more comes after 2 records, but the API declares 3",
            id="empty-before-the-total",
        ),
        pytest.param(
            BY_ID,
            {"last": "7"},
            listing(rows(7, 7)),
            "2 records share one id, more than a page holds, so the next page cannot be asked for; "
            "declare a `tie_breaker`, or ask for larger pages",
            id="a-page-of-ties",
        ),
        pytest.param(
            KeySet(on="id", param="s", total=TOTAL),
            {"last": "7"},
            listing(rows(7), {"total": 3}),
            "1 records share one id, more than a page holds, so the next page cannot be asked for; "
            "declare a `tie_breaker`, or ask for larger pages",
            id="a-page-of-one-before-the-total",
        ),
    ],
)
def test_what_cannot_go_on_by_key_is_incomplete(paginate: KeySet, state: dict[str, Any], page: Listing, message: str) -> None:
    with pytest.raises(Incomplete) as caught:
        paginate.after(state, page)
    assert str(caught.value) == message


def test_a_record_without_its_key_is_no_page() -> None:
    with pytest.raises(
        PageError, match=r"^has a record without id, which the list is to be sorted by; sort by a property that every record has$"
    ):
        BY_ID.after({}, listing([{"id": None}]))


@pytest.mark.parametrize(("last", "keys"), [("007", ["005", "007"]), ("-", ["+", "-"]), ("--5", ["--4", "--5"]), ("1e3", ["1e2", "1e3"])])
def test_a_text_key_is_sent_as_the_text_that_it_is(last: str, keys: list[str]) -> None:
    outcome = BY_ID.after({}, listing([{"id": key} for key in keys]))
    assert onwards(outcome) == ({"last": last}, request(since_id=last))


# ties


TIES = KeySet(on="at", param="since", tie_breaker=TieBreaker(on="id", param="from_id", params={"sort": Text("id")}))


def test_a_page_full_of_ties_goes_on_by_the_tie_breaker() -> None:
    state, first = {"last": "5"}, request(since="5", sort="at")
    tied = TIES.after(state, listing([{"at": 5, "id": 9}, {"at": 5, "id": 2}], request=first))
    assert onwards(tied) == ({"tied": True}, request(since="5", sort="id"))
    assert isinstance(tied, tuple)
    following = TIES.after(tied[0], listing([{"at": 5, "id": 2}, {"at": 6, "id": 3}], request=tied[1]))
    assert onwards(following) == ({"tied": True, "last": "3"}, request(since="5", sort="id", from_id="3"))


def api_of(table: list[dict[str, int]], size: int) -> Any:
    """An API that sorts by `sort` (default `at`), from `since` and `from_id` upwards."""

    def answer(params: Mapping[str, str]) -> Listing:
        order = params.get("sort", "at")
        chosen = [row for row in table if row["at"] >= int(params.get("since", 0)) and row["id"] >= int(params.get("from_id", 0))]
        return listing(sorted(chosen, key=lambda row: (row[order], row["id"] * 7919 % 101))[:size])

    return answer


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(2, 7))
def test_with_a_tie_breaker_every_record_comes_however_many_share_a_value(values: list[int], size: int) -> None:
    table = [{"id": place + 1, "at": at} for place, at in enumerate(values)]
    found, _ = walk(TIES, api_of(table, size))
    assert {row["id"] for row in found} == {row["id"] for row in table}


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(2, 7))
def test_without_a_tie_breaker_every_record_comes_or_it_is_said(values: list[int], size: int) -> None:
    table = [{"id": place + 1, "at": at} for place, at in enumerate(values)]
    try:
        found, _ = walk(KeySet(on="at", param="since"), api_of(table, size))
    except Incomplete:
        assert any(values.count(value) >= min(size, 2) for value in values)
        return
    assert {row["id"] for row in found} == {row["id"] for row in table}


# a list that changes while it is read


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("total", ["none", "from-the-bound-on", "of-the-whole-list"])
def test_a_quiet_list_is_read_whatever_its_total_counts(count: int, inclusive: bool, total: str) -> None:
    def answer(params: Mapping[str, str]) -> Listing:
        bound = int(params.get("since_id", "0"))
        chosen = [one for one in range(1, count + 1) if (one >= bound if inclusive else one > bound)]
        return listing(rows(*chosen[:2]), {"total": count if total == "of-the-whole-list" else len(chosen)})

    found, _ = walk(KeySet(on="id", param="since_id", inclusive=inclusive, total=None if total == "none" else TOTAL), answer)
    assert {row["id"] for row in found} == set(range(1, count + 1))


@settings(max_examples=100)
@given(
    st.sets(st.integers(1, 60), max_size=30),
    st.integers(2, 6),
    st.booleans(),
    st.sampled_from(["none", "from-the-bound-on", "of-the-whole-list"]),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_a_key_set_never_misses_a_record_that_was_alive_throughout(
    ids: set[int], size: int, inclusive: bool, total: str, changes: int, dice: random.Random
) -> None:
    """Records come and go between two pages, anywhere in the order. Only a total of the whole list may fall short of it."""
    table, alive = set(ids), set(ids)

    def answer(params: Mapping[str, str]) -> Listing:
        bound = int(params.get("since_id", "0"))
        chosen = sorted(one for one in table if (one >= bound if inclusive else one > bound))
        page = listing(rows(*chosen[:size]), {"total": len(table) if total == "of-the-whole-list" else len(chosen)})
        for _ in range(changes):
            one = dice.randint(1, 60)
            if dice.random() < 0.5:
                table.add(one)
            else:
                table.discard(one)
                alive.discard(one)
        return page

    paginate = KeySet(on="id", param="since_id", inclusive=inclusive, total=None if total == "none" else TOTAL)
    try:
        found, _ = walk(paginate, answer)
    except Incomplete:
        assert total == "of-the-whole-list"
        return
    assert alive <= {row["id"] for row in found}


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(2, 6), st.randoms(use_true_random=False))
def test_a_record_that_is_changed_while_it_is_read_moves_to_the_end_and_is_met(count: int, size: int, dice: random.Random) -> None:
    table = {one: dice.randint(0, 5) for one in range(1, count + 1)}
    clock = 6

    def answer(params: Mapping[str, str]) -> Listing:
        nonlocal clock
        page = api_of([{"id": one, "at": at} for one, at in table.items()], size)(params)
        if clock < 30:
            table[dice.choice(sorted(table))] = clock = clock + 1
        return page  # type: ignore[no-any-return]

    found, _ = walk(TIES, answer)
    assert {row["id"] for row in found} == set(table)


@settings(max_examples=60)
@given(st.sets(st.integers(0, 400), min_size=1, max_size=25), st.integers(2, 6), st.sampled_from(["iso", "epoch_s", "epoch_ms"]))
def test_a_bound_coarser_than_the_values_loses_nothing_or_says_so(moments: set[int], size: int, format: str) -> None:
    """Values to the hundredth of a second, a bound that the API takes in whole seconds: the overlap is wider than one record."""
    table = [{"id": place, "at": one * 10_000} for place, one in enumerate(sorted(moments))]

    def answer(params: Mapping[str, str]) -> Listing:
        bound = times.parse(params["since"], format) if "since" in params else 0
        return listing([row for row in table if row["at"] >= bound][:size])

    try:
        found, _ = walk(KeySet(on="at", param="since", format=format), answer)
    except Incomplete as error:
        assert "share one at" in str(error)
        return
    assert {row["id"] for row in found} == {row["id"] for row in table}
