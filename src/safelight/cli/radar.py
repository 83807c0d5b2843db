"""`safelight radar`: how well each type of instruction is served, from the records."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from safelight.diagnosis.charts import radar_svg
from safelight.diagnosis.estimates import LEAST_COUNT, Estimate
from safelight.diagnosis.radar import AXES, TARGET_SECONDS, Radar, Type
from safelight.diagnosis.radar import radar as judged
from safelight.errors import BadSetting
from safelight.units import counted

_TARGETS = (0.001, 3600.0)
_BAR = 10
_TOP = 10.0
_WIDE_COLUMNS = 104
_LEADERS = 5


def radar(
    since: Since = "7d",
    service: Service = None,
    target_seconds: Annotated[
        float, typer.Option(help="Time that counts as 5 of 10 in speed; 0.001 to 3600.")
    ] = TARGET_SECONDS,
    as_json: AsJson = False,
    svg: Svg = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Show accuracy, speed, structure and stability of each type of instruction, 0 to 10.

    Examples:

        safelight radar

        safelight radar --since 24h --service instructpix2pix --svg radar.svg
    """
    if not _TARGETS[0] <= target_seconds <= _TARGETS[1]:
        low, high = _TARGETS
        raise BadSetting(f"--target-seconds {target_seconds:g} is not within {low:g} to {high:g}.")
    refuse_unwritable(svg)
    found = judged(read(records_url, state_folder, since, service), target_seconds)
    if not handed_over(found, svg, radar_svg, as_json=as_json):
        show(found, since, console())


def show(found: Radar, since: str, out: Console) -> None:
    """Print the radar: bars, the best and the worst, and whether ratings and scores agree."""
    table = Table(
        title=f"Radar of the last {since}: {counted(found.requests, 'request')}",
        title_justify="left",
    )
    table.add_column("instruction type", no_wrap=True)
    for axis in AXES:
        table.add_column(axis, no_wrap=True)
    wide = out.width >= _WIDE_COLUMNS
    for each in found.types:
        cells = (_bar(each.axes[axis], wide=wide) for axis in AXES)
        table.add_row(Text(f"{each.name}\n").append(f"{each.requests}", style="dim"), *cells)
    out.print(table)
    leaders = found.leaders
    best = min(_LEADERS, (len(leaders) + 1) // 2)
    for title, types in (("Best", leaders[:best]), ("Worst", leaders[best:][: -_LEADERS - 1 : -1])):
        if types:
            out.print(_board(title, types))
    out.print(_agreement(found))
    out.print(
        f"Intervals hold the truth 95 times in 100; no figure is from fewer than {LEAST_COUNT}.",
        style="dim",
    )


def _bar(found: Estimate | None, *, wide: bool) -> Text:
    if found is None:
        return Text("too few", style="dim")
    long = _BAR if wide else _BAR // 2
    full = round(found.value * long / _TOP)
    style = "green" if found.value >= 7 else "yellow" if found.value >= 4 else "red"
    bar = Text("█" * full, style=style).append("░" * (long - full), style="dim")
    bar.append(f" {found.value:.1f}\n", style="default")
    within = f"{found.low:.1f} to {found.high:.1f}{' ' if wide else chr(10)}of {found.count}"
    return bar.append(within, style="dim")


def _board(title: str, types: tuple[Type, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("instruction type", "succeeds", "interval", "of", "mean rating"):
        table.add_column(name, justify="left" if name == "instruction type" else "right")
    for each in types:
        if each.success is None:
            continue
        s, rating = each.success, each.rating
        rated = f"{rating.value:.1f} of {rating.count}" if rating else ""
        table.add_row(
            each.name, f"{s.value:.1%}", f"{s.low:.1%} to {s.high:.1%}", str(s.count), rated
        )
    return table


def _agreement(found: Radar) -> str:
    if found.agreement is None:
        return (
            f"Ratings and scores: {counted(found.rated, 'request')} with both, too few to compare."
        )
    a = found.agreement
    return (
        f"Ratings and scores agree by {a.value:+.2f} ({a.low:+.2f} to {a.high:+.2f}, Spearman, "
        f"{a.count} requests)."
    )
