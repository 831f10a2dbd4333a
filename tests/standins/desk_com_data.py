"""The records of the Desk.com stand-in: making them, changing them, keeping them in order.

Written from the documented and recorded shape of the API's answers as of 2016, never from the specification that
the tests exercise. All content is invented by a seeded generator. It is made to be awkward in the ways the
service was: keys that are missing, numbers in strings, empty strings beside nulls, foreign keys that exist only as
links, many records that share one second.
"""

from __future__ import annotations

import json
import random
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

BASE = "/api/v2"

Record = dict[str, Any]
Pools = Mapping[str, Sequence[int]]
"""The ids of each collection's records, in ascending order: what a link can point at."""

FIRST_ID = {
    "brands": 1,
    "companies": 410_077,
    "users": 21_500_316,
    "customers": 61_004_150,
    "articles": 2_300_118,
    "cases": 2_005,
    "feedbacks": 11,
}
"""The collections, each before those that link to it, with the lowest id each may have."""

ID_SHARE = {
    "brands": 0.0,
    "companies": 0.95,
    "users": 0.08,
    "customers": 0.96,
    "articles": 0.94,
    "cases": 0.75,
    "feedbacks": 0.95,
}
"""How many of the records carry their ``id``; of the others only the self link tells it."""

HISTORY_START = 1_368_086_400  # 2013-05-09
LAST_CREATION = 1_483_228_800  # 2017-01-01
BULK_CHANGE = 1_487_052_787  # 2017-02-14, the one second in which a job touched many records
HISTORY_END = 1_514_764_800  # 2018-01-01
BULK_SIZE = 320

_DAY = 86_400

# --- vocabulary ---------------------------------------------------------------------------------------------------

