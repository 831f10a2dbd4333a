"""What the Desk.com stand-in promises: a test that relies on one of these facts may do so."""

from __future__ import annotations

import base64
import gzip
import http.client
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from oauthlib.oauth1 import Client as OAuthClient

from tests.standins import desk_com
from tests.standins.desk_com import DeskCom, Server

BASIC = {"Authorization": "Basic " + base64.b64encode(f"{desk_com.EMAIL}:{desk_com.PASSWORD}".encode()).decode()}
NOW = 1_600_000_000
SMALL: dict[str, Any] = {
    "cases": 12,
    "customers": 12,
    "articles": 12,
    "brands": 3,
    "companies": 12,
    "users": 12,
    "feedbacks": 12,
}

Json = dict[str, Any]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def site() -> DeskCom:
    """A site that no test may change."""
    return DeskCom(cases=900, customers=240, clock=Clock())


@pytest.fixture(scope="module")
def data(site: DeskCom) -> dict[str, list[Json]]:
    """All its records."""
    return site.dump()


@pytest.fixture
def desk() -> DeskCom:
    return DeskCom(clock=Clock(), **SMALL)


def read(desk: DeskCom, resource: str, **query: Any) -> Json:
    status, _, body = desk.handle("GET", target(resource, query), BASIC)
    assert status == 200, body
    content: Json = json.loads(body)
    return content


def refused(desk: DeskCom, resource: str, **query: Any) -> tuple[int, Json]:
    status, _, body = desk.handle("GET", target(resource, query), BASIC)
    return status, json.loads(body)


def target(resource: str, query: Json) -> str:
    return f"/api/v2/{resource}" + (f"?{urlencode(query)}" if query else "")


def entries(page: Json) -> list[Json]:
    records: list[Json] = page["_embedded"]["entries"]
    return records


def walk(desk: DeskCom, resource: str, **query: Any) -> Iterator[Json]:
    """All records of a list, by page numbers."""
    for number in itertools.count(1):
        records = entries(read(desk, resource, page=number, **query))
        if not records:
            return
        yield from records


def key(record: Json) -> int:
    return int(record["_links"]["self"]["href"].rpartition("/")[2])


def keys(records: Any) -> list[int]:
    return [key(record) for record in records]


def seconds(text: str) -> int:
    return int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone)


def signed(url: str, **changes: str) -> dict[str, str]:
    """Headers with a signature made by somebody else's code."""
    arguments = {
        "client_key": desk_com.CONSUMER_KEY,
        "client_secret": desk_com.CONSUMER_SECRET,
        "resource_owner_key": desk_com.TOKEN,
        "resource_owner_secret": desk_com.TOKEN_SECRET,
        "timestamp": str(NOW),
    }
    _, headers, _ = OAuthClient(**(arguments | changes)).sign(url)
    return {"Host": "desk.test:8080", **headers}


# --- credentials --------------------------------------------------------------------------------------------------


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        basic(f"{desk_com.EMAIL}:wrong"),
        basic(f"{desk_com.EMAIL.upper()}:{desk_com.PASSWORD}"),
        f"Bearer {desk_com.TOKEN}",
    ],
)
def test_wrong_credentials_are_refused(desk: DeskCom, authorization: str) -> None:
    status, headers, body = desk.handle("GET", "/api/v2/brands", {"Authorization": authorization})
    assert status == 401
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(body).keys() == {"message"}


PATH = "/api/v2/cases/search?since_id=1&q=%C3%A9%20%2B%26&empty=&page=1"


def test_an_oauth_signature_covers_the_query(desk: DeskCom) -> None:
    headers = signed(f"http://desk.test:8080{PATH}")
    assert desk.handle("GET", PATH.replace("page=1", "page=2"), headers)[0] == 401
    assert desk.handle("GET", PATH, headers)[0] == 200


