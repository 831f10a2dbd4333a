"""What an answer's headers say of how much is left, by the names that are usual. Pure.

`RateLimit` and `RateLimit-Policy` of the IETF's drafts, in their newer and older forms; `RateLimit-*`, `X-RateLimit-*` and
`X-Rate-Limit-*`. Nonsense says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from msgspec import Struct
from msgspec.structs import replace

from .fields import MOST, Duration

_FAMILIES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_ITEM = re.compile(r'\s*(?P<name>"[^"]*"|[^;,="\s]+)(?P<words>(?:\s*;\s*[a-z*][\w.*-]*=(?:"[^"]*"|[^;,"\s]+))*)\s*(?:,|$)')
_WORD = re.compile(r"([a-z*][\w.*-]*)=([0-9]+)(?![\w.])")
_FIRST = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:$|[,;])")

_EPOCH, _EPOCH_MS = 1e9, 1e11
"""From which number on a reset is a time (since 2001), and from which on in milliseconds: nobody waits for thirty years."""


class Quota(Struct, frozen=True):
    """So many requests are left until a reset in so many seconds; None is what the API does not say."""

    left: int | None
    reset: float | None


def told_by(headers: Mapping[str, str], epoch: float) -> Quota | None:
    """What headers, with names in lower case, say; None where they say nothing. Of several quotas the tightest."""
    quotas = _structured(headers.get("ratelimit", ""), headers.get("ratelimit-policy", ""))
    for family in _FAMILIES:
        left, reset = (_first(headers.get(f"{family}-{word}", "")) for word in ("remaining", "reset"))
        if left is not None or reset is not None:
            quotas.append(Quota(None if left is None else min(int(left), MOST), _from_now(reset, epoch)))
    tightest = min(quotas, key=_tightness, default=None)
    return replace(tightest, reset=None) if tightest and (tightest.reset or 0) > Duration.longest else tightest


def _tightness(quota: Quota) -> tuple[float, float]:
    """The fewest left, and of those with as few the latest reset."""
    return (float("inf") if quota.left is None else quota.left, -(quota.reset or 0.0))


def _structured(text: str, policy: str) -> list[Quota]:
    """Quotas from `"default";r=50;t=30`, or the older `limit=100, remaining=50, reset=30`."""
    older = dict(_WORD.findall(text))
    if "remaining" in older or "reset" in older:
        return [Quota(_number(older, "remaining"), _number(older, "reset"))]
    windows = {name: _number(words, "w") for name, words in _items(policy)}
    return [Quota(_number(words, "r"), _number(words, "t", windows.get(name))) for name, words in _items(text) if "r" in words]


def _items(text: str) -> list[tuple[str, dict[str, str]]]:
    """The items of a structured field (RFC 9651) that is a list, each with its parameters that are whole numbers."""
    found, at = [], 0
    while match := _ITEM.match(text, at):
        found.append((match["name"].strip('"'), dict(_WORD.findall(match["words"]))))
        at = match.end()
        if at >= len(text):
            break
    return found


def _number(words: Mapping[str, str], word: str, default: int | None = None) -> int | None:
    return min(int(words[word][:18]), MOST) if word in words else default


def _first(text: str) -> float | None:
    """The first number of a list: `100, 100;w=60`."""
    match = _FIRST.match(text)
    number = float(match.group(1)) if match else None
    return number if number is not None and isfinite(number) else None


def _from_now(reset: float | None, epoch: float) -> float | None:
    if reset is None or reset < _EPOCH:
        return reset
    return max((reset / 1000 if reset >= _EPOCH_MS else reset) - epoch, 0.0)
