"""`safelight doctor`: check that this machine has what Safelight needs."""

import typer
from rich.table import Table

from safelight.cli.options import console
from safelight.settings import load
from safelight.stack.tools.doctor import examine
from safelight.stack.tools.finding import Finding


def doctor() -> None:
    """Check that this machine has what Safelight needs.

    The exit code is 1 if something is missing that `safelight up` needs. If a service without
    TLS runs at SAFELIGHT_PORT, it is also shown how many records that service has lost.

    Example: safelight doctor
    """
    findings = examine(load())
    table = Table(title="This machine", title_justify="left")
    for column in ("", "area", "item", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        remedy = "" if finding.found else finding.remedy
        table.add_row(_mark(finding), finding.area, finding.name, finding.detail, remedy)
    out = console()
    out.print(table)
    blocking = [finding.name for finding in findings if finding.blocks]
    if blocking:
        out.print(f"[red]safelight up would fail. Missing: {', '.join(blocking)}.[/red]")
        raise typer.Exit(1)
    out.print("[green]Everything that safelight up needs is there.[/green]")


def _mark(finding: Finding) -> str:
    if finding.found:
        return "[green]ok[/green]"
    return "[red]no[/red]" if finding.needed else "[yellow]--[/yellow]"
