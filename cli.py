"""The command line: each verb reads its flags, calls one engine function, and shows what that returns.

On stdout stands the result (with --json one document and nothing else); progress and errors stand on stderr. Exit codes:
0 complete, 1 failed or incomplete, 2 a mistake in the command, the settings or the spec.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from .engine.errors import INTERRUPTED, SyncerError, UsageError

if TYPE_CHECKING:
    from .engine.run import Options

app = typer.Typer(
    name="syncer",
    help="REST APIs into a warehouse, from one YAML spec each, without losing a record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="The spec's YAML file.")]
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
    _carry_out(spec, set_, _options(hub, to, schema, select, full, same_account, allow_deletes), ("pull", "load"), as_json)


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
    _carry_out(spec, set_, _options(hub, None, None, select, full, same_account), ("pull",), as_json)


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
    _carry_out(spec, set_, _options(hub, to, schema, select, allow_deletes=allow_deletes), ("load",), as_json)


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
    """Make all rows anew from what the hub holds, without any request: each table at once, in one transaction."""
    _carry_out(spec, set_, _options(hub, to, schema, select, allow_deletes=allow_deletes), ("replay",), as_json)


@app.command()
def validate(specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="The specs' YAML files.")]) -> None:
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
def status(spec: Spec, hub: Hub = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """Show what the hub holds of each collection, and where the next pull goes on."""
    from .engine.parse import read_spec
    from .engine.run import status as look
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
    from .engine.parse import read_spec
    from .engine.run import rejects as look
    from .engine.show import rejects_lines

    with _told():
        found = look(read_spec(spec), _options(DEFAULT_HUB, to, schema, select))
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(rejects_lines(found)))


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
    from .engine.parse import read_spec
    from .engine.run import holdings
    from .engine.show import holdings_lines

    with _told():
        found = holdings(read_spec(spec), _options(hub))
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(holdings_lines(found)))


@hub_app.command("verify")
def hub_verify(spec: Spec, hub: Hub = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """Read every byte of the hub, and name what is not as it was written. What a restored file held is loaded again."""
    from .engine.parse import read_spec
    from .engine.run import verify

    with _told():
        segments, found = verify(read_spec(spec), _options(hub))
    if as_json:
        typer.echo(json.dumps({"segments": segments, "damaged": [{"what": one.what, "why": one.why} for one in found]}, indent=2))
    else:
        typer.echo("\n".join([*map(str, found), f"{segments:,} segments are whole" + (f", {len(found):,} damages" if found else "")]))
    if found:
        typer.echo("restore these files from a back-up and verify again, or let the next pull ask for what they held", err=True)
        raise typer.Exit(1)


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


def _carry_out(spec: str, given: list[str] | None, options: Options, halves: Sequence[str], as_json: bool) -> None:
    with _told(as_json):
        signal.signal(signal.SIGTERM, _as_interrupt)
        from .engine.parse import read_spec
        from .engine.run import run as carry_out
        from .engine.settings import given_settings
        from .engine.show import progress, remarks, summary_lines

        source = read_spec(spec)
        settings = given_settings(source.spec, given or [])
        with progress() as observer:
            summary = carry_out(source, settings, options, halves, observer)
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
