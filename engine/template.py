"""Templates: text with `{{ settings.name }}` in it. The only importer of jinja2. Pure.

They make requests (base URL, path, params, headers, body, auth) and defaults of settings, never records. They are sandboxed, know
`settings`, and `parent` where there is one, and an unknown name is a mistake of the spec, found when the spec is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import UsageError
from .fields import Scalar

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.sandbox import SandboxedEnvironment


class MissingSetting(UsageError):
    """A template needs a setting that was not given; `names` holds which."""

    def __init__(self, *names: str) -> None:
        self.names = names
        super().__init__(", ".join(names))


class Template(Scalar, frozen=True):
    """Text, with settings in it where they are named: `{{ settings.site }}`."""

    text: str
    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "integer"]}

    @classmethod
    def parse(cls, text: Any) -> Template:
        template = cls(str(text))
        template.settings  # noqa: B018 - its mistakes are found now
        return template

    @property
    def settings(self) -> frozenset[str]:
        """The names of the settings it uses. Raises ValueError for any other name, or a mistake of its syntax."""
        return _names(self.text)["settings"]

    @property
    def parents(self) -> frozenset[str]:
        """The names of the parent's properties that it uses: `{{ parent.id }}`."""
        return _names(self.text)["parent"]

    def render(self, settings: Mapping[str, str], parent: Mapping[str, str] | None = None) -> str:
        """The text with the settings, and a parent's values, filled in. Raises MissingSetting with every name that has no value."""
        if missing := sorted(self.settings - settings.keys()):
            raise MissingSetting(*missing)
        if "{" not in self.text:
            return self.text
        values = {"settings": settings, "parent": parent or {}}
        if _PLAIN.fullmatch(self.text) and all(name in values[thing] for thing, name in _NAMED.findall(self.text)):
            return _NAMED.sub(lambda named: str(values[named[1]][named[2]]), self.text)
        return self.rendered_by_jinja(settings, parent)

    def rendered_by_jinja(self, settings: Mapping[str, str], parent: Mapping[str, str] | None) -> str:
        """The same, whatever the template is."""
        from jinja2 import TemplateError

        try:
            return (
                _environment().from_string(self.text).render(settings=SimpleNamespace(**settings), parent=SimpleNamespace(**parent or {}))
            )
        except (TemplateError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"the template {self.text!r} cannot be filled in ({type(error).__name__}); correct it") from None


_ALONE = re.compile(r"\s*\{\{\s*(settings|parent)\.(\w+)\s*\}\}\s*")
_NAMED = re.compile(r"\{\{[ \t\n]*(settings|parent)\.([A-Za-z][A-Za-z0-9_]*)[ \t\n]*\}\}")
_PLAIN = re.compile(rf"(?:[^{{}}\r]|{_NAMED.pattern})*")
"""Text with nothing but names of values in it, as most templates are. It is filled in here as jinja2 would, which takes long to import."""


class Body(Scalar, frozen=True):
    """A JSON object, with settings and a parent's values in its texts; a value that is alone in its text stays a number, or true."""

    text: str
    """The object as JSON, with its templates."""
    schema: ClassVar[Mapping[str, Any]] = {"type": "object"}

    @classmethod
    def parse(cls, text: Any) -> Body:
        body = cls(json.dumps(text))
        for template in body._templates:
            template.settings  # noqa: B018 - its mistakes are found now
        return body

    @property
    def settings(self) -> frozenset[str]:
        """The names of the settings it uses. Raises ValueError for any other name, or a mistake of its syntax."""
        return frozenset[str]().union(*(template.settings for template in self._templates))

    @property
    def parents(self) -> frozenset[str]:
        """The names of the parent's properties that it uses."""
        return frozenset[str]().union(*(template.parents for template in self._templates))

    def render(self, settings: Mapping[str, Any], parent: Mapping[str, Any]) -> str:
        """The object as JSON with the values filled in. Raises MissingSetting with every name that has no value."""
        if missing := sorted(self.settings - settings.keys()):
            raise MissingSetting(*missing)
        values = {"settings": settings, "parent": parent}
        as_texts = [{name: as_text(value) for name, value in named.items()} for named in values.values()]

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: filled(inner) for name, inner in value.items()}
            if isinstance(value, list):
                return [filled(inner) for inner in value]
            if not isinstance(value, str):
                return value
            alone = _ALONE.fullmatch(value)
            return values[alone[1]][alone[2]] if alone else Template(value).render(*as_texts)

        return json.dumps(filled(json.loads(self.text)))

    @property
    def _templates(self) -> list[Template]:
        return [Template(text) for text in _texts(json.loads(self.text))]


def as_text(value: Any) -> str:
    """A JSON value as a text takes it: its own text, or its JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _texts(document: Any) -> Iterator[str]:
    """All texts in a JSON document, but for names."""
    if isinstance(document, str):
        yield document
    for inner in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _texts(inner)


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.globals.clear()
    return environment


@cache
def _names(text: str) -> dict[str, frozenset[str]]:
    """What a template uses, of each thing that it may know."""
    if "{" not in text or _PLAIN.fullmatch(text):
        named = _NAMED.findall(text)
        return {known: frozenset(name for thing, name in named if thing == known) for known in ("settings", "parent")}
    return names_by_jinja(text)


def names_by_jinja(text: str) -> dict[str, frozenset[str]]:
    """The same, whatever the template is."""
    from jinja2 import TemplateError, meta
    from jinja2.nodes import Extends, FromImport, Getattr, Getitem, Import, Include, Name

    try:
        tree = _environment().parse(text)
        _environment().from_string(text)
    except TemplateError as error:
        raise ValueError(f"is not a template ({error}); write a setting as {{{{ settings.name }}}}") from None
    if any(tree.find(other) for other in (Extends, FromImport, Import, Include)):
        raise ValueError("asks for another template; write it out")
    if unknown := sorted(meta.find_undeclared_variables(tree) - {"settings", "parent"}):
        raise ValueError(f"uses {unknown[0]!r}, which no template knows; write {{{{ settings.{unknown[0]} }}}}")
    owners = [(node, getattr(node, "node", None)) for node in tree.find_all((Getattr, Getitem))]
    found: dict[str, frozenset[str]] = {}
    for thing in ("settings", "parent"):
        members = [_member(node) for node, owner in owners if isinstance(owner, Name) and owner.name == thing]
        if len(members) < sum(name.name == thing for name in tree.find_all(Name)):
            raise ValueError(f"uses `{thing}` as a whole; name one: {{{{ {thing}.name }}}}")
        found[thing] = frozenset(members)
    return found


def _member(node: Node) -> str:
    name = getattr(node, "attr", None) or getattr(getattr(node, "arg", None), "value", None)
    if not isinstance(name, str):
        raise ValueError("looks something up by a computed name; write it out: {{ settings.name }}")
    return name
