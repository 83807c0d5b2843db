"""How commands open the records, read only, and hand over what they conclude from them."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from safelight.cli.options import knob
from safelight.cli.times import SPANS, ago
from safelight.diagnosis.radar import Radar
from safelight.diagnosis.tradeoff import Tradeoff
from safelight.errors import BadSetting, RecordsUnusable
from safelight.records.config import records_url
from safelight.records.rows import Remembered
from safelight.settings import load

if TYPE_CHECKING:  # heavy: loaded by the commands that need it
    from safelight.records.database import Database

_MOST_NAMES = 20

Found = TypeVar("Found", Radar, Tradeoff)
Url = Annotated[str | None, knob("records_url")]
State = Annotated[Path | None, knob("state_folder")]
Since = Annotated[str, typer.Option(help=f"How far back, such as {SPANS}.")]
Service = Annotated[str | None, typer.Option(help="Only the service of this namespace.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Svg = Annotated[Path | None, typer.Option(help="Also draw it into this SVG file.")]


@contextmanager
def archive(url: str | None, state: Path | None, *, migrate: bool = False) -> Iterator["Database"]:
    """Open the records until the block ends.

    Raises RecordsUnusable, or BadSetting where none are kept.
    """
    address = records_url(load(records_url=url, state_folder=state))
    if not address:
        raise BadSetting("No records are kept: SAFELIGHT_RECORDS_URL is empty.")
    from safelight.records.database import explained, open_database

    with explained(address):
        database = open_database(address, migrate=migrate)
        try:
            yield database
        finally:
            database.close()


def read(url: str | None, state: Path | None, since: str, service: str | None) -> list[Remembered]:
    """Return the requests of that time and service.

    Raises RecordsUnusable, saying which services there are, where they know none of the name.
    """
    begun = ago(since)
    with archive(url, state) as database:
        from safelight.records.queries import remembered

        found = remembered(database, begun, service)
        if service is not None and not found:
            _refuse_stranger(database, service)
        return found


def _refuse_stranger(database: "Database", service: str) -> None:
    from sqlalchemy import select

    from safelight.records.schema import REQUESTS

    with database.engine.connect() as connection:
        known = connection.execute(select(REQUESTS.c.namespace).distinct()).scalars().all()
    if service not in known:
        names = ", ".join(sorted(known)[:_MOST_NAMES]) or "no request yet"
        raise RecordsUnusable(f"The records know no service {service[:60]!r}; they have {names}.")


def handed_over(
    found: Found, svg: Path | None, drawn: Callable[[Found], str], *, as_json: bool
) -> bool:
    """Draw what was found into a file and print it as JSON, where asked; tell if it is told."""
    if svg is not None:
        write(svg, drawn(found))
    if as_json:
        import orjson

        typer.echo(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2).decode())
    return as_json


def refuse_unwritable(file: Path | None) -> None:
    """Raise BadSetting where a file could not be written: before the work, not after it."""
    if file is None:
        return
    place = file if file.exists() else file.parent
    wrongs = (
        (errno.ENOENT, not place.exists()),
        (errno.ENOTDIR, place != file and not place.is_dir()),
        (errno.EISDIR, file.is_dir()),
        (errno.EACCES, not os.access(place, os.W_OK)),
    )
    for number, wrong in wrongs:
        if wrong:
            raise BadSetting(f"{file} cannot be written: {os.strerror(number)}.")


def write(file: Path, text: str) -> None:
    """Write a file. Raises BadSetting, saying why it cannot be."""
    try:
        file.write_text(text)
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror}.") from None
