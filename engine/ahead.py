"""Requests that are sent before their answers are needed. I/O, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from itertools import islice

from .exchange import Page, Request
from .side_by_side import side_by_side

LOOK_AROUND = 0.2
"""Seconds after which who waits for an answer looks whether the run was interrupted."""


class Ahead:
    """Sends requests before their answers are needed, so many at once; they are taken in the order in which they are needed."""

    def __init__(self, sender: Callable[[Request], Callable[[], Page]], most: int, is_stopped: Callable[[], bool]) -> None:
        self._sender, self._most, self._is_stopped = sender, most, is_stopped
        self._waiting: dict[Request, Future[Page]] = {}

    def expect(self, request: Request, following: Iterator[Request], lists: Iterator[Request]) -> None:
        """`request` is needed now, then, it seems, those that follow it, and in the end the beginnings of further lists.

        What is under way and still expected is never sent a second time.
        """
        if self._most == 1:
            return
        expected = dict.fromkeys((request, *islice(following, self._most - 1), *lists))
        self._waiting = {one: future for one, future in self._waiting.items() if one in expected}
        for one in expected:
            if one not in self._waiting and (one == request or len(self._waiting) < self._most):
                self._waiting[one] = side_by_side(self._sender(one))

    def get(self, request: Request) -> Page:
        """The answer. Raises what sending it raised."""
        future = self._waiting.pop(request, None)
        if future is None:
            return self._sender(request)()
        while not wait([future], LOOK_AROUND).done:
            if self._is_stopped():
                raise KeyboardInterrupt
        return future.result()
