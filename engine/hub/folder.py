"""A hub's files in a folder of this machine. I/O. Files and folders are for their owner alone: they hold customers' data."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from pathlib import Path

from ..errors import HubError

_TEMPORARY = ".part-"
_MACHINE = re.sub(r"\W", "_", os.uname().nodename)
_ABANDONED = 3600.0
"""Seconds after which a temporary file is nobody's any more, wherever its writer was: where locks do not work, it may be at work."""


class Folder:
    """A store beneath one folder; names are paths in it."""

    is_shared = False

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def local(self) -> Path:
        return self.root

    def put(self, name: str, data: bytes) -> bool:
        """As promised; a crash leaves at most a temporary file, which is never read."""
        target = self.root / name
        try:
            make_folder(target.parent)
            handle, temporary = tempfile.mkstemp(prefix=f"{_TEMPORARY}{os.getpid()}.{_MACHINE}.", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, target)
            finally:
                Path(temporary).unlink()
            _sync_folder(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot write {name} ({error.strerror}); free space, or correct its permissions") from error
        return True

    def get(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot read {name} ({error.strerror})") from error

    def start_of(self, name: str, length: int) -> bytes:
        try:
            with (self.root / name).open("rb") as file:
                return file.read(length)
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot read {name} ({error.strerror})") from error

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def names(self, prefix: str) -> list[str]:
        try:
            found = [entry.name for entry in os.scandir(self.root / prefix)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot be listed ({error.strerror}); correct its permissions") from error
        return sorted(f"{prefix}/{name}" for name in found if not name.startswith(_TEMPORARY))

    def remove(self, name: str) -> None:
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot remove {name} ({error.strerror}); correct its permissions") from error

    def tree(self, prefix: str) -> list[str]:
        found = [file.relative_to(self.root).as_posix() for file in (self.root / prefix).rglob("*") if file.is_file()]
        return sorted(name for name in found if not Path(name).name.startswith(_TEMPORARY))

    def size(self, name: str) -> int:
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot read {name} ({error.strerror})") from error

    def sweep(self) -> None:
        for leftover in (Path(at, name) for at, _, names in os.walk(self.root) for name in names if name.startswith(_TEMPORARY)):
            with contextlib.suppress(OSError):
                if _is_dead(leftover.name) or time.time() - leftover.stat().st_mtime > _ABANDONED:
                    leftover.unlink()


def _is_dead(temporary: str) -> bool:
    """Whether a temporary file's writer was a process of this machine that is no more."""
    found = re.match(rf"{re.escape(_TEMPORARY)}(\d+)\.{_MACHINE}\.", temporary)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def make_folder(folder: Path) -> None:
    """Make a folder and those around it, each durably: a file is only as safe as the folder entry that leads to it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
