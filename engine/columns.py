"""The column types: from which JSON forms each is read without loss, in SQL and in Python. Pure.

Each type is one class with three things, and all agree (`tests/test_stage.py` compares them over arbitrary JSON):

- `sql`: the fast reading by DuckDB, of the plain forms only. NULL for a value that is there means: odd, ask `convert`.
- `convert`: the slow, obviously right reading of any JSON value from its exact text; a Reject with a reason where it would lose.
- `literal`: SQL that turns the text `convert` gave into the type.

What each type takes (everything else is a reject; JSON null and a missing value are NULL):

| type | from | but not |
| --- | --- | --- |
| string | strings; numbers and booleans, as their exact text | objects, lists, half a surrogate pair |
| integer | numbers without a fraction (`1`, `1.0`, `1e3`) in 64 bits; strings that are one (`"12"`) | `"03"`, `"1.0"`, 1.5, 10^20, true |
| number | numbers, and strings that are one: the nearest double, -0 as 0 | what is not finite, `"NaN"`, 1e400 |
| decimal(p,s) | numbers, and strings that are one, whose digits all fit | 1.239 as decimal(9,2), `"03"` |
| boolean | true, false | 1, "yes", "true" |
| timestamp | strings of its format with an offset (or in `timezone`), to the microsecond; numbers of an epoch | finer digits, second 60 |
| date | strings like 2016-11-22, or of its format | a time of day besides |
| json | everything, byte for byte | half a surrogate pair |
| T[] | lists whose every element is null or a T | anything but a list |

DuckDB's JSON functions are asked only for texts with escapes, and for lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Context, InvalidOperation
from decimal import Decimal as Exact
from typing import ClassVar
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from . import times
from .record import items, text_of

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_QUOTE = '"'
_ODD_IN_JSON = re.compile(r"[\x00-\x1f\ud800-\udfff]|\\u[dD][89a-fA-F]")


class Reject(ValueError):
    """A value that its declared type cannot hold without loss; the message is the reason, and holds no value."""


def _characters(raw: str) -> str:
    """SQL for the characters of a JSON string, from its exact text."""
    plain = f"substring({raw}, 2, length({raw}) - 2)"
    return f"CASE WHEN contains({raw}, '\\') THEN json_extract_string({raw}, '$') ELSE {plain} END"


def _unquoted(raw: str) -> str:
    """SQL for what may be a number or an instant, in quotes or not; what has escapes is none, as it is read here."""
    return f"(CASE WHEN prefix({raw}, '{_QUOTE}') THEN substring({raw}, 2, length({raw}) - 2) ELSE {raw} END)"


def characters(raw: str) -> str:
    """SQL for a JSON value as plain text, from its exact text: a string's characters, any other value's exact text."""
    return f"(CASE WHEN prefix({raw}, '{_QUOTE}') THEN {_characters(raw)} ELSE {raw} END)"


class ColumnType(Struct, frozen=True):
    """What a property may be declared as. `duckdb` is the type's name there."""

    duckdb: ClassVar[str]
    list_forms: ClassVar[Sequence[str]] = ("VARCHAR", "BOOLEAN", "BIGINT", "UBIGINT", "NULL")
    """The JSON types of elements of lists that can be read fast: DuckDB writes them anew, numbers with fractions not as they were."""

    def sql(self, raw: str) -> str:
        """DuckDB's reading of a value, from its exact JSON text: an expression of VARCHAR that may be NULL."""
        raise NotImplementedError

    def convert(self, raw: str) -> str:
        """The canonical text of a JSON value that is not null, from its exact text. Raises Reject."""
        raise NotImplementedError

    def literal(self, text: str) -> str:
        """SQL for the value that a canonical text stands for."""
        return f"CAST({text} AS {self.duckdb})"

    def list_sql(self, raw: str) -> str:
        """The fast reading of a list, from its exact text; NULL where some element is odd."""
        listed = f"list_transform(json_extract({raw}, '$[*]'), lambda _syncer_one: {self.sql('CAST(_syncer_one AS VARCHAR)')})"
        forms = f"json_type({raw}, '$[*]')"
        values = f"list_count({listed}) = len(list_filter({forms}, lambda _syncer_one: _syncer_one <> 'NULL'))"
        return f"CASE WHEN list_has_all({list(self.list_forms)}, {forms}) AND {values} THEN {listed} END"


class String(ColumnType, frozen=True):
    duckdb: ClassVar[str] = "VARCHAR"

    def sql(self, raw: str) -> str:
        is_other = f"{raw} = 'null' OR prefix({raw}, '{{') OR prefix({raw}, '[')"
        return f"CASE WHEN prefix({raw}, '{_QUOTE}') THEN {_characters(raw)} WHEN {is_other} THEN NULL ELSE {raw} END"

    def convert(self, raw: str) -> str:
        if raw[0] in "{[":
            raise Reject("is an object or a list, not a text; declare it json")
        text = str(text_of(raw))
        if raw[0] != '"' and raw not in ("true", "false") and not _NUMBER.fullmatch(raw):
            raise Reject("is not JSON")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Reject("holds half a surrogate pair, which no text can")
        return text

    def list_sql(self, raw: str) -> str:
        return f"CASE WHEN list_has_all(['VARCHAR', 'NULL'], json_type({raw}, '$[*]')) THEN json_extract_string({raw}, '$[*]') END"


