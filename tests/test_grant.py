"""What is asked of a token server, what its answers mean, and what is said of its refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from rest_syncer.engine.grant import Grant, Tokens, error_of, refusal

GRANT = Grant("https://login.example.com/token", "app 1", "s3cr:t+/", "first", "refresh_token")
KEPT = Tokens("second", "access", fresh_until=100.0)


def test_the_application_proves_who_it_is_in_the_form_or_in_a_header() -> None:
    headers, form = GRANT.form("second")
    asked = [("grant_type", "refresh_token"), ("refresh_token", "second")]
    assert (headers.get("Authorization"), parse_qsl(form)) == (None, [*asked, ("client_id", "app 1"), ("client_secret", "s3cr:t+/")])
    headers, form = replace(GRANT, in_header=True, scope="read all").form("second")
    assert headers["Authorization"] == "Basic YXBwKzE6czNjciUzQXQlMkIlMkY=", "quoted first, RFC 6749, 2.3.1"
    assert parse_qsl(form) == [*asked, ("scope", "read all")]


def test_an_application_without_a_secret_sends_none() -> None:
    assert "client_secret" not in replace(GRANT, client_secret="").form("second")[1]


def test_a_grants_name_is_another_for_each_token_that_a_user_gives_and_tells_no_token() -> None:
    names = {grant.name for grant in (GRANT, replace(GRANT, refresh_token="new"), replace(GRANT, client_id="app-2"))}
    assert (len(names), any("first" in name or "new" in name for name in names)) == (3, False)
    assert replace(GRANT, client_secret="changed").name == GRANT.name


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"refresh_token": "third", "expires_in": 3600}, Tokens("third", "new", 4540.0), id="replaced"),
        pytest.param({"expires_in": "100"}, Tokens("second", "new", 1090.0), id="the-old-one-stays-and-a-life-as-text"),
        pytest.param({"token_type": "bearer"}, Tokens("second", "new", None), id="for-as-long-as-the-api-takes-it"),
        pytest.param({"expires_in": None, "refresh_token": ""}, Tokens("second", "new", None), id="nothing-where-a-token-could-be"),
        pytest.param({"refresh_token": "R 1/ü"}, Tokens("R 1/ü", "new", None), id="a-refresh-token-stands-in-no-header"),
        pytest.param({"expires_in": "soon"}, Tokens("second", "new", None), id="no-life-to-be-believed"),
        pytest.param({"expires_in": float("nan")}, Tokens("second", "new", None), id="not-even-a-number"),
    ],
)
def test_an_answer_is_kept(answer: dict[str, Any], expected: Tokens) -> None:
    body = json.dumps({"access_token": "new", **answer}).encode()
    assert Tokens("second", refreshing=5.0).after(body, 1000.0) == expected


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param(b"<html>", "answers without an access_token", id="no-json"),
        pytest.param(b"[]", "answers without an access_token", id="no-object"),
        pytest.param(b'{"access_token": 7}', "answers without an access_token", id="no-text"),
        pytest.param(b'{"access_token": "a\\r\\nX-Admin: 1"}', "answers without an access_token", id="more-than-a-header-holds"),
        pytest.param(b'{"access_token": "a", "token_type": "mac"}', "gives a token of another type than Bearer", id="another-type"),
        pytest.param(b'{"access_token": "a", "refresh_token": 7}', "gives a refresh_token that is no text", id="a-number-to-refresh"),
    ],
)
def test_an_answer_without_a_usable_token_is_said(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        KEPT.after(body, 1000.0)


@pytest.mark.parametrize(
    ("tokens", "refused", "fresh"),
    [
        pytest.param(KEPT, "", True, id="young"),
        pytest.param(replace(KEPT, fresh_until=50.0), "", False, id="old"),
        pytest.param(replace(KEPT, fresh_until=None), "", True, id="without-an-end"),
        pytest.param(KEPT, "access", False, id="refused-by-the-api"),
        pytest.param(KEPT, "an older one", True, id="another-was-refused"),
        pytest.param(Tokens("second"), "", False, id="none"),
        pytest.param(KEPT.about_to_be_spent(50.0), "", False, id="about-to-be-replaced"),
    ],
)
def test_an_access_token_is_used_while_it_is_fresh(tokens: Tokens, refused: str, fresh: bool) -> None:
    assert tokens.is_fresh(50.0, refused) is fresh


def test_since_when_a_token_may_be_spent_stays_the_first_time() -> None:
    assert KEPT.about_to_be_spent(7.0).about_to_be_spent(9.0) == Tokens("second", refreshing=7.0)


def test_what_is_kept_shows_no_token() -> None:
    assert not any(secret in f"{GRANT} {KEPT}" for secret in ("first", "second", "'access'", "s3cr"))


ANEW = "authorize the application anew, and give the new refresh token as setting refresh_token"


@pytest.mark.parametrize(
    ("status", "body", "before", "sentence"),
    [
        pytest.param(
            400, {"error": "invalid_grant", "error_description": "second was used"}, KEPT,
            "does not take the refresh token any more (invalid_grant, status 400): it has expired, or was withdrawn, or was used elsewhere "
            f"(one that is replaced at each use can serve one hub on one machine only); {ANEW}", id="dead",
        ),
        pytest.param(
            400, {"error": "invalid_grant"}, KEPT.about_to_be_spent(1_700_000_000.25),
            "does not take the refresh token any more (invalid_grant, status 400): a run broke off at 2023-11-14T22:13:20Z while it was "
            f"being spent, and the token that replaced it, if one did, has reached nobody; {ANEW}", id="lost",
        ),
        pytest.param(
            401, {"error": "invalid_client"}, KEPT,
            "does not know the application 'app 1' by its secret (invalid_client, status 401); correct client_id and client_secret",
            id="client",
        ),
        pytest.param(
            404, "second is not here", KEPT, "gives no token (status 404); correct token_url, client_id and scope", id="no-such-place"
        ),
        pytest.param(
            400, {"error": "second"}, KEPT, "gives no token (status 400); correct token_url, client_id and scope", id="a-word-of-its-own"
        ),
    ],
)  # fmt: skip
def test_a_refusal_says_what_happened_and_what_to_do(status: int, body: Any, before: Tokens, sentence: str) -> None:
    assert refusal(error_of(status, json.dumps(body).encode()), status, GRANT, before) == sentence
