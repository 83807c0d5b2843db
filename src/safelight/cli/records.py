"""`safelight records`: the database of finished requests: brought up to date, shown, emptied."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from safelight.cli.options import console
from safelight.cli.records_access import AsJson, Service, Since, State, Url, archive
from safelight.cli.times import SPANS, ago
from safelight.units import size

records = typer.Typer(help="The database of finished requests, their ratings and samples.")


@records.command()
def upgrade(records_url: Url = None, state_folder: State = None) -> None:
    """Make the tables, or bring them up to date. A service does so by itself when it starts.

    Example:

        safelight records upgrade --records-url postgresql://safelight@db/safelight
    """
    with archive(records_url, state_folder, migrate=True) as database:
        place = database.engine.url.render_as_string(hide_password=True)
        print(f"The records at {place} are up to date.")


@records.command()
def info(records_url: Url = None, state_folder: State = None, as_json: AsJson = False) -> None:
    """Say what the records hold, and how well ratings and scores agree.

    Example:

        safelight records info
    """
    with archive(records_url, state_folder) as database:
        from safelight.diagnosis.radar import radar
        from safelight.records.queries import remembered
        from safelight.records.retention import info as holds

        held, found = holds(database), radar(remembered(database))
        place = database.engine.url.render_as_string(hide_password=True)
    if as_json:
        import orjson

        told = {"place": place, **held.as_dict(), "agreement": found.as_dict()["agreement"]}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table(title=f"Records at {place}", title_justify="left")
    table.add_column("what")
    table.add_column("how much", justify="right")
    for name, count in held.rows.items():
        table.add_row(name, str(count))
    table.add_row("size", size(held.bytes))
    table.add_row("oldest", _when(held.oldest))
    table.add_row("newest", _when(held.newest))
    agreed = found.agreement
    shown = (
        f"{agreed.value:+.2f} ({agreed.low:+.2f} to {agreed.high:+.2f})" if agreed else "too few"
    )
    table.add_row(f"rating and score agree, of {found.rated}", shown)
    console().print(table)


@records.command()
def export(
    since: Since = "30d",
    service: Service = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Print every request as a line of JSON, with what was found of it and its rating.

    Example:

        safelight records export --since 7d > week.jsonl
    """
    begun = ago(since)
    with archive(records_url, state_folder) as database:
        import orjson

        from safelight.records.queries import everything

        for row in everything(database, begun, service):
            sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
        sys.stdout.buffer.flush()


@records.command()
def purge(
    older_than: Annotated[str, typer.Option(help=f"Age from which on, such as {SPANS}.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Delete records that are older than this, with their ratings and samples.

    Example:

        safelight records purge --older-than 7d
    """
    before = ago(older_than)
    if not yes and not typer.confirm(f"Delete all records from before {_when(before)}?"):
        print("Nothing deleted.")
        return
    with archive(records_url, state_folder):
        pass  # none is made where there is none
    with archive(records_url, state_folder, migrate=True) as database:
        from safelight.records.retention import purge as empty

        print(f"{empty(database, before)} rows deleted.")


def _when(seconds: float | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds else "none"