class Integer(ColumnType, frozen=True):
    duckdb: ClassVar[str] = "BIGINT"

    def sql(self, raw: str) -> str:
        text = _unquoted(raw)
        whole = f"TRY_CAST({text} AS BIGINT)"
        return f"CASE WHEN CAST({whole} AS VARCHAR) = {text} THEN {whole} END"

    def convert(self, raw: str) -> str:
        text = str(text_of(raw))
        if _INTEGER.fullmatch(text) and len(text) < 19:
            return text
        if raw[0] == '"':
            if not _INTEGER.fullmatch(text):
                raise Reject("is a text that is not exactly an integer")
        elif not _NUMBER.fullmatch(raw):
            raise Reject("is not a number")
        exact = _exact(text)
        if not exact:
            return "0"
        if exact != exact.to_integral_value():
            raise Reject("has a fraction")
        if exact.adjusted() > 18 or not -(2**63) <= int(exact) < 2**63:
            raise Reject("is too large for 64 bits")
        return str(int(exact))

    def list_sql(self, raw: str) -> str:
        whole = f"list_has_all(['BIGINT', 'UBIGINT', 'NULL'], json_type({raw}, '$[*]'))"
        texts = f"json_extract_string({raw}, '$[*]')"
        cast = f"TRY_CAST({texts} AS BIGINT[])"
        return f"CASE WHEN {whole} AND list_count({cast}) = list_count({texts}) THEN {cast} END"


class Number(ColumnType, frozen=True):
    duckdb: ClassVar[str] = "DOUBLE"

    list_forms: ClassVar[Sequence[str]] = ("DOUBLE", *ColumnType.list_forms)

    def sql(self, raw: str) -> str:
        cast = f"TRY_CAST({_unquoted(raw)} AS DOUBLE)"
        nearest = f"CASE WHEN {cast} = 0 THEN 0 ELSE {cast} END"
        is_number = f"{raw} BETWEEN '-' AND '9~' OR regexp_full_match({raw}, '{_QUOTE}{_NUMBER.pattern}{_QUOTE}')"
        return f"CASE WHEN ({is_number}) AND isfinite({cast}) THEN {nearest} END"

    def convert(self, raw: str) -> str:
        text = _number(raw)
        nearest = float(text)
        if nearest in (float("inf"), float("-inf")):
            raise Reject("is too large for a double")
        return repr(nearest or 0.0)


class Decimal(ColumnType, frozen=True):
    precision: int = 18
    scale: int = 3

    @property
    def duckdb(self) -> str:  # type: ignore[override]  # what the others know as a class, this one knows by its digits
        return f"DECIMAL({self.precision},{self.scale})"

    def sql(self, raw: str) -> str:
        before, after = self.precision - self.scale, self.scale
        whole = f"(0|[1-9][0-9]{{0,{before - 1}}})" if before else "0"
        part = f"(\\.[0-9]{{1,{after}}}0*)?" if after else "(\\.0+)?"
        text = _unquoted(raw)
        return f"CASE WHEN regexp_full_match({text}, '-?{whole}{part}') THEN TRY_CAST({text} AS {self.duckdb}) END"

    def convert(self, raw: str) -> str:
        exact = _exact(_number(raw))
        _, digits, exponent = exact.as_tuple()
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
        places = max(-int(exponent) - zeros, 0)
        if not exact:
            return "0"
        if places > self.scale:
            raise Reject(f"has {places} digits after the point, the type holds {self.scale}")
        if exact.adjusted() + 1 > self.precision - self.scale:
            raise Reject(f"is too large for {self.precision - self.scale} digits before the point")
        return f"{exact.quantize(Exact(1).scaleb(-self.scale), context=Context(prec=80)):f}"


class Boolean(ColumnType, frozen=True):
    duckdb: ClassVar[str] = "BOOLEAN"

    def sql(self, raw: str) -> str:
        return f"CASE {raw} WHEN 'true' THEN true WHEN 'false' THEN false END"

    def convert(self, raw: str) -> str:
        if raw not in ("true", "false"):
            raise Reject("is not true or false")
        return raw


