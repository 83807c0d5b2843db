"""`safelight tradeoff`: what speed costs in quality, and which settings are worth choosing."""

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from safelight.cli.options import console
from safelight.cli.records_access import (
    AsJson,
    Service,
    Since,
    State,
    Svg,
    Url,
    handed_over,
    read,
    refuse_unwritable,
)
from safelight.diagnosis.charts import tradeoff_svg
from safelight.diagnosis.estimates import LEAST_COUNT, Estimate
from safelight.diagnosis.tradeoff import Choice, Tradeoff
from safelight.diagnosis.tradeoff import tradeoff as weighed
from safelight.units import counted


def tradeoff(
    since: Since = "30d",
    service: Service = None,
    by: Annotated[
        Literal["score", "adherence", "structure", "rating"],
        typer.Option(
            help="What is taken for quality: score, adherence, structure or rating.",
            metavar="<word>",
        ),
    ] = "score",
    as_json: AsJson = False,
    svg: Svg = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Weigh quality against time for the steps, sizes and precisions that were served.

    Examples:

        safelight tradeoff

        safelight tradeoff --by adherence --svg tradeoff.svg
    """
    refuse_unwritable(svg)
    found = weighed(read(records_url, state_folder, since, service), by)
    if not handed_over(found, svg, tradeoff_svg, as_json=as_json):
        show(found, since, console())


def show(found: Tradeoff, since: str, out: Console) -> None:
    """Print the settings from fast to slow; those worth choosing are marked."""
    table = Table(title=f"Quality ({found.by}) against time, last {since}", title_justify="left")
    for name in ("", "setting", "seconds", found.by, "of", ""):
        table.add_column(name, justify="right" if name in ("seconds", found.by, "of") else "left")
    for choice in found.choices:
        table.add_row(
            "[green]●[/]" if choice.on_front else "",
            str(choice.setting),
            _shown(choice.seconds),
            _shown(choice.quality),
            str(choice.count),
            _verdict(choice),
        )
    if found.choices:
        out.print(table)
    else:
        out.print(f"No setting has {LEAST_COUNT} requests whose {found.by} is known.")
    if found.too_few:
        out.print(
            f"Left out for fewer than {LEAST_COUNT} requests: {counted(found.too_few, 'setting')}."
        )


def _verdict(choice: Choice) -> str:
    if choice.on_front:
        return "[green]worth choosing[/]"
    return "[red]slower and worse[/]" if choice.surely_worse else "no better, within the intervals"


def _shown(figure: Estimate) -> str:
    return f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g})"
