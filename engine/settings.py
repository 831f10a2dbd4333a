"""Where a spec's settings come from: `--set`, the environment, a .env file, in that order. Reads environment and .env.

What is given is held in a `Settings`: all values for templates, and which of them are secrets, so that every text which
leaves the process can be cleaned of them.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from urllib.parse import quote, quote_plus

from .errors import UsageError
from .kinds import did_you_mean
from .spec import Setting, Spec
from .template import MissingSetting

HIDDEN = "***"


@dataclass(frozen=True)
class Settings:
    """The values for templates, by name; `secrets` are the names whose values are never shown or stored."""

    values: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str]

    def hide(self, text: str) -> str:
        """The text without any secret in it, nor any usual spelling of one (quoted, or in base64)."""
        for secret in sorted((self.values[name] for name in self.secrets if self.values.get(name)), key=len, reverse=True):
            for spelling in _spellings(secret):
                text = text.replace(spelling, HIDDEN)
        for pair in self._pairs():
            text = text.replace(pair, HIDDEN)
        return text

    def mask(self, params: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Parameters as they may be stored: a value that is, or holds, a secret gives way to the secret's name."""
        return tuple((name, self._masked(value)) for name, value in params)

    def unmask(self, params: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The reverse of `mask`, for sending."""

        def filled(value: str) -> str:
            return re.sub(r"\{\{ settings\.(\w+) \}\}", lambda match: self.values.get(match.group(1), match.group()), value)

        return tuple((name, filled(value)) for name, value in params)

    def _masked(self, value: str) -> str:
        for name in sorted(self.secrets):
            secret = self.values.get(name)
            if secret and (value == secret or (len(secret) >= 6 and secret in value)):
                value = value.replace(secret, f"{{{{ settings.{name} }}}}")
        return value

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
            mistakes.append(f"--set {name}: has no value; write --set {name}=VALUE")
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
    _fill_defaults(spec, values)
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


def needed(spec: Spec, settings: Settings) -> str:
    """The base URL; a check that everything a pull needs was given. Raises UsageError that names all that is missing."""
    missing = [name for name, setting in spec.settings.items() if setting.required and name not in settings.values]
    for template in (spec.api.base_url, *spec.api.headers.values(), *spec.api.params.values()):
        try:
            template.render(settings.values)
        except MissingSetting as error:
            missing += error.names
    try:
        spec.api.auth.chosen(settings.values)
    except MissingSetting as error:
        missing += error.names
    if missing:
        raise UsageError(explain_missing(spec, _with_sources(spec, dict.fromkeys(missing), settings)) + _alternatives(spec, missing))
    return spec.api.base_url.render(settings.values)


def _with_sources(spec: Spec, names: Iterable[str], settings: Settings) -> list[str]:
    """A missing setting with a default is missing because of what the default needs: name that."""
    found: list[str] = []
    for name in names:
        default = spec.settings[name].default
        found += sorted(default.settings - settings.values.keys()) if default else [name]
    return list(dict.fromkeys(found))


def _alternatives(spec: Spec, missing: Iterable[str]) -> str:
    among = getattr(spec.api.auth, "among", ())
    ways = []
    for scheme in among:
        templates = [value for value in vars(scheme).values() if hasattr(value, "settings")]
        names = sorted(set().union(*(template.settings for template in templates)))
        if names:
            ways.append(f"{scheme.name} ({', '.join(names)})")
    uses_auth = any(name in way for way in ways for name in missing)
    return f"\nany one of these is enough: {'; '.join(ways)}" if len(ways) > 1 and uses_auth else ""


def _fill_defaults(spec: Spec, values: dict[str, str]) -> None:
    waiting = {name: one.default for name, one in spec.settings.items() if one.default is not None and name not in values}
    while ready := [name for name, default in waiting.items() if default.settings <= values.keys()]:
        for name in ready:
            values[name] = waiting.pop(name).render(values)


def _wrong(setting: Setting, value: str) -> str | None:
    if setting.type == "integer" and not re.fullmatch(r"-?\d+", value):
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

    return dotenv_values(file, interpolate=False)


def _spellings(secret: str) -> set[str]:
    plain = b64encode(secret.encode()).decode()
    return {spelling for spelling in (secret, quote(secret, safe=""), quote_plus(secret), plain) if len(spelling) >= 3}
