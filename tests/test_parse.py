"""Every mistake of a spec is told at once: where, what, and what instead."""

from __future__ import annotations

from pathlib import Path as File

import pytest

from rest_syncer.engine.errors import SpecError, UsageError
from rest_syncer.engine.parse import parse_spec, read_spec

GOOD = """\
syncer: 1
name: shop
settings:
  site: {type: string}
api:
  base_url: https://{{ settings.site }}.example.com
collections:
  orders:
    key: id
    properties:
      id: integer
      at: timestamp
"""


def changed(*pairs: tuple[str, str]) -> str:
    text = GOOD
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "s.yaml")
    assert str(caught.value).splitlines() == [problem.sentence("s.yaml") for problem in caught.value.problems]
    return str(caught.value).splitlines()


def under_orders(line: str) -> str:
    return changed(("    key: id\n", f"    key: id\n    {line}\n"))


def under_api(line: str) -> str:
    return changed(("api:\n", f"api:\n  {line}\n"))


def test_a_good_spec_is_read_with_the_place_of_each_part() -> None:
    source = parse_spec(GOOD, "s.yaml")
    assert (source.spec.name.text, list(source.spec.collections["orders"].properties)) == ("shop", ["id", "at"])
    assert [source.line_of("collections", "orders", "properties", name) for name in ("id", "at")] == [11, 12]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            changed(("name: shop", "nmae: shop\nname: shop")),
            "s.yaml:2:1 nmae: the key 'nmae' is not known here; did you mean 'name'?",
            id="unknown-key",
        ),
        pytest.param(
            under_api("colour: red"),
            "s.yaml:6:3 api.colour: the key 'colour' is not known here; "
            "known: auth, base_url, budgets, concurrency, conditional, cost, errors, headers, limits, origins, paginate, params, "
            "records, retry",
            id="unknown-key-far-from-all",
        ),
        pytest.param(
            under_api("errors: [{then: retry}]"),
            "s.yaml:6:12 api.errors.0: says nothing of the answers it is for; give at least one of `status`, `body` and `text`",
            id="rule-for-no-answer",
        ),
        pytest.param(
            under_orders("errors: [{status: 400, matches: gone, then: end}]"),
            "s.yaml:10:14 collections.orders.errors.0: has nothing to compare; give `body`, the path of a value",
            id="rule-that-compares-nothing",
        ),
        pytest.param(
            under_api("errors: [{body: a, equals: b, matches: c, then: end}]"),
            "s.yaml:6:12 api.errors.0: compares one value in two ways; leave `equals` or `matches` out",
            id="rule-that-compares-twice",
        ),
        pytest.param(
            under_api('errors: [{body: a, matches: "(?=b)", then: end}]'),
            "s.yaml:6:22 api.errors.0.matches: uses '(?=', which not every warehouse's expressions know; write it without",
            id="rule-with-a-look-ahead",
        ),
        pytest.param(
            under_api("limits: {body: 64 MB}"),
            "s.yaml:6:12 api.limits.body: is not an amount of data; write one like 512KB or 64MB",
            id="size-with-a-blank",
        ),
        pytest.param(
            under_orders("paginate: {kind: nubmer}"),
            's.yaml:10:16 collections.orders.paginate.kind: "nubmer" is not one of key_set, link_header, next_link, number, offset, '
            "single, token; "
            "did you mean 'number'?",
            id="unknown-kind",
        ),
        pytest.param(
            under_orders("paginate: {kind: number, pram: p}"),
            "s.yaml:10:30 collections.orders.paginate.pram: the key 'pram' is not known here; did you mean 'param'?",
            id="unknown-key-of-a-kind",
        ),
        pytest.param(
            under_orders("paginate: {kind: next_link}"),
            "s.yaml:10:5 collections.orders.paginate: 'link' is missing; add `link:` (the path in the answer of the next page's URL)",
            id="missing-key-of-a-kind",
        ),
        pytest.param(
            under_orders("paginate: {link: next}"),
            "s.yaml:10:5 collections.orders.paginate: 'kind' is missing; add `kind:`",
            id="no-kind",
        ),
        pytest.param(
            under_api("auth: {kind: choice, among: [{kind: none}, {kind: basci}]}"),
            's.yaml:6:47 api.auth.among.1.kind: "basci" is not one of api_key, basic, bearer, choice, none, oauth1, oauth2_refresh_token; '
            "did you mean 'basic'?",
            id="unknown-kind-in-a-choice",
        ),
        pytest.param(
            changed(("id: integer\n", "id: integer\n      id: string\n")),
            "s.yaml:12:7 collections.orders.properties.id: the key 'id' stands here a second time; keep one of the two",
            id="duplicate-key",
        ),
        pytest.param(
            changed(("key: id", "key: ids")),
            "s.yaml:9:5 collections.orders.key: 'ids' is no property of orders; did you mean 'id'?",
            id="key-that-is-no-property",
        ),
        pytest.param(
            changed(("key: id", "key: [id, line]")),
            "s.yaml:9:15 collections.orders.key.1: 'line' is no property of orders; known: at, id",
            id="second-key-that-is-no-property",
        ),
        pytest.param(
            under_orders("cursor: {property: updated_at, param: since}"),
            "s.yaml:10:14 collections.orders.cursor.property: 'updated_at' is no property of orders; known: at, id",
            id="cursor-on-an-undeclared-property",
        ),
        pytest.param(
            under_orders("changed: {}"),
            "s.yaml:10:5 collections.orders.changed: changes cannot be asked for; give `cursor` a `param`, or leave `changed` out",
            id="changed-without-a-cursor",
        ),
        pytest.param(
            under_orders("paginate: {kind: key_set, on: idd, param: after}"),
            "s.yaml:10:31 collections.orders.paginate.on: 'idd' is no property of orders; did you mean 'id'?",
            id="key-set-on-no-property",
        ),
        pytest.param(
            under_orders("full: {paginate: {kind: key_set, on: at, param: after, tie_breaker: {on: idd, param: x}}}"),
            "s.yaml:10:74 collections.orders.full.paginate.tie_breaker.on: 'idd' is no property of orders; did you mean 'id'?",
            id="tie-breaker-on-no-property",
        ),
        pytest.param(
            under_orders("paginate: {kind: key_set, on: at, param: after, inclusive: false}"),
            "s.yaml:10:53 collections.orders.paginate.inclusive: records that share one at would be lost between two pages; "
            "go by the key, or by an inclusive bound",
            id="exclusive-bound-on-no-key",
        ),
        pytest.param(
            under_orders("path: /{{ settings.stie }}/orders"),
            "s.yaml:10:5 collections.orders.path: there is no setting 'stie'; did you mean 'site'?",
            id="unknown-setting",
        ),
        pytest.param(
            under_orders("params: {q: '{{ site }}'}"),
            "s.yaml:10:14 collections.orders.params.q: uses 'site', which no template knows; write {{ settings.site }}",
            id="bare-name-in-a-template",
        ),
        pytest.param(
            changed(("at: timestamp", "at: timestmap")),
            "s.yaml:12:7 collections.orders.properties.at.type: 'timestmap' is not a type; did you mean 'timestamp'?",
            id="unknown-type",
        ),
        pytest.param(
            changed(("id: integer", "id: intger")),
            "s.yaml:11:7 collections.orders.properties.id.type: 'intger' is not a type; did you mean 'integer'?",
            id="unknown-type-of-the-key",
        ),
        pytest.param(
            changed(("at: timestamp", "at: decimal(5,9)")),
            "s.yaml:12:7 collections.orders.properties.at.type: 'decimal(5,9)' is not a type; "
            "a decimal has 38 digits at most, and no more of them after the point",
            id="impossible-decimal",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {from: a}")),
            "s.yaml:12:7 collections.orders.properties.at: 'type' is missing; "
            "add `type:` (string, integer, number, decimal(p,s), boolean, timestamp, date, json, or a list of one: T[])",
            id="property-without-type",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: timestamp, from: a..b}")),
            "s.yaml:12:29 collections.orders.properties.at.from: is not a path; "
            'write names joined by dots, and "quote" a name that holds a dot',
            id="no-path",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: string, match: abc}")),
            "s.yaml:12:26 collections.orders.properties.at.match: has 0 groups; "
            "put the part that is the value, and only that, in round brackets",
            id="pattern-without-a-group",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: string, format: iso}")),
            "s.yaml:12:26 collections.orders.properties.at.format: a string has no format; leave it out, or declare a timestamp or date",
            id="format-of-a-text",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: timestamp, format: epoch}")),
            "s.yaml:12:29 collections.orders.properties.at.format: 'epoch' is no format; "
            "write iso, epoch_s, epoch_ms, epoch_us, or a pattern like %d.%m.%Y",
            id="unknown-format",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: timestamp, format: '%Y %Y'}")),
            "s.yaml:12:29 collections.orders.properties.at.format: '%Y %Y' is no format; "
            "write iso, epoch_s, epoch_ms, epoch_us, or a pattern like %d.%m.%Y",
            id="format-that-says-a-thing-twice",
        ),
        pytest.param(
            changed(("key: id", "key: [id, at, id]")),
            "s.yaml:9:19 collections.orders.key.2: 'id' is named twice; keep one of the two",
            id="key-named-twice",
        ),
        pytest.param(
            changed(("at: timestamp", "at: {type: timestamp, timezone: Mars}")),
            "s.yaml:12:29 collections.orders.properties.at.timezone: 'Mars' is no time zone; write one like UTC or Europe/Berlin",
            id="no-zone",
        ),
        pytest.param(
            changed(("at: timestamp", "At: string\n      aT: string")),
            "s.yaml:13:7 collections.orders.properties.aT: 'aT' and 'At' are one name in a warehouse; rename one",
            id="one-name-in-two-cases",
        ),
        pytest.param(
            changed(("at: timestamp", "_deleted_at: timestamp")),
            "s.yaml:12:7 collections.orders.properties._deleted_at: '_deleted_at' is a column that syncer adds; "
            "choose another name, with `from: _deleted_at`",
            id="added-column",
        ),
        pytest.param(
            changed(("  orders:", "  2orders:")),
            "s.yaml:8:3 collections.2orders: '2orders' cannot name a table; use letters, digits and underscores, a letter first",
            id="no-table-name",
        ),
        pytest.param(
            changed(("name: shop", "name: my shop")),
            "s.yaml:2:1 name: 'my shop' is no name; use letters, digits and underscores, a letter first",
            id="no-name",
        ),
        pytest.param(
            under_api("budgets: [{requests: 0, per: 60s}]"),
            "s.yaml:6:14 api.budgets.0.requests: 0 is too small; write 1 or more",
            id="too-small",
        ),
        pytest.param(
            under_api("retry: {attempts: often}"),
            's.yaml:6:11 api.retry.attempts: "often" is not of type integer; write an integer',
            id="no-number",
        ),
        pytest.param(
            under_api("retry: {timeout: 5 minutes}"),
            "s.yaml:6:11 api.retry.timeout: is no length of time; write one like 30s, 5m or 1h30m",
            id="no-duration",
        ),
        pytest.param(
            under_api("retry: {timeout: 0s}"),
            "s.yaml:6:3 api.retry: lets no answer take any time; write one like `timeout: 90s`",
            id="no-time",
        ),
        pytest.param(
            under_api("retry: {statuses: [503, 200]}"),
            "s.yaml:6:3 api.retry: 200 is no status that may pass; write some of 202 and 400 to 599",
            id="retry-of-a-success",
        ),
        pytest.param(
            under_api("retry: {wait_header: 'a b'}"),
            """s.yaml:6:11 api.retry.wait_header: "a b" does not have the form ^[!#$%&'*+.^_`|~0-9A-Za-z-]+$; correct it""",
            id="no-header",
        ),
        pytest.param(
            under_api("budgets: {requests: 1, per: 0s}"),
            "s.yaml:6:3 api.budgets: allows requests in no time at all; write one like `per: 1m`",
            id="budget-for-no-time",
        ),
        pytest.param(
            under_api("errors: {status: 4040, then: end}"),
            "s.yaml:6:3 api.errors: no answer has the status 4040; write some of 200 to 599",
            id="no-status",
        ),
        pytest.param(
            under_api("auth: {kind: choice, among: [{kind: none}]}"),
            "s.yaml:6:24 api.auth.among: has fewer than 2; write at least 2",
            id="choice-of-one",
        ),
        pytest.param(
            under_api("auth: {kind: api_key, key: x}"),
            "s.yaml:6:3 api.auth: a key goes into a header or into the query; give one of `header` and `query`",
            id="key-to-nowhere",
        ),
        pytest.param(
            changed(("{type: string}", "{type: text}")),
            's.yaml:4:10 settings.site.type: "text" is not one of string, integer, boolean; known: boolean, integer, string',
            id="unknown-setting-type",
        ),
        pytest.param(
            changed(("{type: string}", "{secret: yes}")),
            's.yaml:4:10 settings.site.secret: "yes" is not of type boolean; write a boolean',
            id="yes-is-no-boolean",
        ),
        pytest.param(
            changed(("{type: string}", "{secret: true, account: true}")),
            "s.yaml:4:3 settings.site: a secret cannot tell accounts apart, for it is never stored; leave one of the two out",
            id="secret-account",
        ),
        pytest.param(
            changed(("    key: id", "    key: []")), "s.yaml:9:5 collections.orders.key: is empty; write at least one", id="no-key-at-all"
        ),
        pytest.param(
            under_orders("params: {active: true}"),
            "s.yaml:10:14 collections.orders.params.active: true is not of type string or integer; write a string or integer",
            id="boolean-parameter",
        ),
        pytest.param("", "s.yaml:1:1: is not a mapping; start with `syncer: 1` and `name:`", id="empty-file"),
        pytest.param("# nothing\n", "s.yaml:1:1: is not a mapping; start with `syncer: 1` and `name:`", id="only-a-comment"),
        pytest.param("- syncer: 1\n", "s.yaml:1:1: is not a mapping; start with `syncer: 1` and `name:`", id="list-at-the-root"),
        pytest.param("syncer", "s.yaml:1:1: is not a mapping; start with `syncer: 1` and `name:`", id="text-at-the-root"),
        pytest.param(
            "syncer: 1\n\tname: x\n",
            "s.yaml:2:1: is not YAML: found character '\\t' that cannot start any token; mend it there or just before",
            id="tab",
        ),
        pytest.param(
            "syncer: 1\nname: a: b\n",
            "s.yaml:2:8: is not YAML: mapping values are not allowed here; mend it there or just before",
            id="two-colons",
        ),
        pytest.param(
            'name: "shop\n',
            "s.yaml:2:1: is not YAML: found unexpected end of stream; mend it there or just before",
            id="open-quote",
        ),
        pytest.param(
            "key: [a, b\n",
            "s.yaml:2:1: is not YAML: expected ',' or ']', but got '<stream end>'; mend it there or just before",
            id="open-list",
        ),
        pytest.param("name: *x\n", "s.yaml:1:7: is not YAML: found undefined alias 'x'; mend it there or just before", id="unknown-alias"),
        pytest.param("a: &x\n  b: *x\n", "s.yaml:2:3 a.b: holds itself; write it out, without the alias", id="mapping-in-itself"),
        pytest.param("a: &x [1, *x]\n", "s.yaml:1:4 a.1: holds itself; write it out, without the alias", id="list-in-itself"),
        pytest.param(
            "name: \0\n",
            "s.yaml:1:1: is not YAML: unacceptable character #x0000: special characters are not allowed; save it as plain UTF-8 text",
            id="nul",
        ),
    ],
)
def test_one_mistake_is_told_in_one_line(text: str, line: str) -> None:
    assert mistakes(text) == [line]


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    text = """\
syncer: 2
name: shop
nmae: shop
settings:
  site: {type: strin}
api:
  base_url: https://{{ settings.stie }}.example.com
  paginate: {kind: nubmer}
collections:
  orders:
    key: [id, line]
    properties:
      id: intger
      id: string
      at: {type: timestamp, timezon: UTC}
  Orders:
    key: id
    path: "{{ site }}"
    properties: {id: integer}
  customers:
    key: id
    properties: {id: integer, at: {type: string, timezone: UTC}}
"""
    assert mistakes(text) == [
        "s.yaml:1:1 syncer: 2 is not one of 1; known: 1",
        "s.yaml:3:1 nmae: the key 'nmae' is not known here; did you mean 'name'?",
        "s.yaml:5:10 settings.site.type: \"strin\" is not one of string, integer, boolean; did you mean 'string'?",
        "s.yaml:7:3 api.base_url: there is no setting 'stie'; did you mean 'site'?",
        's.yaml:8:14 api.paginate.kind: "nubmer" is not one of key_set, link_header, next_link, number, offset, single, token; '
        "did you mean 'number'?",
        "s.yaml:11:15 collections.orders.key.1: 'line' is no property of orders; known: at, id",
        "s.yaml:13:7 collections.orders.properties.id.type: 'intger' is not a type; did you mean 'integer'?",
        "s.yaml:14:7 collections.orders.properties.id: the key 'id' stands here a second time; keep one of the two",
        "s.yaml:15:29 collections.orders.properties.at.timezon: the key 'timezon' is not known here; did you mean 'timezone'?",
        "s.yaml:16:3 collections.Orders: 'Orders' and 'orders' are one name in a warehouse; rename one",
        "s.yaml:18:5 collections.Orders.path: uses 'site', which no template knows; write {{ settings.site }}",
        "s.yaml:22:50 collections.customers.properties.at.timezone: a string has no timezone; leave it out, or declare a timestamp",
    ]


