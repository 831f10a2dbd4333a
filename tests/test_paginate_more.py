"""Offsets, tokens and Link headers: where each goes on, what proves its end, and what is said where nothing does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.errors import Incomplete, PageError
from rest_syncer.engine.exchange import Listing, Request
from rest_syncer.engine.fields import Path
from rest_syncer.engine.paginate import End, LinkHeader, NextLink, Number, Offset, Paginator, Token
from tests.support import URL, listing, walk

TOTAL, MORE, NEXT = Path.parse("total"), Path.parse("has_more"), Path.parse("meta.next")


def rows(first: int, behind: int) -> list[dict[str, int]]:
    return [{"id": one} for one in range(first, behind)]


def asked(outcome: object) -> dict[str, str]:
    assert isinstance(outcome, tuple)
    return dict(outcome[1].params)


def ended(outcome: object) -> End:
    assert isinstance(outcome, End)
    return outcome


# Offsets.


def by_offset(count: int, size: int, total: bool = False) -> Any:
    def answer(params: Mapping[str, str]) -> Listing:
        at = int(params["offset"])
        return listing(rows(at, min(at + size, count)), {"total": count} if total else {})

    return answer


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("total", [None, TOTAL])
@pytest.mark.parametrize("size", [1, 2, 40])
@pytest.mark.parametrize("count", [0, 1, 2, 39, 40, 41, 79, 80, 118, 119])
def test_every_record_comes_whatever_size_the_api_makes_its_pages(count: int, size: int, total: Path | None, overlap: bool) -> None:
    found, _ = walk(Offset(total=total, overlap=overlap), by_offset(count, size, total is not None))
    assert [row["id"] for row in {row["id"]: row for row in found}.values()] == list(range(count))


def test_the_next_page_is_asked_for_from_the_last_record_that_came() -> None:
    state, request = Offset(start=10).first(Request(URL, (("limit", "100"),)))
    outcome = Offset(start=10).after(state, listing(rows(0, 40), request=request))
    assert asked(outcome) == {"limit": "100", "offset": "49"}


def test_a_page_of_one_record_is_not_asked_for_again() -> None:
    assert asked(Offset().after({"at": 7, "seen": 7}, listing(rows(7, 8)))) == {"offset": "8"}


def joined(*pages: list[dict[str, int]], total: int | None = None) -> End:
    paginate = Offset(total=TOTAL if total is not None else None)
    state, _ = paginate.first(Request(URL))
    for page in pages:
        outcome = paginate.after(state, listing(page, {"total": total}))
        if isinstance(outcome, End):
            return outcome
        state = outcome[0]
    raise AssertionError("no end")


def test_pages_that_join_are_counted() -> None:
    assert joined(rows(0, 5), rows(4, 9), rows(8, 9)) == End("nothing_beyond", overlaps=2)
    assert joined(rows(0, 5), rows(4, 9), total=9) == End("total_reached", overlaps=1)


def test_a_page_that_does_not_join_the_one_before_is_a_slip() -> None:
    assert joined(rows(0, 5), rows(5, 10), rows(9, 10)) == End("nothing_beyond", overlaps=1, slips=1)
    assert joined(rows(0, 5), []) == End("empty_page", by_emptiness=True, slips=1)


def test_an_api_that_knows_multiples_of_the_page_only_is_found_out() -> None:
    with pytest.raises(Incomplete, match=r"say `overlap: false`$"):
        joined(rows(0, 5), rows(0, 5))


def test_an_api_that_ignores_the_offset_is_found_out() -> None:
    paginate = Offset(overlap=False)
    state, _ = paginate.after({"at": 0, "seen": 0}, listing(rows(0, 5)))  # type: ignore[misc]
    with pytest.raises(Incomplete, match="the page from 5 on repeats an earlier one; does the API know 'offset'"):
        paginate.after(state, listing(rows(0, 5)))


@pytest.mark.parametrize("page", [[], rows(4, 5)], ids=["empty", "only-the-last-again"])
def test_nothing_more_before_the_total_is_incomplete(page: list[dict[str, int]]) -> None:
    with pytest.raises(Incomplete, match="nothing follows from 4 on, but the API declares 9 records"):
        joined(rows(0, 5), page, total=9)


# Flags.


@pytest.mark.parametrize("paginate", [Number(more=MORE), Offset(more=MORE), Token(more=MORE, token=NEXT, param="t")])
@pytest.mark.parametrize("flag", [False, None, "false"])
def test_a_flag_ends_the_list(paginate: Paginator, flag: object) -> None:
    state, request = paginate.first(Request(URL))
    page = listing(rows(0, 5), {"has_more": flag, "meta": {"next": "t"}}, request)
    assert ended(paginate.after(state, page)).reason == "no_more"


@pytest.mark.parametrize("paginate", [Number(more=MORE), Offset(more=MORE)])
def test_an_empty_page_is_no_end_while_the_flag_says_that_more_follow(paginate: Paginator) -> None:
    """Such an API filters behind its pages."""
    pages = iter([rows(0, 3), [], [], rows(3, 5), []])
    left = iter([True, True, True, True, False])
    found, reason = walk(paginate, lambda params: listing(next(pages), {"has_more": next(left)}))
    assert (len(found), reason) == (5, "no_more")


@pytest.mark.parametrize("paginate", [Number(more=MORE), Offset(more=MORE)])
def test_a_flag_that_never_falls_is_incomplete(paginate: Paginator) -> None:
    with pytest.raises(Incomplete, match="is empty, like 100 before it, but the API says that more follow"):
        walk(paginate, lambda params: listing([], {"has_more": True}))


@pytest.mark.parametrize("paginate", [Number(), Offset()])
def test_an_empty_page_is_no_end_where_a_flag_that_the_spec_does_not_name_says_so(paginate: Paginator) -> None:
    state, _ = paginate.first(Request(URL))
    with pytest.raises(Incomplete, match="is empty, but says at has_more that more follow; declare that flag in `more`"):
        paginate.after(state, listing([], {"has_more": True}))


@pytest.mark.parametrize("paginate", [Number(more=MORE, total=TOTAL), Offset(more=MORE, total=TOTAL)])
def test_a_flag_that_falls_before_the_total_is_incomplete(paginate: Paginator) -> None:
    state, _ = paginate.first(Request(URL))
    with pytest.raises(Incomplete, match="that no more follow, after 5 of 9 records"):
        paginate.after(state, listing(rows(0, 5), {"has_more": False, "total": 9}))


@pytest.mark.parametrize("paginate", [Number(total=TOTAL), Offset(total=TOTAL, overlap=False)])
def test_a_total_that_is_capped_is_not_believed_while_the_answer_says_that_more_follow(paginate: Paginator) -> None:
    found, reason = walk(
        paginate,
        lambda params: listing(
            rows((n := int(params.get("page", 1)) * 5 - 5 if "page" in params else int(params["offset"])), min(n + 5, 12)),
            {"total": min(12, 10), "has_more": n + 5 < 12},
        ),
    )
    assert (len(found), reason) == (12, "total_reached")


@pytest.mark.parametrize("envelope", [{}, {"has_nore": True}])
def test_a_flag_that_is_not_there_is_no_page(envelope: object) -> None:
    with pytest.raises(PageError, match=r"^has no flag at has_more; correct `more`$"):
        Number(more=MORE).after({"page": 1, "seen": 0}, listing(rows(0, 5), envelope))


def test_something_else_than_a_flag_is_no_page() -> None:
    with pytest.raises(PageError, match=r"^has something at has_more that is neither true nor false; correct `more`$"):
        Number(more=MORE).after({"page": 1, "seen": 0}, listing(rows(0, 5), {"has_more": "nope"}))


# Tokens.


def test_the_token_asks_for_the_next_page() -> None:
    page = listing(rows(0, 5), {"meta": {"next": "a/b=="}}, Request(URL, (("limit", "5"),)))
    assert asked(Token(token=NEXT, param="after").after({"seen": 0}, page)) == {"limit": "5", "after": "a/b=="}


@pytest.mark.parametrize(("token", "sent"), [(17, "17"), ("0", "0"), (0, "0")])
def test_a_token_may_be_a_number(token: object, sent: str) -> None:
    assert asked(Token(token=NEXT, param="after").after({"seen": 0}, listing([], {"meta": {"next": token}}))) == {"after": sent}


@pytest.mark.parametrize("envelope", [{"meta": {"next": None}}, {"meta": {"next": ""}}])
def test_no_token_is_the_end(envelope: object) -> None:
    assert Token(token=NEXT, param="t").after({"seen": 0}, listing(rows(0, 5), envelope)) == End("no_token")


def test_a_token_that_was_never_there_proves_no_end() -> None:
    assert not ended(Token(token=NEXT, param="t").after({"seen": 0}, listing(rows(0, 5), {"meta": {}}))).certain


@pytest.mark.parametrize("envelope", [{}, {"meta": None}])
def test_an_answer_without_the_place_of_the_token_is_incomplete(envelope: object) -> None:
    with pytest.raises(Incomplete, match=r"^the answer has no meta, where the next page's token should stand; correct `token`$"):
        Token(token=NEXT, param="t").after({"seen": 0}, listing(rows(0, 5), envelope))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_tokens_that_come_again_are_found_out(length: int) -> None:
    with pytest.raises(Incomplete, match="the token repeats an earlier page's"):
        walk(
            Token(token=NEXT, param="t"),
            lambda params: listing(rows(0, 2), {"meta": {"next": (int(params.get("t", 0)) + 1) % length}}),
        )


@pytest.mark.parametrize("token", [True, 1.5, {"a": 1}, [1]])
def test_something_else_than_a_token_is_no_page(token: object) -> None:
    with pytest.raises(PageError, match=r"^has something at meta\.next that is no token; correct `token`$"):
        Token(token=NEXT, param="t").after({"seen": 0}, listing([], {"meta": {"next": token}}))


def test_a_flag_without_a_token_is_incomplete() -> None:
    page = listing(rows(0, 5), {"has_more": True, "meta": {"next": None}})
    with pytest.raises(Incomplete, match=r"says at has_more that more follow, but has no token at meta\.next"):
        Token(token=NEXT, param="t", more=MORE).after({"seen": 0}, page)


def test_no_token_before_the_total_is_incomplete() -> None:
    with pytest.raises(Incomplete, match=r"^no token after 5 of 9 records$"):
        Token(token=NEXT, param="t", total=TOTAL).after({"seen": 0}, listing(rows(0, 5), {"meta": {"next": None}, "total": 9}))


# Link headers (RFC 8288).


def with_header(header: str | None) -> Listing:
    page = listing(rows(0, 5), {}, Request(URL, (("page", "1"),)))
    return Listing(page.request, page.records, page.envelope, page.values, headers={"link": header} if header is not None else {})


@pytest.mark.parametrize(
    "header",
    [
        '<https://api.example.com/items?page=2>; rel="next"',
        "</items?page=2>; rel=next",
        '<?page=2>;rel="NEXT"',
        '<?page=9>; rel="last", <?page=2>; rel="next"',
        '<?page=1>; rel="prev"; title="a, b", <?page=2>; title="x; rel=last"; rel="next"',
        '<?page=2>; rel="start next"',
        '<?page=9>; rel="last",<?page=2> ; rel = "next" ; type="application/json"',
    ],
)
def test_the_link_of_the_relation_next_is_followed(header: str) -> None:
    assert asked(LinkHeader().after({"seen": 0}, with_header(header))) == {"page": "2"}


@pytest.mark.parametrize("header", ['<?page=1>; rel="first"', '<?page=2>; rel="nextish"', '<?page=2>; title="rel=next"'])
def test_a_header_without_that_relation_is_the_end(header: str) -> None:
    assert LinkHeader().after({"seen": 0}, with_header(header)) == End("no_next_link")


def test_no_header_at_all_proves_no_end_until_one_came() -> None:
    assert LinkHeader().after({"seen": 0}, with_header(None)) == End("no_link_ever", certain=False, by_emptiness=True)
    state, _ = LinkHeader().after({"seen": 0}, with_header("<?page=2>; rel=next"))  # type: ignore[misc]
    assert LinkHeader().after(state, with_header(None)) == End("no_next_link")


def test_header_links_that_lead_in_a_circle_are_found_out() -> None:
    state = LinkHeader().first(Request(URL))[0]
    with pytest.raises(Incomplete, match="leads in a circle"):
        for page in (2, 3, 4, 2, 3, 4, 2, 3, 4):
            state = LinkHeader().after(state, with_header(f"<?page={page}>; rel=next"))[0]  # type: ignore[index]


# What the API refuses, and what is known ahead.


def test_a_refused_page_past_the_end_is_the_end_once_something_came() -> None:
    assert Number().refused({"page": 3, "seen": 9}) == End("past_the_end")
    assert not Number().refused({"page": 1, "seen": 0}).certain
    assert Offset().refused({"at": 3, "seen": 9, "overlaps": 2, "slips": 1}) == End("past_the_end", overlaps=2, slips=1)
    with pytest.raises(Incomplete, match="the API refuses the next page after 9 of 12 records"):
        Number().refused({"page": 3, "seen": 9, "total": 12})


@given(
    st.integers(0, 60), st.integers(2, 9), st.sampled_from([Number(total=TOTAL), Offset(total=TOTAL), Offset(total=TOTAL, overlap=False)])
)
def test_what_is_known_ahead_is_what_is_asked_for(count: int, size: int, paginate: Paginator) -> None:
    def answer(params: Mapping[str, str]) -> Listing:
        at = (int(params["page"]) - 1) * size if "page" in params else int(params["offset"])
        return listing(rows(at, min(at + size, count)), {"total": count})

    state, request = paginate.first(Request(URL))
    foreseen: list[Request] = []
    asked_for: list[Request] = []
    while True:
        asked_for.append(request)
        outcome = paginate.after(state, Listing(request, (page := answer(dict(request.params))).records, page.envelope, page.values))
        if isinstance(outcome, End):
            break
        state, request = outcome
        foreseen = foreseen or [request, *paginate.ahead(state, request)]
    assert asked_for[1:] == foreseen


def test_last_pages_are_known_ahead() -> None:
    paginate = Number(pages=Path.parse("pages"))
    state, request = paginate.after({"page": 1, "seen": 0}, listing(rows(0, 5), {"pages": 4}))  # type: ignore[misc]
    assert [dict(one.params)["page"] for one in (request, *paginate.ahead(state, request))] == ["2", "3", "4"]


@pytest.mark.parametrize("paginate", [Number(), Offset(), NextLink(link=NEXT), LinkHeader(), Token(token=NEXT, param="t")])
def test_nothing_is_known_ahead_without_a_total(paginate: Paginator) -> None:
    page = listing(rows(0, 5), {"meta": {"next": "/2"}})
    page = Listing(page.request, page.records, page.envelope, page.values, headers={"link": "<?page=2>; rel=next"})
    state, request = paginate.after(paginate.first(Request(URL))[0], page)  # type: ignore[misc]
    assert list(paginate.ahead(state, request)) == []
