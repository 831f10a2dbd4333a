"""A store of immutable files in a local folder: put-if-absent, get, list. I/O.

The contract that an object store can keep too: a name, once put, never changes; who comes second learns that it is taken.
Files and folders are for their owner alone: they hold customers' data.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import HubError

_TEMPORARY = ".part-"
T = TypeVar("T")


class Folder:
    """Immutable files beneath one folder, by their relative names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, data: bytes) -> bool:
        """Write a file whole and durably, unless the name is taken: then False, and what is there stays.

        A crash at any instant leaves the old state or the new, and at most a temporary file that is never read.
        """
        target = self.root / name
        try:
            make_folder(target.parent)
            handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
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
        """The first bytes of a file."""
        try:
            with (self.root / name).open("rb") as file:
                return file.read(length)
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot read {name} ({error.strerror})") from error

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def names(self, prefix: str) -> list[str]:
        """The files directly in a folder, sorted, temporary ones left out; none where there is no such folder."""
        try:
            found = [path.name for path in (self.root / prefix).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot be listed ({error.strerror}); correct its permissions") from error
        return sorted(f"{prefix}/{name}" for name in found if not name.startswith(_TEMPORARY))

    def remove(self, name: str) -> None:
        """Take a file away that nothing depends on any more."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise HubError(f"hub {self.root}: cannot remove {name} ({error.strerror}); correct its permissions") from error

    def tree(self, prefix: str) -> list[str]:
        """All files beneath a folder, sorted, temporary ones left out."""
        found = [file.relative_to(self.root).as_posix() for file in (self.root / prefix).rglob("*") if file.is_file()]
        return sorted(name for name in found if not Path(name).name.startswith(_TEMPORARY))

    def size(self, name: str) -> int:
        """A file's bytes."""
        return (self.root / name).stat().st_size

    def sweep(self) -> None:
        """Remove what crashed writers left. Only for one who holds the lock: another's file may be in the making."""
        for leftover in self._leftovers():
            with contextlib.suppress(OSError):
                leftover.unlink()

    def _leftovers(self) -> Iterator[Path]:
        return self.root.rglob(f"{_TEMPORARY}*")


def encoded(value: Any) -> bytes:
    """A value as a file holds it."""
    plain = value if isinstance(value, Mapping) else asdict(value)
    return json.dumps(plain, separators=(",", ":")).encode()


def decoded(folder: Folder, name: str, kind: type[T]) -> T:
    """A file's value. Raises HubError where it is none of its kind."""
    try:
        return msgspec.json.decode(folder.get(name), type=kind)
    except msgspec.MsgspecError:
        raise HubError(f"hub {folder.root}: {name} cannot be read; restore the file") from None


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
