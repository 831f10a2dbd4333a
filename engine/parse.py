"""YAML text -> Spec: every mistake at once, each with its line and column. Reads the file it is given, and the JSON Schema of specs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from functools import cache
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import fields

from . import times
from .document import At, Document, dotted, with_members
from .errors import Problem, SpecError, UsageError
from .fields import Path
from .fits import fits
from .kinds import did_you_mean
from .paginate import KeySet, Paginator
from .properties import Property
from .schema import Broken, Notes, build
from .spec import ADDED_COLUMNS, Collection, Setting, Spec
from .template import Body, Template
from .window import Cursor

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

S = TypeVar("S")

_SCHEMA = File(__file__).parents[1] / "schemas" / "spec.schema.json"

_PAGINATED = tuple(
    (*walk, "paginate", *word) for walk in ((), ("full",), ("changed",)) for word in (("on",), ("tie_breaker", "on"))
)  # fmt: skip
"""Where a paginator names a property."""


class Source(Struct, frozen=True):
    """A spec with the text it came from: where each of its parts stands (1-based lines and columns)."""

    file: str
    spec: Spec
    places: Mapping[At, tuple[int, int]]

    def line_of(self, *at: str | int) -> int:
        return self.places.get(at, (1, 1))[0]

    def property_at(self, collection: str, word: str) -> At:
        """Where a property stands: of the collection's records, or else of the list of what was deleted."""
        at, deleted = ("collections", collection), self.spec.collections[collection].deleted
        is_there = deleted is None or word in self.spec.collections[collection].properties
        return (*at, "properties", word) if is_there else (*at, "deleted", "properties", word)

    def place_of(self, *at: str | int) -> str:
        """Where a part stands, for people: file:line."""
        return f"{self.file}:{self.line_of(*at)}"


def read_spec(file: str) -> Source:
    """The spec in a file. Raises SpecError with all its mistakes, or UsageError where there is no such file."""
    try:
        text = File(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); give the path of a spec") from None
    return parse_spec(text, file)


def add_properties(file: str, proposed: Mapping[str, Mapping[str, str]]) -> None:
    """Write properties into a spec's file, by collection: their YAML by their name. All else in it stays as it is.

    Raises UsageError, and leaves the file alone, where that cannot be done.
    """
    path = File(file).resolve()
    text = path.read_bytes().decode("utf-8")
    try:
        for name, members in proposed.items():
            text = with_members(text, ("collections", name, "properties"), members) if members else text
    except ValueError as error:
        raise UsageError(f"{file}: the properties of {name} cannot be added ({error}); paste them") from None
    parse_spec(text, file)
    new = path.with_name(path.name + ".new")
    try:
        new.write_bytes(text.encode())
        shutil.copymode(path, new)
        new.replace(path)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written ({error.strerror}); correct it, or paste the properties") from None


def parse_spec(text: str, file: str = "spec.yaml") -> Source:
    """The spec in a text; `file` names it in errors. Raises SpecError with all its mistakes."""
    document = Document(file)
    data = document.read(text)
    problems = list(document.problems)
    if not isinstance(data, dict):
        raise SpecError(file, [*problems, Problem(1, 1, "", "is not a mapping", "start with `syncer: 1` and `name:`")])

    def problem(at: At, what: str) -> Problem:
        sentence, _, instead = what.partition("; ")
        return Problem(*document.place(at), dotted(at), sentence, instead)

    notes = Notes()
    for error in _errors(data):
        problems += [problem(at, what) for at, what in _told(error, data)]
    try:
        spec = build(Spec, data, (), notes)
    except Broken:
        spec = None
    problems += [problem(at, what) for at, what in notes.mistakes]
    declared = data.get("settings") if isinstance(data.get("settings"), dict) else {}
    for at, template in notes.templates:
        for name in sorted(template.settings - set(declared or {})):
            problems.append(problem(at, f"there is no setting {name!r}; {did_you_mean(name, declared or {})}"))
        problems += [problem(at, what) for what in _parent_uses(at, template, data)]
    collections = spec.collections if spec else _sound(Collection, data, "collections")
    problems += [problem(at, what) for at, what in _contradictions(collections, data)]
    problems += [problem(("schedule", "timezone"), what) for what in (spec.schedule.mistakes() if spec else ())]
    problems += [problem(at, what) for at, what in _setting_mistakes(_sound(Setting, data, "settings"))]
    if problems or spec is None or notes.left_out:
        where = next(iter(notes.left_out), ())
        raise SpecError(file, problems or [problem(where, "cannot be read; report this, with the file")])
    return Source(file, spec, document.places)


