"""Freed memory goes back to the system. I/O."""

from __future__ import annotations

from contextlib import suppress


def give_back() -> None:
    """What the C library keeps of freed memory, in each thread that ever was, goes back to the system, in some milliseconds; where it knows
    no such call (only glibc has it), nothing happens. See malloc_trim(3)."""
    import ctypes

    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
