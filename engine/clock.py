"""The clocks of a run, in one place, so that tests can bring their own. I/O: time passes."""

from __future__ import annotations

import random
import time


class Clock:
    """What time it is, and how to wait. `monotonic` is one clock for all processes of a machine, until it starts anew."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def dice(self) -> float:
        """A number in [0, 1), so that many clients do not come back at one instant."""
        return random.random()
