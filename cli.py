"""The command line: each verb reads its flags, calls one engine function, and shows what that returns.

On stdout stands the result (with --json one document and nothing else); progress and errors stand on stderr. Exit codes:
0 complete, 1 failed or incomplete, 2 a mistake in the command, the settings or the spec.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from .engine.errors import INTERRUPTED, SyncerError, UsageError

if TYPE_CHECKING:
    from .engine.parse import Source
    from .engine.run import Options
    from .engine.schedule import Schedule

app = typer.Typer(
    name="syncer",
    help="REST APIs into a warehouse, from one YAML spec each, without losing a record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="The spec's YAML file.")]
Specs = Annotated[list[str], typer.Argument(metavar="SPEC...", help="The specs' YAML files.")]
Hub = Annotated[str, typer.Option("--hub", metavar="DIR", help="The folder of the hub.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="URL", help="The warehouse, duckdb:PATH or postgresql://HOST/DB.  [default: duckdb:<name>.duckdb]"),
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Give a setting; may be repeated.")]
Select = Annotated[str | None, typer.Option("--select", metavar="A,B", help="Only these collections.")]
Schema = Annotated[str | None, typer.Option("--schema", metavar="NAME", help="The warehouse's schema.  [default: <name>]")]
Full = Annotated[bool, typer.Option("--full", help="Begin a complete pass over every collection.")]
AllowDeletes = Annotated[bool, typer.Option("--allow-deletes", help="Mark as deleted however many rows are gone from the source.")]
SameAccount = Annotated[bool, typer.Option("--same-account", help="The hub's account has moved: it is the same one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]

PullEvery = Annotated[str | None, typer.Option("--pull-every", metavar="WHEN", help="How often to pull: 3h, or as cron says it.")]
LoadEvery = Annotated[str | None, typer.Option("--load-every", metavar="WHEN", help="How often to load: 1h, or as cron says it.")]

DEFAULT_HUB = ".syncer/hub"


@app.command()
def run(
    spec: Spec,
    to: To = None,
    hub: Hub = DEFAULT_HUB,
    set_: Set = None,
    select: Select = None,
    schema: Schema = None,
    full: Full = False,
    same_account: SameAccount = False,
    allow_deletes: AllowDeletes = False,
    as_json: AsJson = False,
) -> None:
    """Pull what changed into the hub, and load it into the warehouse."""
    _carry_out(spec, set_, _options(hub, to, schema, select, full, same_account, allow_deletes), "run", as_json)


@app.command()
def pull(
    spec: Spec,
    hub: Hub = DEFAULT_HUB,
    set_: Set = None,
    select: Select = None,
    full: Full = False,
    same_account: SameAccount = False,
    as_json: AsJson = False,
) -> None:
    """Pull what changed into the hub: the source run alone."""
    _carry_out(spec, set_, _options(hub, None, None, select, full, same_account), "pull", as_json)


@app.command()
def load(
    spec: Spec,
    to: To = None,
    hub: Hub = DEFAULT_HUB,
    set_: Set = None,
    select: Select = None,
    schema: Schema = None,
    allow_deletes: AllowDeletes = False,
    as_json: AsJson = False,
) -> None:
    """Load what the hub holds into the warehouse, without any request: the warehouse run alone."""
    _carry_out(spec, set_, _options(hub, to, schema, select, allow_deletes=allow_deletes), "load", as_json)


@app.command()
def replay(
    spec: Spec,
    to: To = None,
    hub: Hub = DEFAULT_HUB,
    set_: Set = None,
    select: Select = None,
    schema: Schema = None,
    allow_deletes: AllowDeletes = False,
    as_json: AsJson = False,
) -> None:
    """Make all rows right by what the hub holds, without any request: each table at once, in one transaction."""
    _carry_out(spec, set_, _options(hub, to, schema, select, allow_deletes=allow_deletes), "replay", as_json)


@app.command()
def validate(specs: Specs) -> None:
    """Check specs, and tell all their mistakes at once."""
    from .engine.parse import read_spec

    wrong = 0
    for file in specs:
        try:
            source = read_spec(file)
        except UsageError as error:
            wrong += 1
            typer.echo(str(error), err=True)
            continue
        properties = sum(len(collection.properties) for collection in source.spec.collections.values())
        typer.echo(f"{file}: {source.spec.label}, {len(source.spec.collections)} collections, {properties} properties")
    if wrong:
        raise typer.Exit(2)


@app.command()
def serve(
    specs: Specs,
    to: To = None,
    hub: Hub = DEFAULT_HUB,
    set_: Set = None,
    pull_every: PullEvery = None,
    load_every: LoadEvery = None,
) -> None:
    """Keep sources fresh: pull and load each whenever that is due, until SIGTERM or ctrl-C."""
    from .engine.clock import Clock
    from .engine.serve import Processes, Served, Server

    with _told(), Processes() as hands:
        options = _options(hub, to)
        flags = tuple(word for one in set_ or [] for word in ("--set", one))
        served = [Served(source, schedule, options, flags) for source, schedule in _scheduled(specs, pull_every, load_every)]
        server = Server(served, hands, Clock(), lambda line: typer.echo(f"{_time()} {line}", err=True))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        server.serve()


@app.command()
def schedule(
    specs: Specs,
    as_: Annotated[str, typer.Option("--print", metavar="cron|systemd", help="For which scheduler.")],
    to: To = None,
    hub: Hub = DEFAULT_HUB,
    pull_every: PullEvery = None,
    load_every: LoadEvery = None,
) -> None:
    """Print what another scheduler needs to know to pull and load sources: a crontab's lines, or systemd's units."""
    from .engine.serve import jobs
    from .engine.timers import FORMS

    with _told():
        if as_ not in FORMS:
            raise UsageError(f"--print {as_}: is not known; write {' or '.join(FORMS)}")
        text = FORMS[as_](jobs(_scheduled(specs, pull_every, load_every), _options(hub, to), Path.cwd()))
    typer.echo(text, nl=False)


def _scheduled(specs: list[str], pull_every: str | None, load_every: str | None) -> list[tuple[Source, Schedule]]:
    """Sources, and their schedules as the flags have them, or else the specs."""
    from msgspec.structs import replace

    from .engine.parse import read_spec
    from .engine.schedule import When

    given: list[When | None] = []
    for flag, text in (("--pull-every", pull_every), ("--load-every", load_every)):
        try:
            given.append(When.parse(text) if text is not None else None)
        except ValueError as error:
            raise UsageError(f"{flag}: {error}") from None
    pull, load = given
    sources = [read_spec(file) for file in specs]
    names = [source.spec.name.text for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two specs are named {', '.join(twice)}, and would share a hub; name each differently")
    known = [(source, source.spec.schedule) for source in sources]
    return [(source, replace(one, pull=pull or one.pull, load=load or one.load)) for source, one in known]


def _time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.command()
def status(spec: Spec, hub: Hub = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """Show what the hub holds of each collection, and where the next pull goes on."""
    from .engine.look import status as look
    from .engine.parse import read_spec
    from .engine.show import status_lines

    with _told():
        found = look(read_spec(spec), _options(hub))
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(status_lines(found)))


@app.command()
def rejects(
    spec: Spec,
    to: To = None,
    select: Select = None,
    schema: Schema = None,
    as_json: AsJson = False,
) -> None:
    """Show the values that do not fit their types, and what the spec could say instead."""
    from .engine.look import rejects as look
    from .engine.parse import read_spec
    from .engine.show import rejects_lines

    with _told():
        found = look(read_spec(spec), _options(DEFAULT_HUB, to, schema, select))
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(rejects_lines(found)))


@app.command()
def drift(
    spec: Spec,
    hub: Hub = DEFAULT_HUB,
    select: Select = None,
    apply: Annotated[bool, typer.Option("--apply", help="Add the proposed properties to the spec's file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which fields the API sends that the spec does not name, from what the hub holds, and a patch that names them."""
    from .engine.look import drift as look
    from .engine.parse import add_properties, read_spec
    from .engine.show import drift_document, drift_lines

    with _told():
        source = read_spec(spec)
        found = look(source, _options(hub, select=select))
        typer.echo(json.dumps(drift_document(found), indent=2) if as_json else "\n".join(drift_lines(found)))
        proposed = {name: one.proposed() for name, one in found.items()}
        if apply and (number := sum(map(len, proposed.values()))):
            add_properties(spec, proposed)
            typer.echo(f"{spec}: {number} properties were added; `syncer load {spec}` fills them from the hub", err=True)


