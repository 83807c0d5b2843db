"""`safelight records`: create tables, summarise, export, delete and back up records."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from safelight.cli.backup import backup, restore
from safelight.cli.options import console
from safelight.cli.records_access import AsJson, Service, Since, State, Url, open_records
from safelight.cli.times import SPANS, parse_age
from safelight.units import counted, size

records = typer.Typer(help="Manage the database of finished requests, their ratings and samples.")


@records.command()
def upgrade(records_url: Url = None, state_folder: State = None) -> None:
    """Create or upgrade the tables. A service also does this when it starts.

    Example:

        safelight records upgrade --records-url postgresql://safelight@db/safelight
    """
    with open_records(records_url, state_folder, migrate=True) as database:
        address = database.engine.url.render_as_string(hide_password=True)
        print(f"The records at {address} are up to date.")


@records.command()
def info(records_url: Url = None, state_folder: State = None, as_json: AsJson = False) -> None:
    """Print row counts, size and age of the records, and the correlation of ratings and scores.

    Example:

        safelight records info
    """
    with open_records(records_url, state_folder) as database:
        from safelight.diagnosis.radar import radar
        from safelight.records.queries import read_requests
        from safelight.records.retention import info as database_info

        contents, ratings = database_info(database), radar(read_requests(database))
        address = database.engine.url.render_as_string(hide_password=True)
    if as_json:
        import orjson

        document = {"place": address, **asdict(contents), "agreement": ratings.agreement}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table(title=f"Records at {address}", title_justify="left")
    table.add_column("item")
    table.add_column("value", justify="right")
    for name, count in contents.rows.items():
        table.add_row(name, str(count))
    table.add_row("size", size(contents.bytes))
    table.add_row("oldest", _date(contents.oldest))
    table.add_row("newest", _date(contents.newest))
    r = ratings.agreement
    correlation = f"{r.value:+.2f} ({r.low:+.2f} to {r.high:+.2f})" if r else "too few"
    table.add_row(f"correlation of rating and score, of {ratings.rated}", correlation)
    console().print(table)


@records.command()
def export(
    since: Since = "30d",
    service: Service = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Print every request as a line of JSON, with its assessment and rating.

    Example:

        safelight records export --since 7d > week.jsonl
    """
    start = parse_age(since)
    with open_records(records_url, state_folder) as database:
        import orjson

        from safelight.records.queries import export_rows

        for row in export_rows(database, start, service):
            sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
        sys.stdout.buffer.flush()


@records.command()
def purge(
    older_than: Annotated[
        str, typer.Option(help=f"Age of the records to delete, such as {SPANS}.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Delete records older than an age, with their ratings and samples.

    Example:

        safelight records purge --older-than 7d
    """
    before = parse_age(older_than)
    with open_records(records_url, state_folder) as database:  # `migrate` would create one
        place = database.engine.url.render_as_string(hide_password=True)
    question = f"Delete all records of {place} from before {_date(before)}?"
    if not yes and not typer.confirm(question):
        print("Nothing deleted.")
        return
    with open_records(records_url, state_folder, migrate=True) as database:
        from safelight.records.retention import purge as purge_database

        print(f"{counted(purge_database(database, before), 'row')} deleted.")


records.command()(backup)
records.command()(restore)


def _date(seconds: float | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds else "none"
