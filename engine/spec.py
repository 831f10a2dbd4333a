"""The spec's types: the single source of the parser, of schemas/spec.schema.json and of the reference. Pure.

A spec holds the names of secrets, never secrets. It is frozen; what a run finds out lives in other types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.structs import replace

from .auth import Auth, NoAuth
from .budget import Budget
from .deletes import Deletes, Share, Tombstone
from .exchange import Request
from .fields import Doc, Duration, Keep, OnReject, Path, Scalar
from .limits import Limits
from .paginate import KeySet, Paginator, Single
from .properties import Property
from .retry import Retry
from .rules import Rule
from .schedule import Schedule
from .template import Body, Template, as_text
from .window import Cursor

ADDED_COLUMNS = ("_synced_at", "_deleted_at", "_segment", "_valid_from", "_valid_to", "_version")

Purpose = Literal["full", "changed"]

Mode = Literal["upsert", "append", "history", "snapshot"]


class Name(Scalar, frozen=True):
    """A name that may become a schema or a table: letters, digits and underscores, not starting with a digit."""

    schema: ClassVar[Mapping[str, str]] = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$"}
    text: str

    @classmethod
    def parse(cls, text: object) -> Name:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", str(text)):
            raise ValueError(f"{text!r} is no name; use letters, digits and underscores, a letter first")
        return cls(str(text))

    def __str__(self) -> str:
        return self.text


class Setting(Struct, frozen=True, kw_only=True):
    """Something that differs from user to user: given on the command line, in the environment or in a .env file."""

    type: Annotated[Literal["string", "integer", "boolean"], Doc("what it is")] = "string"
    description: Annotated[str | None, Doc("what it is for, and where to find it")] = None
    default: Annotated[Template | None, Doc("what holds where it is not given; may use other settings")] = None
    required: Annotated[bool, Doc("must be given, even if nothing that is used needs it")] = False
    pattern: Annotated[str | None, Doc("a regular expression that the whole value matches")] = None
    secret: Annotated[bool, Doc("never shown, logged or stored")] = False
    account: Annotated[bool, Doc("tells one account from another: a hub filled from one refuses the other")] = False

    def mistakes(self) -> list[str]:
        """What no schema can see, for the one who writes the spec."""
        both = self.secret and self.account
        return ["a secret cannot tell accounts apart, for it is never stored; leave one of the two out"] if both else []


class Api(Struct, frozen=True, kw_only=True):
    """How the API is reached, and what its collections have in common."""

    base_url: Annotated[Template, Doc("what every path is appended to")]
    origins: Annotated[
        tuple[Template, ...], Doc("other origins (https://host) that requests and credentials may go to, where links and redirects lead")
    ] = ()
    headers: Annotated[Mapping[str, Template], Doc("sent with every request")] = field(default_factory=dict)
    auth: Annotated[Auth, Doc("how requests prove who asks")] = field(default_factory=NoAuth)
    budgets: Annotated[
        tuple[Budget, ...], Doc("how many requests are allowed; all hold at once, for all runs of this machine with the same account")
    ] = ()
    cost: Annotated[int, Doc("for how many requests of each budget one request counts", {"minimum": 1})] = 1
    concurrency: Annotated[
        int | None,
        Doc(
            "how many requests may be under way at once, of all runs of this machine with the same account (default: one in each run)",
            {"minimum": 1, "maximum": 256},
        ),
    ] = None
    retry: Annotated[Retry, Doc("when a request that failed is sent again")] = field(default_factory=Retry)
    errors: Annotated[
        tuple[Rule, ...], Doc("answers that mean something else than their status says; the first rule that fits decides")
    ] = ()
    limits: Annotated[Limits, Doc("how large an answer may be")] = field(default_factory=Limits)
    params: Annotated[Mapping[str, Template], Doc("query parameters of every request")] = field(default_factory=dict)
    records: Annotated[Path | None, Doc("the path in an answer of the list of records (default: the answer is the list)")] = None
    paginate: Annotated[Paginator, Doc("how a list goes on (default: it comes in one answer)")] = field(default_factory=Single)
    conditional: Annotated[bool, Doc("whether a page that came before with an ETag or a date is asked for only if it has changed")] = True


class Walk(Struct, frozen=True, kw_only=True):
    """Where one way of reading a collection differs from the collection's own."""

    path: Annotated[Template | None, Doc("another path")] = None
    params: Annotated[Mapping[str, Template], Doc("further query parameters, or other values for some")] = field(default_factory=dict)
    body: Annotated[Body | None, Doc("another body")] = None
    records: Annotated[Path | None, Doc("another path of the list of records")] = None
    paginate: Annotated[Paginator | None, Doc("another way on")] = None


