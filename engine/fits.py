"""Whether a document fits a JSON Schema, by the few keywords that the schema of specs is made of. Pure.

It says yes or no, and only a yes counts: what is wrong with a document, and whether anything is, `jsonschema` tells, which takes
long to import. `tests/test_schema.py` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TYPES: Mapping[type, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", dict: "object", list: "array",
}  # fmt: skip
_TELL_NOTHING = {"$schema", "$id", "$defs", "title", "description", "then", "else"}


def fits(schema: Any, document: Any, root: Any = None) -> bool:
    """Whether the document surely fits; a keyword that is not known here fits nothing."""
    root = schema if root is None else root
    return all(_holds(word, rule, schema, document, root) for word, rule in schema.items() if word not in _TELL_NOTHING)


def _holds(word: str, rule: Any, schema: Any, document: Any, root: Any) -> bool:
    match word:
        case "$ref":
            return fits(root["$defs"][rule.removeprefix("#/$defs/")], document, root)
        case "allOf":
            return all(fits(one, document, root) for one in rule)
        case "if":
            return fits(schema.get("then" if fits(rule, document, root) else "else", {}), document, root)
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            kind = "integer" if isinstance(document, float) and document.is_integer() else _TYPES.get(type(document))
            return kind in kinds or (kind == "integer" and "number" in kinds)
        case "const" | "enum":
            listed = [rule] if word == "const" else rule
            return any(one == document and isinstance(one, bool) == isinstance(document, bool) for one in listed)
    about = _ABOUT.get(word)
    return about is not None and (type(document) not in about[0] or about[1](rule, schema, document, root))


def _properties(rule: Any, schema: Any, document: Any, root: Any) -> bool:
    return all(fits(rule[name], value, root) for name, value in document.items() if name in rule)


def _others(rule: Any, schema: Any, document: Any, root: Any) -> bool:
    others = [value for name, value in document.items() if name not in schema.get("properties", {})]
    return not others if isinstance(rule, bool) else all(fits(rule, value, root) for value in others)


_ABOUT: Mapping[str, tuple[tuple[type, ...], Callable[[Any, Any, Any, Any], bool]]] = {
    "properties": ((dict,), _properties),
    "additionalProperties": ((dict,), _others),
    "required": ((dict,), lambda rule, schema, document, root: all(name in document for name in rule)),
    "minProperties": ((dict,), lambda rule, schema, document, root: len(document) >= rule),
    "minItems": ((list,), lambda rule, schema, document, root: len(document) >= rule),
    "items": ((list,), lambda rule, schema, document, root: all(fits(rule, item, root) for item in document)),
    "pattern": ((str,), lambda rule, schema, document, root: re.search(rule, document) is not None),
    "minimum": ((int, float), lambda rule, schema, document, root: document >= rule),
    "maximum": ((int, float), lambda rule, schema, document, root: document <= rule),
}
"""Keywords that say something of one kind of values only."""
