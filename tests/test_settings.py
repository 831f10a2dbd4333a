"""Settings come from where they are given, in one order; secrets leave in no text."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path as File
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.errors import UsageError
from rest_syncer.engine.exchange import Request
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.settings import Settings, env_name, given_settings, needed
from rest_syncer.engine.spec import Spec

SPEC = """\
syncer: 1
name: shop
settings:
  site: {type: string, pattern: "[a-z]+", description: the part before .example.com}
  base_url: {default: "https://{{ settings.site }}.example.com"}
  size: {type: integer, default: 50}
  live: {type: boolean}
  email: {}
  password: {secret: true, pattern: "[a-z0-9]{8,}"}
  token: {secret: true}
api:
  base_url: "{{ settings.base_url }}/v1"
  auth:
    kind: choice
    among:
      - {kind: bearer, token: "{{ settings.token }}"}
      - {kind: basic, username: "{{ settings.email }}", password: "{{ settings.password }}"}
collections:
  orders: {key: id, properties: {id: integer}}
"""


@pytest.fixture(autouse=True)
def no_settings_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: File) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SITE", "BASE_URL", "SIZE", "LIVE", "EMAIL", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"SYNCER_SHOP_{name}", raising=False)


def spec(*changes: tuple[str, str]) -> Spec:
    text = SPEC
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_spec(text).spec


def values(*flags: str, directory: str = ".") -> Mapping[str, str]:
    return given_settings(spec(), flags, directory).values


def mistakes(*flags: str, of: Spec | None = None) -> list[str]:
    with pytest.raises(UsageError) as caught:
        given_settings(of or spec(), flags)
    return str(caught.value).splitlines()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: File) -> None:
    found = [values().get("email")]
    (tmp_path / ".env").write_text("SYNCER_SHOP_EMAIL=file\nSYNCER_SHOP_TOKEN=file\n", encoding="utf-8")
    found.append(values()["email"])
    monkeypatch.setenv("SYNCER_SHOP_EMAIL", "environment")
    found.append(values()["email"])
    found.append(values("email=flag")["email"])
    assert found == [None, "file", "environment", "flag"]
    assert values("email=flag")["token"] == "file"


def test_a_file_of_another_folder_counts_only_where_it_is_named(tmp_path: File) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".env").write_text("SYNCER_SHOP_EMAIL=other\n", encoding="utf-8")
    assert (values().get("email"), values(directory="other").get("email")) == (None, "other")


def test_a_file_holds_values_as_they_are(tmp_path: File) -> None:
    (tmp_path / ".env").write_text(
        "# mine\nexport SYNCER_SHOP_TOKEN='a$b{c}'\nSYNCER_SHOP_EMAIL=${HOME}\nSYNCER_SHOP_LIVE\n", encoding="utf-8"
    )
    found = values()
    assert (found["token"], found["email"], found.get("live")) == ("a$b{c}", "${HOME}", None)


def test_an_empty_variable_is_as_none_and_an_empty_flag_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI sets a variable to nothing where its secret is missing."""
    monkeypatch.setenv("SYNCER_SHOP_EMAIL", "")
    assert (values().get("email"), values("email=")["email"]) == (None, "")


def test_a_value_may_hold_an_equals_sign() -> None:
    assert values("token=a=b==")["token"] == "a=b=="


def test_a_variable_is_named_for_spec_and_setting() -> None:
    assert env_name(spec(), "base_url") == "SYNCER_SHOP_BASE_URL"


