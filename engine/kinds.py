"""`@kind("name")`: the registry of alternatives that a spec chooses from by `kind:`. Pure.

A family is a base class with `alternatives` of its own; an alternative is one frozen Struct beneath it with one decorator above it:
its fields, its defaults and its docstring are all that the schema, the documentation and "did you mean" need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ClassVar, TypeVar

from msgspec import Struct


class Kind(Struct, frozen=True, kw_only=True):
    """What families derive from. `family` is a family's word in the spec; `name` is the alternative's, set by `@kind`."""

    family: ClassVar[str] = ""
    name: ClassVar[str] = ""
    alternatives: ClassVar[dict[str, type[Kind]]]


K = TypeVar("K", bound=Kind)


def kind(name: str) -> Callable[[type[K]], type[K]]:
    """Register a class as one alternative of its family, under the name that specs use."""

    def register(cls: type[K]) -> type[K]:
        if name in cls.alternatives:
            raise TypeError(f"{cls.family} kind {name!r} is registered twice")
        cls.name = name
        cls.alternatives[name] = cls
        return cls

    return register


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` where one is near, else what there is."""
    known = sorted(known)
    if near := get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {near[0]!r}?"
    return "known: " + ", ".join(known) if known else "there is none"
