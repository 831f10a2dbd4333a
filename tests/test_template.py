"""Templates know the settings and nothing else; their mistakes are found when the spec is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.errors import UsageError
from rest_syncer.engine.template import Body, MissingSetting, Template, names_by_jinja


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        pytest.param("plain", {}, "plain", id="no-template"),
        pytest.param("https://{{ settings.site }}.desk.com", {"site": "acme"}, "https://acme.desk.com", id="a-setting"),
        pytest.param("{{ settings['site'] }}", {"site": "acme"}, "acme", id="in-brackets"),
        pytest.param("{{ settings.a }}{{ settings.b }}", {"a": "1", "b": "2"}, "12", id="two"),
        pytest.param("{{ settings.site | upper }}", {"site": "acme"}, "ACME", id="filter"),
        pytest.param("{% if settings.eu == 'true' %}eu{% else %}us{% endif %}", {"eu": "true"}, "eu", id="condition"),
        pytest.param("{{ settings.q }}", {"q": "<a&b>{{ 1 }}"}, "<a&b>{{ 1 }}", id="values-are-neither-escaped-nor-rendered"),
        pytest.param("{{ settings.a }}\n", {"a": "x"}, "x\n", id="a-last-newline-stays"),
        pytest.param("a{b}", {}, "a{b}", id="single-braces-are-text"),
    ],
)
def test_a_template_renders_to_this(text: str, settings: dict[str, str], expected: str) -> None:
    assert Template.parse(text).render(settings) == expected


PIECES = [
    "{{ settings.a }}", "{{settings.b}}", "{{ parent.a }}", "{{  settings.in\n}}", "{{ settings._a }}", "{{ settings.a1 }}",
    "{{ settings.1 }}", "{{ settings . a }}", "{{ settings.a.b }}", "{{ settings.a | upper }}", "{{- settings.a }}", "{{ other.a }}",
    "{{ settings }}", "{", "}", "{{", "}}", "{#", "#}", "{% raw %}", "{% endraw %}", "%}", "settings.a", " ", "\n", "\r", "\r\n", "\u2028",
    "\x00", "\ud800", "é", "\\", "'",
]  # fmt: skip
VALUES = {"a": "1", "b": "{{ settings.a }}", "in": "é\r\n", "a1": "", "_a": "hidden"}


@given(st.lists(st.sampled_from(PIECES), max_size=4).map("".join).filter(lambda text: "{" in text), st.sampled_from([VALUES, {"a": "x"}]))
def test_what_is_read_without_jinja_comes_out_as_with_it(text: str, parent: dict[str, str]) -> None:
    def told(what: Callable[[], Any]) -> Any:
        try:
            return what()
        except (ValueError, UsageError) as error:
            return type(error), str(error)

    template = Template(text)
    names = told(lambda: names_by_jinja(text))
    assert told(lambda: {"settings": template.settings, "parent": template.parents}) == names
    if isinstance(names, dict) and names["settings"] <= VALUES.keys():
        assert told(lambda: template.render(VALUES, parent)) == told(lambda: template.rendered_by_jinja(VALUES, parent))


def test_most_templates_need_no_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_syncer.engine.template._environment", None)
    text = "{{ settings.base }}/v2/{{parent.id}}?most=yes, never seen before"
    assert Template.parse(text).render({"base": "https://x"}, {"id": "7"}) == "https://x/v2/7?most=yes, never seen before"


def test_a_number_stands_for_its_text() -> None:
    assert Template.parse(50) == Template("50")


@pytest.mark.parametrize("name", ["keys", "items", "values", "get", "copy", "update", "pop"])
def test_a_setting_may_be_named_like_a_method_of_a_mapping(name: str) -> None:
    assert Template.parse(f"{{{{ settings.{name} }}}}").render({name: "mine"}) == "mine"


def test_the_settings_that_a_template_uses_are_known_before_it_is_rendered() -> None:
    assert Template.parse("{{ settings.a }}/{% if settings['b'] %}{{ settings.c | lower }}{% endif %}").settings == {"a", "b", "c"}


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(MissingSetting) as caught:
        Template.parse("{{ settings.b }}{{ settings.a }}{{ settings.here }}").render({"here": "x"})
    assert caught.value.names == ("a", "b")
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{{ site }}", "uses 'site', which no template knows; write {{ settings.site }}", id="bare-name"),
        pytest.param("{{ record.id }}", "uses 'record', which no template knows; write {{ settings.record }}", id="other-object"),
        pytest.param("{{ settings }}", "uses `settings` as a whole; name one: {{ settings.name }}", id="all-settings"),
        pytest.param(
            "{{ settings }}{{ settings.a }}", "uses `settings` as a whole; name one: {{ settings.name }}", id="all-settings-beside-one"
        ),
        pytest.param(
            "{% set s = settings %}{{ s.a }}{{ settings.a }}",
            "uses `settings` as a whole; name one: {{ settings.name }}",
            id="all-settings-renamed",
        ),
        pytest.param(
            "{{ settings[settings.a] }}", "looks something up by a computed name; write it out: {{ settings.name }}", id="computed-name"
        ),
        pytest.param(
            "{{ settings[0] }}", "looks something up by a computed name; write it out: {{ settings.name }}", id="number-for-a-name"
        ),
        pytest.param(
            "{{ settings.a",
            "is not a template (unexpected end of template, expected 'end of print statement'.); write a setting as {{ settings.name }}",
            id="broken",
        ),
    ],
)
def test_a_mistake_is_told_when_the_template_is_read(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Template.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{{ settings.a | nosuch }}", id="unknown-filter"),
        pytest.param("{{ settings.a is nosuch }}", id="unknown-test"),
        pytest.param("{% include 'x' %}", id="include"),
        pytest.param("{% import 'x' as y %}", id="import"),
        pytest.param("{{ lipsum() }}", id="jinjas-own-global"),
        pytest.param("{{ range(3) }}", id="another-global"),
    ],
)
def test_a_name_that_no_template_knows_is_a_mistake_of_the_spec(text: str) -> None:
    with pytest.raises(ValueError, match=r"; "):
        Template.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{{ settings.a.__class__.__mro__ }}", id="class"),
        pytest.param("{{ settings.a.__init__.__globals__ }}", id="globals"),
        pytest.param("{{ ''.format.__globals__ }}", id="format"),
        pytest.param("{{ settings.a.nosuch }}", id="no-such-attribute"),
        pytest.param("{{ 1 / 0 }}", id="division-by-zero"),
    ],
)
def test_what_the_sandbox_refuses_is_an_error_of_ours(text: str) -> None:
    with pytest.raises((ValueError, UsageError)):
        Template.parse(text).render({"a": "x"})


# A JSON body.


@pytest.mark.parametrize(
    ("document", "sent"),
    [
        pytest.param({"a": [1, True, None, "x"]}, {"a": [1, True, None, "x"]}, id="as-it-is"),
        pytest.param({"of": "{{ parent.id }}"}, {"of": 7}, id="a-value-alone-keeps-its-type"),
        pytest.param({"of": "no. {{ parent.id }}"}, {"of": "no. 7"}, id="a-value-within-a-text-is-text"),
        pytest.param({"most": "{{ settings.most }}"}, {"most": 50}, id="a-setting-alone"),
        pytest.param({"q": ["{{ parent.name }}!"]}, {"q": ['"A" {{ b }}!']}, id="no-value-breaks-out-of-its-text"),
        pytest.param({"{{ x }}": 1}, {"{{ x }}": 1}, id="names-are-no-templates"),
    ],
)
def test_a_body_is_json_with_the_values_filled_in(document: dict[str, Any], sent: dict[str, Any]) -> None:
    body = Body.parse(document)
    assert json.loads(body.render({"most": 50}, {"id": 7, "name": '"A" {{ b }}'})) == sent


def test_what_a_body_uses_is_known_before_it_is_rendered() -> None:
    body = Body.parse({"a": [{"b": "{{ settings.x }}"}], "c": "{{ parent.id }}-{{ parent.at }}"})
    assert (body.settings, body.parents) == ({"x"}, {"id", "at"})
    with pytest.raises(MissingSetting) as caught:
        body.render({}, {"id": 1, "at": 2})
    assert caught.value.names == ("x",)


def test_a_mistake_in_a_body_is_told_when_it_is_read() -> None:
    with pytest.raises(ValueError, match="uses 'x', which no template knows"):
        Body.parse({"a": ["{{ x }}"]})