def test_an_oauth_signature_serves_once(desk: DeskCom) -> None:
    headers = signed(f"http://desk.test:8080{PATH}")
    assert [desk.handle("GET", PATH, headers)[0] for _ in range(2)] == [200, 401]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_key": "other"},
        {"client_secret": "other"},
        {"resource_owner_key": "other"},
        {"resource_owner_secret": "other"},
        {"timestamp": str(NOW - 601)},
        {"timestamp": str(NOW + 601)},
        {"signature_method": "PLAINTEXT"},
        {"signature_method": "HMAC-SHA256"},
        {"signature_type": "QUERY"},
    ],
)
def test_a_wrong_oauth_signature_is_refused(desk: DeskCom, changes: dict[str, str]) -> None:
    assert desk.handle("GET", PATH, signed(f"http://desk.test:8080{PATH}", **changes))[0] == 401


def test_the_signature_of_the_standards_own_example() -> None:
    """RFC 5849, section 1.2, the request for the photograph."""
    credentials = desk_com.Credentials(
        consumer_key="dpf43f3p2l4k3l03",
        consumer_secret="kd94hf93k423kf44",
        token="nnch734d00sl2jdk",
        token_secret="pfkkdhi9sl3r4s00",
    )
    authorization = (
        'OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", '
        'oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH", '
        'oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"'
    )
    headers = {"host": "photos.example.net", "authorization": authorization}
    gate = desk_com.Gate(credentials)
    assert gate.admits("GET", "/photos?file=vacation.jpg&size=original", headers, now=137_131_202)


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["", "topics", "users/search", "brands/search", "cases/1", "cases/x", "cases.json"])
def test_unknown_resources(desk: DeskCom, resource: str) -> None:
    assert refused(desk, resource) == (404, {"message": "Resource Not Found"})


def test_outside_the_api_the_site_is_html(desk: DeskCom) -> None:
    status, headers, _ = desk.handle("GET", "/api/v1/cases", BASIC)
    assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD"])
def test_only_reading(desk: DeskCom, method: str) -> None:
    assert desk.handle(method, "/api/v2/cases", BASIC)[0] == 405


@pytest.mark.parametrize("collection", desk_com.SIZES)
def test_a_record_is_the_same_alone_and_in_its_list(desk: DeskCom, collection: str) -> None:
    record = entries(read(desk, collection))[-1]
    assert read(desk, f"{collection}/{key(record)}") == record


def test_the_calling_user_leads_the_list(desk: DeskCom) -> None:
    caller = read(desk, "users/current")
    assert caller["email"] == desk_com.EMAIL
    users = list(walk(desk, "users", sort_field="name", sort_direction="asc", per_page=5))
    assert users[0] == caller
    assert [user["name"] for user in users[1:]] == sorted(user["name"] for user in users[1:])
    assert entries(read(desk, "users"))[0] == caller
    assert entries(read(desk, "users", sort_field="id", sort_direction="desc"))[-1] == caller


# --- pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collection", desk_com.SIZES)
def test_paging_gives_what_the_dump_has(site: DeskCom, collection: str, data: dict[str, list[Json]]) -> None:
    paged = list(walk(site, collection, per_page=70))
    assert sorted(paged, key=key) == data[collection]
    assert len(data[collection]) == read(site, collection)["total_entries"]


def test_the_envelope(site: DeskCom) -> None:
    page = read(site, "cases", page=2, zeta="a b", alpha=1)
    assert (page["total_entries"], page["page"], len(entries(page))) == (900, 2, 50)

    def link(number: int) -> Json:
        return {"href": f"/api/v2/cases?alpha=1&page={number}&per_page=50&zeta=a+b", "class": "page"}

    assert page["_links"] == {
        "self": link(2),
        "first": link(1),
        "last": link(18),
        "previous": link(1),
        "next": link(3),
    }
    assert read(site, "cases", page=18)["_links"]["next"] is None
    assert read(site, "cases")["_links"]["previous"] is None


def test_past_the_end_there_is_an_empty_page(site: DeskCom) -> None:
    page = read(site, "cases", page=19)
    assert entries(page) == []
    assert page["_links"]["next"] is None
    assert read(site, "cases", since_id=10**9)["_links"]["last"]["href"].count("page=1&")


