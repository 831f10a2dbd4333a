"""`specs/desk_com.yaml` against the stand-in, end to end: what the tables hold, what is asked for, and what is said.

The stand-in and `differences` were written from the API's facts, not from the spec. Time is one clock for both sides, so
waits cost nothing and instants are exact.
"""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

from tests.standins import desk_com
from tests.standins.desk_com import Answer, Server
from tests.standins.desk_com_data import BULK_SIZE, stamp
from tests.sync import (
    BASIC,
    COLLECTIONS,
    OAUTH,
    SPEC,
    Desk,
    Project,
    Result,
    Row,
    Site,
    Time,
    differences,
    everything,
    key,
    query,
    rows,
    site,
    written_at,
)

LAG = 300
"""Seconds that the spec lets changes become visible late: from so long before the last run they are asked for again."""


class Make(Protocol):
    def __call__(self, **how: Any) -> Site: ...


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes one small site; nothing of the environment reaches the engine."""
    standing: list[AbstractContextManager[Site]] = []
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def made(**how: Any) -> Site:
        standing.append(site(tmp_path, **how))
        return standing[-1].__enter__()

    yield made
    for one in standing:
        one.__exit__(None, None, None)


# --- a site of 2,000 cases in the course of time ------------------------------------------------------------------

CHANGES = {"cases": 30, "customers": 20, "users": 3, "articles": 9, "brands": 1, "companies": 12, "feedbacks": 14}
ADDITIONS = {"cases": 25, "customers": 11, "users": 2, "articles": 4, "brands": 1, "companies": 6, "feedbacks": 8}
SILENT = {"cases": 17, "customers": 13, "users": 2, "articles": 5, "brands": 1, "companies": 4, "feedbacks": 6}
DELETIONS = {"cases": 12, "customers": 9, "users": 1, "articles": 3, "brands": 1, "companies": 5, "feedbacks": 7}

Ids = dict[str, set[int]]


@dataclass
class Chapter:
    """One run: what stood in the warehouse before and after, what the API held, and what it was asked for."""

    result: Result
    before: dict[str, list[Row]]
    after: dict[str, list[Row]]
    differences: list[str]
    asked: list[str]
    at: int

    def written(self, name: str) -> set[int]:
        """The rows that this run wrote. All others must stand as they stood."""
        ids = written_at(self.after[name], self.at)
        assert [row for row in self.after[name] if row["id"] not in ids] == [row for row in self.before[name] if row["id"] not in ids]
        return ids


@dataclass
class Story:
    first: Chapter
    quiet: Chapter
    changes: Chapter
    changed: Ids
    unseen: Chapter
    healed: Chapter
    silent: Ids
    deleted: Ids
    ledger: list[tuple[Any, ...]]
    began: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The first run; an hour later nothing; then changes and additions; then silent changes and deletions; then a complete pass."""
    sizes = {"cases": 2000, "customers": 1000, "users": 25, "articles": 120, "brands": 3, "companies": 180, "feedbacks": 150}
    with site(tmp_path_factory.mktemp("story"), **sizes) as one:
        stands: dict[str, list[Row]] = {name: [] for name in COLLECTIONS}
        began = int(one.clock.now)

        def run(**options: Any) -> Chapter:
            nonlocal stands
            one.forget()
            before, at = stands, one.clock.micros
            result = one.project.run(**options)
            stands = everything(one.project.warehouse)
            found = differences(one.project.warehouse, one.desk.dump())
            one.clock.goes_on(hours=1)
            return Chapter(result, before, stands, found, one.asked(), at)

        def each(change: Any, counts: dict[str, int]) -> Ids:
            return {name: set(change(name, count=count)) for name, count in counts.items()}

        def others(counts: dict[str, int], but: Ids) -> Ids:
            """Records spread over each collection, none of `but`, and not the user who asks."""
            caller = {key(record) for record in one.desk.dump("users")["users"] if record["email"] == desk_com.EMAIL}
            left = {name: sorted({row["id"] for row in stands[name]} - but[name] - caller) for name in counts}
            return {name: set(left[name][:: len(left[name]) // count][:count]) for name, count in counts.items()}

        first, quiet = run(), run()
        changed, added = each(one.desk.update, CHANGES), each(one.desk.add, ADDITIONS)
        changes = run()
        both = {name: changed[name] | added[name] for name in COLLECTIONS}
        silent = others(SILENT, both)
        deleted = others(DELETIONS, {name: both[name] | silent[name] for name in COLLECTIONS})
        for name in COLLECTIONS:
            one.desk.update(name, ids=silent[name], silent=True)
            one.desk.delete(name, ids=deleted[name])
        unseen = run()
        healed = run(full=True)
        ledger = query(
            one.project.warehouse,
            "SELECT run, collection, status, received, inserted, updated, unchanged, deleted FROM w.desk_com._syncer_runs ORDER BY ALL",
        )
        return Story(first, quiet, changes, both, unseen, healed, silent, deleted, ledger, began)


def test_the_first_run_fills_every_table_value_by_value(story: Story) -> None:
    assert (story.first.result.code, story.first.differences) == (0, [])
    counts = {name: len(table) for name, table in story.first.after.items()}
    assert counts == {"cases": 2000, "customers": 1000, "users": 25, "articles": 120, "brands": 3, "companies": 180, "feedbacks": 150}


def test_the_books_of_the_first_run_balance(story: Story) -> None:
    books = story.first.result
    assert (books.summary["run"], books.summary["status"]) == (1, "complete")
    assert books["cases"].pop("bytes") > 1_000_000
    assert books["cases"] == {
        "requests": 21, "pages": 21, "received": 2020, "api_total": 2000, "stop": "total_reached", "proof": "proven",
        "budget_left": 299, "budget_resets_at": "2020-09-13T12:27:00Z",
        "read": 2020, "inserted": 2000, "updated": 0, "unchanged": 0, "duplicates": 20, "stale": 0, "filtered": 0,
        "rejected": 0, "rejected_values": 0, "deleted": 0, "held_back": 0, "error": None,
    }  # fmt: skip
    assert books.each("inserted") == {name: len(table) for name, table in story.first.after.items()}


def test_a_run_that_finds_nothing_new_writes_no_row(story: Story) -> None:
    assert story.quiet.result.code == 0
    assert story.quiet.after == story.first.after


def test_where_nothing_changed_one_request_finds_it_out(story: Story) -> None:
    since = story.began - LAG
    common = f"sort_field=id&sort_direction=asc&per_page=100&since_updated_at={since}&since_id=1"
    assert story.quiet.asked[:2] == [f"/cases/search?{common}", f"/customers/search?{common}"]
    assert story.quiet.result["cases"]["received"] == story.quiet.result["customers"]["received"] == 0


def test_a_run_that_finds_nothing_new_costs_a_request_a_collection_and_the_pages_of_complete_passes(story: Story) -> None:
    """Lists that cannot be asked for changes are read whole each time: only feedbacks fill more than one page."""
    asked = Counter(re.split("[/?]", target)[1] for target in story.quiet.asked)
    assert asked == dict.fromkeys(COLLECTIONS, 1) | {"feedbacks": 2}
    assert story.quiet.result.each("requests") == dict(asked)


def test_a_complete_pass_that_is_due_costs_its_pages_and_nothing_else_is_asked(make: Make) -> None:
    here = make(cases=250, customers=130)
    here.project.run()
    for days, cases, customers in ((1, 1, 1), (6, 3, 2), (1, 1, 1)):
        here.clock.goes_on(days=days)
        here.forget()
        result = here.project.run()
        asked = Counter(re.split("[/?]", target)[1] for target in here.asked())
        assert asked == dict.fromkeys(COLLECTIONS, 1) | {"cases": cases, "customers": customers}
        assert (result.code, result.each("requests")) == (0, dict(asked))


def test_changes_and_additions_in_all_collections_arrive_with_the_next_run(story: Story) -> None:
    assert (story.changes.result.code, story.changes.differences) == (0, [])


@pytest.mark.parametrize("name", COLLECTIONS)
def test_only_what_changed_is_written(story: Story, name: str) -> None:
    assert story.changes.written(name) == story.changed[name]
    books = story.changes.result[name]
    assert (books["inserted"], books["updated"], books["deleted"]) == (ADDITIONS[name], CHANGES[name], 0)


def test_only_what_changed_is_fetched_of_cases_and_customers(story: Story) -> None:
    since = story.began + 3600 - LAG
    common = f"sort_field=id&sort_direction=asc&per_page=100&since_updated_at={since}&since_id=1"
    assert [target for target in story.changes.asked if re.match("/(cases|customers)", target)] == [
        f"/cases/search?{common}",
        f"/customers/search?{common}",
    ]
    assert (story.changes.result["cases"]["received"], story.changes.result["customers"]["received"]) == (55, 31)


@pytest.mark.parametrize("name", ["cases", "customers"])
def test_what_moves_no_updated_at_waits_for_a_complete_pass(story: Story, name: str) -> None:
    """And what the last run brought within the lag comes again, and is not written again."""
    assert story.unseen.after[name] == story.changes.after[name]
    assert story.unseen.result[name]["unchanged"] == len(story.changed[name])


@pytest.mark.parametrize("name", ["users", "articles", "brands", "companies", "feedbacks"])
def test_a_list_that_is_read_whole_shows_silent_changes_and_deletions_at_once(story: Story, name: str) -> None:
    assert [line for line in story.unseen.differences if line.startswith(f"{name} ")] == []
    assert story.unseen.written(name) == story.silent[name] | story.deleted[name]
    gone = {row["id"] for row in story.unseen.after[name] if row["_deleted_at"] == story.unseen.at}
    assert gone == story.deleted[name]


def test_a_complete_pass_heals_everything(story: Story) -> None:
    assert (story.healed.result.code, story.healed.differences) == (0, [])
    assert story.healed.result.each("deleted") == dict.fromkeys(COLLECTIONS, 0) | {"cases": 12, "customers": 9}


@pytest.mark.parametrize("name", ["cases", "customers"])
def test_a_complete_pass_writes_only_what_differs_and_marks_what_vanished(story: Story, name: str) -> None:
    assert story.healed.written(name) == story.silent[name] | story.deleted[name]
    gone = {row["id"] for row in story.healed.after[name] if row["_deleted_at"] is not None}
    assert gone == {row["id"] for row in story.healed.after[name] if row["_deleted_at"] == story.healed.at} == story.deleted[name]


def test_a_deleted_row_keeps_its_last_values(story: Story) -> None:
    last = {row["id"]: row for row in story.unseen.after["cases"]}
    for row in story.healed.after["cases"]:
        if row["id"] in story.deleted["cases"]:
            assert row == last[row["id"]] | {"_deleted_at": story.healed.at, "_synced_at": story.healed.at}


def test_the_ledger_in_the_warehouse_holds_the_books_of_every_run(story: Story) -> None:
    words = ("received", "inserted", "updated", "unchanged", "deleted")
    chapters = [story.first, story.quiet, story.changes, story.unseen, story.healed]
    expected = [
        (number, name, "complete", *(chapter.result[name][word] for word in words))
        for number, chapter in enumerate(chapters, start=1)
        for name in sorted(COLLECTIONS)
    ]
    assert story.ledger == expected


# --- what is asked for --------------------------------------------------------------------------------------------


def test_after_a_week_a_complete_pass_is_due(make: Make) -> None:
    here = make()
    here.project.run("cases")
    here.clock.goes_on(days=6)
    here.desk.update("cases", count=5, silent=True)
    gone = here.desk.delete("cases", count=4)
    early = here.project.run("cases")
    here.clock.goes_on(days=1)
    due = here.project.run("cases")
    assert (early["cases"]["updated"], early["cases"]["deleted"]) == (0, 0)
    assert due["cases"]["deleted"] == len(gone)
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


def test_every_case_of_one_second_arrives_though_they_fill_many_pages(make: Make) -> None:
    here = make(cases=400, max_per_page=50)
    here.project.run("cases")
    here.clock.goes_on(hours=1)
    tied = here.desk.update("cases", count=BULK_SIZE)
    here.forget()
    result = here.project.run("cases")
    assert (len(tied), result["cases"]["updated"], result["cases"]["unchanged"]) == (320, 320, 0)
    assert all(target.startswith("/cases/search?") for target in here.asked())
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


def test_a_change_in_the_very_second_of_a_run_is_found_by_the_next(make: Make) -> None:
    here = make()
    here.project.run("cases", "customers")
    here.desk.update("cases", count=7)
    here.desk.add("customers", 3)
    here.clock.goes_on(hours=2)
    result = here.project.run("cases", "customers")
    assert (result["cases"]["updated"], result["customers"]["inserted"]) == (7, 3)
    assert differences(here.project.warehouse, here.desk.dump("cases") | here.desk.dump("customers")) == []


def test_more_cases_than_500_pages_hold_all_arrive(make: Make) -> None:
    here = make(cases=1510, max_per_page=3)
    basic = base64.b64encode(f"{desk_com.EMAIL}:{desk_com.PASSWORD}".encode()).decode()
    beyond = here.desk.handle("GET", "/api/v2/cases?page=501&per_page=3", {"Authorization": f"Basic {basic}"})
    result = here.project.run("cases")
    assert (beyond.status, result.code, result["cases"]["inserted"]) == (422, 0, 1510)
    assert [target for target in here.asked() if "page=" in target.replace("per_page=", "")] == ["/cases?page=501&per_page=3"]
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


def test_a_server_that_clamps_the_page_size_loses_nothing(make: Make) -> None:
    here = make(max_per_page=7)
    result = here.project.run()
    assert result.code == 0
    assert differences(here.project.warehouse, here.desk.dump()) == []
    assert result.each("proof") == {
        "cases": "proven", "customers": "proven", "users": "checked", "articles": "checked", "brands": "proven",
        "companies": "checked", "feedbacks": "checked",
    }  # fmt: skip


def test_pages_too_small_to_go_on_are_never_taken_for_the_end(make: Make) -> None:
    """Each page holds one case, the one at the inclusive bound: there is no way on, and no quiet success."""
    here = make(cases=3, max_per_page=1)
    result = here.project.run("cases")
    assert (result.code, result.summary["status"]) == (1, "incomplete")
    assert "ask for larger pages" in result["cases"]["error"]


def test_records_without_an_id_get_it_from_their_self_link(make: Make) -> None:
    here = make(companies=60, articles=60, feedbacks=60)
    here.project.run()
    for name, records in here.desk.dump().items():
        without = {key(record) for record in records if "id" not in record}
        assert without, f"the stand-in has no such {name}"
        assert without <= {row["id"] for row in rows(here.project.warehouse, name)}


def test_selected_collections_alone_are_asked_for_and_shown(make: Make) -> None:
    here = make()
    result = here.project.run("brands", "cases")
    assert list(result.summary["collections"]) == ["cases", "brands"]
    assert {target.partition("?")[0] for target in here.asked()} == {"/cases", "/brands"}


def test_pull_and_load_apart_do_what_run_does(make: Make) -> None:
    here = make()
    pulled, loaded = here.project.pull("cases", "users"), here.project.load("cases", "users")
    assert (pulled.code, loaded.code) == (0, 0)
    assert (pulled["cases"]["received"], pulled["cases"]["read"]) == (60, None)
    assert (loaded["cases"]["received"], loaded["cases"]["read"], loaded["cases"]["inserted"]) == (None, 60, 60)
    assert differences(here.project.warehouse, here.desk.dump("cases") | here.desk.dump("users")) == []


# --- a list that moves while it is read ---------------------------------------------------------------------------


def test_cases_that_change_come_and_go_during_a_pass_are_right_in_the_end(make: Make) -> None:
    here = make(cases=300, max_per_page=20)
    ids = [key(record) for record in here.desk.dump("cases")["cases"]]
    deeds = {
        3: lambda: here.desk.update("cases", ids=[ids[5], ids[200]]),
        5: lambda: here.desk.delete("cases", ids=[ids[10], ids[90], ids[250]]),
        7: lambda: here.desk.add("cases", 30),
    }
    number = 0

    def before(target: str) -> None:
        nonlocal number
        number += 1
        here.clock.goes_on(seconds=1)
        deeds.get(number, lambda: None)()

    here.desk.before = before
    first = here.project.run("cases")
    here.clock.goes_on(hours=1)
    here.project.run("cases")
    stays = {key(record): record for record in here.desk.dump("cases")["cases"]}
    left = differences(here.project.warehouse, {"cases": list(stays.values())})
    healed = here.project.run("cases", full=True)
    assert (first.code, first["cases"]["proof"]) == (0, "proven")
    assert left == [f"cases {ids[10]}: not marked as deleted, the API has no such record"]
    assert (healed["cases"]["deleted"], differences(here.project.warehouse, {"cases": list(stays.values())})) == (1, [])


def test_a_row_that_slips_between_two_pages_is_found_by_a_second_reading(make: Make) -> None:
    """A deletion on page 1 pulls the first row of page 2 there, after page 1 was read."""
    here = make(feedbacks=60, max_per_page=20)
    ids = [key(record) for record in here.desk.dump("feedbacks")["feedbacks"]]
    pages = iter(range(1, 100))

    def before(target: str) -> None:
        if next(pages) == 2:
            here.desk.delete("feedbacks", ids=[ids[3]])

    here.desk.before = before
    result = here.project.run("feedbacks")
    there = {row["id"] for row in rows(here.project.warehouse, "feedbacks")}
    assert set(ids) - {ids[3]} <= there
    assert (result.code, result["feedbacks"]["proof"], len(here.asked())) == (0, "checked", 6)


def test_what_two_readings_of_a_list_in_pages_lack_is_gone(make: Make) -> None:
    here = make(feedbacks=60, max_per_page=20)
    here.project.run("feedbacks")
    gone = here.desk.delete("feedbacks", count=4)
    here.forget()
    result = here.project.run("feedbacks")
    assert (result["feedbacks"]["deleted"], len(here.asked())) == (4, 6)
    assert {row["id"] for row in rows(here.project.warehouse, "feedbacks") if row["_deleted_at"]} == set(gone)
    assert differences(here.project.warehouse, here.desk.dump("feedbacks")) == []


def test_a_list_in_pages_that_lacks_nothing_is_read_once(make: Make) -> None:
    here = make(feedbacks=60, max_per_page=20)
    here.project.run("feedbacks")
    here.forget()
    again = here.project.run("feedbacks")
    assert (again["feedbacks"]["unchanged"], again["feedbacks"]["deleted"], len(here.asked())) == (60, 0, 3)


# --- who asks -----------------------------------------------------------------------------------------------------


def test_oauth_signs_what_basic_would_send_a_password_for(tmp_path: Path) -> None:
    """The installed command, its settings from a .env file, on a machine that lives by another time."""
    with Server(Desk(cases=250, customers=20, feedbacks=120)) as server:
        project = Project(tmp_path, server.url, {}, environment={"TZ": "Pacific/Auckland", "LC_ALL": "C"})
        lines = [f"SYNCER_DESK_COM_{name.upper()}='{value}'\n" for name, value in OAUTH.items()]
        (tmp_path / ".env").write_text("".join(lines))
        result = project.cli("run", "--json")
        assert (result.code, result.summary["status"]) == (0, "complete")
        assert differences(project.warehouse, server.desk.dump()) == []


def test_other_credentials_are_no_other_account(make: Make) -> None:
    here = make(ours=Time(int(time.time())))
    here.project.run("brands")
    here.project.settings = dict(OAUTH)
    assert here.project.run("brands").code == 0


@pytest.mark.parametrize("how", ["in process", "installed"])
def test_a_wrong_password_costs_one_request_and_is_told_without_it(make: Make, how: str) -> None:
    here = make()
    here.project.settings = BASIC | {"password": "not the password"}
    result = here.project.run() if how == "in process" else here.project.cli("run")
    assert (result.code, len(here.asked())) == (1, 1)
    assert "Desk.com refused the credentials of user 'agent@example.com'" in result.told
    assert "not the password" not in result.told
    assert base64.b64encode(b"agent@example.com:not the password").decode() not in result.told


def test_a_refused_collection_fails_with_a_hint_and_the_others_complete(make: Make) -> None:
    here = make()
    here.desk.fault("forbidden", "/companies", times=-1)
    result = here.project.run()
    assert (result.code, result.summary["status"]) == (1, "failed")
    assert {name for name, error in result.each("error").items() if error} == {"companies"}
    assert "403: user 'agent@example.com' may not read this; give that account a role that may" in result["companies"]["error"]
    assert len(here.asked("/companies")) == 1
    others = {name: records for name, records in here.desk.dump().items() if name != "companies"}
    assert differences(here.project.warehouse, others) == []
    ledger = query(here.project.warehouse, "SELECT error FROM w.desk_com._syncer_runs WHERE collection = 'companies' AND status = 'failed'")
    assert ledger == [(result["companies"]["error"],)]


@pytest.mark.parametrize(("harm", "planned"), [("missing", True), ("cut-off", False)])
def test_what_a_segment_held_that_is_not_as_it_was_is_asked_for_again(make: Make, harm: str, planned: bool) -> None:
    here = make()
    here.project.run()
    if planned:
        here.project.run()
    segment = min(here.project.hub.rglob("segments/customers/*.zst"))
    data = segment.read_bytes()
    segment.unlink()
    if harm == "cut-off":
        segment.write_bytes(data[:20])
    here.desk.update("customers", count=1, set={"title": "Dr."})
    here.desk.update("cases", count=1, set={"subject": "new"})
    result = here.project.run()
    assert (result.code, result["customers"]["received"], result["cases"]["received"]) == (
        0,
        len(here.desk.dump("customers")["customers"]),
        1,
    )
    assert differences(here.project.warehouse, here.desk.dump()) == []
    segment.unlink(missing_ok=True)
    segment.write_bytes(data)
    assert here.project.run().code == 0
    assert differences(here.project.warehouse, here.desk.dump()) == []


def test_a_hub_is_refused_to_another_origin_until_it_is_said_to_be_the_same(make: Make, tmp_path: Path) -> None:
    here = make()
    here.project.run("brands")
    with Server(Desk(clock=here.clock, **dict.fromkeys(COLLECTIONS, 3))) as other:
        moved = Project(tmp_path, other.url, clock=here.clock)
        refused = moved.run("brands")
        assert (refused.code, refused.summary, other.requests) == (2, {}, [])
        assert "was filled from another account" in refused.told
        assert here.project.url in refused.told
        assert other.url in refused.told
        assert "--same-account" in refused.told
        assert moved.run("brands", same_account=True).code == 0
        assert moved.run("brands").code == 0, "it has to be said once"
        assert differences(moved.warehouse, other.desk.dump("brands")) == []


def test_a_hub_is_refused_to_another_site_behind_the_same_origin(make: Make) -> None:
    here = make()
    here.project.settings = BASIC | {"site": "acme"}
    here.project.run("brands")
    here.forget()
    here.project.settings = BASIC | {"site": "apex"}
    refused = here.project.run("brands")
    assert (refused.code, here.asked()) == (2, [])
    assert "site acme, now apex" in refused.told


# --- what goes wrong on the way -----------------------------------------------------------------------------------


def test_a_spent_budget_is_waited_for_and_never_run_into(make: Make) -> None:
    here = make(cases=500, max_per_page=20, rate_limit=5, rate_window=1.0)
    result = here.project.run("cases")
    assert (result.code, result["cases"]["inserted"]) == (0, 500)
    assert set(here.desk.statuses) == {200}
    requests = len(here.asked())
    assert sum(here.clock.waits) >= (requests - 1) // 5
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


def test_a_429_that_says_reset_0_in_plain_text_is_waited_out(make: Make) -> None:
    """The next window does not begin at once, whatever the header says: at least a second lies between two tries."""
    here = make()
    told = {"X-Rate-Limit-Limit": "60", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "0", "Content-Type": "text/plain"}
    refusals = iter([Answer(429, told, b"Too Many Requests")] * 9)
    instants: list[float] = []

    def before(target: str) -> Answer | None:
        instants.append(here.clock.now)
        return next(refusals, None)

    here.desk.before = before
    result = here.project.run("brands")
    assert (result.code, result["brands"]["requests"]) == (0, 10)
    assert min(later - sooner for sooner, later in pairwise(instants)) >= 1.0
    assert differences(here.project.warehouse, here.desk.dump("brands")) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html_500"},
        {"kind": "html_503"},
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 504},
        {"kind": "status", "status": 400},
        {"kind": "drop_connection"},
        {"kind": "truncate"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault['status']}" if "status" in fault else fault["kind"],
)
def test_what_passes_is_tried_again(make: Make, fault: dict[str, Any]) -> None:
    here = make(cases=130)
    here.desk.fault(match="since_id=[0-9]{3}", times=3, **fault)
    result = here.project.run("cases")
    assert (result.code, result["cases"]["requests"], result["cases"]["pages"]) == (0, 5, 2)
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


def test_compressed_answers_are_read_like_any(make: Make) -> None:
    here = make(gzip=True)
    assert here.project.run("cases", "articles").code == 0
    assert differences(here.project.warehouse, here.desk.dump("cases") | here.desk.dump("articles")) == []


def test_an_answer_that_does_not_decompress_is_no_answer(make: Make) -> None:
    here = make()
    broken = Answer(200, {"Content-Encoding": "gzip", "Content-Type": "application/json", "Content-Length": "9"}, b"not gzip!")
    answers = iter([broken])
    here.desk.before = lambda target: next(answers, None)
    result = here.project.run("brands")
    assert (result.code, result["brands"]["requests"]) == (0, 2)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "drop_connection"}, "no answer"),
        ({"kind": "truncate"}, "no answer"),
        ({"kind": "html_500"}, "status 500, tried 6 times"),
        ({"kind": "not_json"}, "is not JSON"),
        ({"kind": "missing_envelope"}, "_embedded.entries"),
    ],
    ids=["drop_connection", "truncate", "html_500", "not_json", "missing_envelope"],
)
def test_what_was_received_before_a_failure_stays_and_is_not_asked_for_again(make: Make, fault: dict[str, Any], said: str) -> None:
    here = make(cases=500)
    ids = [key(record) for record in here.desk.dump("cases")["cases"]]
    third = f"since_id={ids[198]}"
    here.desk.fault(match=third, times=-1, **fault)
    failed = here.project.run("cases", "brands")
    assert (failed.code, failed.summary["status"]) == (1, "failed")
    assert said in failed["cases"]["error"]
    assert third in failed["cases"]["error"]
    assert (failed["cases"]["received"], failed["brands"]["error"]) == (200, None)
    assert [row["id"] for row in rows(here.project.warehouse, "cases")] == ids[:199]

    here.desk.clear_faults()
    here.forget()
    mended = here.project.run("cases", "brands")
    assert mended.code == 0
    assert third in here.asked("/cases")[0]
    assert len([target for target in here.asked("/cases") if not target.startswith("/cases/search")]) == 4
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