def test_defaults_are_filled_in_from_what_is_given_and_left_out_where_that_is_missing() -> None:
    assert values("site=acme") == {"site": "acme", "base_url": "https://acme.example.com", "size": "50"}
    assert values("base_url=http://localhost:8000") == {"base_url": "http://localhost:8000", "size": "50"}
    assert values() == {"size": "50"}


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        pytest.param("site=Acme 1", "setting site (from --set): 'Acme 1' does not have the form [a-z]+", id="pattern"),
        pytest.param("site=acme\n", "setting site (from --set): 'acme\\n' does not have the form [a-z]+", id="pattern-of-the-whole"),
        pytest.param("size=many", "setting size (from --set): 'many' is not a whole number", id="integer"),
        pytest.param("size=1.5", "setting size (from --set): '1.5' is not a whole number", id="fraction"),
        pytest.param("size=٣", "setting size (from --set): '٣' is not a whole number", id="digits-of-another-script"),
        pytest.param("live=yes", "setting live (from --set): 'yes' is not true or false", id="boolean"),
        pytest.param("password=S3CRET", "setting password (from --set): *** does not have the form [a-z0-9]{8,}", id="secret"),
        pytest.param("sight=acme", "--set sight: shop has no such setting; did you mean 'site'?", id="unknown"),
        pytest.param("passwrd=hunter2", "--set passwrd: shop has no such setting; did you mean 'password'?", id="misspelt-secret"),
        pytest.param("site", "--set site: has no `=`; write --set NAME=VALUE", id="no-value"),
        pytest.param("site:s3cr3t", "--set site: has no `=`; write --set NAME=VALUE", id="no-equals-and-perhaps-a-secret"),
    ],
)
def test_a_wrong_value_is_told_and_a_secret_one_is_not_shown(flag: str, line: str) -> None:
    assert mistakes(flag) == [line]


@pytest.mark.parametrize("flag", ["size=0", "size=-12", "live=true", "live=false", "site=acme", "password=abcdefg1"])
def test_a_right_value_is_taken_as_it_is_written(flag: str) -> None:
    name, _, value = flag.partition("=")
    assert values(flag)[name] == value


def test_where_a_wrong_value_comes_from_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: File) -> None:
    (tmp_path / ".env").write_text("SYNCER_SHOP_SIZE=x\n", encoding="utf-8")
    monkeypatch.setenv("SYNCER_SHOP_LIVE", "y")
    assert mistakes() == [
        "setting size (from .env): 'x' is not a whole number",
        "setting live (from SYNCER_SHOP_LIVE): 'y' is not true or false",
    ]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("size=x", "live=y", "sight=z", "nothing")) == 4


def test_a_required_setting_that_is_missing_is_told_with_the_ways_to_give_it() -> None:
    required = spec(("{type: string, pattern", "{required: true, type: string, pattern"))
    with pytest.raises(UsageError) as caught:
        needed(required, given_settings(required, ["token=t"]))
    assert str(caught.value) == (
        "setting site is missing (the part before .example.com); "
        "give it with --set site=VALUE, or as SYNCER_SHOP_SITE in the environment or in a .env file"
    )
    assert mistakes("site=A", of=required) == ["setting site (from --set): 'A' does not have the form [a-z]+"]


def test_a_default_is_held_to_its_own_declaration() -> None:
    with pytest.raises(UsageError):
        given_settings(spec(("default: 50", "default: fifty")), [])


# what a pull needs


def test_what_a_pull_needs_is_the_base_url_and_one_way_to_prove_who_asks() -> None:
    assert needed(spec(), given_settings(spec(), ["site=acme", "token=t"])) == "https://acme.example.com/v1"


def test_what_is_missing_is_told_at_its_source_with_all_ways_to_log_in() -> None:
    with pytest.raises(UsageError) as caught:
        needed(spec(), given_settings(spec(), ["email=ann@example.com"]))
    assert str(caught.value).splitlines() == [
        "setting site is missing (the part before .example.com); "
        "give it with --set site=VALUE, or as SYNCER_SHOP_SITE in the environment or in a .env file",
        "setting token is missing; give it with --set token=VALUE, or as SYNCER_SHOP_TOKEN in the environment or in a .env file",
        "any one of these is enough: bearer (token); basic (email, password)",
    ]


