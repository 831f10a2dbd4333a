"""What a spec could say instead, where values do not fit their types: from some of their raw JSON texts. Pure.

The smallest type that would hold all the samples; it is a proposal, for samples are not all there is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from .columns import PLAIN_TYPES, Reject, Timestamp

_PATTERNS = (
    ("%Y-%m-%d %H:%M:%S", "timestamp"), ("%Y/%m/%d %H:%M:%S", "timestamp"), ("%d.%m.%Y %H:%M:%S", "timestamp"),
    ("%m/%d/%Y %H:%M:%S", "timestamp"), ("%d/%m/%Y %H:%M:%S", "timestamp"), ("%m/%d/%Y", "date"), ("%d/%m/%Y", "date"),
    ("%d.%m.%Y", "date"), ("%Y%m%d", "date"), ("%Y/%m/%d", "date"),
)  # fmt: skip
"""Ways in which APIs write days and instants, besides ISO 8601."""


SAMPLES = 20
"""How many texts of a property are looked at."""


class Misfit(Struct):
    """A property with values that do not fit: how many, why the first does not, and the raw JSON of some."""

    property: str
    type: str
    reason: str
    count: int = 0
    raws: list[str] = field(default_factory=list)

    def add(self, raw: str, count: int = 1) -> None:
        self.count += count
        if len(self.raws) < SAMPLES:
            self.raws.append(raw)

    def told(self, place: str) -> str:
        """A sentence without what the values say: what is wrong, where the spec speaks of it, and what it could say instead."""
        many = f"{self.count:,} value{'s' * (self.count > 1)} of `{self.property}` ({self.type})"
        edit = suggestion(self.type, self.raws)
        return f"{many} did not fit: {form(self.raws[0])} {self.reason}, {place}" + (f"; perhaps `{edit}`" if edit else "")


def worst(misfits: Iterable[Misfit], most: int = 3) -> list[Misfit]:
    """The properties with the most values that do not fit."""
    return sorted(misfits, key=lambda one: -one.count)[:most]


def merged(known: Mapping[str, Misfit], others: Iterable[Misfit]) -> dict[str, Misfit]:
    """The misfits of two loads together, by their property."""
    both = dict(known)
    for one in others:
        if one.property in both:
            both[one.property].count += one.count
            both[one.property].raws = (both[one.property].raws + one.raws)[:SAMPLES]
        else:
            both[one.property] = one
    return both


def suggestion(declared: str, raws: Sequence[str]) -> str | None:
    """A property's other members, as YAML, with which all samples would be read; None where nothing would do that is not `json`.

    `declared` is its type as the spec has it, `raws` are the exact JSON texts that were rejected.
    """
    texts = [_text(raw) for raw in raws if raw.strip() != "null"]
    if not texts:
        return None
    if declared.endswith("[]") or any(text is None for text in texts):
        return "type: json"
    found = [text for text in texts if text is not None]
    if declared == "timestamp" and (epochs := _epochs(found)):
        return f"format: {epochs}"
    for pattern, kind in _PATTERNS:
        if kind == declared and all(_fits(pattern, text) for text in found):
            return f'format: "{pattern}"'
    for name in ("integer", "timestamp", "date"):
        if name != declared and all(_reads(name, raw) for raw in raws):
            return f"type: {name}"
    if declared != "number" and (decimal := _decimal(found)):
        return f"type: {decimal}"
    return None if declared == "string" else "type: string"


def form(raw: str) -> str:
    """What a value looks like, without what it says."""
    try:
        value = json.loads(raw)
    except ValueError:
        return "no JSON"
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "an empty text" if not value else f"a text of {len(value):,} character{'s' * (len(value) > 1)}"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "a number with decimals" if "." in raw or "e" in raw.lower() else "a number"


def _text(raw: str) -> str | None:
    """A scalar's text; None for an object or a list, and what is no JSON."""
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, str) else None if isinstance(value, dict | list) else raw.strip()


def _reads(name: str, raw: str) -> bool:
    kind = Timestamp("iso", None) if name == "timestamp" else PLAIN_TYPES[name]()
    try:
        return kind.convert(raw) is not None
    except (Reject, ValueError):
        return False


def _decimal(texts: Sequence[str]) -> str | None:
    """The decimal type with room for all, and for two digits more; None where some is no decimal."""
    found = [re.fullmatch(r"-?0*(\d*)(?:\.(\d+))?", text) for text in texts]
    if not all(one and (one.group(1) or one.group(2)) for one in found):
        return None
    scale = max(len(one.group(2) or "") for one in found if one)
    whole = max(len(one.group(1)) for one in found if one)
    size = min(38, whole + scale + 2)
    return f"decimal({size},{scale})" if whole + scale <= 38 else None


def _epochs(texts: Sequence[str]) -> str | None:
    """The unit of instants that are numbers, by their length: of our days."""
    units = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us"}
    lengths = {len(text) for text in texts if re.fullmatch(r"[1-9]\d+", text)}
    return units.get(lengths.pop()) if len(lengths) == 1 and all(text.isdigit() for text in texts) else None


def _fits(pattern: str, text: str) -> bool:
    try:
        return Timestamp(pattern, "UTC").convert(json.dumps(text)) is not None
    except (Reject, ValueError):
        return False