def test_one_of_several_needs_no_list() -> None:
    one, several = under_api("errors: {status: 404, then: ignore}"), under_api("errors: [{status: 404, then: ignore}]")
    assert parse_spec(one).spec == parse_spec(several).spec
    assert mistakes(under_api("errors: {status: 404}"))[0].startswith("s.yaml:6:3 api.errors: 'then' is missing")


def test_every_missing_key_is_told() -> None:
    assert [line.partition(";")[0] for line in mistakes("title: Shop\n")] == [
        "s.yaml:1:1: 'api' is missing",
        "s.yaml:1:1: 'collections' is missing",
        "s.yaml:1:1: 'name' is missing",
        "s.yaml:1:1: 'syncer' is missing",
    ]


def test_what_auth_lacks_is_told_beside_other_mistakes() -> None:
    text = changed(("api:\n", "api:\n  auth: {kind: api_key, key: x}\n"), ("name: shop", "nmae: shop"))
    assert len(mistakes(text)) == 3


@pytest.mark.parametrize("written", ["5", "null", "[string]"])
def test_a_property_of_no_type_is_told_once(written: str) -> None:
    assert len(mistakes(changed(("at: timestamp", f"at: {written}")))) == 1


def test_a_key_set_for_all_collections_is_checked_in_each() -> None:
    """Else the first page of a collection without that property would break the run."""
    lines = mistakes(under_api("paginate: {kind: key_set, on: number, param: after}"))
    assert len(lines) == 1
    assert "'number' is no property of orders" in lines[0]


