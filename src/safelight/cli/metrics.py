"""`safelight metrics`: the vocabulary, as a table."""

from typing import Annotated

import typer
from rich.table import Table

from safelight.cli.options import console, knob
from safelight.reference.metrics import as_markdown, rows
from safelight.settings import load

_WIDE_COLUMNS = 120


def metrics(
    namespace: Annotated[str | None, knob("namespace")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/metrics.md.")] = False,
) -> None:
    """Print every metric that a service of the namespace exposes.

    Example: safelight metrics --namespace zimage
    """
    chosen = load(namespace=namespace).namespace
    if markdown:
        typer.echo(as_markdown(chosen), nl=False)
        return
    out = console()
    table = Table(title=f"Metrics of the namespace {chosen}", title_justify="left")
    table.add_column("metric", no_wrap=True)
    wide = out.width >= _WIDE_COLUMNS
    for column in ("kind", "labels", "what it says") if wide else ("what it says",):
        table.add_column(column)
    for name, kind, labels, says in rows(chosen):
        if wide:
            table.add_row(name, kind, labels, says)
        else:
            table.add_row(name, f"{says}\n[dim]{kind} {labels}[/dim]")
    out.print(table)