@pytest.mark.parametrize("kind", ["not_json", "missing_envelope"])
@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_page_that_is_no_list_is_never_an_empty_one(make: Make, name: str, kind: str) -> None:
    """In a complete pass, where an empty list would mean that everything was deleted."""
    here = make()
    here.project.run(name)
    stood = rows(here.project.warehouse, name)
    here.clock.goes_on(hours=1)
    here.desk.fault(kind, times=-1)
    here.forget()
    result = here.project.run(name, full=True)
    error = result[name]["error"]
    assert (result.code, result.summary["status"], result[name]["deleted"]) == (1, "failed", 0)
    assert rows(here.project.warehouse, name) == stood
    assert f"{name}, page 1, status 200, {here.project.url}/api/v2/{name}" in error
    if kind == "missing_envelope":
        assert "has nothing at _embedded.entries, where a list of records should be; it has: total_entries, page" in error
    assert len(here.asked()) == 1, "a status of 200 is not tried again"


@pytest.mark.parametrize("link", ["http://[", "http://127.0.0.1:99999/api/v2/users?page=2"])
def test_a_next_link_that_is_no_url_fails_its_collection_alone(make: Make, link: str) -> None:
    here = make()
    body = f'{{"total_entries":8,"_links":{{"next":{{"href":"{link}"}}}},"_embedded":{{"entries":[]}}}}'.encode()
    here.desk.before = lambda target: Answer(200, {}, body) if "/users" in target else None
    result = here.project.run("cases", "users")
    assert (result.code, result["cases"]["inserted"], result["cases"]["error"]) == (1, 60, None)
    assert "/api/v2/users" in result["users"]["error"]