_FIRST_NAMES = (
    "Agnė", "Björn", "Clémence", "D'Arcy", "Eun-ji", "Fatoumata", "Gürsel", "Håkon", "Ines", "Jarmila", "Kwabena",
    "Łucja", "Mauricio", "Nerys", "Oisín", "Pooja", "Quentin", "Rūta", "Svend", "Tamsin", "Ümit", "Violeta", "Wei",
    "Xóchitl", "Yannick", "Željko", "美咲", "Дарья", "مريم",
)  # fmt: skip
_LAST_NAMES = (
    "Abernathy", "Bjørnstad", "Čapková", "de la Fuente", "Eriksen", "Fábregas", "Grüner", "Håland", "Iyer", "Jónsson",
    "Kowalczyk", "L'Estrange", "Mbeki-Stone", "Nguyễn", "O'Shea", "Petrauskas", "Quiroga", "Řezníček", "Şahin",
    "Tremblay", "van 't Hoff", "Wójcik", "Yıldız", "Ångström", "高橋", "Соколов",
)  # fmt: skip
_VERBS = ("Cannot open", "Question about", "Wrong total on", "Where is", "Please cancel", "Trouble with", "Re: Re:")
_THINGS = (
    "my parcel", "the spring invoice", "a gift voucher", "the mobile app", "two-step sign-in", "the warranty form",
    "an order placed twice", "the newsletter", "the return label", "a missing cable", "the Zürich workshop",
)  # fmt: skip
_SENTENCES = (
    "The blue lamp blinks twice and then stays dark.",
    "Your colleague on the phone was very kind, thank you!",
    "I tried it in three browsers – no difference.",
    "Could you look at it before Friday?",
    'The page only says "something went wrong".',
    "Die Lieferung kam ohne Rechnung an.",
    "Merci d'avance pour votre réponse.",
    "El paquete llegó abierto, ¿qué hago ahora?",
    "注文の番号がわかりません。",
    "It worked last week 🤷 and nothing changed since.",
    "Costs were 1,299.00 instead of 1.299,00.",
)
_AWKWARD = (
    'She wrote "it\'s \\broken\\" twice',
    "first line\nsecond line\r\nthird line",
    "a\ttab, a comma; a semicolon | a bar",
    "価格について 💬 お問い合わせ",
    "<b>bold</b> & brash &amp; escaped",
    "'; -- only an apostrophe",
    "  padded with spaces  ",
    "line\u2028separator and zero\u200bwidth",
    "\u202eright to left\u202c",
    "0012",
    "1e5",
    "null",
    "true",
    "",
)
_COMPANY_WORDS = ("Amber", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Größe", "Harbour", "Iris", "Juniper", "Kelp")
_COMPANY_KINDS = ("& Daughters", "GmbH", "Ltd.", "S.à r.l.", '"Best" Traders', "Works", "Cooperative", "株式会社")
_LABELS = tuple(
    (name, 88_001 + 13 * place)
    for place, name in enumerate(
        ("payments", "VIP", "return label", "bug", "ça va", "escalated", "follow-up", "spam?", "warranty", "de/at")
    )
)
_LANGUAGES = (None, "en", "en_us", "de", "fr", "ja")
_STATUSES = ("new", "open", "pending", "resolved", "resolved", "closed", "closed", "deleted")
_MESSAGE_CLASSES = {
    "chat": "chat",
    "twitter": "tweet",
    "email": "email",
    "qna": "community_question",
    "facebook": "facebook_post",
    "phone": "phone",
}
_CASE_TYPES = ("email", "email", "email", "chat", "phone", "twitter", "facebook", "qna")
_ROUTES = ("added", "available", "assigned", "active", "scheduled", None)
_LEVELS = ("agent", "agent", "agent", "flexagent", "siteadmin", "siteadmin_billing")
_CONTACT_TYPES = ("home", "work", "mobile", "other")
_CHANNELS = ("email", "chat", "web_callback", "twitter", "qna", "phone", "facebook")

# --- small parts --------------------------------------------------------------------------------------------------

encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def stamp(seconds: int) -> str:
    """The API's form of a unix time: UTC, whole seconds, ``Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def self_id(record: Record) -> int:
    """The identifier of any record, with an ``id`` or without."""
    return int(record["_links"]["self"]["href"].rpartition("/")[2])


def _pick(rng: random.Random, values: Sequence[Any]) -> Any:
    return values[int(rng.random() * len(values))]


def _chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def _between(rng: random.Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def _moment(rng: random.Random, low: int, high: int, null_share: float) -> str | None:
    return None if _chance(rng, null_share) else stamp(_between(rng, low, max(low, high)))


def _link(kind: str, path: str, **more: Any) -> Record:
    return {"href": f"{BASE}/{path}", "class": kind, **more}


def _link_into(rng: random.Random, pools: Pools, collection: str, kind: str, null_share: float = 0.0) -> Record | None:
    """A link to some existing record, or null (always so if there is none)."""
    if not pools[collection] or _chance(rng, null_share):
        return None
    return _link(kind, f"{collection}/{_pick(rng, pools[collection])}")


def _line(rng: random.Random) -> str:
    if _chance(rng, 0.12):
        return str(_pick(rng, _AWKWARD))
    return f"{_pick(rng, _VERBS)} {_pick(rng, _THINGS)} #{_between(rng, 1, 99_999)}"


def _prose(rng: random.Random, sentences: int) -> str:
    parts = [_pick(rng, _SENTENCES) + _pick(rng, (" ", " ", "\n", "\n\n")) for _ in range(sentences)]
    return "".join(parts).rstrip()


def _html(rng: random.Random, size: int) -> str:
    """At least ``size`` characters of HTML."""
    parts: list[str] = []
    length = 0
    while length < size:
        part = f'<p style="margin: 0" data-n="{_between(rng, 1, 9)}">{_prose(rng, 4)}<br />&nbsp;</p>\n'
        parts.append(part)
        length += len(part)
    return "".join(parts)


def _email(rng: random.Random) -> str:
    return f"person{_between(rng, 1, 999_999)}@{_pick(rng, ('example.com', 'example.org', 'mail.example.net'))}"


def _contacts(rng: random.Random, most: int, value: Callable[[], str]) -> list[Record]:
    return [{"type": _pick(rng, _CONTACT_TYPES), "value": value()} for _ in range(_between(rng, 0, most))]


def _phone(rng: random.Random) -> str:
    return f"+1555{_between(rng, 0, 9_999_999):07d}"


def _address(rng: random.Random) -> str:
    return f"{_between(rng, 1, 400)} {_pick(rng, _COMPANY_WORDS)} Street\n{_between(rng, 10_000, 99_999)} Exampleville"


def _company_name(rng: random.Random) -> str:
    return f"{_pick(rng, _COMPANY_WORDS)} {_pick(rng, _COMPANY_WORDS)} {_pick(rng, _COMPANY_KINDS)}"


def _labels(rng: random.Random) -> Record:
    chosen = rng.sample(_LABELS, _pick(rng, (0, 0, 1, 2, 4)))
    return {"labels": [name for name, _ in chosen], "label_ids": [key for _, key in chosen]}


def _case_fields(rng: random.Random) -> Record:
    """A site's own fields of a case: numbers and dates as strings, booleans in three spellings."""
    return {
        "order_number": _pick(rng, (None, "0", str(_between(rng, 1, 10**12)))),
        "refund_total": _pick(rng, (None, None, f"{_between(rng, 0, 99_999) / 100:.2f}")),
        "needs_callback": _pick(rng, (None, True, False, "0", "true")),
        "due_on": _pick(rng, (None, "", stamp(_between(rng, HISTORY_START, HISTORY_END) // _DAY * _DAY))),
        "product_line": _pick(rng, (None, "Lamps", "Cables", "Gärten & Höfe")),
        "free_note": _pick(rng, _AWKWARD) if _chance(rng, 0.2) else None,
    }


def _customer_fields(rng: random.Random) -> Record:
    return {
        "loyalty_points": _pick(rng, (None, "0", "15", str(_between(rng, 0, 9_000)))),
        "newsletter": _pick(rng, (None, True, False, "0")),
        "shop_id": _pick(rng, (None, "", f"S-{_between(rng, 1, 9_999):05d}")),
    }


def _company_fields(rng: random.Random) -> Record:
    return {} if _chance(rng, 0.6) else {"account_code": str(_between(rng, 100_000, 999_999))}


def _locked_by(rng: random.Random, pools: Pools) -> Record | None:
    return _link_into(rng, pools, "users", "user", null_share=0.97)


# --- making records -----------------------------------------------------------------------------------------------


def _make_brand(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    return {
        "name": _company_name(rng),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "_links": {"self": _link("brand", f"brands/{key}")},
    }


def _make_company(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    path = f"companies/{key}"
    return {
        "name": _company_name(rng),
        "domains": [f"shop{_between(rng, 1, 9_999)}.example.com" for _ in range(_between(rng, 0, 3))],
        "external_id": _pick(rng, (None, "", f"ACC{key}")),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "custom_fields": _company_fields(rng),
        "_links": {
            "self": _link("company", path),
            "customers": _link("customer", f"{path}/customers"),
            "cases": _link("case", f"{path}/cases"),
            "labels": _link("label", f"{path}/labels"),
        },
    }


def _make_user(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    path = f"users/{key}"
    name = f"{_pick(rng, _FIRST_NAMES)} {_pick(rng, _LAST_NAMES)}"
    record = {
        "name": name,
        "public_name": _pick(rng, (name, name.split()[0])),
        "email": f"agent{key}@example.com",
        "email_verified": _chance(rng, 0.9),
        "level": _pick(rng, _LEVELS),
        "avatar": f"https://avatars.example.com/{key}?size=50&default=404",
        "available": _chance(rng, 0.5),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "current_login_at": _moment(rng, created, updated, 0.2),
        "last_login_at": _moment(rng, created, updated, 0.3),
        "_links": {
            "self": _link("user", path),
            "preferences": _link("user_preference", f"{path}/preferences"),
            "searches": _link("search", f"{path}/searches"),
            "groups": _link("group", f"{path}/groups"),
            "macros": _link("macro", f"{path}/macros"),
            "filters": _link("filter", f"{path}/filters"),
            "integration_urls": _link("integration_url", f"{path}/integration_urls"),
        },
    }
    if _chance(rng, 0.3):
        del record["email_verified"], record["available"]
    return record


def _make_customer(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    path = f"customers/{key}"
    company = _link_into(rng, pools, "companies", "company", null_share=0.38)
    company_name = _company_name(rng) if company else _pick(rng, (None, ""))
    first, last = _pick(rng, (*_FIRST_NAMES, None, "")), _pick(rng, (*_LAST_NAMES, None, ""))
    links = {
        "self": _link("customer", path),
        "locked_by": {"href": None, "class": "site"} if _chance(rng, 0.04) else _locked_by(rng, pools),
        "company": company,
        "facebook_user": None if _chance(rng, 0.95) else _link("facebook_user", f"facebook_users/{key - 7}"),
        "twitter_user": None if _chance(rng, 0.8) else _link("twitter_user", f"twitter_users/{key - 9}"),
        "cases": _link("case", f"{path}/cases", count=_pick(rng, (0, 0, 1, 3, 147))),
        "labels": _link("label", f"{path}/labels"),
    }
    if company is None:
        del links["company"]
    record = {
        "first_name": first,
        "last_name": last,
        "display_name": f"{first or ''} {last or ''}".strip(),
        "company": company_name,
        "company_name": company_name,
        "title": _pick(rng, (None, "", "CEO", "Head of Küche", "buyer")),
        "external_id": _pick(rng, (None, None, "", f"00{key}AAP")),
        "locked_until": None,
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "label_ids": _labels(rng)["label_ids"],
        "background": _prose(rng, 2) if _chance(rng, 0.2) else _pick(rng, (None, "")),
        "language": _pick(rng, _LANGUAGES),
        "access_private_portal": _chance(rng, 0.3),
        "access_company_cases": _chance(rng, 0.1),
        "avatar": f"https://avatars.example.com/c/{key}.png",
        "uid": None,
        "opportunity_value": _pick(rng, (None, f"${_between(rng, 1, 99_999):,}.00")),
        "custom_fields": _customer_fields(rng),
        "emails": _contacts(rng, 2, lambda: _email(rng)),
        "phone_numbers": _contacts(rng, 2, lambda: _phone(rng)),
        "addresses": _contacts(rng, 1, lambda: _address(rng)),
        "_links": links,
    }
    if _chance(rng, 0.1):
        del record["opportunity_value"], record["display_name"], record["company_name"]
    return record


def _make_article(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    path = f"articles/{key}"
    record: Record = {
        "locale": None,
        "subject": _line(rng),
        "body": _html(rng, 20_480 if _chance(rng, 0.08) else _between(rng, 1, 1_500)),
    }
    for channel in _CHANNELS:
        record[f"body_{channel}"] = _pick(rng, (None, "", _line(rng)))
        record[f"body_{channel}_auto"] = _chance(rng, 0.7)
    return record | {
        "rating": _between(rng, 0, 100),
        "rating_count": _between(rng, 0, 40),
        "rating_score": _between(rng, 0, 40),
        "keywords": _pick(rng, (None, "", "lamp, cable", "größe,ünïcode,café")),
        "position": _between(rng, 1, 30),
        "quickcode": None,
        "publish_at": _moment(rng, created, updated, 0.15),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "in_support_center": _pick(rng, (True, True, True, False, None)),
        "internal_notes": _pick(rng, (None, "", "check the price list\nevery spring")),
        "public_url": f"https://help.example.com/customer/portal/articles/{key}",
        "_links": {
            "self": _link("article", path),
            "topic": _link("topic", f"topics/{_between(rng, 700, 706)}"),
            "translations": _link("article_translation", f"{path}/translations"),
            "attachments": _link("attachment", f"{path}/attachments", count=_pick(rng, (0, 0, 2))),
            "created_by": _link_into(rng, pools, "users", "user"),
            "updated_by": _link_into(rng, pools, "users", "user"),
        },
    }


def _make_case(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    path = f"cases/{key}"
    kind = _pick(rng, _CASE_TYPES)
    description = _pick(rng, (None, "", "(none given)")) if _chance(rng, 0.3) else _prose(rng, _between(rng, 1, 5))
    record = {
        "external_id": _pick(rng, (None, None, None, "", f"X-{key}")),
        "blurb": description and description[:250],
        "subject": _line(rng),
        "priority": _between(rng, 1, 10),
        "description": description,
        "status": _pick(rng, _STATUSES),
        "type": kind,
        **_labels(rng),
        "language": _pick(rng, _LANGUAGES),
        "custom_fields": _case_fields(rng),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "changed_at": _moment(rng, created, updated + 90 * _DAY, 0.0),
        "active_at": _moment(rng, created, updated, 0.3),
        "received_at": _moment(rng, created, created + _DAY, 0.2),
        "locked_until": None,
        "first_opened_at": _moment(rng, created, updated, 0.3),
        "opened_at": _moment(rng, created, updated, 0.3),
        "first_resolved_at": _moment(rng, created, updated, 0.5),
        "resolved_at": _moment(rng, created, updated, 0.5),
        "active_notes_count": _pick(rng, (0, 0, 0, 2)),
        "active_attachments_count": _pick(rng, (0, 0, 0, 1)),
        "has_pending_interactions": _chance(rng, 0.1),
        "has_failed_interactions": _chance(rng, 0.02),
        "route_status": _pick(rng, _ROUTES),
        "_links": {
            "self": _link("case", path),
            "message": _link(_MESSAGE_CLASSES[kind], f"{path}/message"),
            "customer": _link_into(rng, pools, "customers", "customer"),
            "labels": _link("label", f"{path}/labels"),
            "assigned_user": _link_into(rng, pools, "users", "user", null_share=0.3),
            "assigned_group": _pick(rng, (None, _link("group", f"groups/{_between(rng, 31, 36)}"))),
            "locked_by": _locked_by(rng, pools),
            "history": _link("history", f"{path}/history"),
            "case_links": _link("case_link", f"{path}/links", count=0),
            "macro_preview": _link("macro_preview", f"{path}/macros/preview"),
            "replies": _link("reply", f"{path}/replies", count=_pick(rng, (0, 1, 5))),
            "feedbacks": None if _chance(rng, 0.98) else _link("feedback", f"{path}/feedbacks"),
            "draft": _link("reply", f"{path}/replies/draft"),
            "notes": _link("note", f"{path}/notes", count=_pick(rng, (0, 0, 2))),
            "attachments": _link("attachment", f"{path}/attachments", count=_pick(rng, (0, 0, 1))),
        },
    }
    if kind == "qna":
        record["public_url"] = f"https://help.example.com/customer/portal/questions/{key}"
    if _chance(rng, 0.2):
        del record["route_status"]
    if _chance(rng, 0.1):
        del record["changed_at"]
    return record


def _make_feedback(rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    """User and case as links, or, in one record of six, as keys of the record with no such links."""
    rating_type, rating = _rating(rng)
    case = _link_into(rng, pools, "cases", "case")
    user = _link_into(rng, pools, "users", "user", null_share=0.2)
    reply = None if case is None or _chance(rng, 0.4) else _link("reply", f"cases/{_tail(case)}/replies/{key + 5}")
    record: Record = {
        "rating": rating,
        "rating_type": rating_type,
        "additional_feedback": _remark(rng),
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "_links": {
            "self": _link("feedback", f"feedbacks/{key}"),
            "case": case,
            "customer": _link_into(rng, pools, "customers", "customer"),
            "reply": reply,
            "user": user,
        },
    }
    if _chance(rng, 1 / 6):
        del record["_links"]["case"], record["_links"]["user"]
        record |= {"case": _tail(case), "user": _tail(user)}
    return record


def _rating(rng: random.Random) -> tuple[str, str]:
    return _pick(rng, (("yes_no", "0"), ("yes_no", "1"), ("four_star", str(_between(rng, 1, 4)))))  # type: ignore[no-any-return]


def _remark(rng: random.Random) -> str | None:
    return _pick(rng, (None, "", _prose(rng, 1), _pick(rng, _AWKWARD)))  # type: ignore[no-any-return]


def _tail(link: Record | None) -> str | None:
    return link["href"].rpartition("/")[2] if link else None


Maker = Callable[[random.Random, int, int, int, Pools], Record]
_MAKERS: dict[str, Maker] = {
    "articles": _make_article,
    "brands": _make_brand,
    "cases": _make_case,
    "companies": _make_company,
    "customers": _make_customer,
    "feedbacks": _make_feedback,
    "users": _make_user,
}


def make(collection: str, rng: random.Random, key: int, created: int, updated: int, pools: Pools) -> Record:
    """One new record. Times are unix seconds."""
    record = _MAKERS[collection](rng, key, created, updated, pools)
    return {"id": key, **record} if _chance(rng, ID_SHARE[collection]) else record


def next_id(collection: str, rng: random.Random, last: int) -> int:
    """An id above ``last``, with gaps like those that removed and private records leave."""
    return last + (1 if collection == "brands" else _between(rng, 1, 6))


def history(rng: random.Random, size: int) -> list[tuple[int, int]]:
    """The (created, updated) times of ``size`` records in id order.

    Creation follows the ids only roughly. ``BULK_SIZE`` records (half of them, if there are few) share
    ``BULK_CHANGE`` as their last change, and a third of the rest fall on a few common seconds.
    """
    span = LAST_CREATION - HISTORY_START - 20 * _DAY
    bulk = set(rng.sample(range(size), min(BULK_SIZE, size // 2)))
    busy_seconds = [_between(rng, BULK_CHANGE, HISTORY_END) for _ in range(size // 12 + 1)]
    times = []
    for place in range(size):
        created = HISTORY_START + span * place // size + _between(rng, 0, 20 * _DAY)
        if place in bulk:
            updated = BULK_CHANGE
        elif _chance(rng, 1 / 3):
            updated = _pick(rng, busy_seconds)
        else:
            updated = _between(rng, created, HISTORY_END)
        times.append((created, updated))
    return times


# --- changing records ---------------------------------------------------------------------------------------------


def _changes_of_case(rng: random.Random, pools: Pools) -> list[Record]:
    description = _prose(rng, 3)
    return [
        {"subject": _line(rng)},
        {"status": _pick(rng, _STATUSES), "priority": _between(rng, 1, 10)},
        _labels(rng),
        {"custom_fields": _case_fields(rng)},
        {"description": description, "blurb": description[:250]},
        {"_links": {"assigned_user": _link_into(rng, pools, "users", "user", null_share=0.3)}},
    ]


def _changes_of_customer(rng: random.Random, pools: Pools) -> list[Record]:
    return [
        {"first_name": _pick(rng, _FIRST_NAMES), "last_name": _pick(rng, _LAST_NAMES)},
        {"emails": _contacts(rng, 3, lambda: _email(rng))},
        {"phone_numbers": _contacts(rng, 2, lambda: _phone(rng))},
        {"custom_fields": _customer_fields(rng)},
        {"background": _prose(rng, 1), "language": _pick(rng, _LANGUAGES)},
    ]


def _changes_of_article(rng: random.Random, pools: Pools) -> list[Record]:
    return [
        {"subject": _line(rng)},
        {"body": _html(rng, 500)},
        {"keywords": _line(rng), "position": _between(rng, 1, 30)},
        {"rating": _between(rng, 0, 100), "rating_count": _between(rng, 0, 99)},
        {"in_support_center": _pick(rng, (True, False, None))},
    ]


def _changes_of_company(rng: random.Random, pools: Pools) -> list[Record]:
    return [
        {"name": _company_name(rng)},
        {"domains": [f"new{_between(rng, 1, 9_999)}.example.com"]},
        {"custom_fields": _company_fields(rng)},
    ]


def _changes_of_user(rng: random.Random, pools: Pools) -> list[Record]:
    return [
        {"name": f"{_pick(rng, _FIRST_NAMES)} {_pick(rng, _LAST_NAMES)}"},
        {"level": _pick(rng, _LEVELS)},
        {"current_login_at": stamp(_between(rng, HISTORY_START, HISTORY_END))},
    ]


def _changes_of_brand(rng: random.Random, pools: Pools) -> list[Record]:
    return [{"name": _company_name(rng)}]


def _changes_of_feedback(rng: random.Random, pools: Pools) -> list[Record]:
    rating_type, rating = _rating(rng)
    return [{"rating": rating, "rating_type": rating_type}, {"additional_feedback": _remark(rng)}]


_CHANGES: dict[str, Callable[[random.Random, Pools], list[Record]]] = {
    "articles": _changes_of_article,
    "brands": _changes_of_brand,
    "cases": _changes_of_case,
    "companies": _changes_of_company,
    "customers": _changes_of_customer,
    "feedbacks": _changes_of_feedback,
    "users": _changes_of_user,
}


def overlaid(record: Record, fields: Record) -> Record:
    """The record with these fields instead of its own; links join the others."""
    return record | fields | {"_links": record["_links"] | fields.get("_links", {})}


def changed(collection: str, rng: random.Random, record: Record, pools: Pools) -> Record:
    """The record with one or two kinds of its fields altered, surely different; its times are as before."""
    while True:
        options = _CHANGES[collection](rng, pools)
        result = record
        for fields in rng.sample(options, min(len(options), _between(rng, 1, 2))):
            result = overlaid(result, fields)
        if result != record:
            return result


# --- keeping records ----------------------------------------------------------------------------------------------

Entry = tuple[Any, int, int]
"""A place in a sorted list: (sort key, tie breaker, id)."""


def _time_key(field: str) -> Callable[[Record], int]:
    return lambda record: unix(record[field])


def _text_key(field: str) -> Callable[[Record], str]:
    return lambda record: record.get(field) or ""


def _number_key(field: str) -> Callable[[Record], int]:
    return lambda record: record.get(field) or 0


_COMMON_KEYS: dict[str, Callable[[Record], Any]] = {
    "id": self_id,
    "created_at": _time_key("created_at"),
    "updated_at": _time_key("updated_at"),
}
SORT_KEYS: dict[str, dict[str, Callable[[Record], Any]]] = {
    "articles": _COMMON_KEYS
    | {
        "subject": _text_key("subject"),
        "position": _number_key("position"),
        "rating": _number_key("rating"),
        "score": _number_key("rating_score"),
        "views": lambda record: 0,  # sortable, but no field of the answers
    },
    "brands": _COMMON_KEYS,
    "cases": _COMMON_KEYS
    | {
        "priority": _number_key("priority"),
        "received_at": _text_key("received_at"),
        "status": _text_key("status"),
    },
    "companies": _COMMON_KEYS | {"name": _text_key("name")},
    "customers": _COMMON_KEYS | {"external_id": _text_key("external_id")},
    "feedbacks": _COMMON_KEYS,
    "users": _COMMON_KEYS | {"name": _text_key("name")},
}


class Bound(NamedTuple):
    """Rows whose key lies between two values, both included; None leaves that end open."""

    field: str
    low: int | None
    high: int | None


class Criteria(NamedTuple):
    """What a query asks for, everything combined with AND."""

    bounds: tuple[Bound, ...] = ()
    text: str = ""
    """Found anywhere in the record's JSON, without regard to case."""


class Span(NamedTuple):
    """Part of a sorted list, without copying it."""

    entries: list[Entry]
    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low

    def ids(self, offset: int, count: int, descending: bool = False) -> list[int]:
        if descending:
            high = self.high - offset
            part = self.entries[max(self.low, high - count) : max(self.low, high)][::-1]
        else:
            low = self.low + offset
            part = self.entries[low : min(self.high, low + count)] if low < self.high else []
        return [key for _, _, key in part]


class Row(NamedTuple):
    body: bytes
    keys: dict[str, Any]


class Table:
    """The current records of one collection, as serialised bytes, with a sorted list for every sort field in use.

    The sorted lists follow each change, so a page costs two bisections, not a scan. Rows with equal keys stand in an
    order that has nothing to do with their ids.
    """

    _CACHED_SELECTIONS = 32

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[int, Row] = {}
        self._orders: dict[str, list[Entry]] = {}
        self._selections: dict[tuple[Criteria, str], Span] = {}

    def ids(self) -> list[int]:
        """All ids, ascending."""
        return [key for _, _, key in self._order("id")]

    def record(self, key: int) -> Record:
        return json.loads(self.rows[key].body)  # type: ignore[no-any-return]

    def put(self, records: Iterable[Record]) -> None:
        """Adds the records, or replaces those of the same id."""
        fresh = {self_id(record): self._row(record) for record in records}
        self._unlist(fresh)
        self.rows.update(fresh)
        for field, order in self._orders.items():
            for key in fresh:
                insort(order, self._entry(field, key))

    def remove(self, keys: Iterable[int]) -> None:
        gone = set(keys)
        self._unlist(gone)
        for key in gone:
            del self.rows[key]

    def select(self, criteria: Criteria, field: str) -> Span:
        """The rows that match, in ascending order of ``field``."""
        spans = {bound: self._span(bound) for bound in criteria.bounds}
        strict = {bound: span for bound, span in spans.items() if len(span) < len(self.rows)}
        if not strict and not criteria.text:
            return self._whole(field)
        if len(strict) == 1 and not criteria.text:
            ((bound, span),) = strict.items()
            if bound.field == field:
                return span
        return self._filtered(criteria, field, min(strict.values(), key=len, default=self._whole(field)))

    def _filtered(self, criteria: Criteria, field: str, source: Span) -> Span:
        """Goes through the rows of ``source``; the answer is kept until the next change, for the pages to come."""
        known = self._selections.get((criteria, field))
        if known is not None:
            return known
        text = criteria.text.lower()
        found = []
        for key in source.ids(0, len(source)):
            row = self.rows[key]
            if all(_within(row.keys[bound.field], bound) for bound in criteria.bounds) and (not text or text in row.body.decode().lower()):
                found.append(self._entry(field, key))
        found.sort()
        if len(self._selections) >= self._CACHED_SELECTIONS:
            self._selections.clear()
        span = self._selections[criteria, field] = Span(found, 0, len(found))
        return span

    def _span(self, bound: Bound) -> Span:
        order = self._order(bound.field)
        low = 0 if bound.low is None else bisect_left(order, (bound.low,))
        high = len(order) if bound.high is None else bisect_left(order, (bound.high + 1,))
        return Span(order, low, max(low, high))

    def _whole(self, field: str) -> Span:
        order = self._order(field)
        return Span(order, 0, len(order))

    def _order(self, field: str) -> list[Entry]:
        order = self._orders.get(field)
        if order is None:
            order = self._orders[field] = sorted(self._entry(field, key) for key in self.rows)
        return order

    def _row(self, record: Record) -> Row:
        return Row(encode(record).encode(), {field: key(record) for field, key in SORT_KEYS[self.name].items()})

    def _entry(self, field: str, key: int) -> Entry:
        return self.rows[key].keys[field], key * 2_654_435_761 & 0xFFFFFFFF, key

    def _unlist(self, keys: Iterable[int]) -> None:
        """Takes those rows out of the sorted lists; a large part of them costs more than sorting anew."""
        self._selections.clear()
        listed = [key for key in keys if key in self.rows]
        if len(listed) > len(self.rows) // 20:
            self._orders.clear()
        for field, order in self._orders.items():
            for key in listed:
                del order[bisect_left(order, self._entry(field, key))]


def _within(value: int, bound: Bound) -> bool:
    return (bound.low is None or value >= bound.low) and (bound.high is None or value <= bound.high)
