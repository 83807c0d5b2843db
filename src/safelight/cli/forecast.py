"""`safelight forecast`: forecast when resources and error budgets will be used up."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from safelight.cli.diagnose import URL, At, PrometheusUrl, ServiceName
from safelight.cli.options import console, parse_address, setting_option
from safelight.cli.times import parse_time
from safelight.diagnosis.confidence import until
from safelight.diagnosis.evidence import gather, only, services
from safelight.diagnosis.forecast import Forecast, budgets, forecasts
from safelight.diagnosis.prometheus import Prometheus
from safelight.settings import load
from safelight.stack.monitoring import read
from safelight.units import duration, share, size


def forecast(
    service: ServiceName = None,
    prometheus: PrometheusUrl = URL,
    at: At = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast when memory, disks, the queue and error budgets will be used up.

    A time is printed only for a significant rise, with its 95 % interval and with the error of
    earlier forecasts of the same series.

    Examples:

        safelight forecast

        safelight forecast instructpix2pix --at 2h --json
    """
    out = console()
    configuration = read(load(monitoring=monitoring).monitoring)
    with Prometheus(parse_address(prometheus)) as client:
        moment = parse_time(at, client)
        by_job = {}
        for match in only(services(client, moment), service):
            limits = configuration.limits(match.namespace)[match.namespace]
            evidence = gather(client, match, moment, limits=limits)
            by_job[match.job] = [*forecasts(evidence), *budgets(client, evidence)]
    if as_json:
        typer.echo(
            json.dumps({job: [asdict(f) for f in rows] for job, rows in by_job.items()}, indent=2)
        )
        return
    for job, rows in by_job.items():
        show(job, rows, out)


def show(job: str, rows: list[Forecast], out: Console) -> None:
    """Print forecasts as a table."""
    table = Table(title=job, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name in ("", "of", "now", "limit", "used up in", "earlier forecasts"):
        table.add_column(name, overflow="fold")
    for each in rows:
        ends = until(each.ends) if each.ends else "no end in sight"
        ends = "already used up" if each.used_up else ends
        trial = each.trial
        past = f"median error {share(trial.error)} of {trial.number}" if trial else ""
        limit = f"{_value(each, each.limit)}{' (default)' if each.assumed else ''}"
        cells = _value(each, each.level), limit
        table.add_row(each.what, each.subject, *cells, ends, past, style="" if each.ends else "dim")
    out.print(table)
    out.print()


def _value(each: Forecast, value: float) -> str:
    formats = {"bytes": size, "seconds": duration, "ratio": share}
    return formats[each.unit](value)
