"""The spec's types as JSON Schema, and validated mappings as the spec's types. Pure.

Both walks read the same declarations (`engine/spec.py` and the kinds), so they cannot disagree. A family of kinds becomes an
`enum` with one `if`/`then` a kind, never `oneOf`: so that a mistake is told by the right kind's own rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Struct, field
from msgspec.structs import FieldInfo, fields

from .document import At
from .fields import Doc, Scalar
from .kinds import Kind
from .spec import Spec
from .template import Body, Template

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SHORTHANDS: dict[str, str] = {"Property": "type", "Parent": "collection", "Tombstone": "property", "Deleted": "path"}
"""Classes that may be written as one text, and the field that the text stands for: `subject: string`."""


def spec_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file (draft 2020-12)."""
    definitions: dict[str, Any] = {}
    root = _class_schema(Spec, definitions)
    return {
        "$schema": DIALECT,
        "$id": "spec.schema.json",
        "title": "A syncer spec",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


class Notes(Struct):
    """What the walk from a mapping to the types found on its way: mistakes, and the templates with their places."""

    mistakes: list[tuple[At, str]] = field(default_factory=list)
    templates: list[tuple[At, Template | Body]] = field(default_factory=list)
    left_out: list[At] = field(default_factory=list)
    """Members that are broken."""


class Broken(Exception):
    """This part of the mapping cannot become its type; why is in the notes, or was told by the JSON Schema."""


def build(hint: Any, value: Any, at: At, notes: Notes) -> Any:
    """The typed value of a mapping, its defaults filled in. Raises Broken; members of a mapping that break are left out."""
    hint = _bare(hint)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return build(next(arm for arm in get_args(hint) if arm is not NoneType), value, at, notes)
    if origin is Literal:
        return _checked(value, any(value == word and type(value) is type(word) for word in get_args(hint)), at, notes)
    if origin is tuple and not isinstance(value, list):
        return (build(get_args(hint)[0], value, at, notes),)
    if origin is tuple:
        return tuple(build(get_args(hint)[0], item, (*at, place), notes) for place, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        return _build_mapping(get_args(hint)[1], _checked(value, isinstance(value, dict), at, notes), at, notes)
    if issubclass(hint, Scalar):
        return _build_scalar(hint, value, at, notes)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _build_class(hint, value, at, notes)
    return _checked(value, isinstance(value, hint) and (hint is bool or not isinstance(value, bool)), at, notes)


@cache
def fields_of(cls: type[Struct]) -> tuple[FieldInfo, ...]:
    """A class's fields: `encode_name` is a field's word in the spec, `type` has its Doc. Reading them from the annotations takes long."""
    return fields(cls)


def doc_of(declared: FieldInfo) -> Doc:
    """What a field means."""
    notes = get_args(declared.type)[1:] if get_origin(declared.type) is Annotated else ()
    return next((note for note in notes if isinstance(note, Doc)), Doc(""))


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hint = _bare(hint)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _schema(next(arm for arm in get_args(hint) if arm is not NoneType), definitions)
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin is tuple:
        return _list_schema(_schema(get_args(hint)[0], definitions))
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(get_args(hint)[1], definitions)}
    if issubclass(hint, Scalar):
        doc = (hint.__doc__ or "").split("\n\n")[0]
        return {**hint.schema, "description": " ".join(doc.split())}
    if isinstance(hint, type) and issubclass(hint, Struct):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}
            definitions[hint.__name__] = _class_schema(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


def _list_schema(item: dict[str, Any]) -> dict[str, Any]:
    """Several, or just one."""
    kinds = item.get("type")
    if kinds is None or "$ref" in item:
        return {"if": {"type": "array"}, "then": {"items": item}, "else": item}
    listed = [kinds] if isinstance(kinds, str) else list(kinds)
    only_one = {name: rule for name, rule in item.items() if name == "pattern"}
    return {"type": [*listed, "array"], "items": item, **only_one}


def _class_schema(cls: type[Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    if issubclass(cls, Kind) and not cls.name:
        return _family_schema(cls, definitions)
    schema = {"description": _summary(cls), **_members_schema(cls, definitions)}
    if short := SHORTHANDS.get(cls.__name__):
        text = {rule: value for rule, value in schema["properties"][short].items() if rule != "type"}
        return {"type": ["string", "object"], "if": {"type": "object"}, "then": schema, "else": text}
    return schema


def _family_schema(family: type[Kind], definitions: dict[str, Any]) -> dict[str, Any]:
    rules = []
    for name, alternative in sorted(family.alternatives.items()):
        then = {"description": _summary(alternative), **_members_schema(alternative, definitions)}
        then["properties"] = {"kind": {"const": name}, **then["properties"]}
        rules.append({"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": then})
    return {
        "description": _summary(family),
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": sorted(family.alternatives)}},
        "allOf": rules,
    }


def _members_schema(cls: type[Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    members = {}
    for declared in fields_of(cls):
        doc = doc_of(declared)
        members[declared.encode_name] = {
            **_schema(declared.type, definitions),
            **(doc.limits or {}),
            "description": doc.text,
        }
    needed = [one.encode_name for one in fields_of(cls) if one.required]
    return {"type": "object", "properties": members, "required": needed, "additionalProperties": False}


def _build_mapping(hint: Any, value: dict[str, Any], at: At, notes: Notes) -> dict[str, Any]:
    built = {}
    for name, member in value.items():
        try:
            built[name] = build(hint, member, (*at, name), notes)
        except Broken:
            notes.left_out.append((*at, name))
    return built


def _build_scalar(cls: type[Scalar], value: Any, at: At, notes: Notes) -> Scalar:
    kinds = cls.schema["type"]
    _checked(value, _json_type(value) in ([kinds] if isinstance(kinds, str) else kinds), at, notes)
    try:
        scalar = cls.parse(value)
    except ValueError as error:
        notes.mistakes.append((at, str(error)))
        raise Broken from error
    if isinstance(scalar, Template | Body):
        notes.templates.append((at, scalar))
    return scalar


def _build_class(cls: type[Struct], value: Any, at: At, notes: Notes) -> Any:
    if isinstance(value, str) and cls.__name__ in SHORTHANDS:
        value = {SHORTHANDS[cls.__name__]: value}
    value = dict(_checked(value, isinstance(value, dict), at, notes))
    if issubclass(cls, Kind) and not cls.name:
        chosen = value.pop("kind", None)
        if not isinstance(chosen, str) or chosen not in cls.alternatives:
            raise Broken
        cls = cls.alternatives[chosen]
    elif issubclass(cls, Kind):
        value.pop("kind", None)
    arguments, broken = {}, False
    for declared in fields_of(cls):
        word = declared.encode_name
        if word not in value:
            broken |= declared.required
            continue
        try:
            arguments[declared.name] = build(declared.type, value.pop(word), (*at, word), notes)
        except Broken:
            broken = True
    if broken:
        raise Broken
    built = cls(**arguments)
    if mistakes := getattr(built, "mistakes", None):
        notes.mistakes += [(at, mistake) for mistake in mistakes()]
    return built


def _json_type(value: Any) -> str | None:
    """What JSON Schema calls it, where a scalar of a spec may be of that type."""
    return {str: "string", int: "integer", dict: "object", type(None): "null"}.get(type(value))


def _checked(value: Any, right: bool, at: At, notes: Notes) -> Any:
    """The value, if it is right. Else raises Broken; a number that only looks whole is told here, for JSON Schema takes it as one."""
    if right:
        return value
    if isinstance(value, float):
        notes.mistakes.append((at, f"{value} is no whole number; write it without a point"))
    raise Broken


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
