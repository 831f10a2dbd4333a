"""Whose turn it is to send a request: all budgets of an account, and the queue of those who wait for them. Pure.

Who has to wait takes a place in the queue, so that nobody is starved by one who asks more often; only who does not make him wait
longer may pass. A place belongs to its holder until shortly after the time when he said that he would come back: who does not come
(his process was killed) is left behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from .budget import Allowance, Budget
from .quota import Quota, told_by

LOOK = 5.0
"""Seconds after which who waits long looks again, to show that he is still there."""

GRACE = 1.0
"""Seconds that a place in the queue outlives its time."""

_INSTANT = 1e-3
"""Seconds that are no wait."""

LONGEST_HOLD = 3600.0
"""Seconds for which an API's usual headers are believed to leave nothing; then it is asked again."""


class Hold(Struct, frozen=True):
    """What an API's usual headers say: how many requests are left until `resets`, of which `until` is believed."""

    left: int
    until: float
    resets: float


class Place(NamedTuple):
    """A place in the queue, as it is stored."""

    who: str
    due: float
    """When his request may be sent, as far as he knows."""
    back: float
    """When he comes back to look: at the latest then he is there, or gone for good."""
    cost: int
    budgets: tuple[str, ...]
    """What he waits for, by the budgets' keys."""


class Permits(Struct, frozen=True):
    """What the processes of an account know together. Times are the machine's monotonic seconds."""

    budgets: Sequence[Budget]
    allowances: tuple[Allowance, ...]
    hold: Hold | None = None
    queue: tuple[Place, ...] = ()
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
                tuple(
                    Place(str(who), float(due), float(back), int(cost), tuple(map(str, keys)))
                    for who, due, back, cost, keys in data["queue"]
                ),
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

    def is_next(self, who: str, now: float, cost: int = 1) -> bool:
        """Whether nobody who still waits came before, but for those whom one more request of this cost does not make wait longer."""
        for place in self.queue:
            if place.who == who:
                return True
            if place.back + GRACE >= now and self._makes_wait(place, cost, now):
                return False
        return True

    def _makes_wait(self, place: Place, cost: int, now: float) -> bool:
        """Whether a request of this cost, sent now, would make one in the queue wait longer than he has to anyway."""
        shared = [pair for pair in zip(self.budgets, self.allowances, strict=True) if pair[0].key in place.budgets]
        waits = [budget.wait(budget.spent(left, now, cost), now, place.cost) for budget, left in shared]
        return place.due <= now or any(now + wait > place.due + _INSTANT for wait in waits)

    def queued(self, who: str, due: float, now: float, cost: int = 1) -> Permits:
        """With a place for one whose request is `due` and who comes back by then; at the end of the queue, if he has none."""
        own = Place(who, due, min(due, now + LOOK), cost, tuple(budget.key for budget in self.budgets))
        living = [place for place in self.queue if place.back + GRACE >= now]
        kept = tuple(own if place.who == who else place for place in living)
        return replace(self, queue=kept if own in kept else (*kept, own))

    def left_by(self, who: str) -> Permits:
        """Without his place."""
        return replace(self, queue=tuple(place for place in self.queue if place.who != who)) if self.queue else self

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
