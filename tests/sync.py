"""What the end-to-end tests need: the product run as its users run it, one clock for both sides of the wire, and the
warehouse held against what the API sends.

`differences` knows from the documented facts of Desk.com's API where each column's value stands in a record. It never reads
the spec: otherwise a mistake in the spec would agree with itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from rest_syncer.engine.clock import Clock
from rest_syncer.engine.errors import SyncerError
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings
from rest_syncer.engine.show import remarks, summary_lines
from tests.ducks import opened
from tests.standins import desk_com
from tests.standins.desk_com import Answer, DeskCom, Server
from tests.standins.desk_com_data import encode

SPEC = Path(__file__).parents[1] / "specs" / "desk_com.yaml"
BASIC = {"email": desk_com.EMAIL, "password": desk_com.PASSWORD}
OAUTH = {
    "consumer_key": desk_com.CONSUMER_KEY,
    "consumer_secret": desk_com.CONSUMER_SECRET,
    "token": desk_com.TOKEN,
    "token_secret": desk_com.TOKEN_SECRET,
}
COLLECTIONS = ("cases", "customers", "users", "articles", "brands", "companies", "feedbacks")

Record = dict[str, Any]
Row = dict[str, Any]


# --- the two sides ------------------------------------------------------------------------------------------------


class Time(Clock):
    """One clock for the engine and for the stand-in. Who waits moves it, so nobody really waits."""

    def __init__(self, start: int = 1_600_000_000) -> None:
        self.start = start
        self.passed = 0.0
        self.waits: list[float] = []

    @property
    def now(self) -> float:
        return self.start + self.passed

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.passed

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed += seconds

    def dice(self) -> float:
        return 0.5

    def goes_on(self, *, hours: float = 0, days: float = 0, seconds: float = 0) -> None:
        self.passed += seconds + 3600 * hours + 86_400 * days

    @property
    def micros(self) -> int:
        return int(self.now * 1_000_000)


class Desk(DeskCom):
    """A stand-in that keeps the status of each answer, and lets a test step in before each request to the API is answered.

    `before` gets the target and may change the data, move the clock, or give the answer itself. Without a `date` no answer
    tells the API's time.
    """

    def __init__(self, *args: Any, before: Callable[[str], Answer | None] | None = None, date: bool = True, **sizes: Any) -> None:
        super().__init__(*args, **sizes)
        self.before, self.date = before, date
        self.statuses: list[int] = []

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        if target.startswith("/_control/"):
            return super().handle(method, target, headers, body)
        answer = self.before(target) if self.before else None
        if answer is None:
            answer = super().handle(method, target, headers, body)
        else:
            self.requests.append((method, target))
            answer = self._finished(answer, {})
        self.statuses.append(answer.status)
        if not self.date:
            del answer.headers["Date"]
        return answer

    def restore(self, collection: str, record: Record) -> None:
        """Put a record back that was deleted."""
        with self._lock:
            self._tables[collection].put([record])


@dataclass
class Result:
    """What a command gave back: its exit code, the document of --json, and what it told a person."""

    code: int
    summary: dict[str, Any]
    told: str

    def __getitem__(self, collection: str) -> dict[str, Any]:
        book: dict[str, Any] = self.summary["collections"][collection]
        return book

    def each(self, word: str) -> dict[str, Any]:
        """One number of the books, by collection."""
        return {name: book[word] for name, book in self.summary["collections"].items()}


@dataclass
class Project:
    """A folder with a hub and a warehouse, and the settings to reach a stand-in with."""

    folder: Path
    url: str
    settings: dict[str, str] = field(default_factory=lambda: dict(BASIC))
    spec: Path = SPEC
    clock: Clock | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables for the installed command."""

    @property
    def hub(self) -> Path:
        return self.folder / ".syncer" / "hub"

    @property
    def warehouse(self) -> Path:
        return self.folder / "desk_com.duckdb"

    def run(self, *select: str, **options: Any) -> Result:
        return self._in_process("run", select, options)

    def pull(self, *select: str, **options: Any) -> Result:
        return self._in_process("pull", select, options)

    def load(self, *select: str, **options: Any) -> Result:
        return self._in_process("load", select, options)

    def _in_process(self, verb: str, select: Sequence[str], options: Mapping[str, Any]) -> Result:
        """What the command does, in this process; a refusal comes back as it does from the command line."""
        given = {"hub": str(self.hub), "to": f"duckdb:{self.warehouse}", "select": tuple(select), **options}
        try:
            source = parsed(self.spec.read_text())
            flags = [f"{name}={value}" for name, value in ({"base_url": self.url} | self.settings).items()]
            settings = given_settings(source.spec, flags, directory=str(self.folder))
            summary = run(source, settings, Options(**given), verb, clock=self.clock)
        except SyncerError as error:
            return Result(error.exit_code, {}, str(error))
        code = 0 if summary.status == "complete" else 1
        return Result(code, summary.as_json(), "\n".join(summary_lines(source.spec.label, summary) + remarks(summary)))

    def cli(self, verb: str, *arguments: str) -> Result:
        """The installed command, in a process and an environment of its own."""
        done = subprocess.run(self.command(verb, *arguments), **self.surroundings(), capture_output=True, text=True, check=False)
        document = json.loads(done.stdout) if "--json" in arguments and done.stdout else {}
        return Result(done.returncode, document, done.stderr if document else done.stdout + done.stderr)

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(verb, *arguments), **self.surroundings(), **pipes, text=True)

    def command(self, verb: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "rest_syncer.cli", verb, str(self.spec), *arguments]

    def surroundings(self) -> dict[str, Any]:
        given = {f"SYNCER_DESK_COM_{name.upper()}": value for name, value in ({"base_url": self.url} | self.settings).items()}
        inherited = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        return {"cwd": self.folder, "env": inherited | given | {"TMPDIR": str(self.folder)} | self.environment}