class Full(Walk, frozen=True, kw_only=True):
    """A complete pass: everything there is. It finds what no cursor shows, and proves what is gone."""

    every: Annotated[Duration | None, Doc("how often; the first run makes one, and where changes cannot be asked for, every run")] = None


class Changed(Walk, frozen=True, kw_only=True):
    """What changed since the last time: asked for by the cursor's parameter."""


class Parent(Struct, frozen=True, kw_only=True):
    """The collection to each of whose records belongs a list of these: `{{ parent.id }}` in `path`, `params` or `body` says which."""

    collection: Annotated[str, Doc("the parent's collection")]
    only_changed: Annotated[bool, Doc("between complete passes, ask only for the lists of parents that are new or changed")] = False


class Deleted(Struct, frozen=True, kw_only=True):
    """The list in which an API tells what was deleted: a delete feed, a recycle bin, an archive.

    It is read before the collection itself, so what comes of a record in the same run, or later, is newer: then it is there again.
    With a time of deletion, in `cursor`, a deletion counts once, however often it is told, and not for a record whose own cursor is a
    second or more later, where both are timestamps. Without, whatever is listed is taken for gone each time.
    """

    path: Annotated[Template, Doc("appended to the base URL")]
    params: Annotated[Mapping[str, Template], Doc("query parameters, besides the API's")] = field(default_factory=dict)
    body: Annotated[Body | None, Doc("what is sent along, as JSON: the requests are POST then")] = None
    records: Annotated[Path | None, Doc("the path of the list, if not the API's")] = None
    paginate: Annotated[Paginator | None, Doc("how the list goes on, if not as the API's others")] = None
    errors: Annotated[tuple[Rule, ...], Doc("rules for answers about it, tried before the API's")] = ()
    cursor: Annotated[Cursor | None, Doc("the property that is the time of deletion, and how to ask for what was deleted since")] = None
    properties: Annotated[
        Mapping[str, Property], Doc("that time; and those of the key, where the list has them elsewhere than the collection's records")
    ] = field(default_factory=dict)


