"""A process of its own that extracts values, so that this one's interpreter is free for what goes on beside it: a pull. I/O.

It runs the very files that this one runs, is sent all that it reads, touches no file, and ends with the pipe that it is asked through,
however this process ends. What it does not do is for who asks: to extract here gives the same, and raises what there is to raise.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar

import msgspec
from msgspec import Struct

from .errors import SyncerError
from .extract import Extracted, Extraction, extract

T = TypeVar("T")

_BEGIN = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
answers, package, file, *sys.path = sys.argv[1:]
spec = spec_from_file_location(package, file)
sys.modules[package] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[package])
from importlib import import_module
import_module(package + ".engine.helper").serve(0, int(answers))
"""
"""What it is begun with: the package is found where it was found here, whatever else is installed."""
_GREETING = b"syncer extracts\n"
_SECONDS_TO_BEGIN = 20
_LENGTH = 8
"""Bytes that tell how long a message is."""
_UNABLE = (OSError, ValueError, MemoryError, OverflowError, subprocess.SubprocessError, msgspec.MsgspecError)


class _Answer(Struct, frozen=True):
    found: Extracted | None
    """None where it could not be done."""
    lines: bytes


class Helper:
    """Begun when it is asked first. Close it."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._is_able = bool(sys.executable) and not hasattr(sys, "frozen")
        self._asking = Lock()

    def extract(self, wanted: Extraction, out: IO[bytes]) -> Extracted | None:
        """As `extract` does; None, with nothing written, where the process did not, or cannot be had. One asks at a time."""
        with self._asking:
            if not self._is_able:
                return None
            answer = None
            try:
                request = msgspec.msgpack.encode(wanted)
                self._process = self._process or _Process()
                answer = self._process.answer(request)
            except _UNABLE:
                return None
            finally:
                if answer is None:  # where a message broke off, the next answer would be that of another
                    self._end()
        if answer.found is not None:
            out.write(answer.lines)
        return answer.found

    def close(self) -> None:
        """It is not asked again. Whoever waits for an answer gets none."""
        if self._process is not None:
            self._process.kill()
        with self._asking:
            self._end()

    def _end(self) -> None:
        self._is_able = False
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """Raises one of _UNABLE where it cannot be begun."""

    def __init__(self) -> None:
        package = __package__.partition(".")[0]
        file = Path(__file__).parents[1] / "__init__.py"
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers, "rb")
        try:
            # -I, -S: nothing that others have it do as it begins; a group of its own: an interruption from the keyboard is for who asks
            self._process = subprocess.Popen(  # noqa: S603  # this very program
                [sys.executable, "-I", "-S", "-c", _BEGIN, str(theirs), package, str(file), *sys.path],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[theirs], process_group=0,
            )  # fmt: skip
        except BaseException:
            self._answers.close()
            raise
        finally:
            os.close(theirs)
        if not self._has_begun():
            self.end()
            raise TimeoutError

    def _has_begun(self) -> bool:
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        return bool(poll.poll(_SECONDS_TO_BEGIN * 1000)) and self._answers.read(len(_GREETING)) == _GREETING

    def answer(self, request: bytes) -> _Answer:
        if self._process.stdin is None:
            raise BrokenPipeError
        _send(self._process.stdin, request)
        return _received(self._answers, _Answer)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        with suppress(OSError), self._answers, self._process:
            self._process.kill()


def serve(requests: int, answers: int) -> None:
    """Extract what is asked for through a pipe, until nothing more is asked."""
    with suppress(BrokenPipeError), os.fdopen(requests, "rb") as asked, os.fdopen(answers, "wb") as told:
        told.write(_GREETING)
        told.flush()
        while True:
            wanted, lines = _received(asked, Extraction), BytesIO()
            try:
                answer = _Answer(extract(wanted, lines), lines.getvalue())
            except (SyncerError, MemoryError):
                answer = _Answer(None, b"")
            _send(told, msgspec.msgpack.encode(answer))


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH, "little"))
    pipe.write(message)
    pipe.flush()


def _received(pipe: IO[bytes], kind: type[T]) -> T:
    """Raises BrokenPipeError where the other side has ended."""
    length = pipe.read(_LENGTH)
    message = pipe.read(int.from_bytes(length, "little"))
    if len(length) < _LENGTH:
        raise BrokenPipeError
    return msgspec.msgpack.decode(message, type=kind)
