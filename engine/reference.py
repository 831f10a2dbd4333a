"""The reference of the spec language, docs/spec.md, from the same declarations as the parser. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct

from . import columns
from .auth import Auth
from .budget import Budget
from .fields import Scalar
from .kinds import Kind
from .limits import Limits
from .paginate import Paginator, TieBreaker
from .properties import Property
from .retry import Retry
from .rules import Rule
from .schedule import Schedule
from .schema import doc_of, fields_of
from .spec import Api, Changed, Collection, Deleted, Full, Setting, Spec
from .window import Cursor

_CHAPTERS: tuple[tuple[str, type[Struct]], ...] = (
    ("A spec", Spec),
    ("settings.*", Setting),
    ("schedule", Schedule),
    ("api", Api),
    ("api.auth", Auth),
    ("api.budgets[]", Budget),
    ("api.retry", Retry),
    ("errors[]", Rule),
    ("api.limits", Limits),
    ("collections.*", Collection),
    ("collections.*.cursor", Cursor),
    ("collections.*.full", Full),
    ("collections.*.changed", Changed),
    ("collections.*.deleted", Deleted),
    ("paginate", Paginator),
    ("paginate.tie_breaker", TieBreaker),
    ("collections.*.properties.*", Property),
)


def reference() -> str:
    """The whole page, in Markdown."""
    lines = ["# The spec language", "", "Made by `syncer schema --reference` from the code that reads specs; do not edit by hand.", ""]
    for title, cls in _CHAPTERS:
        lines += [f"## {title}", "", *_described(cls)]
    return "\n".join(lines).rstrip() + "\n"


def _described(cls: type[Struct]) -> Iterator[str]:
    yield from _prose(cls)
    if issubclass(cls, Kind):
        for name, alternative in sorted(cls.alternatives.items()):
            yield from (f"### kind: {name}", "", *_prose(alternative), *_table(alternative))
        return
    yield from _table(cls)
    if cls is Property:
        doc = columns.__doc__ or ""
        yield from ("What each type takes; everything else is a reject, and JSON null and a missing value are NULL:", "")
        yield from (line for line in doc.splitlines() if line.startswith("|"))
        yield ""


def _prose(cls: type[Struct]) -> Iterator[str]:
    doc = (cls.__doc__ or "").split("\n\n")
    yield from (" ".join(doc[0].split()), "")
    for paragraph in doc[1:]:
        yield from (" ".join(paragraph.split()), "")


def _table(cls: type[Struct]) -> Iterator[str]:
    if not fields_of(cls):
        return
    yield from ("| key | value | default | meaning |", "| --- | --- | --- | --- |")
    for declared in fields_of(cls):
        default = declared.default_factory() if declared.default_factory is not NODEFAULT else declared.default
        yield f"| `{declared.encode_name}` | {_kind_of(declared.type)} | {_default(default)} | {doc_of(declared).text} |"
    yield ""


def _kind_of(hint: Any) -> str:
    """A field's type in the words of a spec."""
    if get_origin(hint) is Annotated:
        return _kind_of(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return _kind_of(next(arm for arm in get_args(hint) if arm is not NoneType))
    if get_origin(hint) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{_kind_of(get_args(hint)[0])}, or several"
    if get_origin(hint) is not None:
        return f"name: {_kind_of(get_args(hint)[1])}"
    if issubclass(hint, Kind):
        return f"a kind of `{hint.family}`"
    if issubclass(hint, Scalar):
        return {"TypeName": "type", "Body": "JSON object"}.get(hint.__name__, str(hint.__name__).lower())
    if issubclass(hint, Struct):
        return f"{hint.__name__.lower()}, see there"
    plain: dict[Any, str] = {str: "text", int: "number", bool: "true or false", float: "number"}
    return plain[hint]


def _default(value: Any) -> str:
    if value is NODEFAULT:
        return "needed"
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, Kind):
        return f"`{value.name}`"
    if isinstance(value, Struct) and not isinstance(value, Scalar):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(map(str, value)) if isinstance(value, tuple) else value}`"
