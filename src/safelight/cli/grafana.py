"""`safelight grafana`: boards into a running Grafana, and out of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer

from safelight.cli.options import address, knob
from safelight.settings import load
from safelight.stack.files.folder import write
from safelight.stack.files.grafana import board_files
from safelight.stack.tools.remote import TIMEOUT_SECONDS, Board, Grafana, read_boards, read_token

grafana = typer.Typer(help="Boards into a running Grafana, and out of it, by its HTTP API.")

Url = Annotated[str, typer.Option(help="Address of Grafana, with its path if it has one.")]
Token = Annotated[Path | None, knob("grafana_token_file", "--token-file")]

_LOCAL = "http://127.0.0.1:3000"


@grafana.command()
def push(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of boards to push instead of our own.")
    ] = None,
    url: Url = _LOCAL,
    token_file: Token = None,
) -> None:
    """Save the boards in Grafana's folder Safelight, over those that are there.

    Examples:

        safelight grafana push --token-file token

        safelight grafana push boards --url https://grafana.example --token-file token
    """
    boards = read_boards(folder) if folder else _own()
    with _reached(url, token_file) as reached:
        saved = reached.push(boards)
    typer.echo("\n".join(saved))
    typer.echo(f"{len(saved)} boards are in Grafana's folder Safelight.")


@grafana.command()
def pull(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    url: Url = _LOCAL,
    token_file: Token = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that are not such boards.")
    ] = False,
) -> None:
    """Write every board with the tag safelight into a folder, as files that can be compared.

    Example: safelight grafana pull boards --token-file token
    """
    with _reached(url, token_file) as reached:
        boards = reached.pull()
    changed = write(folder, {f"{uid}.json": text for uid, text in boards.items()}, force=force)
    typer.echo(f"{len(boards)} boards are in {folder}; {len(changed)} changed.")


@contextmanager
def _reached(url: str, token_file: Path | None) -> Iterator[Grafana]:
    token = read_token(load(grafana_token_file=token_file).grafana_token_file)
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        yield Grafana(address(url), client, token)


def _own() -> dict[str, Board]:
    return {name.removesuffix(".json"): json.loads(text) for name, text in board_files().items()}
