"""Where a spec's settings come from: `--set`, the environment, a .env file, in that order. Reads environment and .env.

What is given is held in a `Settings`: all values for templates, and which of them are secrets, so that every text which
leaves the process can be cleaned of them.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path as File
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from msgspec import structs

from .errors import UsageError
from .exchange import Request
from .kinds import did_you_mean
from .spec import Setting, Spec
from .template import Body, MissingSetting, Template

HIDDEN = "***"

_PLACEHOLDER = re.compile(r"\{\{ settings\.(\w+)(?: \| (quoted|in_path|in_query|twice))? \}\}|\{\{\{\{")
"""A secret's name, and how it is spelled, in what is stored; braces that were there before are doubled."""

_SPELL: Mapping[str, Callable[[str], str]] = {
    "": str, "quoted": partial(quote, safe=""), "in_path": quote, "in_query": quote_plus,
    "twice": lambda secret: quote(quote(secret, safe=""), safe=""),
}  # fmt: skip
"""How a URL may spell a secret: as it is, or quoted in one of these ways; twice where one URL is a parameter of another."""


@dataclass(frozen=True)
class Settings:
    """The values for templates, by name; `secrets` are the names whose values are never shown or stored."""

    values: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str]
    found: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Secrets that nobody set, the newest first, with names that begin with `_`, as no setting's does: tokens got for others."""

    def with_secrets(self, found: Mapping[str, str]) -> Settings:
        """The same, with these secrets by their names; what went by a name before is a secret still."""
        new = tuple(pair for pair in found.items() if pair not in self.found)
        return replace(self, found=new + self.found) if new else self

    def hide(self, text: str) -> str:
        """The text without any secret in it, nor any usual spelling of one (quoted, or in base64)."""
        for spelling in self._spelled:
            text = spelling.sub(HIDDEN, text)
        return text

    @cached_property
    def _spelled(self) -> list[re.Pattern[str]]:
        """What finds a secret in a text: longer spellings first, for a shorter one may be part of them."""
        spellings = {spelling for _, secret in self._held for spelling in _spellings(secret)} | set(self._pairs())
        longest_first = sorted(spellings, key=len, reverse=True)
        return [re.compile(re.escape(spelling), re.IGNORECASE if "%" in spelling else 0) for spelling in longest_first]

    def mask(self, params: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Parameters as they may be stored: a value that is, or holds, a secret gives way to the secret's name.

        What looks like such a name already is marked as text, so that no answer can ask for a secret.
        """
        return tuple((name, self._masked(value)) for name, value in params)

    def unmask(self, params: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The reverse of `mask`, for sending."""
        return tuple((name, self._unmasked(value)) for name, value in params)

    def masked(self, request: Request) -> Request:
        """A request as it may be stored: secrets by name, in its URL and its body too."""
        body = request.body and _with_texts(request.body, self._masked)
        return structs.replace(request, url=self._masked(request.url), params=self.mask(request.params), body=body)

    def unmasked(self, request: Request) -> Request:
        """The reverse of `masked`."""
        body = request.body and _with_texts(request.body, self._unmasked)
        return structs.replace(request, url=self._unmasked(request.url), params=self.unmask(request.params), body=body)

    def hidden(self, document: Any) -> Any:
        """A JSON document with no secret in any of its texts and names."""
        return _changed(document, self.hide)

    def _unmasked(self, value: str) -> str:
        return _PLACEHOLDER.sub(lambda match: self._spelled_out(*match.groups()) if match.group(1) else "{{", value)

    def _masked(self, value: str) -> str:
        for name, secret in self._held:
            if value == secret:
                return f"{{{{ settings.{name} }}}}"
        masked, end = "", 0
        telling, told = self._telling
        for found in telling.finditer(value) if telling else ():
            name, spelling = told[(found.lastindex or 1) - 1]
            form = f" | {spelling}" if spelling else ""
            masked += value[end : found.start()].replace("{{", "{{{{") + f"{{{{ settings.{name}{form} }}}}"
            end = found.end()
        return masked + value[end:].replace("{{", "{{{{")

    def _spelled_out(self, name: str, spelling: str | None) -> str:
        value = {**dict(reversed(self.found)), **self.values}.get(name, "")
        return _SPELL[spelling or ""](value)

    @cached_property
    def _held(self) -> tuple[tuple[str, str], ...]:
        """The secrets that there are, with their names. Of two alike the first is always the same: a stored request must not change."""
        return tuple((name, self.values[name]) for name in sorted(self.secrets) if self.values.get(name)) + self.found

    @cached_property
    def _telling(self) -> tuple[re.Pattern[str] | None, list[tuple[str, str]]]:
        """What finds a secret within a longer text, and for each of its groups which one, and its spelling; None where there is none.

        Short ones are no secrets there: they would be found everywhere.
        """
        patterns: dict[str, tuple[str, str]] = {}
        for name, secret in self._held:
            for spelling, spell in _SPELL.items():
                if len(secret) >= 6:
                    either_case = re.sub("%((?:25)?[0-9A-F]{2})", lambda code: f"%(?i:{code.group(1)})", re.escape(spell(secret)))
                    patterns.setdefault(either_case, (name, spelling))
        longest_first = sorted(patterns, key=len, reverse=True)
        found = re.compile("|".join(f"({one})" for one in longest_first)) if patterns else None
        return found, [patterns[one] for one in longest_first]

    def _pairs(self) -> Iterable[str]:
        """What Basic auth would make of any setting and a secret."""
        for name in self.secrets:
            for other in self.values.values():
                if secret := self.values.get(name):
                    yield b64encode(f"{other}:{secret}".encode()).decode()


def env_name(spec: Spec, setting: str) -> str:
    """A setting's variable in the environment: SYNCER_<SPEC NAME>_<SETTING>."""
    return f"SYNCER_{spec.name}_{setting}".upper()


def given_settings(spec: Spec, flags: Iterable[str], directory: str = ".") -> Settings:
    """What the user gave, checked against its declarations, and what follows from defaults.

    What is missing is `needed`'s to tell: a load needs no password. Raises UsageError with every mistake.
    """
    mistakes: list[str] = []
    values: dict[str, str] = {}
    flagged: dict[str, str] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals:
            mistakes.append(f"--set {re.split(r'[^A-Za-z0-9_]', name)[0]}: has no `=`; write --set NAME=VALUE")
        elif name not in spec.settings:
            mistakes.append(f"--set {name}: {spec.name} has no such setting; {did_you_mean(name, spec.settings)}")
        else:
            flagged[name] = value
    dotenv = _dotenv(File(directory) / ".env")
    for name, setting in spec.settings.items():
        variable = env_name(spec, name)
        outside = {variable: os.environ.get(variable), ".env": dotenv.get(variable)}
        sources = {"--set": flagged[name]} if name in flagged else {where: text for where, text in outside.items() if text}
        for source, text in list(sources.items())[:1]:
            if wrong := _wrong(setting, text):
                shown = HIDDEN if setting.secret else repr(text)
                mistakes.append(f"setting {name} (from {source}): {shown} {wrong}")
            else:
                values[name] = text
    for name in _fill_defaults(spec, values):
        if wrong := _wrong(spec.settings[name], values[name]):
            shown = HIDDEN if spec.settings[name].secret else repr(values[name])
            mistakes.append(f"setting {name} (its default): {shown} {wrong}")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return Settings(values, frozenset(name for name, setting in spec.settings.items() if setting.secret))


def explain_missing(spec: Spec, names: Iterable[str]) -> str:
    """Which settings are missing, what each is, and the ways to give it."""
    lines = []
    for name in names:
        meaning = spec.settings[name].description if name in spec.settings else None
        lines.append(
            f"setting {name} is missing" + (f" ({meaning})" if meaning else "") + f"; give it with --set {name}=VALUE, "
            f"or as {env_name(spec, name)} in the environment or in a .env file"
        )
    return "\n".join(lines)


def needed(spec: Spec, settings: Settings, collections: Iterable[str] = ()) -> str:
    """The base URL; a check that all that a pull of these collections needs was given. Raises UsageError that names what is missing."""
    missing = [name for name, setting in spec.settings.items() if setting.required and name not in settings.values]
    templates: list[Template | Body] = [spec.api.base_url, *spec.api.origins, *spec.api.headers.values(), *spec.api.params.values()]
    for collection in (spec.lists[name] for name in collections):
        templates += collection.templates
        templates += [collection.cursor.start] if collection.cursor and collection.cursor.start else []
    for template in templates:
        missing += sorted(template.settings - settings.values.keys())
    try:
        spec.api.auth.chosen(settings.values)
    except MissingSetting as error:
        missing += error.names
    if missing:
        raise UsageError(explain_missing(spec, _with_sources(spec, dict.fromkeys(missing), settings)) + _alternatives(spec, missing))
    base = _checked_url(settings.hide, spec.api.base_url.render(settings.values))
    for other in spec.api.origins:
        _check_origin(settings.hide, other.render(settings.values), base)
    return base


def _checked_url(hide: Callable[[str], str], url: str) -> str:
    """The base URL, if requests can be sent there. Raises UsageError."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment or parts.username is not None:
        what = "write http:// or https://, a host, and a path if there is one; credentials belong into `auth`"
        raise UsageError(f"base_url {hide(url)!r} is no URL that requests can be sent to; {what}")
    return url


def _check_origin(hide: Callable[[str], str], url: str, base: str) -> None:
    """Raises UsageError for what is no origin beside the base URL's."""
    shown = f"the origin {hide(url)!r} in `api.origins`"
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{shown} is none; write https:// and a host, nothing behind it")
    if parts.scheme == "http" and base.lower().startswith("https:"):
        raise UsageError(f"{shown} would make public what goes to {hide(base)!r} in secret; write https://")


def _with_sources(spec: Spec, names: Iterable[str], settings: Settings) -> list[str]:
    """A missing setting with a default is missing because of what the default needs: name that."""
    found: list[str] = []
    for name in names:
        default = spec.settings[name].default
        deeper = sorted(default.settings - settings.values.keys()) if default else []
        found += _with_sources(spec, deeper, settings) if deeper else [name]
    return list(dict.fromkeys(found))


def _alternatives(spec: Spec, missing: Iterable[str]) -> str:
    among = getattr(spec.api.auth, "among", ())
    ways = []
    for scheme in among:
        templates = [value for value in structs.asdict(scheme).values() if hasattr(value, "settings")]
        names = sorted(set().union(*(template.settings for template in templates)))
        if names:
            ways.append(f"{scheme.name} ({', '.join(names)})")
    uses_auth = any(name in way for way in ways for name in missing)
    return f"\nany one of these is enough: {'; '.join(ways)}" if len(ways) > 1 and uses_auth else ""


def _fill_defaults(spec: Spec, values: dict[str, str]) -> list[str]:
    """Fill in what follows from what is given; gives the names."""
    given = set(values)
    waiting = {name: one.default for name, one in spec.settings.items() if one.default is not None and name not in values}
    while ready := [name for name, default in waiting.items() if default.settings <= values.keys()]:
        for name in ready:
            values[name] = waiting.pop(name).render(values)
    return [name for name in values if name not in given]


def _wrong(setting: Setting, value: str) -> str | None:
    if setting.type == "integer" and not re.fullmatch("-?[0-9]+", value):
        return "is not a whole number"
    if setting.type == "boolean" and value not in ("true", "false"):
        return "is not true or false"
    if setting.pattern and not re.fullmatch(setting.pattern, value):
        return f"does not have the form {setting.pattern}"
    return None


def _dotenv(file: File) -> Mapping[str, str | None]:
    if not file.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return dotenv_values(file, interpolate=False)
    except (UnicodeDecodeError, OSError):
        raise UsageError(f"{file}: cannot be read; save it as UTF-8 text, NAME=VALUE in each line") from None


def _changed(document: Any, change: Callable[[str], str]) -> Any:
    """A JSON document with all its texts and names changed."""
    if isinstance(document, str):
        return change(document)
    if isinstance(document, list):
        return [_changed(item, change) for item in document]
    if isinstance(document, dict):
        return {change(name): _changed(value, change) for name, value in document.items()}
    return document


def _with_texts(document: str, change: Callable[[str], str]) -> str:
    """The same of a document that is written out as JSON."""
    return json.dumps(_changed(json.loads(document), change))


def _spellings(secret: str) -> set[str]:
    in_urls = {spell(secret) for spell in _SPELL.values()}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_base64 = b64encode(secret.encode()).decode()
    return {spelling for spelling in (*in_urls, *in_json, in_base64) if len(spelling) >= 3}
