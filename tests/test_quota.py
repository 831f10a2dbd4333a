"""The usual headers of what is left are read in all their forms, and nonsense says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.quota import Quota, told_by

NOW = 1_600_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"ratelimit": '"default";r=50;t=30'}, Quota(50, 30), id="draft"),
        pytest.param({"ratelimit": '"burst";r=9;t=1, "daily";r=2;t=3600'}, Quota(2, 3600), id="draft-tightest"),
        pytest.param({"ratelimit": '"burst";r=0;t=5,"daily";r=0;t=3600'}, Quota(0, 3600), id="draft-latest-of-the-spent"),
        pytest.param(
            {"ratelimit": '"d";r=0', "ratelimit-policy": '"x";q=5;w=1, "d";q=10;w=60;pk=:cHs=:'}, Quota(0, 60), id="draft-policys-window"
        ),
        pytest.param({"ratelimit": "limit=100, remaining=50, reset=30"}, Quota(50, 30), id="older-draft"),
        pytest.param({"ratelimit-remaining": "0", "ratelimit-reset": "9"}, Quota(0, 9), id="three-headers"),
        pytest.param({"ratelimit-remaining": "7, 1", "ratelimit-reset": "9;x"}, Quota(7, 9), id="first-of-a-list"),
        pytest.param({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "12.5"}, Quota(3, 12.5), id="seconds"),
        pytest.param({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "1600000030"}, Quota(3, 30), id="epoch"),
        pytest.param({"x-rate-limit-remaining": "3", "x-rate-limit-reset": "1600000030500"}, Quota(3, 30.5), id="epoch-milliseconds"),
        pytest.param({"x-ratelimit-remaining": "9" * 25, "x-ratelimit-reset": "9"}, Quota(10**15, 9), id="more-than-can-be"),
        pytest.param({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "1500000000"}, Quota(3, 0), id="past"),
        pytest.param({"x-ratelimit-reset": "9"}, Quota(None, 9), id="only-a-reset"),
        pytest.param({"x-ratelimit-remaining": "9"}, Quota(9, None), id="only-what-is-left"),
        pytest.param({"x-ratelimit-remaining": "9", "ratelimit": '"d";r=1;t=2'}, Quota(1, 2), id="tightest-of-two-families"),
        pytest.param({"x-ratelimit-limit": "100"}, None, id="only-a-limit"),
        pytest.param({"x-ratelimit-remaining": "many", "x-ratelimit-reset": "soon"}, None, id="words"),
        pytest.param({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "-5"}, None, id="negative"),
        pytest.param({"ratelimit": f'"d";r=0;t={"9" * 15}'}, Quota(0, None), id="beyond-a-century"),
        pytest.param({"x-ratelimit-reset": "9" * 400}, None, id="beyond-all"),
        pytest.param({"ratelimit": '"d";r=x;t=3'}, None, id="draft-without-a-number"),
        pytest.param({"ratelimit": '"d;r=1'}, None, id="draft-broken"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_headers_say_this(headers: dict[str, str], expected: Quota | None) -> None:
    assert told_by(headers, NOW) == expected


@given(st.text(max_size=60), st.sampled_from(["ratelimit", "ratelimit-policy", "ratelimit-remaining", "x-ratelimit-reset"]))
def test_any_text_says_something_that_can_be_or_nothing(text: str, name: str) -> None:
    quota = told_by({"ratelimit": '"d";r=5', name: text}, NOW)
    assert quota is None or ((quota.left is None or quota.left >= 0) and (quota.reset is None or quota.reset >= 0))