@pytest.mark.parametrize("limit", ["-1", "0", "0.5"])
def test_a_limit_that_allows_nothing_is_not_believed(make: Make, limit: str) -> None:
    here = make()
    answers = iter([Answer(429, {"X-Rate-Limit-Limit": limit, "X-Rate-Limit-Reset": "2"}, b"Too Many Requests")])
    here.desk.before = lambda target: next(answers, None)
    result = here.project.run("brands")
    assert (result.code, result["brands"]["requests"], here.clock.waits) == (0, 2, [2.0])


def test_an_empty_page_while_the_total_says_more_is_no_end(make: Make) -> None:
    here = make(cases=250)
    body = b'{"total_entries":250,"page":1,"_links":{"next":null},"_embedded":{"entries":[]}}'
    here.desk.before = lambda target: Answer(200, {"Content-Length": str(len(body))}, body)
    result = here.project.run("cases", "users")
    assert (result.code, result.summary["status"]) == (1, "incomplete")
    assert result.each("deleted") == {"cases": 0, "users": 0}
    assert all("250" in error for error in result.each("error").values())


def test_a_locked_warehouse_is_told_before_any_request(make: Make) -> None:
    here = make()
    with duckdb.connect(str(here.project.warehouse)):
        result = here.project.cli("run")
    assert (result.code, here.asked()) == (1, [])
    assert "desk_com.duckdb: cannot be opened (another process has it open)" in result.told