def test_an_excessive_per_page_is_cut_silently(site: DeskCom) -> None:
    maxima = {"cases": 100, "customers": 100, "companies": 500, "articles": 500, "users": 1000}
    maxima |= {"brands": 100, "feedbacks": 100}
    for collection, maximum in maxima.items():
        page = read(site, collection, per_page=5000)
        assert page["_links"]["self"]["href"] == f"/api/v2/{collection}?page=1&per_page={maximum}"
        assert len(entries(page)) == min(maximum, page["total_entries"])


def test_per_page_can_be_overridden() -> None:
    desk = DeskCom(max_per_page=4, **SMALL)
    assert len(entries(read(desk, "users", per_page=50))) == 4


WINDOW = (422, {"message": "page parameter must be less than or equal to 500"})


def test_the_window_ends_at_page_500(site: DeskCom) -> None:
    assert len(entries(read(site, "cases", page=500, per_page=1))) == 1
    assert refused(site, "cases", page=501, per_page=1) == WINDOW
    assert refused(site, "customers", page=501) == WINDOW
    for search in ("cases/search", "customers/search", "companies/search"):
        assert refused(site, search, q="a", page=501) == WINDOW
    for unlimited in ("users", "brands", "companies", "articles", "feedbacks"):
        assert entries(read(site, unlimited, page=501)) == []


