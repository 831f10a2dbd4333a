"""A hub's files in a bucket: S3 and its kin, Google Cloud Storage, Azure. I/O, through obstore.

Credentials and regions come from the environment, as each cloud's own tools take them. The store must keep its word that a name
is put only once (If-None-Match, RFC 9110, 13.1.2): whether it does is tried before the first write of a process, and one that
does not is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from ..account import state_folder
from ..errors import HubError

ABSENT = (FileNotFoundError, NotFoundError)
_TRIAL = "trial"
"""An object that stays: whoever comes to the hub tries to put it a second time."""
_STARTS = 4096
"""How many files' starts are remembered: a segment's head is asked for more than once, and never changes."""


class Bucket:
    """A store beneath one address, `s3://BUCKET/PATH`; names are the rest of objects' keys."""

    is_shared = True

    def __init__(self, url: str) -> None:
        self.name = url
        self.local = state_folder() / "hubs" / f"{url.rpartition('/')[2]}-{sha256(url.encode()).hexdigest()[:12]}"
        try:
            self._store = from_url(url)
        except (BaseError, ValueError) as error:
            raise HubError(f"hub {url}: cannot be opened ({_cause(error)}); correct the address, or the environment") from None
        self._is_tried = False
        self._start = lru_cache(_STARTS)(self._read_start)

    def put(self, name: str, data: bytes) -> bool:
        self._try_out()
        return self._put(name, data)

    def get(self, name: str) -> bytes:
        with self._said(f"read {name}"):
            return bytes(obstore.get(self._store, name).bytes())

    def start_of(self, name: str, length: int) -> bytes:
        return self._start(name, length)

    def has(self, name: str) -> bool:
        try:
            with self._said(f"look for {name}", *ABSENT):
                obstore.head(self._store, name)
        except ABSENT:
            return False
        return True

    def names(self, prefix: str) -> list[str]:
        with self._said("be listed"):
            found = obstore.list_with_delimiter(self._store, prefix)
            return sorted({*found["common_prefixes"], *(one["path"] for one in found["objects"])})

    def tree(self, prefix: str) -> list[str]:
        with self._said("be listed"):
            return sorted(one["path"] for some in obstore.list(self._store, prefix) for one in some)

    def size(self, name: str) -> int:
        with self._said(f"look for {name}"):
            return int(obstore.head(self._store, name)["size"])

    def remove(self, name: str) -> None:
        with suppress(*ABSENT), self._said(f"remove {name}", *ABSENT):
            obstore.delete(self._store, name)

    def sweep(self) -> None:
        """A put is whole or not at all: nothing is left to sweep."""

    def _put(self, name: str, data: bytes) -> bool:
        try:
            with self._said(f"write {name}", AlreadyExistsError):
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def _try_out(self) -> None:
        """Raises HubError where a name can be put twice."""
        if self._is_tried:
            return
        self._put(_TRIAL, b"one")  # or it is there from an earlier time
        before = self.get(_TRIAL)
        if self._put(_TRIAL, b"two") or self.get(_TRIAL) != before:
            self.remove(_TRIAL)
            raise HubError(
                f"hub {self.name}: overwrites what is there although it is asked not to (If-None-Match), so two runs at once could "
                "lose records; take another store, or a folder"
            )
        self._is_tried = True

    def _read_start(self, name: str, length: int) -> bytes:
        with self._said(f"read {name}"):
            try:
                return bytes(obstore.get_range(self._store, name, start=0, length=length))
            except BaseError:
                if obstore.head(self._store, name)["size"]:
                    raise
                return b""  # of nothing, a store gives no range

    @contextmanager
    def _said(self, what: str, *expected: type[Exception]) -> Iterator[None]:
        """Errors as sentences, but for those that are expected, without what a cloud's own texts may hold."""
        try:
            yield
        except expected:
            raise
        except (BaseError, OSError) as error:
            raise HubError(f"hub {self.name}: cannot {what} ({_cause(error)}); {_way_out(error)}") from None


def _cause(error: Exception) -> str:
    """What went wrong, in a few words: a store's whole text may hold signed addresses."""
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return "access is denied"
    found = re.search(r"\b([45]\d\d) [A-Z][A-Za-z ]+", str(error))
    return found[0].strip() if found else type(error).__name__.removesuffix("Error").lower() + " error"


def _way_out(error: Exception) -> str:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return "correct the credentials in the environment, or what they are allowed to"
    return "check the address and the network, and run again"