class Collection(Struct, frozen=True, kw_only=True):
    """One kind of records: a list of the API, and a table of the warehouse."""

    description: Annotated[str | None, Doc("what the records are; the warehouse shows it as the table's comment")] = None
    path: Annotated[Template | None, Doc("appended to the base URL (default: the collection's name)")] = None
    params: Annotated[Mapping[str, Template], Doc("query parameters, besides the API's")] = field(default_factory=dict)
    body: Annotated[Body | None, Doc("what is sent along, as JSON: the requests are POST then (its numbers are whole ones)")] = None
    records: Annotated[Path | None, Doc("the path of the list of records, if not the API's")] = None
    paginate: Annotated[Paginator | None, Doc("how the list goes on, if not as the API's others")] = None
    parent: Annotated[Parent | None, Doc("the collection whose every record has a list of these")] = None
    errors: Annotated[tuple[Rule, ...], Doc("rules for answers about this collection, tried before the API's")] = ()
    cost: Annotated[
        int | None, Doc("for how many requests of each budget one request counts, if not as the API's others", {"minimum": 1})
    ] = None
    key: Annotated[tuple[str, ...], Doc("the property, or properties, that tell one record from another", {"minItems": 1})]
    cursor: Annotated[Cursor | None, Doc("the property that moves when a record changes")] = None
    mode: Annotated[
        Mode,
        Doc(
            "what the table shows: the newest version of each record (upsert), the first one, of records that never change (append), "
            "each version as a row of its own, with `_valid_from` and `_valid_to` (history), "
            "or what the last complete pass brought, as a whole (snapshot)"
        ),
    ] = "upsert"
    deletes: Annotated[
        Deletes, Doc("what becomes of a row whose record is gone: `_deleted_at` is set (soft), it goes too (hard), or it stays (ignore)")
    ] = "soft"
    tombstone: Annotated[Tombstone | None, Doc("how a record says of itself that it is gone, besides its absence from a complete pass")] = (
        None
    )
    deleted: Annotated[Deleted | None, Doc("where the API lists what was deleted, besides its absence from a complete pass")] = None
    max_delete_share: Annotated[
        Share,
        Doc("if a pass, or `deleted`, finds more of the rows gone than this, and more than 10, none is deleted and the run has failed"),
    ] = Share(10)
    on_reject: Annotated[
        OnReject,
        Doc(
            "what a value that its type cannot hold does: its row is kept without it (null), "
            "its record is left out (record), or no load is made (fail)"
        ),
    ] = OnReject("null")
    full: Annotated[Full, Doc("complete passes")] = field(default_factory=Full)
    changed: Annotated[Changed | None, Doc("how changes are asked for, where that differs from a complete pass")] = None
    keep: Annotated[
        Keep | None,
        Doc(
            "what `syncer hub compact` leaves in the hub: every version of each record (all), the newest one (latest), "
            "or that and all that came in some time (90d); if not as the source's others"
        ),
    ] = None
    require: Annotated[
        Literal["checked", "proven"] | None, Doc("the weakest proof of a list's end that is good enough (default: any is, and is told)")
    ] = None
    properties: Annotated[Mapping[str, Property], Doc("the columns of the table, in order", {"minProperties": 1})]

    def on_reject_of(self, name: str) -> str:
        """What becomes of a property's value that its type cannot hold: null, record or fail."""
        return (self.properties[name].on_reject or self.on_reject).word

    @property
    def feed(self) -> Collection | None:
        """What tells of deletions as a list of its own; the key, and the time, where there is one, tell one deletion from another."""
        told = self.deleted
        if told is None:
            return None
        properties = {**{word: self.properties[word] for word in self.key}, **told.properties}
        time = (told.cursor.property,) if told.cursor else ()
        feed = Collection(
            path=told.path,
            params=told.params,
            body=told.body,
            records=told.records,
            paginate=told.paginate,
            errors=told.errors,
            key=tuple(dict.fromkeys((*self.key, *time))),
            cursor=told.cursor,
            mode="append" if time else "upsert",
            keep=self.keep,
            on_reject=self.on_reject,
            properties=properties,
        )
        return replace(feed, parent=self.parent if feed.of_parent else None)

    @property
    def asks_since(self) -> bool:
        """Whether the API can be asked for what changed since an instant."""
        return self.cursor is not None and self.cursor.param is not None

    @property
    def can_ask_changes(self) -> bool:
        """Whether there is a way to less than everything."""
        return self.mode != "snapshot" and (self.asks_since or (self.parent is not None and self.parent.only_changed))

    @property
    def asks_alike(self) -> bool:
        """Whether changes are asked for as everything is, but for an instant."""
        full, changed = self.full, self.changed or Changed()
        return (full.path, full.params, full.body, full.records) == (changed.path, changed.params, changed.body, changed.records)

    @property
    def templates(self) -> list[Template | Body]:
        """All that its requests are made of."""
        walks: list[Collection | Walk] = [self, self.full, self.changed or Changed()]
        return [one for walk in walks for one in (walk.path, *walk.params.values(), walk.body) if one]

    @property
    def of_parent(self) -> list[str]:
        """The parent's properties that requests and columns take values from, in a fixed order."""
        named = {name for template in self.templates for name in template.parents}
        return sorted(named | {prop.parent for prop in self.properties.values() if prop.parent})


class Route(Struct, frozen=True):
    """One way of reading a collection, with every default filled in: what `plan` makes requests from."""

    request: Request
    records: Path | None
    paginate: Paginator
    headers: tuple[tuple[str, str], ...] = ()
    """The templates of the headers: they are filled in at send time, for they may hold secrets."""
    stored: Request | None = None
    """The request as it may be stored."""
    of_parent: tuple[str, ...] = ()
    """The parent's properties that are kept with its list."""
    parent: str = ""
    """Fingerprint of the parent: which collection it is, and in which order its records are walked."""
    for_parent: Callable[[Mapping[str, Any]], Request] = lambda parent: Request("")
    """The request for one parent's list, from the values of its properties; `request` is that of a parent in general.

    Raises ValueError for a value that is not there, or that no path can carry.
    """

    @property
    def fingerprint(self) -> str:
        """Changes when a stored next request of this way must not be used any more."""
        return _hash([self.asked, self.headers, repr(self.paginate)])

    @property
    def asked(self) -> list[Any]:
        """Which records are asked for, whatever the pages."""
        return [(self.stored or self.request).as_json(), self.records and self.records.text, *self.of_parent] + [self.parent] * bool(
            self.parent
        )