@pytest.mark.parametrize("name", ["a-b", "", "a b", "2a"])
def test_a_setting_has_a_name_that_a_template_and_an_environment_can_say(name: str) -> None:
    assert len(mistakes(changed(("settings:\n", f"settings:\n  '{name}': {{type: string}}\n")))) == 1


def test_a_pattern_of_a_setting_that_is_no_pattern_is_a_mistake() -> None:
    """Else the first run would end in a traceback."""
    lines = mistakes(changed(("{type: string}", "{type: string, pattern: '('}")))
    assert [line.partition(": ")[0] for line in lines] == ["s.yaml:4:24 settings.site.pattern"]


def test_a_default_that_needs_itself_is_a_mistake() -> None:
    text = changed(("{type: string}", "{default: '{{ settings.b }}'}\n  b: {default: '{{ settings.site }}'}"))
    assert mistakes(text)


@pytest.mark.parametrize("name", ["shop\\n", "sh\\top"])
def test_a_name_ends_where_it_ends(name: str) -> None:
    assert mistakes(changed(("name: shop", f'name: "{name}"')))


def test_an_unknown_filter_is_a_mistake_of_the_spec() -> None:
    lines = mistakes(under_orders("path: '/{{ settings.site | nosuch }}'"))
    assert len(lines) == 1
    assert lines[0].startswith("s.yaml:10:5 collections.orders.path: ")
    assert "nosuch" in lines[0]