def test_a_warehouse_in_no_folder_is_told_before_any_request(make: Make, tmp_path: Path) -> None:
    here = make()
    result = here.project.run(to=f"duckdb:{tmp_path}/nowhere/w.duckdb")
    assert (result.code, here.asked()) == (1, [])
    assert f"there is no folder {tmp_path}/nowhere" in result.told


def test_a_second_run_at_the_same_time_is_told_to_wait(make: Make) -> None:
    here = make()
    second: list[Result] = []

    def before(target: str) -> None:
        if not second:
            second.append(here.project.run("brands"))

    here.desk.before = before
    first = here.project.run("cases")
    assert (first.code, second[0].code, here.asked("/brands")) == (0, 1, [])
    assert "another process is at a pull of it; wait until that has ended" in second[0].told


@pytest.mark.parametrize("pages", [0, 1])
def test_changes_are_asked_for_again_from_where_the_last_good_answer_ended(make: Make, pages: int) -> None:
    """Whether nothing of the window came, or its first page; and what changed in the meantime comes too."""
    here = make(cases=200)
    here.project.run("cases")
    began = int(here.clock.now)
    here.clock.goes_on(hours=1)
    ids = sorted(here.desk.update("cases", count=150))
    last = ids[99] if pages else 1
    here.desk.fault("not_json", rf"/cases/search.*since_id={last}$", times=-1)
    failed = here.project.run("cases")
    assert (failed.code, failed["cases"]["received"], failed["cases"]["updated"]) == (1, 100 * pages, 100 * pages)

    here.desk.clear_faults()
    here.forget()
    here.clock.goes_on(hours=1)
    here.desk.update("cases", ids=ids[:10])
    mended = here.project.run("cases")
    assert mended.code == 0
    common = "/cases/search?sort_field=id&sort_direction=asc&per_page=100"
    assert here.asked()[0] == f"{common}&since_updated_at={began - LAG}&since_id={last}"
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []


