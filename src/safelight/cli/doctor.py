"""`safelight doctor`: what this machine has and lacks."""

import typer
from rich.table import Table

from safelight.cli.options import console
from safelight.settings import load
from safelight.stack.tools.doctor import Finding, examine


def doctor() -> None:
    """Say what this machine has and lacks; exit 1 where `safelight up` would fail for it.

    Example: safelight doctor
    """
    findings = examine(load())
    table = Table(title="This machine", title_justify="left")
    for column in ("", "area", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        remedy = "" if finding.found else finding.remedy
        table.add_row(_mark(finding), finding.area, finding.name, finding.detail, remedy)
    out = console()
    out.print(table)
    blocking = [finding.name for finding in findings if finding.blocks]
    if blocking:
        out.print(f"[red]safelight up would fail for want of: {', '.join(blocking)}.[/red]")
        raise typer.Exit(1)
    out.print("[green]safelight up has what it needs.[/green]")


def _mark(finding: Finding) -> str:
    if finding.found:
        return "[green]ok[/green]"
    return "[red]no[/red]" if finding.needed else "[yellow]--[/yellow]"