@pytest.mark.parametrize(
    "deep",
    [
        pytest.param("a: " + "[" * 5_000 + "]" * 5_000, id="lists"),
        pytest.param("a: " + "{a: " * 5_000 + "1" + "}" * 5_000, id="mappings"),
        pytest.param("\n".join(" " * level + "a:" for level in range(2_000)), id="block"),
    ],
)
def test_endless_nesting_is_one_mistake(deep: str) -> None:
    lines = mistakes(deep)
    assert len(lines) == 1
    assert lines[0].startswith("s.yaml:1:1: is not YAML: nested too deeply; ")


@pytest.mark.parametrize("depth", [50, 100, 200, 300, 350, 400, 450, 480])
def test_any_nesting_is_a_mistake_of_the_spec(depth: int) -> None:
    assert mistakes(GOOD + "x: " + "{a: " * depth + "1" + "}" * depth)


def test_aliases_that_nest_too_deeply_are_one_mistake() -> None:
    text = "a0: &a0 {}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 1000))
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "s.yaml")
    assert str(caught.value) == "s.yaml:1:1: is nested too deeply, by its aliases; write it flatter"


def test_aliases_that_multiply_are_one_mistake() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    lines = mistakes(text)
    assert len(lines) == 1
    assert lines[0].endswith(": makes a spec of more than 200,000 parts; write it out, without the alias")


