"""`safelight grafana`: push dashboards to Grafana, or pull them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer

from safelight.cli.options import parse_address, setting_option
from safelight.dashboards.replaced import replaced, replacement
from safelight.settings import load
from safelight.stack.files.export import Choices
from safelight.stack.files.folder import write
from safelight.stack.monitoring import read
from safelight.stack.tools.remote import TIMEOUT_SECONDS, Board, Grafana, read_boards, read_token

grafana = typer.Typer(help="Push dashboards to Grafana, or pull them, over its HTTP API.")

Url = Annotated[str, typer.Option(help="Address of Grafana, with its path if it has one.")]
Token = Annotated[Path | None, setting_option("grafana_token_file", "--token-file")]

_LOCAL = "http://127.0.0.1:3000"


@grafana.command()
def push(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of dashboards. Default: Safelight's own.")
    ] = None,
    url: Url = _LOCAL,
    token_file: Token = None,
    namespace: Annotated[str | None, setting_option("namespace")] = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the dashboards that an earlier version had.")
    ] = False,
) -> None:
    """Save the dashboards in Grafana's folder Safelight. Existing ones are replaced.

    Examples:

        safelight grafana push --token-file token

        safelight grafana push boards --url https://grafana.example --token-file token
    """
    boards = read_boards(folder) if folder else _builtin_boards(namespace, monitoring)
    with _client(url, token_file) as client:
        outdated = client.outdated(replaced().keys() - boards.keys())
        saved = client.push(boards, delete=outdated if prune else ())
    typer.echo("\n".join(saved))
    typer.echo(f"{len(saved)} dashboards are in Grafana's folder Safelight.")
    for uid in outdated:
        typer.echo(f"{replacement(uid)} {'Deleted.' if prune else 'Delete it with --prune.'}")


@grafana.command()
def pull(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    url: Url = _LOCAL,
    token_file: Token = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that are not dashboards.")
    ] = False,
) -> None:
    """Write every dashboard with the tag safelight to a folder.

    Example: safelight grafana pull boards --token-file token
    """
    with _client(url, token_file) as client:
        boards = client.pull()
    changed = write(folder, {f"{uid}.json": text for uid, text in boards.items()}, force=force)
    typer.echo(f"{len(boards)} dashboards are in {folder}; {len(changed)} changed.")


@contextmanager
def _client(url: str, token_file: Path | None) -> Iterator[Grafana]:
    token = read_token(load(grafana_token_file=token_file).grafana_token_file)
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        yield Grafana(parse_address(url), client, token)


def _builtin_boards(namespace: str | None, monitoring: Path | None) -> dict[str, Board]:
    """Return the dashboards as `safelight export grafana` writes them."""
    settings = load(namespace=namespace, monitoring=monitoring)
    monitored = read(settings.monitoring, secrets_here=False)
    files = Choices(settings.namespace, monitoring=monitored).boards
    return {name.removesuffix(".json"): json.loads(text) for name, text in files.items()}
