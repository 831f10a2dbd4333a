"""Everything syncer raises, one tree, named for what the reader should do. Pure.

SyncerError
├── UsageError          exit 2: change the command, the settings or the spec; nothing was touched
│   └── SpecError       every mistake of a spec at once, in file order
└── RunError            exit 1: what was received stays; mend the cause and run again
    ├── Refused         the API does not know these credentials: no collection can go on
    ├── FetchError      a request got no usable answer, after all its retries
    │   └── Astray      a link leads where the API is not: it is not followed
    ├── PageError       an answer came, but it cannot be what the spec says
    ├── Incomplete      pages ended without proof: more may exist than was received
    ├── HubError        the hub cannot be read, written or trusted
    │   └── Damaged         a segment is not as it was written
    └── WarehouseError  the warehouse cannot be opened, written or trusted
        └── DeletesHeld     more rows are gone than may be marked without being told to

A message says where, what, and what instead. It never holds a secret or a record's content.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

INTERRUPTED = "interrupted; what was received is kept, and the same command goes on from there"


class SyncerError(Exception):
    """The root: `str(error)` is a sentence for people, `exit_code` the process's answer."""

    exit_code = 1


class UsageError(SyncerError):
    """Change the command, the settings or the spec; nothing was touched."""

    exit_code = 2


class Problem(NamedTuple):
    """One mistake in a spec: its place (1-based, in file order), what is wrong, what to write instead."""

    line: int
    column: int
    path: str
    what: str
    instead: str = ""

    def sentence(self, file: str) -> str:
        place = f"{file}:{self.line}:{self.column}" + (f" {self.path}" if self.path else "")
        return f"{place}: {self.what}" + (f"; {self.instead}" if self.instead else "")


class SpecError(UsageError):
    """All mistakes of one spec, a line each, in file order."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(problem.sentence(file) for problem in self.problems))


class RunError(SyncerError):
    """What was received stays; mend the cause and run again."""


class Refused(RunError):
    """The API does not know these credentials: no collection can go on."""


class FetchError(RunError):
    """A request got no usable answer, after all its retries; `status` is the last answer's, if there was one."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class Astray(FetchError):
    """A link leads where the API is not: it is not followed."""


class PageError(RunError):
    """An answer came, but it cannot be what the spec says it is."""


class Incomplete(RunError):
    """Pages ended without proof: more may exist than was received."""


class HubError(RunError):
    """The hub cannot be read, written or trusted."""


class Damaged(HubError):
    """A segment is not as it was written."""

    def __init__(self, segment: str, why: str) -> None:
        super().__init__(f"segment {segment}: is damaged ({why}); restore the file, or let the next pull ask for what it held")
        self.segment, self.why = segment, why


class WarehouseError(RunError):
    """The warehouse cannot be opened, written or trusted."""


class DeletesHeld(WarehouseError):
    """More rows are gone than may be marked without being told to; all else is loaded."""