# --- filters and order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["cases", "cases/search", "customers", "customers/search"])
def test_since_id_is_inclusive(site: DeskCom, resource: str, data: dict[str, list[Json]]) -> None:
    ids = keys(data[resource.partition("/")[0]])
    middle = ids[len(ids) // 2]
    expected = [known for known in ids if known >= middle]
    assert keys(walk(site, resource, since_id=middle)) == expected
    assert read(site, resource, since_id=middle)["total_entries"] == len(expected)


@pytest.mark.parametrize("collection", ["articles", "brands", "companies", "feedbacks", "users"])
def test_the_other_lists_ignore_since_id(site: DeskCom, collection: str, data: dict[str, list[Json]]) -> None:
    assert read(site, collection, since_id=10**9)["total_entries"] == len(data[collection])


def test_plain_lists_ignore_times(site: DeskCom) -> None:
    assert read(site, "cases", since_updated_at=10**10)["total_entries"] == 900


@pytest.mark.parametrize("collection", ["cases", "customers"])
@pytest.mark.parametrize("field", ["created_at", "updated_at"])
def test_times_are_inclusive_and_combine_with_ids(site: DeskCom, collection: str, field: str, data: dict[str, list[Json]]) -> None:
    records = data[collection]
    times = sorted(seconds(record[field]) for record in records)
    low, high = times[len(times) // 4], times[len(times) * 3 // 4]
    first, last = key(records[10]), key(records[-10])
    expected = [r for r in records if low <= seconds(r[field]) <= high and first <= key(r) <= last]
    bounds = {f"since_{field}": low, f"max_{field}": high, "since_id": first, "max_id": last}
    assert keys(walk(site, f"{collection}/search", **bounds)) == keys(expected)
    assert read(site, f"{collection}/search", **bounds)["total_entries"] == len(expected) > 20


def test_a_search_needs_a_criterion(site: DeskCom) -> None:
    for search in ("cases/search", "customers/search", "companies/search", "articles/search"):
        status, content = refused(site, search, page=1, sort_field="updated_at")
        assert status == 422
        assert content.keys() == {"message"}


def test_q_makes_the_other_criteria_void(site: DeskCom) -> None:
    assert read(site, "cases/search", q="lamp", since_id=10**9)["total_entries"] > 0


def test_a_bound_that_is_no_number_has_no_effect(site: DeskCom) -> None:
    assert read(site, "cases/search", since_updated_at="2099-01-01T00:00:00Z")["total_entries"] == 900


def test_companies_can_be_searched_by_a_range_of_times(site: DeskCom, data: dict[str, list[Json]]) -> None:
    companies = data["companies"]
    times = sorted(seconds(company["updated_at"]) for company in companies)
    low, high = times[20], times[-20]
    found = walk(site, "companies/search", q=f"(updated_at:[{low} TO {high}])", sort_field="created_at")
    assert sorted(keys(found)) == keys(c for c in companies if low <= seconds(c["updated_at"]) <= high)


def test_links_of_a_search_lose_the_search(site: DeskCom) -> None:
    page = read(site, "cases/search", since_id=1, sort_field="id", per_page=100)
    assert page["_links"]["next"]["href"] == "/api/v2/cases?page=2&per_page=100"
    assert read(site, "articles/search", text="a")["_links"]["self"]["href"] == "/api/v2/articles?page=1&per_page=50"


def test_many_cases_share_one_second_and_stand_in_no_order_of_ids(site: DeskCom) -> None:
    cases = list(walk(site, "cases/search", since_id=1, sort_field="updated_at", per_page=100))
    assert len({key(case) for case in cases}) == 900
    times = [case["updated_at"] for case in cases]
    assert times == sorted(times)
    second, size = Counter(times).most_common(1)[0]
    assert size > 250
    tied = keys(case for case in cases if case["updated_at"] == second)
    assert tied != sorted(tied)
    within = {"since_updated_at": seconds(second), "max_updated_at": seconds(second), "sort_field": "id"}
    assert keys(walk(site, "cases/search", **within)) == sorted(tied)
    assert sum(size > 1 for size in Counter(times).values()) > 10


def test_descending_order(site: DeskCom) -> None:
    up = keys(walk(site, "cases", sort_field="created_at", sort_direction="asc", per_page=100))
    down = keys(walk(site, "cases", sort_field="created_at", sort_direction="desc", per_page=100))
    assert down == up[::-1]
    assert up != sorted(up)


def test_an_unknown_sort_field_means_the_default_order(site: DeskCom, data: dict[str, list[Json]]) -> None:
    page = read(site, "cases", sort_field="subject", sort_direction="desc")
    assert keys(entries(page)) == keys(data["cases"])[:50]


# --- records ------------------------------------------------------------------------------------------------------


def test_many_records_have_no_id(data: dict[str, list[Json]]) -> None:

    def share(collection: str) -> float:
        return sum("id" in record for record in data[collection]) / len(data[collection])

    assert 0.7 < share("cases") < 0.8
    assert share("users") < 0.3
    assert share("brands") == 0
    assert all(0.85 < share(name) < 1 for name in ("companies", "customers", "articles", "feedbacks"))
    assert all(r.get("id", key(r)) == key(r) for records in data.values() for r in records)


def test_awkward_shapes_occur(data: dict[str, list[Json]]) -> None:
    customers, cases, feedbacks = data["customers"], data["cases"], data["feedbacks"]
    assert {"company" in customer["_links"] for customer in customers} == {True, False}
    assert {"href": None, "class": "site"} in [customer["_links"]["locked_by"] for customer in customers]
    assert {customer["uid"] for customer in customers} == {None}
    assert None in [case["_links"]["assigned_user"] for case in cases]
    assert {"route_status" in case for case in cases} == {"changed_at" in case for case in cases} == {True, False}
    assert not any("suppress_rules" in case or "customer_id" in case for case in cases)
    assert {type(case["custom_fields"]["order_number"]) for case in cases} == {str, type(None)}
    assert {"case" in feedback for feedback in feedbacks} == {True, False}
    assert all("case" in feedback or "case" in feedback["_links"] for feedback in feedbacks)
    assert all(isinstance(feedback["rating"], str) for feedback in feedbacks)
    assert max(len(article["body"]) for article in data["articles"]) > 20_000
    assert any("\n" in (case["description"] or "") for case in cases)
    assert "" in [case["subject"] for case in cases]


def test_links_lead_to_records(data: dict[str, list[Json]]) -> None:
    customers = set(keys(data["customers"]))
    assert {int(c["_links"]["customer"]["href"].rpartition("/")[2]) for c in data["cases"]} <= customers


def test_the_seed_determines_data_and_changes() -> None:
    def story(seed: int) -> Json:
        desk = DeskCom(seed=seed, clock=Clock(), **SMALL)
        desk.update("cases", count=3)
        desk.add("customers", 2)
        desk.delete("articles", count=1)
        return desk.dump()

    assert story(1) == story(1) != story(2)


# --- changes ------------------------------------------------------------------------------------------------------

STAMP = "2020-09-13T12:26:40Z"


def visible(record: Json) -> Json:
    return {field: value for field, value in record.items() if field not in ("updated_at", "changed_at")}


@pytest.mark.parametrize("collection", desk_com.SIZES)
def test_an_update_shows_and_moves_updated_at(desk: DeskCom, collection: str) -> None:
    before = {key(record): record for record in desk.dump()[collection]}
    ids = desk.update(collection, count=2)
    for record in desk.dump()[collection]:
        old = before[key(record)]
        if key(record) in ids:
            assert record["updated_at"] == STAMP
            assert visible(record) != visible(old)
        else:
            assert record == old


def test_a_silent_update_leaves_updated_at(desk: DeskCom) -> None:
    before = {key(case): case for case in desk.dump()["cases"]}
    ids = desk.update("cases", count=6, silent=True)
    for case in (read(desk, f"cases/{known}") for known in ids):
        old = before[key(case)]
        assert visible(case) != visible(old)
        assert case["updated_at"] == old["updated_at"]
        assert case.get("changed_at") == (STAMP if "changed_at" in old else None)
    assert read(desk, "cases/search", since_updated_at=NOW)["total_entries"] == 0


def test_fields_can_be_set(desk: DeskCom) -> None:
    known = key(desk.dump()["cases"][0])
    desk.update("cases", ids=[known], set={"subject": "set", "_links": {"assigned_user": None}})
    case = read(desk, f"cases/{known}")
    assert (case["subject"], case["_links"]["assigned_user"], case["updated_at"]) == ("set", None, STAMP)
    assert case["_links"]["customer"]
    with pytest.raises(ValueError, match="identifier"):
        desk.update("cases", ids=[known], set={"id": 5})


def test_indexes_follow_changes() -> None:
    desk = DeskCom(cases=300, clock=Clock())

    def search() -> list[int]:
        query = {"since_updated_at": NOW, "sort_field": "updated_at", "per_page": 100}
        return keys(walk(desk, "cases/search", **query))

    assert search() == []
    updated, added = desk.update("cases", count=4), desk.add("cases", 3)
    assert sorted(search()) == sorted(updated + added)
    assert min(added) > max(keys(desk.dump()["cases"][:-3]))
    desk.delete("cases", ids=[updated[0], added[-1]])
    assert sorted(search()) == sorted(updated[1:] + added[:-1])
    assert desk.handle("GET", f"/api/v2/cases/{added[-1]}", BASIC)[0] == 404
    assert min(desk.add("cases")) > max(added)


def test_the_state_file_carries_everything_on(tmp_path: Path) -> None:
    state = tmp_path / "site.state"
    first = DeskCom(state=state, clock=Clock(), **SMALL)
    first.update("cases", count=2)
    gone = first.add("cases")
    first.delete("cases", ids=gone)
    second = DeskCom(state=state, seed=9, clock=Clock())
    assert second.dump() == first.dump()
    assert read(second, "users/current") == read(first, "users/current")
    assert second.add("cases") == first.add("cases") > gone
    assert [file.name for file in tmp_path.iterdir()] == ["site.state"]


# --- rate limit, revalidation, compression ------------------------------------------------------------------------


def rate(headers: dict[str, str]) -> tuple[str, ...]:
    return tuple(headers[f"X-Rate-Limit-{name}"] for name in ("Limit", "Remaining", "Reset"))


def test_the_rate_limit_has_one_fixed_window_for_all() -> None:
    clock = Clock(NOW + 35)  # 15 seconds into a minute
    desk = DeskCom(rate_limit=2, clock=clock, **SMALL)
    assert rate(desk.handle("GET", "/api/v2/cases", BASIC)[1]) == ("2", "1", "45")
    assert rate(desk.handle("GET", "/api/v2/users", {})[1]) == ("2", "0", "45")
    answers = [desk.handle("GET", "/api/v2/brands", BASIC) for _ in range(6)]
    assert {answer.status for answer in answers} == {429}
    assert {answer.headers["X-Rate-Limit-Remaining"] for answer in answers} == {"0"}
    assert {answer.headers["X-Rate-Limit-Reset"] for answer in answers} == {"45", "0"}
    assert not any("Retry-After" in answer.headers for answer in answers)
    assert [answer.body for answer in answers[:2]] == [b'{"message":"Too Many Requests"}', b"Too Many Requests"]
    clock.now += 45
    assert rate(desk.handle("GET", "/api/v2/cases", BASIC)[1]) == ("2", "1", "60")


def test_without_a_limit_the_headers_are_sent_all_the_same(desk: DeskCom) -> None:
    assert [rate(desk.handle("GET", "/api/v2/cases", BASIC)[1])[:2] for _ in range(2)] == [("300", "299")] * 2


@pytest.mark.parametrize("collection", ["articles", "brands", "companies", "customers", "users"])
def test_etags(desk: DeskCom, collection: str) -> None:
    path = f"/api/v2/{collection}"
    tag = desk.handle("GET", path, BASIC).headers["ETag"]
    assert tag.startswith('"')
    again = desk.handle("GET", path, BASIC | {"If-None-Match": tag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    desk.update(collection, count=1)
    assert desk.handle("GET", path, BASIC | {"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("collection", ["cases", "feedbacks"])
def test_no_etags(desk: DeskCom, collection: str) -> None:
    headers = desk.handle("GET", f"/api/v2/{collection}", BASIC | {"If-None-Match": "*"}).headers
    assert "ETag" not in headers
    assert ("X-Api-Version" in headers) == (collection == "cases")


def test_the_date_is_the_servers(desk: DeskCom) -> None:
    for path in ("/api/v2/cases", "/elsewhere"):
        assert desk.handle("GET", path, BASIC).headers["Date"] == "Sun, 13 Sep 2020 12:26:40 GMT"


def test_compression_if_wanted_by_both() -> None:
    asked = BASIC | {"Accept-Encoding": "gzip, deflate"}
    plain = DeskCom(**SMALL).handle("GET", "/api/v2/cases", asked)
    packed = DeskCom(gzip=True, **SMALL).handle("GET", "/api/v2/cases", asked)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


# --- faults -------------------------------------------------------------------------------------------------------


def test_faults_strike_as_often_as_told_where_they_match(desk: DeskCom) -> None:
    desk.fault("status", match="^/api/v2/cases", times=2, status=502)
    asked = ["cases", "brands", "cases?page=1", "cases"]
    assert [desk.handle("GET", f"/api/v2/{resource}", BASIC)[0] for resource in asked] == [502, 200, 502, 200]
    desk.fault("html_500", times=-1)
    assert {desk.handle("GET", "/api/v2/cases", BASIC)[0] for _ in range(5)} == {500}
    desk.clear_faults()
    assert desk.handle("GET", "/api/v2/cases", BASIC)[0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [("html_503", 503, "text/html"), ("forbidden", 403, "application/json"), ("not_json", 200, "application/json")],
)
def test_spoilt_answers(desk: DeskCom, kind: str, status: int, content_type: str) -> None:
    desk.fault(kind)
    answer = desk.handle("GET", "/api/v2/cases", BASIC)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.body.startswith(b"{") == (kind == "forbidden")


def test_an_envelope_can_lack_its_entries(desk: DeskCom) -> None:
    desk.fault("missing_envelope")
    assert read(desk, "cases") == {"total_entries": 12, "page": 1}


def test_delays_use_the_given_sleep() -> None:
    slept: list[float] = []
    desk = DeskCom(sleep=slept.append, **SMALL)
    desk.fault("delay", delay=2.5)
    read(desk, "cases")
    assert slept == [2.5]


# --- over the network ---------------------------------------------------------------------------------------------


_OPEN: list[http.client.HTTPConnection] = []


@pytest.fixture(autouse=True)
def close_connections() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def connect(url: str) -> http.client.HTTPConnection:
    _OPEN.append(http.client.HTTPConnection(url.removeprefix("http://"), timeout=5))
    return _OPEN[-1]


def connection(server: Server) -> http.client.HTTPConnection:
    return connect(server.url)


def exchange(client: http.client.HTTPConnection, method: str, path: str, content: Any = None) -> tuple[int, Any]:
    client.request(method, path, None if content is None else json.dumps(content), BASIC)
    response = client.getresponse()
    return response.status, json.loads(response.read() or b"null")


def test_served_over_one_connection(desk: DeskCom) -> None:
    with Server(desk) as server:
        client = connection(server)
        status, page = exchange(client, "GET", "/api/v2/cases?per_page=3")
        first_socket = client.sock
        assert (status, len(entries(page))) == (200, 3)
        assert exchange(client, "HEAD", "/api/v2/cases") == (405, None)
        assert exchange(client, "GET", "/api/v2/users/current")[1]["email"] == desk_com.EMAIL
        assert client.sock is first_socket
        assert server.requests[0] == ("GET", "/api/v2/cases?per_page=3")
        headers = signed(f"{server.url}/api/v2/brands") | {"Host": server.url.removeprefix("http://")}
        client.request("GET", "/api/v2/brands", headers=headers)
        assert client.getresponse().status == 200


def test_a_closed_server_hangs_up(desk: DeskCom) -> None:
    server = Server(desk)
    client = connection(server)
    exchange(client, "GET", "/api/v2/brands")
    server.close()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        exchange(client, "GET", "/api/v2/brands")


def test_broken_connections(desk: DeskCom) -> None:
    with Server(desk) as server:
        desk.fault("drop_connection")
        desk.fault("truncate")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            exchange(connection(server), "GET", "/api/v2/cases")
        with pytest.raises(http.client.IncompleteRead):
            exchange(connection(server), "GET", "/api/v2/cases")
        assert exchange(connection(server), "GET", "/api/v2/cases")[0] == 200


def test_the_control_side(desk: DeskCom) -> None:
    with Server(desk) as server:
        client = connection(server)
        ids = exchange(client, "POST", "/_control/update", {"collection": "users", "count": 2})[1]["ids"]
        assert len(ids) == 2
        added = exchange(client, "POST", "/_control/add", {"collection": "brands", "count": 2})[1]["ids"]
        assert exchange(client, "POST", "/_control/delete", {"collection": "brands", "ids": added[:1]})[0] == 200
        assert exchange(client, "GET", "/_control/dump?collection=brands") == (200, desk.dump("brands"))
        assert exchange(client, "GET", "/_control/dump")[1].keys() == desk_com.SIZES.keys()
        exchange(client, "POST", "/_control/fault", {"kind": "forbidden", "match": "cases", "times": -1})
        assert exchange(client, "GET", "/api/v2/cases")[0] == 403
        assert exchange(client, "POST", "/_control/clear_faults") == (200, {})
        assert exchange(client, "GET", "/api/v2/cases")[0] == 200
        assert exchange(client, "GET", "/_control/requests")[1] == {"count": 2, "targets": ["/api/v2/cases"] * 2}
        exchange(client, "POST", "/_control/reset_requests")
        assert exchange(client, "GET", "/_control/requests")[1]["count"] == 0
        for action, content in (
            ("update", {"collection": "users"}),
            ("update", {"collection": "nothing", "count": 1}),
            ("delete", {"collection": "users", "ids": [1]}),
            ("fault", {"kind": "nothing"}),
            ("fault", {"kind": "status", "match": "("}),
            ("add", ["users"]),
        ):
            status, answer = exchange(client, "POST", f"/_control/{action}", content)
            assert (status, answer.keys()) == (400, {"error"})
        assert exchange(client, "POST", "/_control/nothing")[0] == 404


def test_the_command_serves_until_told_to_stop(tmp_path: Path) -> None:
    state = tmp_path / "site.state"
    options = [f"--{name}={size}" for name, size in SMALL.items()]
    command = [sys.executable, "-m", "tests.standins.desk_com", *options, "--password", "other", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().strip()
        client = connect(url)
        assert exchange(client, "GET", "/api/v2/cases")[0] == 401
        dumped = exchange(client, "GET", "/_control/dump")[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    assert DeskCom(state=state).dump() == dumped