# --- the hub and the warehouse apart ------------------------------------------------------------------------------


def test_a_warehouse_with_rows_that_meets_an_empty_hub_is_said_aloud(make: Make) -> None:
    here = make()
    here.project.run("cases", "companies")
    gone = here.desk.delete("cases", count=5)
    here.desk.update("companies", count=4, silent=True)
    result = here.project.run("cases", "companies", hub=str(here.project.folder / "another"))
    assert result.code == 0
    assert "the warehouse was loaded from another hub" in result.told
    assert differences(here.project.warehouse, here.desk.dump("cases") | here.desk.dump("companies")) == []
    assert {row["id"] for row in rows(here.project.warehouse, "cases") if row["_deleted_at"]} == set(gone)


def test_an_empty_hub_is_said_aloud_beside_the_json_too(make: Make) -> None:
    here = make()
    here.project.run("brands")
    result = here.project.cli("run", "--select", "brands", "--hub", "another", "--json")
    assert (result.code, result.summary["status"]) == (0, "complete")
    assert "the warehouse was loaded from another hub" in result.told


def test_one_hub_fills_two_warehouses(make: Make, tmp_path: Path) -> None:
    here = make(feedbacks=120)
    here.project.run("cases", "feedbacks")
    here.desk.update("cases", count=9)
    here.desk.delete("feedbacks", count=9)
    here.clock.goes_on(hours=1)
    here.project.run("cases", "feedbacks")
    here.forget()
    second = tmp_path / "second.duckdb"
    assert here.project.load("cases", "feedbacks", to=f"duckdb:{second}", schema="copy").code == 0
    held = here.desk.dump("cases") | here.desk.dump("feedbacks")
    assert (here.asked(), differences(second, held, "copy")) == ([], [])