@cache
def _schema() -> Any:
    """As `syncer schema` has written it: making it anew takes longer than reading it."""
    return json.loads(_SCHEMA.read_bytes())


def _errors(data: dict[str, Any]) -> Iterable[ValidationError]:
    """What JSON Schema says against a spec. Of one that has no mistakes nothing is to be told, and `jsonschema` not imported."""
    if fits(_schema(), data):
        return ()
    from jsonschema import Draft202012Validator

    found: Iterable[ValidationError] = Draft202012Validator(_schema()).iter_errors(data)
    return found


def _told(error: ValidationError, data: Any) -> Iterator[tuple[At, str]]:
    """A validator's finding as 'what; what instead', at the part that is wrong."""
    at: At = tuple(error.absolute_path)
    rule: Any = error.validator_value
    given: Any = error.instance
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    shown = json.dumps(given, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    match error.validator:
        case "additionalProperties":
            for extra in given:
                if extra not in known:
                    yield (*at, extra), f"the key {extra!r} is not known here; {did_you_mean(extra, known)}"
        case "required":
            for needed in rule:
                if needed not in given:
                    meaning = known.get(needed, {}).get("description", "")
                    yield at, f"{needed!r} is missing; add `{needed}:`" + (f" ({meaning})" if meaning else "")
        case "enum":
            yield at, f"{shown} is not one of {', '.join(map(str, rule))}; {did_you_mean(str(given), map(str, rule))}"
        case "type":
            wanted = " or ".join([rule] if isinstance(rule, str) else rule)
            yield at, f"{shown} is not of type {wanted}; write {_a(wanted)}"
        case "pattern" if str(rule).startswith(("^(string|integer|", "^[A-Za-z][A-Za-z0-9_]*$", "^[1-9][0-9]{0,8}(B|", "^([0-9]+(")):
            return  # the type's own reading says it better
        case "pattern":
            yield at, f"{shown} does not have the form {rule}; correct it"
        case "minItems" | "minProperties":
            yield at, "is empty; write at least one" if rule == 1 else f"has fewer than {rule}; write at least {rule}"
        case "minimum":
            yield at, f"{shown} is too small; write {rule} or more"
        case _:
            yield at, f"{error.message}; correct it"


def _sound(kind: type[S], data: dict[str, Any], word: str) -> dict[str, S]:
    """What can be built although the spec around it cannot: its contradictions are told in the same run."""
    raw = data.get(word)
    sound = {}
    for name, value in raw.items() if isinstance(raw, dict) else ():
        try:
            sound[name] = build(kind, value, (), Notes())
        except Broken:
            continue
    return sound


def _contradictions(collections: Mapping[str, Collection], data: dict[str, Any]) -> Iterator[tuple[At, str]]:
    """What no schema can see: names that nothing has, and words that do not go together."""
    raw = data.get("collections")
    named = raw if isinstance(raw, dict) else {}
    for name in named:
        at: At = ("collections", name)
        if not name.replace("_", "a").isalnum() or not name.isascii() or not name[0].isalpha():
            yield at, f"{name!r} cannot name a table; use letters, digits and underscores, a letter first"
        if name.lower().startswith("_syncer"):
            yield at, "names that start with _syncer are the ledger's; choose another"
        yield from _unknown_properties(at, name, named[name], data.get("api"))
    yield from _clashes(("collections",), list(named))
    for name, collection in collections.items():
        at = ("collections", name)
        yield from _cursor_contradictions(at, collection.cursor)
        if collection.changed and not collection.can_ask_changes:
            way = "give `cursor` a `param`, or leave `changed` out"
            way = "a snapshot comes as a whole each time, so leave `changed` out" if collection.mode == "snapshot" else way
            yield (*at, "changed"), f"changes cannot be asked for; {way}"
        for place, word in enumerate(collection.key):
            if word in collection.key[:place]:
                yield (*at, "key", place), f"{word!r} is named twice; keep one of the two"
        yield from _page_contradictions(at, collection)
        yield from _mode_contradictions(at, collection)
        yield from _keep_contradictions(at, collection, data.get("keep"))
        yield from _parent_contradictions(at, collection, collections)
        if collection.deleted:
            yield from _deleted_contradictions((*at, "deleted"), collection, named[name], data.get("api"))
        yield from _clashes((*at, "properties"), list(collection.properties))
        for word, prop in collection.properties.items():
            yield from _property_contradictions((*at, "properties", word), word, prop)


def _cursor_contradictions(at: At, cursor: Cursor | None) -> Iterator[tuple[At, str]]:
    if cursor and not _is_format(cursor.format):
        what = f"{cursor.format!r} is no format"
        yield (*at, "cursor", "format"), f"{what}; write iso, epoch_s, epoch_ms, epoch_us, or a pattern like %Y-%m-%d"
    if cursor and not _is_zone(cursor.timezone):
        yield (*at, "cursor", "timezone"), _no_zone(cursor.timezone)


def _deleted_contradictions(at: At, collection: Collection, raw: Any, api: Any) -> Iterator[tuple[At, str]]:
    """What is wrong with the list of what was deleted."""
    own = Path(("properties",)).of(raw)
    known = {word: prop for word, prop in (own if isinstance(own, dict) else {}).items() if word in collection.key}
    listed = Path(("deleted",)).of(raw)
    more = Path(("deleted", "properties")).of(raw)
    properties = {**known, **(more if isinstance(more, dict) else {})}
    yield from _unknown_properties(at, f"{at[1]}.deleted", {**(listed if isinstance(listed, dict) else {}), "properties": properties}, api)
    feed = collection.feed if known.keys() >= set(collection.key) else None
    if feed is None:
        return
    yield from _cursor_contradictions(at, feed.cursor)
    yield from _page_contradictions(at, feed)
    for word, prop in collection.deleted.properties.items() if collection.deleted else ():
        spot, same = (*at, "properties", word), collection.properties.get(word)
        yield from _property_contradictions(spot, word, prop)
        if word in collection.key and same and prop.column_type.duckdb != same.column_type.duckdb:
            yield (*spot, "type"), f"{word!r} is of another type in the records; write {same.type}"
        if prop.parent and collection.parent is None:
            yield (*spot, "parent"), "the collection has no parent; leave this out"
    taken = [word for word in feed.key if feed.properties.get(word) and feed.properties[word].parent]
    if taken and feed.parent and not any(template.parents for template in feed.templates):
        what = f"the key's {taken[0]!r} comes from the parent, and the list is not one of a parent"
        yield at, f"{what}; say under `properties` where the list has it, or write {{{{ parent... }}}} into its path"


def _unknown_properties(at: At, name: str, raw: Any, api: Any) -> Iterator[tuple[At, str]]:
    """Names of properties that the collection does not have. Read from the plain mapping, so that other mistakes hide none."""
    known = Path(("properties",)).of(raw)
    if not isinstance(known, dict):
        return
    key = raw.get("key")
    named: dict[At, Any] = {(*at, "key", place): word for place, word in enumerate(key)} if isinstance(key, list) else {(*at, "key"): key}
    if isinstance(raw.get("tombstone"), str):
        named[(*at, "tombstone")] = raw["tombstone"]
    for steps in (("cursor", "property"), ("tombstone", "property"), *_PAGINATED):
        named[(*at, *steps)] = Path(steps).of(raw)
    if Path(("paginate",)).of(raw) is None:
        named[("api", "paginate", "on")] = Path(("paginate", "on")).of(api)
    for spot, word in named.items():
        if isinstance(word, str) and word not in known:
            yield spot, f"{word!r} is no property of {name}; {did_you_mean(word, known)}"


def _keep_contradictions(at: At, collection: Collection, source_keeps: Any) -> Iterator[tuple[At, str]]:
    """A hub keeps all that a table is made of."""
    needs = {"append": "the first version of a record", "history": "each version of a record"}.get(collection.mode)
    if needs and collection.keep and collection.keep.age is not None:
        yield (*at, "keep"), f"`mode: {collection.mode}` is made of {needs}; write all"
    elif needs and not collection.keep and source_keeps not in (None, "all"):
        yield (*at, "mode"), f"is made of {needs}, and the source says `keep: {source_keeps}`; add `keep: all` to the collection"


def _mode_contradictions(at: At, collection: Collection) -> Iterator[tuple[At, str]]:
    mode, standard = collection.mode, {one.name: one.default for one in fields(Collection)}
    if mode == "history":
        if collection.deletes == "hard":
            yield (*at, "deletes"), "a history keeps what was; write soft, or ignore"
        if "record" in map(collection.on_reject_of, collection.properties):
            yield (
                (*at, "mode"),
                "a history needs each version, and `on_reject: record` leaves some out; write null or fail there",
            )
    elif mode != "upsert":
        why = {
            "append": "records of `mode: append` are never gone",
            "snapshot": "a snapshot's rows are those of the last complete pass",
        }[mode]
        for word in ("deletes", "tombstone", "deleted", "max_delete_share"):
            if getattr(collection, word) != standard[word]:
                yield (*at, word), f"{why}; leave it out"
    if collection.tombstone and collection.deletes == "ignore":
        yield (*at, "tombstone"), "says which records are gone, and `deletes: ignore` leaves them; leave one of the two out"
    if collection.deleted and collection.deletes == "ignore":
        yield (*at, "deleted"), "says which records are gone, and `deletes: ignore` leaves them; leave one of the two out"
    old = [(word, name) for word, prop in collection.properties.items() for name in prop.was]
    for word, name in old:
        if name in collection.properties:
            yield (*at, "properties", word, "was"), f"{name!r} is another property now; leave it out"
        elif sum(1 for _, other in old if other == name) > 1:
            yield (*at, "properties", word, "was"), f"{name!r} was only one property; name it once"
    for word, prop in collection.properties.items():
        if prop.was and prop.source is None and prop.parent is None:
            what = f"without `from`, the value is now looked for at {word!r} in the records"
            yield (*at, "properties", word, "was"), f"{what}; add `from: {prop.was[0]}`, or where else it stands"


def _page_contradictions(at: At, collection: Collection) -> Iterator[tuple[At, str]]:
    walks: dict[At, Paginator | None] = {("paginate",): collection.paginate, ("full", "paginate"): collection.full.paginate}
    walks[("changed", "paginate")] = collection.changed.paginate if collection.changed else None
    for place, paginate in walks.items():
        if isinstance(paginate, KeySet) and paginate.format and not _is_format(paginate.format):
            what = f"{paginate.format!r} is no format"
            yield (*at, *place, "format"), f"{what}; write iso, epoch_s, epoch_ms, epoch_us, or a pattern like %Y-%m-%d"
        if isinstance(paginate, KeySet) and not _is_zone(paginate.timezone):
            yield (*at, *place, "timezone"), _no_zone(paginate.timezone)
        if isinstance(paginate, KeySet) and not paginate.inclusive and collection.key != (paginate.on,):
            what = f"records that share one {paginate.on} would be lost between two pages"
            yield (*at, *place, "inclusive"), f"{what}; go by the key, or by an inclusive bound"


def _properties_of(data: Any, collection: str) -> dict[str, Any]:
    """What a spec says of a collection's properties, whatever else is wrong with it."""
    found = Path(("collections", collection, "properties")).of(data)
    return found if isinstance(found, dict) else {}


def _parent_uses(at: At, template: Template | Body, data: Any) -> Iterator[str]:
    """What is wrong with a template's use of `parent`."""
    if not template.parents:
        return
    raw = Path(("collections", str(at[1]), "parent")).of(data) if at[0] == "collections" and {"path", "params", "body"} & set(at) else None
    parent = raw.get("collection") if isinstance(raw, dict) else raw
    if not isinstance(parent, str):
        knows = "only a collection with a `parent:` knows, in `path`, `params` and `body`"
        yield f"uses `parent`, which {knows}; name that collection, or leave it out"
        return
    known = _properties_of(data, parent)
    for name in sorted(template.parents - known.keys()):
        yield f"{name!r} is no property of {parent}; {did_you_mean(name, known)}"


def _parent_contradictions(at: At, collection: Collection, collections: Mapping[str, Collection]) -> Iterator[tuple[At, str]]:
    """What is wrong with a collection's parent, and with what its columns take from it."""
    taking = {word: prop.parent for word, prop in collection.properties.items() if prop.parent}
    if collection.parent is None:
        for word in taking:
            yield (*at, "properties", word, "parent"), "the collection has no parent; give it `parent:`, or leave this out"
        return
    name = collection.parent.collection
    if name not in collections:
        yield (*at, "parent"), f"there is no collection {name!r}; {did_you_mean(name, collections)}"
        return
    line, ancestor = [at[1]], collections[name]
    while ancestor.parent and ancestor.parent.collection in collections and ancestor.parent.collection not in line:
        line.append(ancestor.parent.collection)
        ancestor = collections[ancestor.parent.collection]
    if name == at[1] or (ancestor.parent and ancestor.parent.collection == at[1]):
        yield (*at, "parent"), "is its own ancestor; a line of parents has a first"
    known = collections[name].properties
    for word, taken in taking.items():
        spot = (*at, "properties", word, "parent")
        if taken not in known:
            yield spot, f"{taken!r} is no property of {name}; {did_you_mean(taken, known)}"
        if collection.properties[word].source:
            yield spot, "a value stands in the record or comes from the parent, not both; leave out `from` or `parent`"
    for taken in collection.of_parent:
        kind = known[taken].type.text if taken in known else ""
        if kind == "json" or kind.endswith("[]"):
            yield (*at, "parent"), f"{taken!r} of {name} is a {kind}, no plain value; take one that is"
    if not any(template.parents for template in collection.templates):
        example = f"{{{{ parent.{collections[name].key[0]} }}}}"
        yield (
            (*at, "parent"),
            f"neither `path`, `params` nor `body` uses it, so all lists would be one; write {example} where it belongs",
        )


def _property_contradictions(at: At, word: str, prop: Property) -> Iterator[tuple[At, str]]:
    kind = prop.type.text.removesuffix("[]")
    if not word.strip() or not word.isprintable():
        yield at, "a property needs a name that can be read and written; choose one, and say with `from` where its value stands"
    elif word.lower() in ADDED_COLUMNS or word.lower().startswith("_syncer"):
        yield at, f"{word!r} is a column that syncer adds; choose another name, with `from: {word}`"
    if prop.format and kind not in ("timestamp", "date"):
        yield (*at, "format"), f"a {kind} has no format; leave it out, or declare a timestamp or date"
    if prop.timezone and kind != "timestamp":
        yield (*at, "timezone"), f"a {kind} has no timezone; leave it out, or declare a timestamp"
    if prop.timezone and not _is_zone(prop.timezone):
        yield (*at, "timezone"), _no_zone(prop.timezone)
    if prop.format and not _is_format(prop.format):
        yield (
            (*at, "format"),
            f"{prop.format!r} is no format; write iso, epoch_s, epoch_ms, epoch_us, or a pattern like %d.%m.%Y",
        )


def _setting_mistakes(settings: Mapping[str, Setting]) -> Iterator[tuple[At, str]]:
    for name in settings:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            what = f"{name!r} is no name that a template or the environment can say"
            yield ("settings", name), f"{what}; use letters, digits and underscores, a letter first"
        try:
            re.compile(settings[name].pattern or "")
        except re.error as error:
            yield ("settings", name, "pattern"), f"is not a regular expression ({error}); correct it"
    waiting = {name: one.default.settings for name, one in settings.items() if one.default is not None}
    while ready := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in ready:
            del waiting[name]
    for name in waiting:
        yield ("settings", name, "default"), "needs itself, by way of other defaults; give one of them a value"


def _clashes(at: At, names: list[str]) -> Iterator[tuple[At, str]]:
    seen: dict[str, str] = {}
    for name in names:
        if earlier := seen.get(name.casefold()):
            yield (*at, name), f"{name!r} and {earlier!r} are one name in a warehouse; rename one"
        seen.setdefault(name.casefold(), name)


def _is_format(format: str) -> bool:
    """Whether instants can be written and read in it."""
    if "%" not in format:
        return format in ("iso", *times.UNITS)
    try:
        times.parse(times.write(0, format), format, UTC)
    except (ValueError, re.error):
        return False
    return True


def _no_zone(name: str | None) -> str:
    return f"{name!r} is no time zone; write one like UTC or Europe/Berlin"


def _is_zone(name: str | None) -> bool:
    try:
        times.zone(name)
    except ValueError:
        return False
    return True


def _a(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words
