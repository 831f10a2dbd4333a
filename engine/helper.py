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
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import IO

import msgspec
from msgspec import Struct

from .extract import Extracted, Extraction, extract
from .freed import give_back

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
_SECONDS_TO_BEGIN = 20
_SECONDS_TO_ANSWER = 300
_SIZE = 8
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
        _sources()  # as they are now

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
        process = self._process
        if process is not None:
            process.kill()
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
        places = [place for place in sys.path if isinstance(place, str)]
        self._socket, theirs = socket.socketpair()
        self._has_begun = False
        with ExitStack() as begun:
            begun.enter_context(self._socket)
            with theirs:
                # -I, -S: nothing that others have it do as it begins; -B: it writes nothing; a group of its own: an interruption from the
                # keyboard is for who asks
                self._process = subprocess.Popen(  # noqa: S603  # this very program
                    [sys.executable, "-I", "-S", "-B", "-c", _BEGIN, str(theirs.fileno()), package, str(file), *places],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], process_group=0,
                )  # fmt: skip
            begun.enter_context(self._process)
            begun.callback(self._process.kill)
            self._held = begun.pop_all()

    def answer(self, request: bytes, file: int) -> _Answer:
        if not self._has_begun:
            self._socket.settimeout(_SECONDS_TO_BEGIN)
            if _taken(self._socket, len(_sources())) != _sources():
                raise BrokenPipeError
            self._socket.settimeout(_SECONDS_TO_ANSWER)
            self._has_begun = True
        socket.send_fds(self._socket, [_size(request)], [file])
        self._socket.sendall(request)
        size = _taken(self._socket, _SIZE)
        return msgspec.msgpack.decode(_message(self._socket, size), type=_Answer)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._held.close()


def serve(asked_through: int) -> None:
    """Extract what is asked for through a socket, until nothing more is asked."""
    with suppress(ConnectionError), socket.socket(fileno=asked_through) as asked:
        asked.sendall(_sources())
        while True:
            size, files, _, _ = socket.recv_fds(asked, _SIZE, 1)
            if not files:
                break
            answer = msgspec.msgpack.encode(_carried_out(_message(asked, size), files[0]))
            asked.sendall(_size(answer) + answer)
            give_back()


def _carried_out(request: bytearray, file: int) -> _Answer:
    try:
        with os.fdopen(file, "wb") as out:
            return _Answer(extract(msgspec.msgpack.decode(request, type=Extraction), out))
    except Exception:  # whoever asks does it again, and is told what there is to tell
        return _Answer(None)


@lru_cache(1)
def _sources() -> bytes:
    """What the other process says first: that it has the same files, as they were when this was first asked; upgrades may come between."""
    here = Path(__file__).parent
    files = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted([*here.glob("*.py"), *here.glob("hub/*.py")])]
    return sha256(repr(files).encode()).digest()


def _size(message: bytes) -> bytes:
    return len(message).to_bytes(_SIZE, "little")


def _message(through: socket.socket, size: bytes | bytearray) -> bytearray:
    return _taken(through, int.from_bytes(size, "little"))


def _taken(through: socket.socket, length: int) -> bytearray:
    """So many bytes. Raises BrokenPipeError where the other side has ended."""
    taken = bytearray(length)
    rest = memoryview(taken)
    while rest:
        found = through.recv_into(rest)
        if not found:
            raise BrokenPipeError
        rest = rest[found:]
    return taken