def test_a_default_behind_a_default_is_told_at_its_source() -> None:
    chained = spec(
        ("  size:", '  host: {default: "{{ settings.base_url }}"}\n  size:'), ('"{{ settings.base_url }}/v1"', '"{{ settings.host }}/v1"')
    )
    with pytest.raises(UsageError) as caught:
        needed(chained, given_settings(chained, ["token=t"]))
    assert str(caught.value).startswith("setting site is missing ")


def test_what_a_collection_needs_is_told_before_anything_is_asked() -> None:
    """Otherwise a run ends, half-way, with the bare word `live`."""
    wanting = spec(("{key: id,", '{params: {live: "{{ settings.live }}"}, key: id,'))
    with pytest.raises(UsageError, match=r"^setting live is missing; give it with --set live=VALUE, "):
        needed(wanting, given_settings(wanting, ["site=acme", "token=t"]), wanting.collections)


# secrets


SECRET = 'p&s "w\\rd/ü+1'
SETTINGS = Settings(
    {"email": "ann@example.com", "password": SECRET, "pin": "1234", "site": "acme"}, frozenset({"password", "pin", "unset"})
)


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(SECRET, id="as-it-is"),
        pytest.param(quote(SECRET, safe=""), id="percent-encoded"),
        pytest.param(quote_plus(SECRET), id="as-a-form"),
        pytest.param(
            quote(SECRET, safe="").replace("%2F", "%2f").replace("%26", "%26").replace("%C3%BC", "%c3%bc"),
            id="percent-encoded-in-lower-case",
        ),
        pytest.param(quote(SECRET), id="percent-encoded-but-for-slashes"),
        pytest.param(quote(quote(SECRET, safe=""), safe=""), id="percent-encoded-twice"),
        pytest.param(b64encode(SECRET.encode()).decode(), id="base64"),
        pytest.param(b64encode(f"ann@example.com:{SECRET}".encode()).decode(), id="basic-auth"),
        pytest.param(json.dumps(SECRET)[1:-1], id="json"),
        pytest.param(json.dumps(SECRET, ensure_ascii=False)[1:-1], id="json-in-utf-8"),
    ],
)
def test_no_usual_spelling_of_a_secret_is_left_in_a_text(spelling: str) -> None:
    """The envelope is stored as JSON, a next link in it percent-encoded as the API likes it."""
    assert SETTINGS.hide(f"GET https://x/?key={spelling}&a=1 failed") == "GET https://x/?key=***&a=1 failed"


def test_what_is_no_secret_is_left_in_a_text() -> None:
    assert SETTINGS.hide("ann@example.com at acme, twice: acme") == "ann@example.com at acme, twice: acme"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    both = Settings({"a": "secret", "b": "secret-and-more"}, frozenset({"a", "b"}))
    assert both.hide("x secret-and-more y secret z") == "x *** y *** z"


def test_a_body_is_stored_with_the_secrets_name_whatever_json_makes_of_the_secret() -> None:
    secret = 'qu"o\\te-ü'
    settings = Settings({"key": secret}, frozenset({"key"}))
    request = Request("https://a.example").with_body(json.dumps({"key": secret, "of": [f"key={secret}", 7, "{{ settings.key }}"]}))
    stored = settings.masked(request)
    assert json.loads(stored.body or "") == {
        "key": "{{ settings.key }}", "of": ["key={{ settings.key }}", 7, "{{{{ settings.key }}"],
    }  # fmt: skip
    assert settings.unmasked(stored) == request


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    both = Settings({"a": "secret", "b": "secret-and-more"}, frozenset({"a", "b"}))
    assert both.mask([("p", "secret-and-more")]) == (("p", "{{ settings.b }}"),)


