"""Work beside other work, in threads that nobody has to wait for: an interrupted run ends at once. I/O."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def side_by_side(work: Callable[[], T]) -> Future[T]:
    """Begin a piece of work in a thread of its own; what it gives or raises is the future's."""
    future: Future[T] = Future()

    def carry_out() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whoever needs the result is told
            future.set_exception(error)

    Thread(target=carry_out, daemon=True, name="side by side").start()
    return future
