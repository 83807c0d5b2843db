"""`safelight export`: rules, dashboards and containers for those who run them themselves."""

from pathlib import Path
from typing import Annotated

import typer

from safelight.cli.options import knob
from safelight.settings import load
from safelight.stack.export import deployment, drift, write
from safelight.stack.monitoring import read


def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("deploy"),
    namespace: Annotated[str | None, knob("namespace")] = None,
    monitoring: Annotated[Path | None, knob("monitoring")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a file differs.")
    ] = False,
) -> None:
    """Write Prometheus' rules and configuration, Grafana's boards and the compose file.

    Example: safelight export monitoring --namespace zimage
    """
    settings = load(namespace=namespace, monitoring=monitoring)
    told = read(settings.monitoring, secrets_here=False)  # they are where Alertmanager will run
    files = deployment(settings.namespace, told)
    if not check:
        _attempt_write(folder, files)
        typer.echo(f"{len(files)} files are in {folder}.")
        return
    differing = drift(folder, files)
    if differing:
        typer.echo(f"Not as the source makes it: {', '.join(differing)}.", err=True)
        typer.echo(f"Run: safelight export {folder}", err=True)
        raise typer.Exit(1)
    typer.echo(f"All {len(files)} files in {folder} are as the source makes them.")


def _attempt_write(folder: Path, files: dict[str, str]) -> None:
    try:
        write(folder, files)
    except OSError as wrong:
        typer.echo(f"{folder} cannot be written: {wrong.strerror}.", err=True)
        raise typer.Exit(2) from None