def test_settings_do_not_show_their_values() -> None:
    assert SECRET not in repr(SETTINGS)
    assert "ann@example.com" not in repr(SETTINGS)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        pytest.param(SECRET, "{{ settings.password }}", id="the-secret"),
        pytest.param(f"key {SECRET}!", "key {{ settings.password }}!", id="holds-it"),
        pytest.param("1234", "{{ settings.pin }}", id="a-short-one"),
        pytest.param("2012345", "2012345", id="a-short-one-inside-is-chance"),
        pytest.param("acme", "acme", id="no-secret"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_parameter_is_stored_with_the_secrets_name_and_sent_with_its_value(value: str, masked: str) -> None:
    assert SETTINGS.mask([("key", value), ("a", "b")]) == (("key", masked), ("a", "b"))
    assert SETTINGS.unmask([("key", masked), ("a", "b")]) == (("key", value), ("a", "b"))


@given(
    st.lists(
        st.tuples(
            st.text(max_size=5), st.text(max_size=8) | st.sampled_from([SECRET, "x" + SECRET, "1234", "12345", "{{ settings.nosuch }}"])
        ),
        max_size=4,
    )
)
def test_unmask_is_the_reverse_of_mask(params: list[tuple[str, str]]) -> None:
    assert SETTINGS.unmask(SETTINGS.mask(params)) == tuple(params)


def test_an_answer_cannot_ask_for_a_secret_by_its_name() -> None:
    """A next link with `{{ settings.password }}` in it is text: it is sent as text."""
    sent = SETTINGS.unmask(SETTINGS.mask([("q", "{{ settings.password }}")]))
    assert sent == (("q", "{{ settings.password }}"),)


def test_secrets_that_are_alike_are_stored_by_the_same_name_in_every_process() -> None:
    names = "fdbace"
    settings = Settings(dict.fromkeys(names, "s3cr3t-all"), frozenset(names))
    assert settings.mask([("k", "s3cr3t-all"), ("u", "x/s3cr3t-all")]) == (("k", "{{ settings.a }}"), ("u", "x/{{ settings.a }}"))


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ("files.example.com", "the origin 'files.example.com' in `api.origins` is none; write https:// and a host, nothing behind it"),
        (
            "https://a.example.com/x",
            "the origin 'https://a.example.com/x' in `api.origins` is none; write https:// and a host, nothing behind it",
        ),
        (
            "https://u:p@a.example.com",
            "the origin 'https://u:p@a.example.com' in `api.origins` is none; write https:// and a host, nothing behind it",
        ),
        (
            "http://a.example.com",
            "the origin 'http://a.example.com' in `api.origins` would make public what goes to 'https://acme.example.com/v1' in secret; "
            "write https://",
        ),
        (
            "{{ settings.cdn }}",
            "setting cdn is missing; give it with --set cdn=VALUE, or as SYNCER_SHOP_CDN in the environment or in a .env file",
        ),
    ],
)
def test_an_origin_that_is_none_is_a_mistake_before_anything_is_sent(origin: str, message: str) -> None:
    text = f'''{{syncer: 1, name: shop, settings: {{cdn: {{}}}}, api: {{base_url: "https://acme.example.com/v1", origins: ["{origin}"]}},
        collections: {{orders: {{key: id, properties: {{id: integer}}}}}}}}'''
    with pytest.raises(UsageError) as caught:
        needed(parse_spec(text).spec, Settings({}, frozenset()))
    assert str(caught.value) == message


def test_a_token_that_was_got_is_a_secret_and_stays_one_when_another_takes_its_place() -> None:
    """What is stored in its place leads to the one of then."""
    first = Settings({"name": "ann"}, frozenset()).with_secrets({"_access_token": "a-token-1"})
    second = first.with_secrets({"_access_token": "a-token-2"})
    assert second.hide("ann: a-token-1, a-token-2") == "ann: ***, ***"
    params = (("token", "a-token-1"), ("next", "/things?t=a-token-2"))
    kept = (("token", "{{ settings._access_token }}"), ("next", "/things?t={{ settings._access_token }}"))
    assert second.mask(params) == kept
    assert second.unmask(kept) == (("token", "a-token-2"), ("next", "/things?t=a-token-2"))
    assert (second.with_secrets({"_access_token": "a-token-2"}) is second, second.values) == (True, {"name": "ann"})