class Spec(Struct, frozen=True, kw_only=True, dict=True):
    """One API: how it is reached, and what its collections are."""

    syncer: Annotated[Literal[1], Doc("the version of the spec language")]
    name: Annotated[
        Name,
        Doc("names the source: its folder in the hub, its schema in the warehouse, its settings in the environment"),
    ]
    title: Annotated[str | None, Doc("the API's name for people")] = None
    description: Annotated[str | None, Doc("what it holds, and what a reader should know")] = None
    settings: Annotated[Mapping[str, Setting], Doc("what differs from user to user")] = field(default_factory=dict)
    schedule: Annotated[Schedule, Doc("when `syncer serve` pulls and loads")] = field(default_factory=Schedule)
    keep: Annotated[Keep, Doc("what `syncer hub compact` leaves of each collection: all, latest, or a time like 90d")] = Keep(None)
    api: Annotated[Api, Doc("how the API is reached")]
    collections: Annotated[Mapping[str, Collection], Doc("the lists to read: one table each", {"minProperties": 1})]

    @property
    def label(self) -> str:
        return self.title or self.name.text

    @cached_property
    def lists(self) -> Mapping[str, Collection]:
        """All that is read: the collections, and before each the list of what was deleted of it, where there is one (`orders.deleted`)."""
        feeds = {name: collection.feed for name, collection in self.collections.items()}
        return {
            word: one
            for name, collection in self.collections.items()
            for word, one in ((feed_name(name), feeds[name]), (name, collection))
            if one is not None
        }

    def keep_of(self, name: str) -> Keep:
        """How much of a list's past its hub keeps."""
        return self.lists[name].keep or self.keep

    def route(self, name: str, purpose: Purpose, settings: Mapping[str, str]) -> Route:
        """How a collection is read for a purpose: the purpose's own words over the collection's over the API's."""
        collection = self.lists[name]
        walk: Walk = collection.full if purpose == "full" else collection.changed or Changed()
        base = self.api.base_url.render(settings).rstrip("/")
        path = walk.path or collection.path or Template(name)
        params = {**self.api.params, **collection.params, **walk.params}
        body = walk.body or collection.body
        used = {word for one in (path, *params.values(), body) if one for word in one.parents}
        typed = {word: _typed(self.settings[word], text) for word, text in settings.items()}

        def for_parent(values: Mapping[str, Any]) -> Request:
            if empty := [word for word in sorted(used) if values[word] is None]:
                raise ValueError(f"has no {empty[0]}")
            texts = {word: as_text(values[word]) for word in used}
            if unfit := [word for word in sorted(path.parents) if texts[word] in _NO_SEGMENTS]:
                raise ValueError(f"has an empty {unfit[0]}, or one of dots, which no path can carry")
            in_path = path.render(settings, {word: quote(texts[word], safe="") for word in path.parents})
            request = Request.to(f"{base}/{in_path.lstrip('/')}", {key: value.render(settings, texts) for key, value in params.items()})
            return request.with_body(body.render(typed, values)) if body else request

        return Route(
            for_parent({word: f"{{{word}}}" for word in collection.of_parent}),
            walk.records or collection.records or self.api.records,
            _as_in_records(walk.paginate or collection.paginate or self.api.paginate, collection),
            tuple((key, value.text) for key, value in self.api.headers.items()),
            of_parent=tuple(collection.of_parent),
            parent=self._parent_fingerprint(collection),
            for_parent=for_parent,
        )

    def _parent_fingerprint(self, collection: Collection) -> str:
        if collection.parent is None:
            return ""
        parent = self.collections[collection.parent.collection]
        prints = property_fingerprints(parent)
        return _hash([collection.parent.collection, parent.key, [prints[word] for word in sorted({*parent.key, *collection.of_parent})]])

    def parent_key(self, name: str) -> tuple[str, ...]:
        """The properties of a list's key that tell whose list a record is of; none where they do not, or not for certain."""
        collection = self.lists[name]
        if collection.parent is None:
            return ()
        parent = self.collections[collection.parent.collection]
        own, theirs = collection.properties, parent.properties
        of_parent = {word: own[word].parent for word in collection.key if own[word].parent in parent.key}
        is_same = all(
            not own[word].match and not own[word].format and own[word].type.text in ("string", theirs[other].type.text)
            for word, other in of_parent.items()
            if other
        )
        return tuple(of_parent) if is_same and set(of_parent.values()) == set(parent.key) else ()

    def lists_of(self, names: Iterable[str]) -> list[str]:
        """All that is read for some collections."""
        return [one for name in names for one in (feed_name(name), name) if one in self.lists]

    def before(self, name: str) -> list[str]:
        """What is read before a list: its parent, and what tells of deletions, so that what comes later is newer."""
        parent = self.lists[name].parent
        return [*([parent.collection] if parent else []), *([feed_name(name)] if feed_name(name) in self.lists else [])]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """The same lists, each behind those that are read before it."""
        ordered: list[str] = []

        def add(name: str) -> None:
            for other in self.before(name):
                if other in wanted and other not in ordered:
                    add(other)
            if name not in ordered:
                ordered.append(name)

        wanted = list(names)
        for name in wanted:
            add(name)
        return ordered


