"""`safelight metrics`: list every metric with its meaning."""

from typing import Annotated

import typer
from rich.table import Table

from safelight.cli.options import console, setting_option
from safelight.reference.metrics import as_markdown, rows
from safelight.settings import load

_WIDE_COLUMNS = 120


def metrics(
    namespace: Annotated[str | None, setting_option("namespace")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown (docs/metrics.md).")
    ] = False,
) -> None:
    """List every metric that a service of the namespace exposes.

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
    for column in ("kind", "labels", "meaning") if wide else ("meaning",):
        table.add_column(column)
    for name, kind, labels, meaning in rows(chosen):
        if wide:
            table.add_row(name, kind, labels, meaning)
        else:
            table.add_row(name, f"{meaning}\n[dim]{kind} {labels}[/dim]")
    out.print(table)