class _ShowFirst(typer.core.TyperGroup):
    """`syncer hub SPEC` is `syncer hub show SPEC`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["show", *args]
        return super().parse_args(ctx, args)


hub_app = typer.Typer(cls=_ShowFirst, help="Look after the hub: `syncer hub SPEC` shows how large it is.", no_args_is_help=True)
app.add_typer(hub_app, name="hub")


@hub_app.command("show")
def hub_show(spec: Spec, hub: Hub = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """Show how large the hub is, and how old what it holds."""
    from .engine.look import holdings
    from .engine.parse import read_spec
    from .engine.show import holdings_lines

    with _told():
        found = holdings(read_spec(spec), _options(hub))
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(holdings_lines(found)))


@hub_app.command("verify")
def hub_verify(spec: Spec, hub: Hub = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """Read every byte of the hub, and name what is not as it was written. What a restored file held is loaded again."""
    from .engine.look import verify
    from .engine.parse import read_spec

    with _told():
        segments, found = verify(read_spec(spec), _options(hub))
    if as_json:
        typer.echo(json.dumps({"segments": segments, "damaged": [{"what": one.what, "why": one.why} for one in found]}, indent=2))
    else:
        typer.echo("\n".join([*map(str, found), f"{segments:,} segments are whole" + (f", {len(found):,} damages" if found else "")]))
    if found:
        typer.echo("restore these files from a back-up and verify again, or let the next pull ask for what they held", err=True)
        raise typer.Exit(1)


@hub_app.command("compact")
def hub_compact(spec: Spec, hub: Hub = DEFAULT_HUB, select: Select = None, as_json: AsJson = False) -> None:
    """Thin the hub as the spec's `keep` says: versions of records that newer ones have replaced go."""
    from msgspec.structs import asdict

    from .engine.clock import Clock
    from .engine.compact import compact
    from .engine.parse import read_spec
    from .engine.show import compacted_lines

    with _told():
        done = compact(read_spec(spec), _options(hub, select=select), Clock())
    typer.echo(json.dumps({name: asdict(one) for name, one in done.items()}, indent=2) if as_json else "\n".join(compacted_lines(done)))


