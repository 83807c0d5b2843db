"""`safelight forecast`: what will be used up, and when."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from safelight.cli.diagnose import URL, At, PrometheusUrl, ServiceName
from safelight.cli.options import address, console
from safelight.cli.times import moment_of
from safelight.diagnosis.confidence import until
from safelight.diagnosis.evidence import gather, only, services
from safelight.diagnosis.forecast import Forecast, budgets, forecasts
from safelight.diagnosis.prometheus import Prometheus
from safelight.units import duration, share, size


def forecast(
    service: ServiceName = None,
    prometheus: PrometheusUrl = URL,
    at: At = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say when memory, disks, the queue and error budgets will be used up; or that none will.

    A time is told where a curve rises for certain, with the interval that holds it 95 times of
    100, and with how earlier forecasts of the same curve did.

    Examples:

        safelight forecast

        safelight forecast instructpix2pix --at 2h --json
    """
    out = console()
    with Prometheus(address(prometheus)) as asked:
        moment = moment_of(at, asked)
        told = {}
        for found in only(services(asked, moment), service):
            evidence = gather(asked, found, moment)
            told[found.job] = [*forecasts(evidence), *budgets(asked, evidence)]
    if as_json:
        typer.echo(
            json.dumps({job: [asdict(f) for f in all_] for job, all_ in told.items()}, indent=2)
        )
        return
    for job, all_ in told.items():
        show(job, all_, out)


def show(job: str, told: list[Forecast], out: Console) -> None:
    """Print forecasts as a table."""
    table = Table(title=job, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name in ("", "of", "now", "limit", "used up in", "earlier forecasts"):
        table.add_column(name, overflow="fold")
    for each in told:
        ends = until(each.ends) if each.ends else "not in sight"
        ends = "used up already" if each.used_up else ends
        trial = each.trial
        past = f"off by {share(trial.error)} in the median of {trial.number}" if trial else ""
        limit = f"{_value(each, each.limit)}{' (default)' if each.assumed else ''}"
        words = _value(each, each.level), limit
        table.add_row(each.what, each.subject, *words, ends, past, style="" if each.ends else "dim")
    out.print(table)
    out.print()


def _value(each: Forecast, value: float) -> str:
    words = {"bytes": size, "seconds": duration, "ratio": share}
    return words[each.unit](value)
