"""A pass is trusted as far as it was proven, and what it lacks is gone only where that is proven too."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from rest_syncer.engine.hub.segment import Ended
from rest_syncer.engine.proof import ReadAgain, Reading, grade, grade_again, snapshot


def reading(keys: int = 10, distinct: int = 10, total: int | None = 10, missing: int = 0, moved: bool = False) -> Reading:
    return Reading(pages=3, keys=keys, distinct=distinct, last_total=total, missing=missing, moved=moved)


def test_one_answer_or_a_stable_way_proves_all_and_what_is_gone() -> None:
    assert snapshot("one_answer") == Ended("one_answer", "proven", gone=True)


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        pytest.param(reading(), Ended("end", "checked", whole=True), id="all-is-quiet"),
        pytest.param(reading(0, 0, 0), Ended("end", "checked", whole=True), id="nothing-there"),
        pytest.param(reading(total=None), Ended("end", "open", whole=True), id="no-total-to-check-against"),
        pytest.param(reading(9, 9), ReadAgain("9 of 10 records came"), id="fewer-than-the-total"),
        pytest.param(reading(10, 9), ReadAgain("9 of 10 records came"), id="as-many-as-the-total-but-one-twice"),
        pytest.param(reading(11, 10), ReadAgain("1 records came twice"), id="one-twice"),
        pytest.param(reading(11, 10, None), ReadAgain("1 records came twice"), id="one-twice-without-a-total"),
        pytest.param(reading(moved=True), ReadAgain("the total changed on the way"), id="total-changed"),
        pytest.param(reading(missing=2), ReadAgain("2 records that the hub holds did not come"), id="known-keys-missing"),
        pytest.param(
            reading(total=None, missing=2), ReadAgain("2 records that the hub holds did not come"), id="known-keys-missing-without-a-total"
        ),
        pytest.param(reading(1_234_567, 1_234_567, 2_000_000), ReadAgain("1,234,567 of 2,000,000 records came"), id="in-millions"),
    ],
)
def test_the_first_reading_of_a_list_that_can_shift_is_graded_like_this(first: Reading, verdict: Ended | ReadAgain) -> None:
    assert grade("end", first) == verdict


def test_more_records_than_the_total_are_no_check() -> None:
    """`checked` says that the count equals the total."""
    assert grade("end", reading(12, 12)) == ReadAgain("12 of 10 records came")


def test_a_record_whose_key_cannot_be_read_counts_towards_the_total() -> None:
    """Else one such record would make the list incomplete for ever."""
    short = Reading(pages=3, keys=9, distinct=9, last_total=10, unreadable=1)
    assert grade("end", short) == Ended("end", "checked", whole=True)
    assert grade_again("end", short, 9) == Ended("end", "checked", gone=True)


def test_a_first_reading_never_proves_that_something_is_gone() -> None:
    readings = [reading(*one) for one in product((9, 10), (9, 10), (None, 10), (0, 1), (False, True))]
    grown = [grade("end", one) for one in readings]
    assert not any(isinstance(verdict, Ended) and verdict.gone for verdict in grown)


@pytest.mark.parametrize(
    ("last", "both", "verdict"),
    [
        pytest.param(reading(), 10, Ended("end", "checked", gone=True), id="quiet"),
        pytest.param(reading(), 12, Ended("end", "checked", gone=True), id="more-were-met-in-both-together"),
        pytest.param(reading(moved=True), 10, ReadAgain("the total changed on the way"), id="total-changed-again-and-all-came"),
        pytest.param(reading(11, 10), 10, ReadAgain("1 records came twice"), id="one-twice-again"),
        pytest.param(reading(9, 9), 10, ReadAgain("9 of 10 records came"), id="whole-only-together"),
        pytest.param(reading(9, 9, 1000), 999, ReadAgain("9 of 1,000 records came"), id="short-of-the-total"),
        pytest.param(reading(total=None), 10, Ended("end", "checked", gone=True), id="no-total-and-all-came-again"),
        pytest.param(reading(total=None), 11, Ended("end", "open"), id="no-total-and-one-did-not-come-again"),
        pytest.param(reading(11, 10, None), 10, ReadAgain("1 records came twice"), id="no-total-and-one-twice"),
    ],
)
def test_a_later_reading_is_graded_like_this(last: Reading, both: int, verdict: Ended | ReadAgain) -> None:
    assert grade_again("end", last, both) == verdict


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        pytest.param({"keys": 12, "overlaps": 2}, Ended("end", "checked", whole=True), id="what-was-asked-for-twice-is-no-evidence"),
        pytest.param({"keys": 13, "overlaps": 2}, ReadAgain("1 records came twice"), id="but-the-one-beyond-is"),
        pytest.param({"slips": 2}, ReadAgain("2 pages did not join the page before"), id="pages-that-do-not-join"),
    ],
)
def test_overlapping_pages_show_whether_they_join(changed: dict[str, int], verdict: Ended | ReadAgain) -> None:
    assert grade("end", replace(reading(), **changed)) == verdict
