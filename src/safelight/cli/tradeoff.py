"""`safelight tradeoff`: compare quality and latency of the settings that were served."""

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
    check_writable,
    read_requests,
    write_outputs,
)
from safelight.diagnosis.charts import tradeoff_svg
from safelight.diagnosis.estimates import Estimate
from safelight.diagnosis.tradeoff import Choice, Tradeoff
from safelight.diagnosis.tradeoff import tradeoff as compute_tradeoff
from safelight.rules.thresholds import LEAST_COUNT
from safelight.units import counted


def tradeoff(
    since: Since = "30d",
    service: Service = None,
    by: Annotated[
        Literal["score", "adherence", "structure", "rating"],
        typer.Option(
            help="Measure of quality: score, adherence, structure or rating.", metavar="<word>"
        ),
    ] = "score",
    as_json: AsJson = False,
    svg: Svg = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Compare quality and latency of the steps, sizes and precisions that were served.

    Examples:

        safelight tradeoff

        safelight tradeoff --by adherence --svg tradeoff.svg
    """
    check_writable(svg)
    result = compute_tradeoff(read_requests(records_url, state_folder, since, service), by)
    if not write_outputs(result, svg, tradeoff_svg, as_json=as_json):
        show(result, since, console())


def show(result: Tradeoff, since: str, out: Console) -> None:
    """Print the settings from fast to slow, with the Pareto-optimal ones marked."""
    table = Table(title=f"Quality ({result.by}) and latency, last {since}", title_justify="left")
    for name in ("", "setting", "seconds", result.by, "of", ""):
        table.add_column(name, justify="right" if name in ("seconds", result.by, "of") else "left")
    for choice in result.choices:
        table.add_row(
            "[green]●[/]" if choice.on_front else "",
            str(choice.setting),
            _interval(choice.seconds),
            _interval(choice.quality),
            str(choice.count),
            _verdict(choice),
        )
    if result.choices:
        out.print(table)
    else:
        out.print(f"No setting has {LEAST_COUNT} requests with a known {result.by}.")
    if result.too_few:
        out.print(
            f"Omitted because of fewer than {LEAST_COUNT} requests: "
            f"{counted(result.too_few, 'setting')}."
        )


def _verdict(choice: Choice) -> str:
    if choice.on_front:
        return "[green]worth choosing[/]"
    return "[red]slower and worse[/]" if choice.surely_worse else "not significantly worse"


def _interval(value: Estimate) -> str:
    return f"{value.value:.3g} ({value.low:.3g} to {value.high:.3g})"