_DELETED = ".deleted"


def feed_name(collection: str) -> str:
    """What the list is called that tells what was deleted of a collection: no collection can be."""
    return collection + _DELETED


def collection_of(feed: str) -> str:
    """Of which collection a list tells what was deleted."""
    return feed.removesuffix(_DELETED)


def is_feed(name: str) -> bool:
    """Whether a list tells what was deleted of a collection."""
    return name.endswith(_DELETED)


def _as_in_records(paginate: Paginator, collection: Collection) -> Paginator:
    """A way of paging that writes instants as the records do, where the spec says nothing else."""
    if not isinstance(paginate, KeySet) or collection.properties[paginate.on].type.text != "timestamp":
        return paginate
    prop = collection.properties[paginate.on]
    return replace(paginate, format=paginate.format or prop.format or "iso", timezone=paginate.timezone or prop.timezone)


def _typed(setting: Setting, text: str) -> str | int | bool:
    """A setting's value as JSON has it."""
    match setting.type:
        case "integer":
            return int(text)
        case "boolean":
            return text == "true"
    return text


_NO_SEGMENTS = ("", ".", "..")
"""What is no segment of a path, however it is quoted (RFC 3986, 3.3)."""

KEY, CURSOR, MODE = " key", " cursor", " mode"
"""What stands beside the properties in `property_fingerprints`; no property's name starts with a blank."""


def property_fingerprints(collection: Collection, known: Iterable[str] = ()) -> dict[str, str]:
    """Fingerprints of each property, and of what tells records and their versions apart: a load fills what has changed.

    A property that was called otherwise before, and is `known` by that name alone, has it here, too.
    """
    there = set(known)
    names = {
        word: next((old for old in prop.was if old in there and word not in there), word) for word, prop in collection.properties.items()
    }
    prints = {
        names[word]: _hash(
            [repr(prop.column_type), repr(prop.paths(word)), repr(prop.match), prop.required, collection.on_reject_of(word) == "record"]
            + ([prop.parent] if prop.parent else [])
        )
        for word, prop in collection.properties.items()
    }
    cursor = names[collection.cursor.property] if collection.cursor else None
    tombstone = collection.tombstone and [names[collection.tombstone.property], repr(collection.tombstone.values)]
    feed = collection.feed
    told = [[property_fingerprints(feed), feed.cursor and feed.cursor.property]] if feed else []
    rows = [collection.mode, collection.deletes, tombstone, *told]
    return {**prints, KEY: _hash([names[word] for word in collection.key]), CURSOR: _hash(cursor), MODE: _hash(rows)}


def scope(routes: Mapping[Purpose, Route]) -> str:
    """Changes when other records are asked for than before: then what was never asked for is missing."""
    return _hash({purpose: route.asked for purpose, route in routes.items()})


def collection_fingerprint(spec: Spec, name: str) -> str:
    """Changes with every word that a spec says of a collection, and with every rule about its answers."""
    return _hash([repr(spec.lists[name]), repr(spec.api.errors)])


def _hash(value: object) -> str:
    return sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]