def test_two_documents_are_one_mistake() -> None:
    lines = mistakes(GOOD + "---\n" + GOOD)
    assert len(lines) == 1
    assert lines[0].startswith("s.yaml:13:1: is not YAML: ")
    assert "another document" in lines[0]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param("no", "no", id="no"),
        pytest.param("on", "on", id="on"),
        pytest.param("12:30", "12:30", id="sexagesimal"),
        pytest.param("2016-11-22", "2016-11-22", id="date"),
        pytest.param("2016-11-22T12:00:00Z", "2016-11-22T12:00:00Z", id="timestamp"),
        pytest.param("5", "5", id="number"),
        pytest.param("-5", "-5", id="negative-number"),
        pytest.param("'5'", "5", id="quoted-number"),
        pytest.param("'true'", "true", id="quoted-boolean"),
        pytest.param("!!str 5", "5", id="tagged-number"),
        pytest.param("12345678901234567890123", "12345678901234567890123", id="long-number"),
        pytest.param("0x1F", "0x1F", id="hexadecimal"),
        pytest.param("1_000", "1_000", id="underscore"),
        pytest.param("=", "=", id="equals-sign"),
        pytest.param("1e3", "1e3", id="exponent"),
        pytest.param("|-\n        a\n        b", "a\nb", id="block"),
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(written: str, text: str) -> None:
    source = parse_spec(under_orders(f"params:\n      v: {written}"))
    assert source.spec.collections["orders"].params["v"].text == text


