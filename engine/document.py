"""YAML text -> plain values, and where each of them stands; and a text with more properties in it. Pure.

YAML is read as its 1.2 core says where 1.1 surprises: `no` is a text, `on` may be a key, `12:30` is no number, a date is a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from .errors import Problem, SpecError

At = tuple[str | int, ...]
"""The way to a part of a document."""

_MOST_NODES = 200_000
_MOST_OPEN = 1_000


class Document:
    """A YAML text as plain values, and the place of each."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[At, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self._open: list[int] = []

    def read(self, text: str) -> Any:
        try:
            node = _composed(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            what = f"is not YAML: {error.problem or error.context}"
            raise SpecError(self.file, [Problem(line, column, "", what, "mend it there or just before")]) from None
        except (yaml.YAMLError, RecursionError) as error:
            too_deep = isinstance(error, RecursionError)
            what = "nested too deeply" if too_deep else str(error).partition("\n")[0]
            instead = "write it flatter" if too_deep else "save it as plain UTF-8 text"
            raise SpecError(self.file, [Problem(1, 1, "", f"is not YAML: {what}", instead)]) from None
        try:
            return None if node is None else self._value(node, ())
        except RecursionError:
            raise SpecError(self.file, [Problem(1, 1, "", "is nested too deeply, by its aliases", "write it flatter")]) from None

    def place(self, at: At) -> tuple[int, int]:
        """Where a part stands, or the nearest part around it that does."""
        while at and at not in self.places:
            at = at[:-1]
        return self.places.get(at, (1, 1))

    def _value(self, node: yaml.Node, at: At) -> Any:
        self.places.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
        if id(node) in self._open or len(self.places) > _MOST_NODES:
            line, column = self.places[at]
            what = "holds itself" if id(node) in self._open else f"makes a spec of more than {_MOST_NODES:,} parts"
            raise SpecError(self.file, [Problem(line, column, dotted(at), what, "write it out, without the alias")])
        if isinstance(node, yaml.MappingNode):
            self._open.append(id(node))
            mapping = self._mapping(node, at)
            self._open.pop()
            return mapping
        if isinstance(node, yaml.SequenceNode):
            self._open.append(id(node))
            items = [self._value(item, (*at, place)) for place, item in enumerate(node.value)]
            self._open.pop()
            return items
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: At) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if key == "<<":
                value = self._value(value_node, (*at, key))
                bases = value if isinstance(value, list) else [value]
                if not all(isinstance(base, dict) for base in bases):
                    instead = "name mappings, like `<<: *defaults`"
                    self.problems.append(Problem(line, column, dotted((*at, key)), "merges what is no mapping", instead))
                merged += bases
            elif key in mapping:
                what = f"the key {key!r} stands here a second time"
                self.problems.append(Problem(line, column, dotted((*at, key)), what, "keep one of the two"))
            else:
                self.places[(*at, key)] = (line, column)
                mapping[key] = self._value(value_node, (*at, key))
        for base in merged:
            mapping = {**base, **mapping} if isinstance(base, dict) else mapping
        return mapping


def _composed(text: str) -> yaml.Node | None:
    """libyaml reads a text ten times as fast; what it refuses, or would overflow its stack, the one in Python tells in sentences."""
    if yaml.__with_libyaml__ and text.count("[") + text.count("{") < _MOST_OPEN:
        with suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=yaml.CSafeLoader)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None) or node.tag.endswith(":str"):
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if re.fullmatch("0|-?[1-9][0-9]{0,17}", text) else text


def dotted(at: At) -> str:
    return ".".join(str(step) for step in at)


def with_members(text: str, at: At, members: Mapping[str, str]) -> str:
    """The text with more members in the mapping at a place, behind those that it has; all else stays as it is, byte for byte.

    `members` are YAML texts by name, each of one line. Raises ValueError where the place is written in a way that leaves no room
    for them: an alias, a merge.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)  # whose marks count letters
    for step in at:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if getattr(key, "value", None) == step), None)
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise ValueError("there is no mapping with members")
    entries = [f"{yaml_text(name)}: {value}" for name, value in members.items()]
    if node.flow_style:
        end = node.value[-1][1].end_mark.index
        new = text[:end] + "".join(f", {entry}" for entry in entries) + text[end:]
    else:
        newline = "\r\n" if "\r\n" in text else "\n"
        lines, indent = text.split(newline), " " * node.value[0][0].start_mark.column
        last = _last_line(node, text)
        new = newline.join([*lines[: last + 1], *(indent + entry for entry in entries), *lines[last + 1 :]])
    if not _has_only_gained(text, new, at, members):
        raise ValueError("it is an alias, or holds a merge")
    return new


def _last_line(node: yaml.Node, text: str) -> int:
    """The line (from 0) on which a part's last word stands."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        ends = last if isinstance(last, tuple) else (last,)
        return max(_last_line(one, text) for one in ends)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        lines, last = text.splitlines(), node.end_mark.line - 1
        while last > node.start_mark.line and not lines[last].strip():
            last -= 1
        return int(last)
    return int(node.end_mark.line)


def _has_only_gained(old: str, new: str, at: At, members: Mapping[str, str]) -> bool:
    """Whether two texts mean the same but for the new members."""
    try:
        before, after = Document("").read(old), Document("").read(new)
    except SpecError:
        return False
    there = after
    for step in at:
        there = there.get(step) if isinstance(there, dict) else None
    if not isinstance(there, dict):
        return False
    gained = [there.pop(name, None) is not None for name in members]
    return all(gained) and bool(before == after)


def yaml_text(text: str) -> str:
    """A text as YAML writes it, wherever it stands."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*", text)
    taken = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # some by YAML 1.1 only, which other readers go by
    if plain and text.lower() not in taken:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else _escaped(letter) for letter in escaped) + '"'


def _escaped(letter: str) -> str:
    """As YAML has letters that cannot be seen (YAML 1.1, 5.7)."""
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
