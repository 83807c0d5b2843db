"""`safelight trends`: compare this week with last week, and list unsuitable alert limits."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.diagnose import URL, At, PrometheusUrl, ServiceName
from safelight.cli.options import console, parse_address, setting_option
from safelight.cli.times import parse_time
from safelight.diagnosis.evidence import Spans, only, services
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.routine import Change, Trends
from safelight.diagnosis.routine import trends as compute_trends
from safelight.settings import load
from safelight.stack.monitoring import read
from safelight.units import duration, share, size

_DAY = 86_400


def trends(
    service: ServiceName = None,
    prometheus: PrometheusUrl = URL,
    at: At = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare this week with last week, and list what does not fit the service.

    It lists missing series, alerts that fire most of the time, and limits that are too low or too
    high.

    Examples:

        safelight trends

        safelight trends instructpix2pix --monitoring monitoring.toml
    """
    settings = load(monitoring=monitoring)
    configuration = read(settings.monitoring)
    with Prometheus(parse_address(prometheus)) as client:
        moment = parse_time(at, client)
        matches = only(services(client, moment, Spans(history_seconds=_DAY)), service)
        limits = configuration.limits(*(each.namespace for each in matches))
        rows = [compute_trends(client, each, moment, limits[each.namespace]) for each in matches]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    out = console()
    for row in rows:
        _show(row, out)


def _show(row: Trends, out: Console) -> None:
    table = Table(title=row.service.job, title_justify="left", box=None, header_style="dim")
    for name in ("median of the hours", "last week", "this week", ""):
        table.add_column(name)
    for change in row.changes:
        if change.this_week is None and change.last_week is None:
            continue
        factor = f"{change.factor:.2f} times" if change.factor is not None else ""
        cells = _value(change, change.last_week), _value(change, change.this_week)
        table.add_row(change.what, *cells, factor, style="bold" if change.notable else "")
    out.print(table if table.row_count else Text(row.service.job, style="italic"))
    for firing in row.firing:
        out.print(
            Text(
                f"  {firing.alert} fired {share(firing.share)} of the week. People ignore an alert "
                "that always fires. Fix its cause, or raise its limit.",
                style="yellow",
            )
        )
    for proposal in row.proposals:
        out.print(
            Text(
                f"  {proposal.threshold} = {proposal.limit:g} is {proposal.problem}: in 95 % of "
                f"hours the value is below {duration(proposal.usual)}. Try {proposal.proposed:g}.",
                style="yellow",
            )
        )
    for name in row.missing[:20]:
        out.print(Text(f"  {name} existed earlier this week and is missing now", style="red"))
    if not row.comparable:
        out.print(
            Text(
                f"  too little data to compare with last week: {duration(row.data_seconds)}",
                style="yellow",
            )
        )
    if row.judged and not (row.firing or row.proposals or row.missing):
        out.print(Text("  every limit fits, and no series is missing", style="green"))
    out.print()


def _value(change: Change, value: float | None) -> str:
    if value is None:
        return "no data"
    formats = {"ratio": share, "seconds": duration, "bytes": size}
    return formats[change.unit](value) if change.unit else f"{value:.3g}"