parsed = cache(parse_spec)
"""A spec is read once: what reading it costs is not what these tests are about."""


def _is_ours(variable: str) -> bool:
    """Whether a variable of the environment could change what syncer does."""
    return variable.startswith("SYNCER_") or variable.lower().endswith("_proxy")


SMALL = {"cases": 60, "customers": 40, "users": 8, "articles": 12, "brands": 3, "companies": 14, "feedbacks": 20}


@dataclass
class Site:
    """A stand-in being served, and a project that reads it; both live in one time."""

    desk: Desk
    project: Project
    clock: Time

    def asked(self, part: str = "") -> list[str]:
        """The targets with this part in them that were asked for since the last call of `forget`."""
        return [target.removeprefix("/api/v2") for _, target in self.desk.requests if part in target]

    def forget(self) -> None:
        self.desk.reset_requests()
        self.desk.statuses.clear()


@contextmanager
def site(folder: Path, **how: Any) -> Iterator[Site]:
    """A small site, unless sizes are given. `ours` is the engine's clock, and the stand-in's unless it gets one as `clock`."""
    clock = how.pop("ours", None) or Time()
    desk = Desk(**{"clock": clock, "sleep": clock.sleep, **SMALL, **how})
    with Server(desk) as server:
        yield Site(desk, Project(folder, server.url, clock=clock), clock)


# --- the warehouse ------------------------------------------------------------------------------------------------