class Timestamp(ColumnType, frozen=True):
    format: str = "iso"
    timezone: str | None = None
    duckdb: ClassVar[str] = "TIMESTAMPTZ"

    def sql(self, raw: str) -> str:
        if unit := times.UNITS.get(self.format):
            whole = Integer().sql(raw)
            within = f"({whole}) BETWEEN {times.FIRST // unit} AND {times.LAST // unit}"
            return f"CASE WHEN {within} THEN make_timestamptz(({whole}) * {unit}) END"
        if self.format != "iso":
            return "CAST(NULL AS TIMESTAMPTZ)"
        day, time = r"\d{4}-\d\d-\d\d", r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
        text = _unquoted(raw)
        with_offset = rf"regexp_full_match({raw}, '{_QUOTE}{day}[T ]{time}(Z|[+-](0\d|1[0-4]):?[0-5]\d){_QUOTE}')"
        plain = f"{raw} BETWEEN '{_QUOTE}0001-01-02' AND '{_QUOTE}9999-12-31'"  # no offset leads out of the years 1 to 9999
        readings = f"WHEN {plain} AND {with_offset} THEN TRY_CAST({text} AS TIMESTAMPTZ)"
        if self.timezone == "UTC":
            bare = f"regexp_full_match({raw}, '{_QUOTE}{day}[T ]{time}{_QUOTE}')"
            readings += f" WHEN {plain} AND {bare} THEN TRY_CAST({text} || 'Z' AS TIMESTAMPTZ)"
        return f"CASE {readings} END"

    def convert(self, raw: str) -> str:
        if raw[0] != '"' and not (self.format in times.UNITS and _NUMBER.fullmatch(raw)):
            raise Reject("is not a text" + (" or a number" if self.format in times.UNITS else "; name its `format` if it is an epoch"))
        try:
            return str(times.parse(str(text_of(raw)), self.format, ZoneInfo(self.timezone) if self.timezone else None))
        except ValueError as error:
            shown = str(error) if str(error).startswith(("is ", "has ")) else "is no instant of its format"
            raise Reject(shown) from None

    def literal(self, text: str) -> str:
        return f"make_timestamptz(CAST({text} AS BIGINT))"


class Date(ColumnType, frozen=True):
    format: str = "iso"
    duckdb: ClassVar[str] = "DATE"

    def sql(self, raw: str) -> str:
        if self.format != "iso":
            return "CAST(NULL AS DATE)"
        plain = f"{raw} >= '{_QUOTE}0001' AND " + rf"regexp_full_match({raw}, '{_QUOTE}\d{{4}}-\d\d-\d\d{_QUOTE}')"
        return f"CASE WHEN {plain} THEN TRY_CAST({_unquoted(raw)} AS DATE) END"

    def convert(self, raw: str) -> str:
        if raw[0] != '"':
            raise Reject("is not a text")
        try:
            return times.parse_date(str(text_of(raw)), self.format).isoformat()
        except ValueError as error:
            raise Reject(str(error) if str(error).startswith(("is ", "holds ")) else "is no day of its format") from None


class Json(ColumnType, frozen=True):
    duckdb: ClassVar[str] = "JSON"
    list_forms: ClassVar[Sequence[str]] = ("NULL",)

    def sql(self, raw: str) -> str:
        return f"CASE WHEN {raw} <> 'null' THEN CAST({raw} AS JSON) END"

    def convert(self, raw: str) -> str:
        if _ODD_IN_JSON.search(raw):
            try:
                json.dumps(json.loads(raw, object_pairs_hook=list), ensure_ascii=False).encode()
            except (ValueError, RecursionError):
                raise Reject("holds half a surrogate pair, or a raw control character, which JSON cannot") from None
        return raw


class List(ColumnType, frozen=True):
    of: ColumnType = field(default_factory=String)

    @property
    def duckdb(self) -> str:  # type: ignore[override]  # known by its element's type
        return f"{self.of.duckdb}[]"

    def sql(self, raw: str) -> str:
        return f"CASE WHEN prefix({raw}, '[') THEN {self.of.list_sql(raw)} END"

    def convert(self, raw: str) -> str:
        if raw[0] != "[":
            raise Reject("is not a list")
        canonical: list[str | None] = []
        for item in items(raw):
            try:
                canonical.append(None if item == "null" else self.of.convert(item))
            except Reject as reject:
                raise Reject(f"has an element, number {len(canonical) + 1}, that {reject}") from None
        return json.dumps(canonical)

    def literal(self, text: str) -> str:
        element = self.of.literal("element")
        return f"list_transform(from_json({text}, '[\"VARCHAR\"]'), lambda element: {element})"


def _number(raw: str) -> str:
    """The exact text of a JSON number, or of a JSON string that is one. Raises Reject."""
    text = str(text_of(raw))
    if raw[0] not in '"-0123456789' or not _NUMBER.fullmatch(text):
        raise Reject("is not a number")
    return text


def _exact(text: str) -> Exact:
    """A JSON number, exactly. Raises Reject where even its exponent is out of all bounds."""
    try:
        return Exact(text)
    except InvalidOperation:
        raise Reject("has an exponent out of all bounds") from None


PLAIN_TYPES: dict[str, type[ColumnType]] = {
    "string": String, "integer": Integer, "number": Number, "decimal": Decimal, "boolean": Boolean,
    "timestamp": Timestamp, "date": Date, "json": Json,
}  # fmt: skip
"""By the names that specs call them."""
