"""The keys that came with a list, to be counted when it has ended: in memory while they are few, in files of the stage beyond. I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .stage import Stage

MOST_IN_HAND = 10_000
"""How many keys of a list are kept in memory."""
TOGETHER = 2_000
"""How many go into a file at once, where they are more."""

Key = tuple[int | str | None, ...]
"""One that cannot be read holds None."""

_lines = msgspec.json.Encoder().encode_lines


class Keys:
    """The keys of one list, by reading, as they come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._latest: dict[int, list[Key]] = {}
        self._in_files: dict[int, _File] = {}

    @property
    def in_hand(self) -> dict[int, list[Key]] | None:
        """All of them, by reading; None where they are too many."""
        return None if self._in_files else self._latest

    def add(self, reading: int, keys: Iterable[Key]) -> None:
        """Some more of a reading. Raises HubError where they cannot be written."""
        self._latest.setdefault(reading, []).extend(keys)
        if sum(map(len, self._latest.values())) > (TOGETHER if self._in_files else MOST_IN_HAND):
            self._write()

    def counted(self, *readings: int) -> tuple[int, int, int]:
        """Of some readings: how many records came, how many of them have a readable key, and how many keys there are."""
        if self._in_files:
            self._write()
            files = [self._in_files[reading] for reading in readings if reading in self._in_files]
            distinct = self._stage.count_lines([file.path for file in files], max((file.longest for file in files), default=0))
            return sum(file.came for file in files), sum(file.readable for file in files), distinct
        keys = [key for reading in readings for key in self._latest.get(reading, ())]
        readable = [key for key in keys if None not in key]
        return len(keys), len(readable), len(set(readable))

    def drop(self) -> None:
        """They are not needed any more."""
        for file in self._in_files.values():
            file.path.unlink(missing_ok=True)

    def _write(self) -> None:
        for reading, keys in self._latest.items():
            readable = [key for key in keys if None not in key]
            file = self._in_files.get(reading)
            if file is None:
                file = self._in_files[reading] = _File(self._stage.lasting("keys"))
            file.came += len(keys)
            file.readable += len(readable)
            lines = _lines(readable)
            file.longest = max(file.longest, *map(len, lines.split(b"\n")))
            self._stage.append(file.path, lines)
        self._latest = {}


@dataclass
class _File:
    """The readable keys of one reading, a JSON list a line."""

    path: Path
    came: int = 0
    readable: int = 0
    longest: int = 0
    """The longest line's bytes."""
