"""Freed memory goes back to the system. I/O."""

from __future__ import annotations

from contextlib import suppress


def give_back() -> None:
    """Let the C library give back what it keeps of freed memory, in all its arenas: this takes some milliseconds (malloc_trim(3)).

    Only glibc can; elsewhere nothing happens.
    """
    import ctypes

    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