def query(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    with opened(warehouse) as con:
        return con.execute(sql).fetchall()


def rows(warehouse: Path, collection: str, schema: str = "desk_com") -> list[Row]:
    """All rows of a table in the order of their ids, deleted ones too; instants are microseconds."""
    with opened(warehouse) as con:
        where = f"WHERE database_name = 'w' AND schema_name = '{schema}' AND table_name = '{collection}'"
        types = dict(con.execute(f"SELECT column_name, data_type FROM duckdb_columns() {where} ORDER BY column_index").fetchall())
        if not types:
            return []
        columns = [f'epoch_us("{name}")' if kind.startswith("TIMESTAMP") else f'"{name}"' for name, kind in types.items()]
        found = con.execute(f"SELECT {', '.join(columns)} FROM w.{schema}.{collection} ORDER BY ALL").fetchall()
    return sorted((dict(zip(types, row, strict=True)) for row in found), key=lambda row: row["id"])


def everything(warehouse: Path, schema: str = "desk_com") -> dict[str, list[Row]]:
    """Every row of every collection's table."""
    return {name: rows(warehouse, name, schema) for name in COLLECTIONS}


def written_at(table: Sequence[Row], instant: int) -> set[int]:
    """The ids of the rows that were written at an instant (microseconds)."""
    return {row["id"] for row in table if row["_synced_at"] == instant}


# --- what the API says --------------------------------------------------------------------------------------------

Reading = Callable[[Record], Any]


def key(record: Record) -> int:
    """The official identifier: the last part of the self link."""
    return int(record["_links"]["self"]["href"].rpartition("/")[2])


def _plain(name: str) -> Reading:
    return lambda record: record.get(name)


def _instant(name: str) -> Reading:
    def micros(record: Record) -> int | None:
        text = record.get(name)
        return None if text is None else int(datetime.fromisoformat(text).timestamp()) * 1_000_000

    return micros


def _exact(name: str) -> Reading:
    """A JSON value as the stand-in wrote it: without spaces, nothing escaped that need not be."""
    return lambda record: encode(record[name]) if record.get(name) is not None else None


def _linked(relation: str, fallback: str = "") -> Reading:
    """A foreign key: what ends a link's href. Links may be missing, null, or hold no href."""

    def found(record: Record) -> int | None:
        link = record["_links"].get(relation) or {}
        if link.get("href"):
            return int(re.findall(r"/(\d+)$", link["href"])[0])
        value = record.get(fallback)
        return None if value is None else int(value)

    return found


def _table(
    plain: str = "", instants: str = "", exact: str = "", links: Mapping[str, str] | None = None, **other: Reading
) -> dict[str, Reading]:
    table: dict[str, Reading] = {"id": key}
    table |= {name: _plain(name) for name in plain.split()}
    table |= {name: _instant(name) for name in instants.split()}
    table |= {name: _exact(name) for name in exact.split()}
    table |= {name: _linked(relation) for name, relation in (links or {}).items()}
    return table | other


_CHANNELS = ("email", "chat", "web_callback", "twitter", "qna", "phone", "facebook")

TABLES: dict[str, dict[str, Reading]] = {
    "articles": _table(
        "subject position quickcode keywords body rating rating_count rating_score public_url in_support_center internal_notes "
        "locale available_locales " + " ".join(f"body_{channel} body_{channel}_auto" for channel in _CHANNELS),
        "publish_at created_at updated_at",
        links={"topic_id": "topic", "created_by_id": "created_by", "updated_by_id": "updated_by"},
    ),
    "brands": _table("name", "created_at updated_at"),
    "cases": _table(
        "external_id blurb subject priority description status type labels label_ids language suppress_rules route_status "
        "public_url active_notes_count active_attachments_count has_pending_interactions has_failed_interactions",
        "created_at updated_at changed_at active_at received_at locked_until first_opened_at opened_at first_resolved_at resolved_at",
        "custom_fields",
        {
            "customer_id": "customer",
            "assigned_user_id": "assigned_user",
            "assigned_group_id": "assigned_group",
            "locked_by_id": "locked_by",
        },
    ),
    "companies": _table("name domains external_id", "created_at updated_at", "custom_fields"),
    "customers": _table(
        "first_name last_name company title avatar uid external_id background language access_private_portal access_company_cases "
        "display_name company_name label_ids opportunity_value",
        "locked_until created_at updated_at",
        "emails phone_numbers addresses custom_fields",
        {
            "company_id": "company",
            "locked_by_id": "locked_by",
            "facebook_user_id": "facebook_user",
            "twitter_user_id": "twitter_user",
        },
    ),
    "users": _table("name public_name email email_verified avatar level available", "created_at updated_at current_login_at last_login_at"),
    "feedbacks": _table(
        "rating rating_type",
        "created_at updated_at",
        links={"customer_id": "customer", "reply_id": "reply"},
        additonal_feedback=_plain("additional_feedback"),
        user=_linked("user", "user"),
        case=_linked("case", "case"),
    ),
}
"""Of each table the columns, and where API.md says that their values stand in a record."""

ADDED = ("_synced_at", "_deleted_at", "_segment")


def differences(warehouse: Path, dump: Mapping[str, Sequence[Record]], schema: str = "desk_com") -> list[str]:
    """Where the tables are not what the API holds, a line each: every column of every record, no row too many, none twice.

    A row of a record that the API no longer has must be marked as deleted.
    """
    found: list[str] = []
    for name, records in dump.items():
        table = rows(warehouse, name, schema)
        if not table and records:
            found.append(f"{name}: no rows, the API has {len(records)}")
            continue
        if table and (wrong := set(table[0]) ^ {*TABLES[name], *ADDED}):
            found.append(f"{name}: columns too many or missing: {sorted(wrong)}")
            continue
        found += _row_differences(name, table, records)
    return found


def _row_differences(name: str, table: Sequence[Row], records: Sequence[Record]) -> Iterator[str]:
    wanted = {key(record): record for record in records}
    there: dict[int, Row] = {}
    for row in table:
        if row["id"] in there:
            yield f"{name} {row['id']}: more than one row"
        there[row["id"]] = row
    for number in sorted(there.keys() - wanted.keys()):
        if there[number]["_deleted_at"] is None:
            yield f"{name} {number}: not marked as deleted, the API has no such record"
    for number, record in wanted.items():
        if number not in there:
            yield f"{name} {number}: no row"
            continue
        row = there[number]
        if row["_deleted_at"] is not None:
            yield f"{name} {number}: marked as deleted, the API has it"
        for column, reading in TABLES[name].items():
            sent = reading(record)
            if type(row[column]) is not type(sent) or row[column] != sent:
                yield f"{name} {number} {column}: the row has {_short(row[column])}, the API sent {_short(sent)}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:80]}... ({len(shown)} characters)"
