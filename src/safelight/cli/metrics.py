"""`safelight metrics`: the vocabulary, as a table."""

from typing import Annotated

import typer
from rich.table import Table

from safelight.cli.options import console, knob
from safelight.metrics.reference import as_markdown, rows
from safelight.settings import load


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
    table = Table(title=f"Metrics of the namespace {chosen}", title_justify="left")
    for column in ("metric", "kind", "labels", "what it says"):
        table.add_column(column, overflow="fold")
    for row in rows(chosen):
        table.add_row(*row)
    console().print(table)
