"""What the tools are measured on: records of a help desk, in pages of 100, as files that a static server gives out.

A folder holds, for each collection, `NAME/PAGE.json`, all records, and `NAME.changes/PAGE.json`, what is answered to `?since=...`. A record
has 1.7 KB, of which 530 bytes are links, as APIs in HAL have them. All of it follows from the records' numbers alone.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PER_PAGE = 100
_WORDS = [
    "account", "again", "answer", "arrived", "because", "before", "billing", "broken", "button", "cancel", "change", "charge", "click",
    "correct", "customer", "delay", "deliver", "describe", "different", "discount", "email", "error", "export", "failed", "figure",
    "first", "follow", "forward", "found", "invoice", "issue", "label", "later", "letter", "login", "manual", "message", "missing",
    "month", "number", "order", "package", "parcel", "password", "payment", "phone", "please", "printer", "problem", "product",
    "question", "receive", "refund", "remove", "reply", "report", "request", "return", "screen", "second", "send", "service", "shipment",
    "status", "still", "support", "thanks", "ticket", "today", "tomorrow", "update", "upgrade", "urgent", "version", "waiting",
    "warranty", "wrong", "yesterday",
]  # fmt: skip
_START = 1_451_606_400
"""The year 2016; a record of the number n was changed n times 40 seconds later."""

_TEXT = " ".join(random.Random(7).choices(_WORDS, k=200_000))  # no secret

Record = Callable[[int, int], bytes]
"""A record by its number (from 1) and its version (from 1)."""


def instant(seconds: int) -> str:
    """An instant as the API writes it; the format that every tool can compare as text."""
    days, rest = divmod(_START + seconds, 86_400)
    year, month, day = _date(days)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _words(seed: int, length: int) -> str:
    """A text of so many characters, another one for each seed."""
    start = seed * 7_919 % (len(_TEXT) - length)
    return _TEXT[start : start + length]


def _date(days: int) -> tuple[int, int, int]:
    """The day of the calendar, so many days after 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms")."""
    shifted = days + 719_468
    era, of_era = divmod(shifted, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def ticket(number: int, version: int) -> bytes:
    """A ticket of a help desk."""
    words = _words(number * 7 + version, 780)
    customer, agent, group = number % 5_000 + 1, number % 40 + 1, number % 7 + 1
    links = {
        "self": {"href": f"/api/v2/tickets/{number}", "class": "ticket"},
        "message": {"href": f"/api/v2/tickets/{number}/message", "class": "email"},
        "customer": {"href": f"/api/v2/customers/{customer}", "class": "customer"},
        "assigned_user": {"href": f"/api/v2/users/{agent}", "class": "user"},
        "assigned_group": {"href": f"/api/v2/groups/{group}", "class": "group"},
        "replies": {"href": f"/api/v2/tickets/{number}/replies", "class": "reply", "count": number % 9},
        "history": {"href": f"/api/v2/tickets/{number}/history", "class": "history"},
        "attachments": {"href": f"/api/v2/tickets/{number}/attachments", "class": "attachment", "count": number % 3},
    }
    record = {
        "id": number,
        "external_id": f"T-{number:08}",
        "subject": words[:60],
        "blurb": words[60:160],
        "description": words[160:],
        "priority": number % 10,
        "status": ("new", "open", "pending", "resolved", "closed")[number % 5],
        "type": ("email", "chat", "phone")[number % 3],
        "language": "en",
        "labels": [_WORDS[number % 70], _WORDS[number % 71]],
        "is_private": number % 11 == 0,
        "score": round(number % 1_000 / 7, 3),
        "amount": f"{number % 100_000 / 100:.2f}",
        "custom_fields": {"level": "vip" if number % 13 == 0 else "basic", "region": f"r{number % 17}", "seats": number % 300},
        "created_at": instant(number * 40),
        "updated_at": instant(number * 40 if version == 1 else 50_000_000 + number),
        "resolved_at": None if number % 5 < 3 else instant(number * 40 + 3_600),
        "customer_id": customer,
        "_links": links,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def small(number: int, version: int) -> bytes:
    return json.dumps({"id": number, "name": f"name {number}", "updated_at": instant(number + version)}).encode()


def thing(number: int, version: int) -> bytes:
    """A record of 200 bytes."""
    other = number * 2_654_435_761 % 2**32
    return (
        f'{{"id":{number},"name":"thing {other:x} of {version}","updated_at":"{instant(number + version)}","size":{other},'
        f'"price":"{other % 10**6}.{number % 100:02}","tags":["a{number % 7}","b"],"custom":{{"k":[{version},null],"f":"{other:032}"}}}}'
    ).encode()


def wide(number: int, version: int) -> bytes:
    """A record of 300 columns."""
    columns = {f"column_{place:03}": number * place if place % 3 else f"value {number % 97} {place}" for place in range(298)}
    return json.dumps({"id": number, "updated_at": instant(number + version), **columns}, separators=(",", ":")).encode()


def deep(number: int, version: int) -> bytes:
    """Objects in objects, ten levels deep."""
    inner: dict[str, object] = {"value": number, "name": f"leaf {number}"}
    for level in range(9, 0, -1):
        inner = {f"level_{level}": inner, "number": number * level, "text": f"level {level} of {number}"}
    return json.dumps({"id": number, "updated_at": instant(number + version), "top": inner}, separators=(",", ":")).encode()


def big(number: int, version: int) -> bytes:
    """A record with a text of 100 KB."""
    record = {"id": number, "updated_at": instant(number + version), "body": _words(number, 100_000)}
    return json.dumps(record, separators=(",", ":")).encode()


def write(root: Path, name: str, record: Record, numbers: Iterable[tuple[int, int]], query: str = "") -> int:
    """Pages of some records, by number and version; gives how many pages there are. `query` stands in their next links."""
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = list(numbers)
    pages = max(1, -(-len(listed) // PER_PAGE))
    for page in range(1, pages + 1):
        some = listed[(page - 1) * PER_PAGE : page * PER_PAGE]
        following = f'{{"href":"/{name.partition(".")[0]}?{query}page={page + 1}"}}' if page < pages else "null"
        after = page + 1 if page < pages else "null"
        head = (
            f'{{"total_entries":{len(listed)},"page":{page},"next_page":{after},"_links":{{"next":{following}}},"_embedded":{{"entries":['
        )
        body = b",".join(record(number, version) for number, version in some)
        (folder / f"{page}.json").write_bytes(head.encode() + body + b"]}}")
    return pages


def changed(records: int, share: int, version: int) -> Iterator[tuple[int, int]]:
    """Every hundredth record, say, in a later version."""
    return ((number, version) for number in range(share, records + 1, share))


def all_of(records: int) -> Iterator[tuple[int, int]]:
    return ((number, 1) for number in range(1, records + 1))
