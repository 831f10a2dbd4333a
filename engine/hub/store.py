"""Where a hub's files lie: the contract that every store keeps, and which one an address names. I/O, through the stores.

A name, once put, never changes; who comes second learns that it is taken. That is all that a hub's truth needs, so it may lie in
a folder or in a bucket, and any number of machines may write to it at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from ..errors import HubError, UsageError
from ..kinds import did_you_mean

BUCKETS = ("s3", "gs", "az")

T = TypeVar("T")


class Store(Protocol):
    """Immutable files by their names, parts of which are joined by slashes. All methods raise HubError."""

    @property
    def name(self) -> str:
        """Where it is, for people."""

    @property
    def local(self) -> Path:
        """A folder of this machine, for locks and for what is in hand; it may not be there yet."""

    @property
    def is_shared(self) -> bool:
        """Whether other machines may be at it, too, whom no lock of this one holds off."""

    def put(self, name: str, data: bytes) -> bool:
        """Write a file whole and durably, unless the name is taken: then False, and what is there stays.

        A crash at any instant leaves the old state or the new.
        """

    def get(self, name: str) -> bytes:
        """All of a file."""

    def start_of(self, name: str, length: int) -> bytes:
        """The first bytes of a file."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def names(self, prefix: str) -> list[str]:
        """What lies directly in a folder, files and folders, sorted; nothing where there is no such folder."""

    def tree(self, prefix: str) -> list[str]:
        """All files beneath a folder, sorted."""

    def size(self, name: str) -> int:
        """A file's bytes."""

    def remove(self, name: str) -> None:
        """Take a file away that nothing depends on any more; it may be gone already."""

    def sweep(self) -> None:
        """Remove what crashed writers left, when it is surely theirs."""


def store_of(where: Path | str, source: str) -> Store:
    """The store of one source's hub, at a path or at an address. Raises UsageError for one of no known kind."""
    found = re.match("([A-Za-z][A-Za-z0-9+.-]*)://", str(where))
    if found is None:
        from .folder import Folder

        return Folder(Path(where) / source)
    if found[1] not in BUCKETS:
        raise UsageError(f"--hub {where}: there is no such kind of hub; {did_you_mean(found[1], BUCKETS)}, or give a folder")
    if re.search("[?@#]", str(where)):
        raise UsageError(f"--hub {found[1]}: the address has more than a bucket and a path; give credentials in the environment")
    try:
        from .bucket import Bucket
    except ImportError:
        what = "the package obstore is not installed; get it with `pip install 'rest-syncer[buckets]'`"
        raise UsageError(f"--hub {where}: {what}") from None
    return Bucket(f"{str(where).rstrip('/')}/{source}")


def encoded(value: Any) -> bytes:
    """A value as a file holds it."""
    plain = value if isinstance(value, Mapping) else msgspec.to_builtins(value)
    return json.dumps(plain, separators=(",", ":")).encode()


def decoded(store: Store, name: str, kind: type[T]) -> T:
    """A file's value. Raises HubError where it is none of its kind."""
    try:
        return msgspec.json.decode(store.get(name), type=kind)
    except msgspec.MsgspecError:
        raise HubError(f"hub {store.name}: {name} cannot be read; restore the file") from None
