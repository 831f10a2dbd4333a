"""Whose turn it is to send a request: all budgets of an account, and the queue of those who wait for them. Pure.

Who has to wait takes a place in the queue, so that nobody is starved by one who asks more often. A place belongs to its holder
until shortly after the time when he said that he would come back: who does not come (his process was killed) is left behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .budget import Allowance, Budget
from .quota import Quota, told_by

GRACE = 1.0
"""Seconds that a place in the queue outlives its time."""

LONGEST_HOLD = 3600.0
"""Seconds for which an API's usual headers are believed to leave nothing; then it is asked again."""


@dataclass(frozen=True)
class Hold:
    """What an API's usual headers say: how many requests are left until `resets`, of which `until` is believed."""

    left: int
    until: float
    resets: float


@dataclass(frozen=True)
class Permits:
    """What the processes of an account know together. Times are the machine's monotonic seconds."""

    budgets: Sequence[Budget]
    allowances: tuple[Allowance, ...]
    hold: Hold | None = None
    queue: tuple[tuple[str, float], ...] = ()
    """Who waits, in order, and when each of them comes back."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """The allowances of budgets that another spec of the account declares, as they are stored."""

    @classmethod
    def opened(cls, budgets: Sequence[Budget], now: float) -> Permits:
        return cls(budgets, tuple(budget.opened(now) for budget in budgets))

    @classmethod
    def parse(cls, text: str, budgets: Sequence[Budget], now: float) -> Permits:
        """What a text says that `text` gave; new ones where it says nothing that can be, as after a restart of the machine."""
        try:
            data = json.loads(text)
            if data["at"] > now + GRACE:
                return cls.opened(budgets, now)
            stored, own = data["budgets"], {budget.key for budget in budgets}
            return cls(
                budgets,
                tuple(budget.restored(stored[budget.key], now) if budget.key in stored else budget.opened(now) for budget in budgets),
                Hold(int(data["hold"][0]), float(data["hold"][1]), float(data["hold"][2])) if data["hold"] else None,
                tuple((str(who), float(due)) for who, due in data["queue"]),
                {key: other for key, other in stored.items() if key not in own and other[2] > now},
            )
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            return cls.opened(budgets, now)

    def text(self, now: float) -> str:
        own = {budget.key: left.as_json() for budget, left in zip(self.budgets, self.allowances, strict=True)}
        hold = [self.hold.left, self.hold.until, self.hold.resets] if self.hold else None
        return json.dumps({"at": now, "budgets": {**self.others, **own}, "hold": hold, "queue": self.queue}, separators=(",", ":"))

    def wait(self, cost: int, now: float) -> tuple[float, str]:
        """Seconds until a request may be sent, as far as is known, and why; 0 if now."""
        pairs = zip(self.budgets, self.allowances, strict=True)
        wait, why = max((budget.wait(left, now, cost) for budget, left in pairs), default=0.0), "the budget is spent"
        if self.hold and self.hold.left <= 0 and self.hold.until - now > wait:
            wait, why = self.hold.until - now, "the API says that nothing is left"
            if self.hold.resets > self.hold.until:
                why += f" for {self.hold.resets - now:,.0f} s; it is asked again before"
        return wait, why

    def is_next(self, who: str, now: float) -> bool:
        """Whether nobody who still waits came before."""
        waiting = [other for other, due in self.queue if due + GRACE >= now]
        return not waiting or waiting[0] == who

    def queued(self, who: str, due: float, now: float) -> Permits:
        """With a place for one who comes back when it is `due`; at the end of the queue, if he has none."""
        living = [(other, time) for other, time in self.queue if time + GRACE >= now]
        kept = tuple((other, due if other == who else time) for other, time in living)
        return replace(self, queue=kept if any(other == who for other, _ in kept) else (*kept, (who, due)))

    def left_by(self, who: str) -> Permits:
        """Without his place."""
        return replace(self, queue=tuple(one for one in self.queue if one[0] != who)) if self.queue else self

    def spent(self, cost: int, now: float) -> Permits:
        """After one request is sent now."""
        pairs = zip(self.budgets, self.allowances, strict=True)
        return replace(self, allowances=tuple(budget.spent(left, now, cost) for budget, left in pairs))

    def told(self, headers: Mapping[str, str], status: int, now: float, epoch: float) -> Permits:
        """After an answer with these headers, their names in lower case. Usual names count where the spec names none."""
        pairs = zip(self.budgets, self.allowances, strict=True)
        allowances = tuple(budget.told(left, headers, status, now, epoch) for budget, left in pairs)
        quota = None if any(budget.names_headers for budget in self.budgets) else told_by(headers, epoch)
        return replace(self, allowances=allowances, hold=_held(quota, status, now) or self.hold)

    def remaining(self, now: float) -> tuple[int, float] | None:
        """The fewest requests that any budget has left, and when it has all again; None where nothing is known."""
        pairs = zip(self.budgets, self.allowances, strict=True)
        known = [budget.remaining(left, now) for budget, left in pairs]
        if self.hold and self.hold.resets > now:
            known.append((self.hold.left, self.hold.resets))
        return min(known, key=lambda one: (one[0], -one[1]), default=None)


def _held(quota: Quota | None, status: int, now: float) -> Hold | None:
    if quota is None or quota.reset is None:
        return None
    left = 0 if status == 429 else quota.left
    if left is None:
        return None
    return Hold(left, now + min(quota.reset, LONGEST_HOLD), now + quota.reset)
