"""`safelight radar`: score each instruction type on four axes, from the records."""

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
    check_writable,
    read_requests,
    write_outputs,
)
from safelight.diagnosis.charts import radar_svg
from safelight.diagnosis.cost import Cost
from safelight.diagnosis.estimates import Estimate
from safelight.diagnosis.radar import AXES, TARGET_SECONDS, Radar, Type
from safelight.diagnosis.radar import radar as compute_radar
from safelight.errors import BadSetting
from safelight.rules.thresholds import LEAST_COUNT
from safelight.settings import load
from safelight.units import counted, duration, share

_TARGET_RANGE = (0.001, 3600.0)
_BAR_COLUMNS = 10
_BEST_SCORE = 10.0
_WIDE_COLUMNS = 104
_LEADERS = 5


def radar(
    since: Since = "7d",
    service: Service = None,
    target_seconds: Annotated[
        float, typer.Option(help="Time that scores 5 of 10 for speed, in seconds; 0.001 to 3600.")
    ] = TARGET_SECONDS,
    as_json: AsJson = False,
    svg: Svg = None,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Score accuracy, speed, kept structure and stability of each instruction type from 0 to 10.

    Examples:

        safelight radar

        safelight radar --since 24h --service instructpix2pix --svg radar.svg
    """
    low, high = _TARGET_RANGE
    if not low <= target_seconds <= high:
        raise BadSetting(f"--target-seconds is {target_seconds:g}; allowed: {low:g} to {high:g}.")
    check_writable(svg)
    requests = read_requests(records_url, state_folder, since, service)
    result = compute_radar(requests, target_seconds, load().gpu_hour_price)
    if not write_outputs(result, svg, radar_svg, as_json=as_json):
        show(result, since, console())


def show(result: Radar, since: str, out: Console) -> None:
    """Print the radar: a bar per axis, the best and worst types, and the rating correlation."""
    table = Table(
        title=f"Radar of the last {since}: {counted(result.requests, 'request')}",
        title_justify="left",
    )
    table.add_column("instruction type", no_wrap=True)
    for axis in AXES:
        table.add_column(axis, no_wrap=True)
    wide = out.width >= _WIDE_COLUMNS
    for each in result.types:
        cells = (_bar(each.axes[axis], wide=wide) for axis in AXES)
        table.add_row(Text(f"{each.name}\n").append(f"{each.requests}", style="dim"), *cells)
    out.print(table)
    leaders = result.leaders
    best = min(_LEADERS, (len(leaders) + 1) // 2)
    for title, types in (("Best", leaders[:best]), ("Worst", leaders[best:][: -_LEADERS - 1 : -1])):
        if types:
            out.print(_leaderboard(title, types))
    if result.costs:
        out.print(_costs(result.costs))
    out.print(_agreement(result))
    out.print(
        f"Intervals are 95 % confidence intervals. No value is from fewer than {LEAST_COUNT} "
        "requests.",
        style="dim",
    )


def _bar(score: Estimate | None, *, wide: bool) -> Text:
    if score is None:
        return Text("too few", style="dim")
    columns = _BAR_COLUMNS if wide else _BAR_COLUMNS // 2
    filled = round(score.value * columns / _BEST_SCORE)
    style = "green" if score.value >= 7 else "yellow" if score.value >= 4 else "red"
    bar = Text("█" * filled, style=style).append("░" * (columns - filled), style="dim")
    bar.append(f" {score.value:.1f}\n", style="default")
    interval = f"{score.low:.1f} to {score.high:.1f}{' ' if wide else chr(10)}of {score.count}"
    return bar.append(interval, style="dim")


def _leaderboard(title: str, types: tuple[Type, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("instruction type", "success", "interval", "of", "mean rating"):
        table.add_column(name, justify="left" if name == "instruction type" else "right")
    for each in types:
        if each.success is None:
            continue
        s, rating = each.success, each.rating
        rated = f"{rating.value:.1f} of {rating.count}" if rating else ""
        table.add_row(
            each.name, share(s.value), f"{share(s.low)} to {share(s.high)}", str(s.count), rated
        )
    return table


def _costs(costs: tuple[Cost, ...]) -> Table:
    table = Table(title="Cost without idle time", title_justify="left")
    names = (
        "instruction type",
        "device time",
        "of failed requests",
        "per good request",
        "price of it",
    )
    for name in names:
        table.add_column(name, justify="left" if name == "instruction type" else "right")
    for each in costs:
        time, price = each.seconds_per_good, each.price_per_good
        table.add_row(
            each.name,
            duration(each.device_seconds),
            share(each.failed_seconds / each.device_seconds if each.device_seconds else 0.0),
            "none good" if time is None else duration(time),
            "unknown" if price is None else f"{price:.3g}",
        )
    if all(each.price_per_good is None for each in costs):
        table.caption = "The price of an hour is unknown: set SAFELIGHT_GPU_HOUR_PRICE."
    return table


def _agreement(result: Radar) -> str:
    if result.agreement is None:
        return (
            f"Ratings and scores: {counted(result.rated, 'request')} with both, too few to compare."
        )
    a = result.agreement
    return (
        f"Correlation of ratings and scores: {a.value:+.2f} ({a.low:+.2f} to {a.high:+.2f}, "
        f"Spearman, {a.count} requests)."
    )
