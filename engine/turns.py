"""What the halves of a source did lately, whoever carried them out: a small file for each, beside its lock. I/O; for its owner alone.

It tells people how it went, and a schedule what is due. No truth depends on it, so it is not synced, and one that cannot be
read or written is none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .clock import Clock
from .errors import INTERRUPTED, SyncerError
from .schedule import Turn
from .times import SECOND

KEPT = 20
"""How many turns of a half are remembered."""

End = Callable[[str, Mapping[str, int], Sequence[str]], None]
"""Told once how a turn ended: its status, its figures, and what went wrong."""


class Turns(Struct, frozen=True):
    """The last turns of a half, oldest first; of a load, the warehouse and the schema that it went into."""

    turns: tuple[Turn, ...] = ()
    into: str | None = None
    schema: str | None = None

    @property
    def last(self) -> Turn | None:
        return self.turns[-1] if self.turns else None


def turns_of(root: Path, name: str) -> Turns:
    """What is remembered of the half whose lock has this name."""
    try:
        return msgspec.json.decode(_file(root, name).read_bytes(), type=Turns)
    except (OSError, msgspec.MsgspecError):
        return Turns()


def loads_of(root: Path) -> list[Turns]:
    """All loads of a hub, into whichever warehouse."""
    return [turns_of(root, file.stem) for file in sorted((root / "account").glob("load into *.json"))]


@contextlib.contextmanager
def turn(root: Path, name: str, verb: str, began: int, clock: Clock, into: str | None = None, schema: str | None = None) -> Iterator[End]:
    """A turn of the half whose lock has this name; only for one who holds it. What ends it with an error is remembered, too."""
    known = turns_of(root, name)
    begun = Turn(verb=verb, began=began, failures=1 + (known.last.failures if known.last else 0))
    over = False

    def end(status: str, figures: Mapping[str, int], told: Sequence[str]) -> None:
        nonlocal over
        over, ended = True, int(clock.time() * SECOND)
        failures = 0 if status == "complete" else begun.failures
        note(replace(begun, ended=ended, status=status, failures=failures, figures=dict(figures), told=tuple(told)))

    def note(latest: Turn) -> None:
        data = msgspec.json.encode(Turns((*known.turns[1 - KEPT :], latest), into, schema))
        file = _file(root, name)
        with contextlib.suppress(OSError):
            new = file.with_suffix(".json.new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as out:
                out.write(data)
            new.replace(file)

    note(begun)
    try:
        yield end
    except BaseException as error:
        if not over:
            end(*_broken_off(error))
        raise


def _broken_off(error: BaseException) -> tuple[str, Mapping[str, int], list[str]]:
    if isinstance(error, KeyboardInterrupt):
        return "incomplete", {}, [INTERRUPTED]
    return "failed", {}, [str(error) if isinstance(error, SyncerError) else f"unexpected {type(error).__name__}"]


def _file(root: Path, name: str) -> Path:
    return root / "account" / f"{name}.json"
