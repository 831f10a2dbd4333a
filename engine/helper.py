"""A process of its own that extracts values, so that this one's interpreter is free for what goes on beside it: a pull. I/O.

It runs the very files that this one runs, is sent all that it reads and handed the file that it writes, and ends with the socket that it is
asked through, however this process ends. What it does not do is for who asks: to extract here gives the same, and raises what there is to
raise.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import IO

import msgspec
from msgspec import Struct

from .errors import SyncerError
from .extract import Extracted, Extraction, extract

_BEGIN = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
asked_through, package, file, *sys.path = sys.argv[1:]
spec = spec_from_file_location(package, file)
sys.modules[package] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[package])
from importlib import import_module
import_module(package + ".engine.helper").serve(int(asked_through))
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


class Helper:
    """Begun when it is asked first. Close it."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._is_able = bool(sys.executable) and not hasattr(sys, "frozen")
        self._asking = Lock()

    def extract(self, wanted: Extraction, out: IO[bytes]) -> Extracted | None:
        """As `extract` does, into an empty file; None, and it is empty still, where the process did not, or cannot be had.

        One asks at a time.
        """
        with self._asking:
            if not self._is_able:
                return None
            answer = None
            try:
                request = msgspec.msgpack.encode(wanted)
                self._process = self._process or _Process()
                answer = self._process.answer(request, out.fileno())
            except _UNABLE:
                pass
            finally:
                if answer is None:  # where a message broke off, the next answer would be that of another
                    self._end()
        if answer is None or answer.found is None:
            out.seek(0)
            out.truncate()
            return None
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
        package, file = __package__.partition(".")[0], Path(__file__).parents[1] / "__init__.py"
        self._socket, theirs = socket.socketpair()
        with ExitStack() as begun:
            begun.enter_context(self._socket)
            with theirs:
                # -I, -S: nothing that others have it do as it begins; a group of its own: an interruption from the keyboard is for who asks
                self._process = subprocess.Popen(  # noqa: S603  # this very program
                    [sys.executable, "-I", "-S", "-c", _BEGIN, str(theirs.fileno()), package, str(file), *sys.path],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], process_group=0,
                )  # fmt: skip
            begun.enter_context(self._process)
            begun.callback(self._process.kill)
            self._socket.settimeout(_SECONDS_TO_BEGIN)
            if _taken(self._socket, len(_GREETING)) != _GREETING:
                raise BrokenPipeError
            self._socket.settimeout(None)
            self._held = begun.pop_all()

    def answer(self, request: bytes, file: int) -> _Answer:
        socket.send_fds(self._socket, [_length(request)], [file])
        self._socket.sendall(request)
        return msgspec.msgpack.decode(_message(self._socket, _taken(self._socket, _LENGTH)), type=_Answer)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._held.close()


def serve(asked_through: int) -> None:
    """Extract what is asked for through a socket, until nothing more is asked."""
    with suppress(ConnectionError), socket.socket(fileno=asked_through) as asked:
        asked.sendall(_GREETING)
        while True:
            length, files, _, _ = socket.recv_fds(asked, _LENGTH, 1)
            if not files:
                break
            wanted = msgspec.msgpack.decode(_message(asked, length), type=Extraction)
            try:
                with os.fdopen(files[0], "wb") as out:
                    answer = _Answer(extract(wanted, out))
            except (SyncerError, OSError, MemoryError):
                answer = _Answer(None)
            told = msgspec.msgpack.encode(answer)
            asked.sendall(_length(told) + told)


def _length(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH, "little")


def _message(through: socket.socket, length: bytes) -> bytes:
    return _taken(through, int.from_bytes(length, "little"))


def _taken(through: socket.socket, length: int) -> bytes:
    """So many bytes. Raises BrokenPipeError where the other side has ended."""
    taken = bytearray(length)
    rest = memoryview(taken)
    while rest:
        found = through.recv_into(rest)
        if not found:
            raise BrokenPipeError
        rest = rest[found:]
    return bytes(taken)
