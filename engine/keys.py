"""The keys that came with a list, to be counted when it has ended: in memory while they are few, in files of the stage beyond. I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .stage import Stage

MOST_IN_HAND = 10_000
"""How many keys of a list are kept in memory."""

Key = tuple[int | str | None, ...]
"""One that cannot be read holds None."""

_lines = msgspec.json.Encoder().encode_lines


class Keys:
    """The keys of one list, by reading, as they come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.in_hand: dict[int, list[Key]] | None = {}
        """All of them, by reading; None where they are too many."""
        self._in_files: dict[int, _File] = {}

    def add(self, reading: int, keys: Iterable[Key]) -> None:
        """Some more of a reading. Raises HubError where they cannot be written."""
        if self.in_hand is None:
            self._write(reading, list(keys))
            return
        self.in_hand.setdefault(reading, []).extend(keys)
        if sum(map(len, self.in_hand.values())) > MOST_IN_HAND:
            for one, some in self.in_hand.items():
                self._write(one, some)
            self.in_hand = None

    def counted(self, *readings: int) -> tuple[int, int, int]:
        """Of some readings: how many records came, how many of them have a readable key, and how many keys there are."""
        if self.in_hand is None:
            files = [self._in_files[reading] for reading in readings if reading in self._in_files]
            distinct = self._stage.count_lines([file.path for file in files])
            return sum(file.came for file in files), sum(file.readable for file in files), distinct
        keys = [key for reading in readings for key in self.in_hand.get(reading, ())]
        readable = [key for key in keys if None not in key]
        return len(keys), len(readable), len(set(readable))

    def drop(self) -> None:
        """They are not needed any more."""
        for file in self._in_files.values():
            file.path.unlink(missing_ok=True)

    def _write(self, reading: int, keys: Sequence[Key]) -> None:
        readable = [key for key in keys if None not in key]
        file = self._in_files.get(reading)
        if file is None:
            file = self._in_files[reading] = _File(self._stage.lasting("keys"))
        file.came += len(keys)
        file.readable += len(readable)
        self._stage.append(file.path, _lines(readable))


@dataclass
class _File:
    """The readable keys of one reading, a JSON list a line."""

    path: Path
    came: int = 0
    readable: int = 0
