"""What processes of one account share: locks. I/O; files beside the hub's, for their owner alone.

A lock is for thrift, never for truth: it spares two runs the same requests. It belongs to an open file, so it dies with its
process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from .errors import HubError


@contextlib.contextmanager
def locked(root: Path, what: str, target: str = "") -> Iterator[str]:
    """Hold the lock on doing `what`, with `target` if that is named; gives the lock's name.

    Raises HubError at once where another process holds it.
    """
    name = f"{what} {sha256(target.encode()).hexdigest()[:8]}" if target else what
    folder = root / "account"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HubError(f"hub {root}: cannot be locked ({error.strerror}); correct its permissions") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HubError(f"hub {root}: another process is at a {what} of it; wait until that has ended") from None
        yield name
    finally:
        os.close(handle)