def edited(project: Project, old: str, new: str) -> None:
    """The project's spec with one line of it changed."""
    text = SPEC.read_text()
    assert text.count(old) == 1
    project.spec = project.folder / "edited.yaml"
    project.spec.write_text(text.replace(old, new))


def test_a_property_added_in_yaml_is_filled_from_the_hub_without_a_request(make: Make) -> None:
    here = make()
    here.project.run("cases", "brands")
    here.clock.goes_on(hours=1)
    here.desk.update("cases", count=10)
    here.project.run("cases", "brands")
    stood = {name: rows(here.project.warehouse, name) for name in ("cases", "brands")}
    edited(here.project, "      blurb:", "      replies: {type: integer, from: _links.replies.count}\n      blurb:")
    here.clock.goes_on(hours=1)
    here.forget()
    result = here.project.load("cases", "brands")
    assert (result.code, here.asked()) == (0, [])
    dump = {key(record): record for record in here.desk.dump("cases")["cases"]}
    table = rows(here.project.warehouse, "cases")
    assert {row["id"]: row["replies"] for row in table} == {number: one["_links"]["replies"]["count"] for number, one in dump.items()}
    kept = [name for name in stood["cases"][0] if name != "_synced_at"]
    assert [[row[name] for name in kept] for row in table] == [[row[name] for name in kept] for row in stood["cases"]]
    assert rows(here.project.warehouse, "brands") == stood["brands"]