@hub_app.command("forget")
def hub_forget(
    spec: Spec,
    warehouse: Annotated[str, typer.Argument(metavar="WAREHOUSE", help="Its id, as `syncer hub` shows it.")],
    hub: Hub = DEFAULT_HUB,
) -> None:
    """Let compaction no longer wait for what a warehouse has not loaded: it is gone for good."""
    from .engine.look import forget
    from .engine.parse import read_spec

    with _told():
        forget(read_spec(spec), _options(hub), warehouse)
    typer.echo(f"{warehouse}: is forgotten")


@hub_app.command("record")
def hub_record(
    spec: Spec, place: Annotated[str, typer.Argument(metavar="PLACE", help="What stands in a row's _segment.")], hub: Hub = DEFAULT_HUB
) -> None:
    """Print the exact record that a row was made of, as the API sent it."""
    from .engine.look import record
    from .engine.parse import read_spec

    with _told():
        data, there = record(read_spec(spec), _options(hub), place)
    if there != place:
        typer.echo(f"{place}: was thinned; the newest version of this record is {there}", err=True)
    typer.echo(data)


@app.command()
def schema(
    check: Annotated[str | None, typer.Option("--check", metavar="FILE", help="Compare with a file instead.")] = None,
    reference: Annotated[bool, typer.Option("--reference", help="The reference for people, in Markdown, instead.")] = False,
) -> None:
    """Print the JSON Schema of specs, or check that a file still holds it."""
    from .engine.reference import reference as reference_text
    from .engine.schema import spec_schema

    document = reference_text() if reference else json.dumps(spec_schema(), indent=2) + "\n"
    if check is None:
        typer.echo(document, nl=False)
        return
    command = "syncer schema --reference" if reference else "syncer schema"
    with _told():
        try:
            known = Path(check).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{check}: cannot be read ({error.strerror}); write it with `{command} > {check}`") from None
        if known != document:
            raise UsageError(f"{check}: is not what the code says; write it anew with `{command} > {check}`")
    typer.echo(f"{check}: up to date")


def _options(
    hub: str,
    to: str | None = None,
    schema: str | None = None,
    select: str | None = None,
    full: bool = False,
    same_account: bool = False,
    allow_deletes: bool = False,
) -> Options:
    from .engine.run import Options

    names = () if select is None else tuple(name.strip() for name in select.split(",") if name.strip()) or ("",)
    return Options(hub, to, schema, names, full, same_account, allow_deletes)


def _carry_out(spec: str, given: list[str] | None, options: Options, verb: str, as_json: bool) -> None:
    with _told(as_json):
        signal.signal(signal.SIGTERM, _as_interrupt)
        from .engine.parse import read_spec
        from .engine.run import run as carry_out
        from .engine.settings import given_settings
        from .engine.show import progress, remarks, summary_lines

        source = read_spec(spec)
        settings = given_settings(source.spec, given or [])
        with progress() as observer:
            summary = carry_out(source, settings, options, verb, observer)
    typer.echo(json.dumps(summary.as_json(), indent=2) if as_json else "\n".join(summary_lines(source.spec.label, summary)))
    for remark in remarks(summary):
        typer.echo(remark, err=True)
    if summary.status != "complete":
        raise typer.Exit(1)


@contextmanager
def _told(as_json: bool = False) -> Iterator[None]:
    """What a user can cause is told in a sentence, never as a traceback; with --json in a document too."""
    try:
        yield
    except SyncerError as error:
        sentence, code = str(error), error.exit_code
    except KeyboardInterrupt:
        sentence, code = INTERRUPTED, 1
    else:
        return
    if as_json:
        typer.echo(json.dumps({"run": None, "status": "failed", "collections": {}, "error": sentence}, indent=2))
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _as_interrupt(number: int, frame: object) -> None:
    """A polite kill is an interruption: what is in hand is finished and kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()
