"""`safelight diagnose`: print what is wrong with a service, the evidence, and what to do."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from safelight.cli.options import console, parse_address, setting_option
from safelight.cli.records_access import check_writable, write_file
from safelight.cli.times import SPANS, WINDOW, parse_span, parse_time
from safelight.diagnosis.diagnose import judge, worst
from safelight.diagnosis.evidence import Spans, gather, only, services
from safelight.diagnosis.finding import Finding, Severity
from safelight.diagnosis.page import page
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import Diagnosis, as_data, each_machine_once, origin_text, sentence
from safelight.errors import BadSetting, MonitoringFailed
from safelight.settings import load
from safelight.stack.monitoring import Monitoring, read
from safelight.units import share, when

URL = "http://127.0.0.1:9090"
_COLOURS = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
# Distinct from the codes of failures: 1 (Python), 2 (typer), 3 (MonitoringFailed).
CODES = {Severity.INFO: 0, Severity.WARNING: 10, Severity.CRITICAL: 20}
_MARGIN = (0, 0, 0, 4)

PrometheusUrl = Annotated[str, typer.Option("--prometheus", help="Address of Prometheus.")]
ServiceName = Annotated[
    str | None, typer.Argument(help="Job or namespace of the service. Default: all services.")
]
At = Annotated[
    str | None, typer.Option(help="Time in the past: 2h (ago) or 2026-03-01T12:00 (UTC).")
]
_Identity = tuple[str, Severity, str, str]


def diagnose(
    service: ServiceName = None,
    prometheus: PrometheusUrl = URL,
    at: At = None,
    window: Annotated[
        str, typer.Option(help=f"Length of the time range to diagnose, such as {SPANS}.")
    ] = "5m",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML page.")] = None,
    watch: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Repeat after this many seconds.")
    ] = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
) -> None:
    """Find what is wrong with a service, and print the evidence and what to do.

    Exit codes: 0 no problem, 10 warning, 20 critical finding,
    2 wrong option, 3 Prometheus cannot be queried.

    Examples:

        safelight diagnose

        safelight diagnose instructpix2pix --at 2h

        safelight diagnose --json | jq '.[].headline'

        safelight diagnose --watch 30

        safelight diagnose --monitoring monitoring.toml
    """
    if watch and (at or html or as_json):
        raise BadSetting("--watch cannot be combined with --at, --html or --json.")
    check_writable(html)
    file = load(monitoring=monitoring).monitoring
    rules = read(file, secrets_here=False)  # the secrets are on Alertmanager's host
    spans = Spans(window_seconds=parse_span(window, WINDOW))
    out = console()
    with Prometheus(parse_address(prometheus)) as client:
        if watch:
            _follow(
                lambda moment: diagnose_services(client, service, moment, spans, out, rules),
                client,
                watch,
                out,
            )
            return
        moment = parse_time(at, client)
        diagnoses = diagnose_services(client, service, moment, spans, out, rules)
        reports = [as_data(each, client) for each in diagnoses]
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        show(diagnoses, out)
    if html:
        write_file(html, page(reports))
        typer.echo(f"{html}: open it in a browser", err=True)
    worst_severity = max((worst(each.findings) for each in diagnoses), default=Severity.INFO)
    raise typer.Exit(CODES[worst_severity])


def diagnose_services(
    client: Prometheus,
    name: str | None,
    at: float,
    spans: Spans,
    out: Console,
    monitoring: Monitoring | None = None,
) -> list[Diagnosis]:
    """Diagnose every service of this name, or all services. Raises MonitoringFailed."""
    matches = only(services(client, at, spans), name)
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("querying Prometheus", total=None)
        diagnoses = []
        for service in matches:
            progress.update(task, description=f"checking {service.job}")
            limits = (monitoring or Monitoring()).limits(service.namespace)[service.namespace]
            evidence = gather(client, service, at, spans, limits)
            diagnoses.append(Diagnosis(evidence, judge(evidence)))
    return each_machine_once(sorted(diagnoses, key=lambda each: -worst(each.findings)))


def show(diagnoses: Sequence[Diagnosis], out: Console) -> None:
    """Print diagnoses as text."""
    for diagnosis in diagnoses:
        level = worst(diagnosis.findings)
        colour = _COLOURS[level] if level else "bold green"
        out.print(Text(diagnosis.headline, style=colour))
        evidence = diagnosis.evidence
        period = f"at {when(evidence.at)}, from the last {evidence.spans.window_seconds} s"
        out.print(Text(period, style="dim"))
        for finding in diagnosis.findings:
            _print(finding, out)
        out.print()


def _print(finding: Finding, out: Console) -> None:
    check, sign = finding.check, finding.sign
    title = Text.assemble(
        "\n  ",
        (sign.severity.word, _COLOURS[sign.severity]),
        "  ",
        (check.title, "bold"),
        (f"  {check.name}, {_certainty(finding)}", "dim"),
    )
    out.print(title)
    out.print(Padding(Text(sentence(sign.verdict)), _MARGIN))
    if origin := origin_text(finding):
        out.print(Padding(Text(f"{origin}.", style="dim"), _MARGIN))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim", width=4)
    grid.add_column(overflow="fold")
    for name, texts in _rows(finding):
        for number, text in enumerate(texts):
            grid.add_row("" if number else name, Text(text))
    if grid.row_count:
        out.print(Padding(grid, _MARGIN))


def _rows(finding: Finding) -> list[tuple[str, list[str]]]:
    """Return what to print below a verdict: less for a finding that is explained elsewhere."""
    check, sign = finding.check, finding.sign
    seen = ("seen", [exhibit.says for exhibit in sign.exhibits])
    if finding.listed_under:
        return []
    if finding.because:
        return [seen] if sign.symptom else []
    return [
        seen,
        ("do", list(check.remedy)),
        ("look" if sign.symptom else "try", [check.experiment]),
        ("or", list(check.alternatives)),
    ]


def _certainty(finding: Finding) -> str:
    symptom = finding.sign.symptom
    return f"alert {symptom.state}" if symptom else f"{share(finding.sign.confidence)} sure"


def _follow(
    diagnose_at: Callable[[float], list[Diagnosis]],
    client: Prometheus,
    seconds: float,
    out: Console,
) -> None:
    """Print a diagnosis whenever it differs from the previous one, until Ctrl-C."""
    pause = threading.Event()
    previous: list[list[_Identity]] | str | None = None
    intro = f"Diagnosing every {seconds:g} s. Only changes are printed. Press Ctrl-C to stop."
    out.print(Text(intro, style="dim"))
    with suppress(KeyboardInterrupt):
        while True:
            try:
                diagnoses = diagnose_at(client.now())
                current = [[_identity(f) for f in each.findings] for each in diagnoses]
                if current != previous:
                    show(diagnoses, out)
                previous = current
            except MonitoringFailed as error:
                if previous != str(error):
                    out.print(Text(str(error), style="red"))
                previous = str(error)
            pause.wait(seconds)


def _identity(finding: Finding) -> _Identity:
    return finding.check.name, finding.sign.severity, finding.sign.subject, finding.because