def test_a_retyped_property_is_filled_from_the_hub_without_a_request(make: Make) -> None:
    here = make()
    here.project.run("feedbacks")
    edited(here.project, 'rating: {type: string, description: "The mark', 'rating: {type: integer, description: "The mark')
    here.forget()
    result = here.project.load("feedbacks")
    assert (result.code, here.asked()) == (0, [])
    sent = {key(record): int(record["rating"]) for record in here.desk.dump("feedbacks")["feedbacks"]}
    assert {row["id"]: row["rating"] for row in rows(here.project.warehouse, "feedbacks")} == sent


def test_a_property_taken_out_of_the_yaml_keeps_what_it_holds(make: Make) -> None:
    here = make()
    here.project.run("customers")
    worth = {row["id"]: row["opportunity_value"] for row in rows(here.project.warehouse, "customers")}
    edited(here.project, "      opportunity_value:", "      other: {type: string, from: opportunity_value}\n      # opportunity_value:")
    here.clock.goes_on(hours=1)
    changed = here.desk.update("customers", count=5, set={"opportunity_value": "$1"})
    result = here.project.run("customers")
    table = {row["id"]: row for row in rows(here.project.warehouse, "customers")}
    assert result.code == 0
    assert {number: row["opportunity_value"] for number, row in table.items()} == worth
    assert {number: row["other"] for number, row in table.items()} == worth | dict.fromkeys(changed, "$1")


