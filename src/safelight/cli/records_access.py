"""Options and helpers of the commands that read the records."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from safelight.cli.options import setting_option
from safelight.cli.times import SPANS, parse_age
from safelight.diagnosis.radar import Radar
from safelight.diagnosis.tradeoff import Tradeoff
from safelight.errors import BadSetting, RecordsUnusable
from safelight.records.config import records_url
from safelight.records.rows import AssessedRequest
from safelight.settings import load

if TYPE_CHECKING:  # slow to import: only the commands that need it do so
    from safelight.records.database import Database

_MAX_NAMES = 20

Result = TypeVar("Result", Radar, Tradeoff)
Url = Annotated[str | None, setting_option("records_url")]
State = Annotated[Path | None, setting_option("state_folder")]
Since = Annotated[str, typer.Option(help=f"How far back, such as {SPANS}.")]
Service = Annotated[str | None, typer.Option(help="Only the service of this namespace.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Svg = Annotated[Path | None, typer.Option(help="Also write a chart to this SVG file.")]


@contextmanager
def open_records(
    url: str | None, state: Path | None, *, migrate: bool = False
) -> Iterator["Database"]:
    """Open the records until the block ends.

    Raises RecordsUnusable, or BadSetting if records are disabled.
    """
    address = database_address(url, state)
    from safelight.records.database import open_database, translate_errors

    with translate_errors(address):
        database = open_database(address, migrate=migrate)
        try:
            yield database
        finally:
            database.close()


def database_address(url: str | None, state: Path | None) -> str:
    """Return the URL of the records. Raises BadSetting if records are disabled."""
    address = records_url(load(records_url=url, state_folder=state))
    if not address:
        raise BadSetting("Records are disabled: SAFELIGHT_RECORDS_URL is empty.")
    return address


def read_requests(
    url: str | None, state: Path | None, since: str, service: str | None
) -> list[AssessedRequest]:
    """Return the requests of a service since a time. Raises RecordsUnusable, BadSetting."""
    start = parse_age(since)
    with open_records(url, state) as database:
        from safelight.records.queries import read_requests as query_requests

        requests = query_requests(database, start, service)
        if service is not None and not requests:
            _check_service(database, service)
        return requests


def _check_service(database: "Database", service: str) -> None:
    """Raise RecordsUnusable with the known names if the records have no such service."""
    from sqlalchemy import select

    from safelight.records.schema import REQUESTS

    with database.engine.connect() as connection:
        names = connection.execute(select(REQUESTS.c.namespace).distinct()).scalars().all()
    if service not in names:
        listed = ", ".join(sorted(names)[:_MAX_NAMES]) or "no requests yet"
        raise RecordsUnusable(f"The records have no service {service[:60]!r}; they have {listed}.")


def write_outputs(
    result: Result, svg: Path | None, to_svg: Callable[[Result], str], *, as_json: bool
) -> bool:
    """Write the SVG file and print JSON if requested. Return True if JSON was printed."""
    if svg is not None:
        write_file(svg, to_svg(result))
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result.as_dict(), option=orjson.OPT_INDENT_2).decode())
    return as_json


def check_writable(file: Path | None) -> None:
    """Raise BadSetting if a file cannot be written. Call it before the long work."""
    if file is None:
        return
    target = file if file.exists() else file.parent
    problems = (
        (errno.ENOENT, not target.exists()),
        (errno.ENOTDIR, target != file and not target.is_dir()),
        (errno.EISDIR, file.is_dir()),
        (errno.EACCES, not os.access(target, os.W_OK)),
    )
    for number, applies in problems:
        if applies:
            raise BadSetting(f"{file} cannot be written: {os.strerror(number)}.")


def write_file(file: Path, text: str) -> None:
    """Write a text file. Raises BadSetting with the reason."""
    try:
        file.write_text(text)
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror}.") from None
