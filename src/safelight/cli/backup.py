"""`safelight records backup` and `restore`: all records in one file, for either database."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from safelight.cli.records_access import State, Url, database_address, open_records
from safelight.units import counted, size

if TYPE_CHECKING:  # slow to import: only the commands that need it do so
    from safelight.records.backup import Copied

File = Annotated[Path, typer.Argument(help="The backup file.", show_default=False)]


def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Write all records, ratings and samples to one file. Services can run meanwhile.

    The file also has the salt of the hashes, and prompts if they are stored: keep it private.

    Examples:

        safelight records backup monday.db
        safelight records backup monday.db --records-url postgresql://safelight@db/safelight
    """
    with open_records(records_url, state_folder) as database:
        from safelight.records.backup import back_up

        with _progress("writing") as progress:
            copied = back_up(database, file, progress, force=force)
    print(f"{file}: {_summary(copied)}")


def restore(file: File, records_url: Url = None, state_folder: State = None) -> None:
    """Copy a backup into a database without records, also of the other kind. Stop services first.

    A failed or interrupted restore changes nothing.

    Examples:

        safelight records restore monday.db
        safelight records restore monday.db --records-url postgresql://safelight@db/safelight
    """
    address = database_address(records_url, state_folder)
    from safelight.records.backup import restore as restore_backup
    from safelight.records.database import translate_errors
    from safelight.records.engines import safe_url

    with translate_errors(address), _progress("restoring") as progress:
        copied = restore_backup(file, address, progress)
    print(f"{safe_url(address)} has the records of {file}: {_summary(copied)}")


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[int, int], None]]:
    """Show the copied rows on a terminal. SIGTERM ends the copy as Ctrl-C does."""
    interrupted = False

    def interrupt(*_: object) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    out = Console(stderr=True)
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(verb, total=None)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        except Exception:
            if interrupted:  # PostgreSQL's driver may report it as a cancelled statement
                raise KeyboardInterrupt from None
            raise


def _summary(copied: "Copied") -> str:
    rows = ", ".join(counted(count, name.removesuffix("s")) for name, count in copied.rows.items())
    return f"{rows}; {size(copied.bytes)}"