@pytest.mark.parametrize("name", ["companies", "cases"])
def test_a_record_that_comes_back_as_it_was_is_undeleted(make: Make, name: str) -> None:
    here = make()
    here.project.run(name)
    record = here.desk.dump(name)[name][4]
    here.desk.delete(name, ids=[key(record)])
    assert here.project.run(name, full=True)[name]["deleted"] == 1
    here.desk.restore(name, record)
    result = here.project.run(name, full=True)
    assert (result[name]["updated"], result[name]["inserted"]) == (1, 0)
    assert differences(here.project.warehouse, here.desk.dump(name)) == []


def test_a_date_of_the_api_not_ours_says_from_when_changes_are_asked_for(make: Make) -> None:
    """Our clock runs three days ahead of the API's, and nothing is missed."""
    theirs = Time()
    here = make(clock=theirs)
    here.clock.goes_on(days=3)
    here.project.run("cases")
    theirs.goes_on(hours=1)
    here.desk.update("cases", count=6)
    here.forget()
    result = here.project.run("cases")
    assert here.asked() == [
        f"/cases/search?sort_field=id&sort_direction=asc&per_page=100&since_updated_at={int(theirs.now) - 3600 - LAG}&since_id=1"
    ]
    assert (result["cases"]["updated"], stamp(int(theirs.now))) == (6, "2020-09-13T13:26:40Z")


def test_an_api_that_does_not_tell_its_time_is_read_whole_each_time(make: Make) -> None:
    here = make(date=False)
    here.project.run("cases")
    here.clock.goes_on(hours=1)
    here.desk.update("cases", count=6)
    here.forget()
    result = here.project.run("cases")
    assert (result["cases"]["received"], result["cases"]["updated"]) == (60, 6)
    assert here.asked() == ["/cases?sort_field=id&sort_direction=asc&per_page=100&since_id=1"]
    assert differences(here.project.warehouse, here.desk.dump("cases")) == []