@pytest.mark.parametrize("written", ["2.0", "007", "+5", "-0", "1.", "0.0"])
def test_a_number_whose_spelling_would_be_lost_is_sent_as_written_or_refused(written: str) -> None:
    try:
        source = parse_spec(under_orders(f"params:\n      v: {written}"))
    except SpecError as error:
        assert ".params.v: " in str(error)
        return
    assert source.spec.collections["orders"].params["v"].text == written


def test_a_whole_number_with_a_point_is_refused_by_a_line() -> None:
    assert mistakes(under_api("retry: {attempts: 5.0}")) != []


def test_on_may_be_a_key() -> None:
    source = parse_spec(under_orders("params: {on: 1, yes: 2, null: 3, 5: 4}"))
    assert list(source.spec.collections["orders"].params) == ["on", "yes", "null", "5"]


def test_merged_mappings_keep_what_is_written_out() -> None:
    text = changed(("      id: integer\n", "      <<: &base {id: string, n: integer}\n      id: integer\n"))
    properties = parse_spec(text).spec.collections["orders"].properties
    assert {name: one.type.text for name, one in properties.items()} == {"id": "integer", "n": "integer", "at": "timestamp"}


@pytest.mark.parametrize("merged", ["5", "text", "[5]"])
def test_merging_what_is_no_mapping_is_a_mistake(merged: str) -> None:
    assert mistakes(changed(("      id: integer\n", f"      <<: {merged}\n      id: integer\n")))


@pytest.mark.parametrize(
    "prefix", [pytest.param("", id="plain"), pytest.param("\ufeff", id="byte-order-mark"), pytest.param("%YAML 1.2\n---\n", id="directive")]
)
def test_a_file_is_read_whatever_stands_before_its_first_word(prefix: str, tmp_path: File) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(prefix + GOOD, encoding="utf-8")
    assert read_spec(str(file)).spec.name.text == "shop"


def test_windows_line_ends_change_no_place() -> None:
    source = parse_spec(GOOD.replace("\n", "\r\n"))
    assert source.line_of("collections", "orders", "properties", "at") == 12


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: File) -> None:
    with pytest.raises(UsageError) as caught:
        read_spec(str(tmp_path / "no.yaml"))
    assert str(caught.value) == f"{tmp_path}/no.yaml: cannot be read (No such file or directory); give the path of a spec"


def test_a_file_in_another_encoding_is_a_usage_error(tmp_path: File) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(GOOD.replace("shop", "shöp").encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_spec(str(file))
    assert str(caught.value) == f"{file}: is not UTF-8 text; save it as UTF-8"


def test_a_folder_is_a_usage_error(tmp_path: File) -> None:
    with pytest.raises(UsageError, match=r": cannot be read \(Is a directory\); give the path of a spec$"):
        read_spec(str(tmp_path))
