"""Credentials are put on as each scheme's standard says; a choice takes the first that the settings are enough for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from oauthlib.common import Request as SignedRequest
from oauthlib.oauth1.rfc5849 import signature

from rest_syncer.engine.auth import ApiKey, Auth, Basic, Bearer, Choice, NoAuth, OAuth1, OAuth2RefreshToken
from rest_syncer.engine.grant import Grant
from rest_syncer.engine.template import MissingSetting, Template

URL = "https://api.example.com/items"
BASIC = Basic(username=Template.parse("{{ settings.email }}"), password=Template.parse("{{ settings.password }}"))
BEARER = Bearer(token=Template.parse("{{ settings.token }}"))
OAUTH = OAuth1(
    consumer_key=Template.parse("{{ settings.key }}"),
    consumer_secret=Template.parse("{{ settings.key_secret }}"),
    token=Template.parse("{{ settings.token }}"),
    token_secret=Template.parse("{{ settings.token_secret }}"),
)
GIVEN = {"key": "dpf43f3p2l4k3l03", "key_secret": "kd94hf93k423kf44", "token": "nnch734d00sl2jdk", "token_secret": "pfkkdhi9sl3r4s00"}


def signed(scheme: Auth, settings: dict[str, str], request: httpx.Request | None = None) -> httpx.Request:
    """The one request that a scheme sends: its flow, driven by hand."""
    flow = scheme.flow(request or httpx.Request("GET", URL, params={"page": "2"}), scheme.rendered(settings))
    sent = next(flow)
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(200))
    return sent


def test_none_leaves_the_request_as_it_is() -> None:
    request = httpx.Request("GET", URL)
    before = (str(request.url), dict(request.headers))
    sent = signed(NoAuth(), {}, request)
    assert (str(sent.url), dict(sent.headers)) == before


@pytest.mark.parametrize(
    ("email", "password", "expected"),
    [
        pytest.param("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", id="rfc-7617"),
        pytest.param("test", "123£", "Basic dGVzdDoxMjPCow==", id="utf-8"),
        pytest.param("key", "", "Basic a2V5Og==", id="empty-password"),
        pytest.param("a" * 60, "b" * 60, "Basic " + "YWFh" * 20 + "OmJi" + "YmJi" * 19 + "Yg==", id="long-and-on-one-line"),
    ],
)
def test_basic_sends_user_and_password(email: str, password: str, expected: str) -> None:
    assert signed(BASIC, {"email": email, "password": password}).headers["Authorization"] == expected


def test_bearer_sends_the_token() -> None:
    assert signed(BEARER, {"token": "mF_9.B5f-4.1JqM"}).headers["Authorization"] == "Bearer mF_9.B5f-4.1JqM"


def test_an_api_key_goes_into_a_header_with_its_prefix() -> None:
    sent = signed(ApiKey(key=Template.parse("{{ settings.key }}"), header="X-Token", prefix="Token "), {"key": "k-1"})
    assert (sent.headers["X-Token"], str(sent.url)) == ("Token k-1", URL + "?page=2")


def test_an_api_key_goes_into_the_query_beside_what_is_there() -> None:
    sent = signed(ApiKey(key=Template.parse("{{ settings.key }}"), query="api_key"), {"key": "k&=1 ü"})
    assert parse_qsl(urlsplit(str(sent.url)).query) == [("page", "2"), ("api_key", "k&=1 ü")]
    assert "authorization" not in sent.headers


PARAMETERS = re.compile(r'(\w+)="([^"]*)"')


def is_rightly_signed(request: httpx.Request, settings: dict[str, str]) -> bool:
    """oauthlib's own check on the server's side, over the request as it leaves."""
    header = request.headers["Authorization"]
    collected = signature.collect_parameters(
        uri_query=urlsplit(str(request.url)).query, headers={"Authorization": header}, exclude_oauth_signature=False
    )
    one = SignedRequest(str(request.url), request.method, headers={"Authorization": header})
    one.signature = dict(collected)["oauth_signature"]
    one.params = [pair for pair in collected if pair[0] != "oauth_signature"]
    return bool(signature.verify_hmac_sha1(one, settings["key_secret"], settings["token_secret"]))


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({}, id="no-query"),
        pytest.param({"page": "2", "per_page": "100"}, id="numbers"),
        pytest.param({"q": "a b&c=d+e/ü%"}, id="odd-letters"),
        pytest.param({"filter[status]": "open,'new'|(x)", "e": ""}, id="brackets-and-an-empty-value"),
        pytest.param({"since": "2016-11-22T12:00:00Z"}, id="instant"),
        pytest.param([("a", "2"), ("a", "1")], id="doubled-name"),
    ],
)
def test_oauth1_signs_the_request_as_it_leaves(params: Any) -> None:
    sent = signed(OAUTH, GIVEN, httpx.Request("GET", URL, params=params))
    assert is_rightly_signed(sent, GIVEN)
    assert not is_rightly_signed(sent, {**GIVEN, "token_secret": "another"})


def test_oauth1_names_the_application_and_the_user_and_holds_no_secret() -> None:
    header = signed(OAUTH, GIVEN).headers["Authorization"]
    assert header.startswith("OAuth ")
    found = dict(PARAMETERS.findall(header))
    assert {name: found[name] for name in ("oauth_consumer_key", "oauth_token", "oauth_signature_method", "oauth_version")} == {
        "oauth_consumer_key": "dpf43f3p2l4k3l03",
        "oauth_token": "nnch734d00sl2jdk",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_version": "1.0",
    }
    assert GIVEN["key_secret"] not in header
    assert GIVEN["token_secret"] not in header


def test_oauth1_never_uses_a_nonce_twice() -> None:
    nonces = [dict(PARAMETERS.findall(signed(OAUTH, GIVEN).headers["Authorization"]))["oauth_nonce"] for _ in range(20)]
    assert len(set(nonces)) == 20


@pytest.mark.parametrize("scheme", [pytest.param(BASIC, id="basic"), pytest.param(BEARER, id="bearer"), pytest.param(OAUTH, id="oauth1")])
def test_who_it_is_can_be_said_without_a_secret(scheme: Auth) -> None:
    values = {**GIVEN, "email": "ann@example.com", "password": "s3cret-password"}
    who = scheme.who(scheme.rendered(values))
    assert not any(values[name] in who for name in ("password", "key_secret", "token", "token_secret"))


REFRESHED = OAuth2RefreshToken(
    token_url=Template.parse("https://login.example.com/token"),
    client_id=Template.parse("app-1"),
    refresh_token=Template.parse("{{ settings.refresh }}"),
    scope="read",
)


def test_a_refresh_token_is_what_an_access_token_is_got_for_and_that_is_sent() -> None:
    values = REFRESHED.rendered({"refresh": "r-1"})
    assert REFRESHED.grant(values) == Grant("https://login.example.com/token", "app-1", "", "r-1", "refresh", scope="read")
    flow = REFRESHED.flow(httpx.Request("GET", URL), {**values, "access_token": "a-1"})
    assert next(flow).headers["Authorization"] == "Bearer a-1"
    assert (REFRESHED.who(values), REFRESHED.public(values)) == ("the application 'app-1' and its refresh token", "")
    assert [scheme.grant({}) for scheme in (BASIC, BEARER, OAUTH)] == [None, None, None]


CHOICE = Choice(among=(OAUTH, BASIC))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(GIVEN, OAUTH, id="the-first-is-enough"),
        pytest.param({"email": "a", "password": "b"}, BASIC, id="only-the-second"),
        pytest.param({**GIVEN, "email": "a", "password": "b"}, OAUTH, id="both-takes-the-first"),
        pytest.param({"key": "k", "email": "a", "password": "b"}, BASIC, id="half-of-the-first"),
    ],
)
def test_a_choice_takes_the_first_scheme_whose_settings_are_given(settings: dict[str, str], expected: Auth) -> None:
    assert CHOICE.chosen(settings) == expected


def test_a_choice_may_hold_a_choice() -> None:
    assert Choice(among=(Choice(among=(OAUTH, BEARER)), BASIC)).chosen({"token": "t"}) == BEARER
    assert Choice(among=(OAUTH, NoAuth())).chosen({}) == NoAuth()


@pytest.mark.parametrize(
    ("scheme", "settings", "names"),
    [
        pytest.param(BASIC, {}, ("email", "password"), id="all-at-once"),
        pytest.param(BASIC, {"email": "a"}, ("password",), id="one"),
        pytest.param(OAUTH, {"token": "t"}, ("key", "key_secret", "token_secret"), id="oauth1"),
        pytest.param(CHOICE, {"key": "k"}, ("email", "password"), id="of-a-choice-the-nearest"),
        pytest.param(CHOICE, {"key": "k", "token": "t", "token_secret": "s"}, ("key_secret",), id="of-a-choice-the-one-that-is-begun"),
    ],
)
def test_the_missing_settings_are_named(scheme: Auth, settings: dict[str, str], names: tuple[str, ...]) -> None:
    with pytest.raises(MissingSetting) as caught:
        scheme.chosen(settings)
    assert caught.value.names == names


def test_what_tells_accounts_apart_in_public_is_a_user_name_and_never_a_key() -> None:
    assert BASIC.public(BASIC.rendered({"email": "a@example.com", "password": "pw"})) == "user 'a@example.com'"
    assert NoAuth().public({}) == "nobody"
    assert [scheme.public(scheme.rendered(GIVEN)) for scheme in (BEARER, OAUTH)] == ["", ""]
