"""A process of its own that extracts values, so that this one's interpreter is free for what goes on beside it: a pull. I/O.

It knows nothing, reads nothing but what it is sent, and ends with the pipe that it is sent it through, so however this process ends.
What it cannot do is for who asks: to extract here gives the same, and raises what there is to raise.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import IO, TypeVar

import msgspec
from msgspec import Struct

from .errors import SyncerError
from .extract import Extracted, Extraction, extract

T = TypeVar("T")

_LENGTH = 8
"""Bytes that tell how long a message is."""


class _Answer(Struct, frozen=True):
    found: Extracted | None
    """None where it could not be done."""


class Helper:
    """Begun when it is asked first. Close it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_able = bool(sys.executable) and not hasattr(sys, "frozen")
        self._asking = Lock()

    def extract(self, wanted: Extraction) -> Extracted | None:
        """As `extract` does; None where the process did not, or cannot be had. One asks at a time."""
        with self._asking, suppress(OSError, ValueError, subprocess.SubprocessError, msgspec.MsgspecError):
            if self._is_able:
                self._is_able = False  # until it has answered: where a message broke off, the next answer would be that of another
                found = self._asked(wanted)
                self._is_able = True
                return found
        return None

    def _asked(self, wanted: Extraction) -> Extracted | None:
        if self._process is None:
            command, pipe = [sys.executable, "-P", "-m", __name__], subprocess.PIPE
            # in a group of its own: an interruption from the keyboard is for who asks
            self._process = subprocess.Popen(  # noqa: S603  # this very program
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, process_group=0
            )
        into, out_of = self._process.stdin, self._process.stdout
        if into is None or out_of is None:
            return None
        _send(into, wanted)
        return _received(out_of, _Answer).found

    def close(self) -> None:
        """It is not asked again."""
        self._is_able = False
        if self._process is not None:
            with suppress(OSError), self._process:
                self._process.kill()


def _send(pipe: IO[bytes], message: object) -> None:
    data = msgspec.msgpack.encode(message)
    pipe.write(len(data).to_bytes(_LENGTH, "little"))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes], kind: type[T]) -> T:
    """Raises OSError where the other side has ended."""
    length = pipe.read(_LENGTH)
    data = pipe.read(int.from_bytes(length, "little"))
    if len(length) < _LENGTH:
        raise BrokenPipeError
    return msgspec.msgpack.decode(data, type=kind)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Extract what is asked for, until nothing more is asked."""
    with suppress(BrokenPipeError):
        while True:
            wanted = _received(requests, Extraction)
            try:
                answer = _Answer(extract(wanted))
            except (SyncerError, OSError):
                answer = _Answer(None)
            _send(answers, answer)


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
