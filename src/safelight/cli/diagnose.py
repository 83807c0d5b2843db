"""`safelight diagnose`: what is wrong with a service, why we believe so, and what to do."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from safelight.cli.options import address, console, knob
from safelight.cli.records_access import refuse_unwritable, write
from safelight.cli.times import SPANS, WINDOW, moment_of, span_of
from safelight.diagnosis.diagnose import judge, worst
from safelight.diagnosis.evidence import Spans, gather, only, services
from safelight.diagnosis.finding import Finding, Severity
from safelight.diagnosis.page import page
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import Diagnosis, as_data, sentence, when
from safelight.errors import BadSetting, MonitoringFailed
from safelight.settings import load
from safelight.stack.monitoring import Monitoring, read

URL = "http://127.0.0.1:9090"
_COLOURS = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
# None is a code that a failure has: 1 and 2 are Python's and typer's, 3 is MonitoringFailed's.
CODES = {Severity.INFO: 0, Severity.WARNING: 10, Severity.CRITICAL: 20}
_MARGIN = (0, 0, 0, 4)

PrometheusUrl = Annotated[str, typer.Option("--prometheus", help="Address of Prometheus.")]
ServiceName = Annotated[
    str | None, typer.Argument(help="Job or namespace of the service; all without it.")
]
At = Annotated[
    str | None, typer.Option(help="A time in the past: 2h (ago), or 2026-03-01T12:00 (UTC).")
]


def diagnose(
    service: ServiceName = None,
    prometheus: PrometheusUrl = URL,
    at: At = None,
    window: Annotated[str, typer.Option(help=f"The time that is judged, such as {SPANS}.")] = "5m",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write it as an HTML page too.")] = None,
    watch: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Ask again every so many seconds.")
    ] = None,
    monitoring: Annotated[Path | None, knob("monitoring")] = None,
) -> None:
    """Say what is wrong, why, on what evidence, and what to do.

    Ends with 0 where all is well, 10 after warnings, 20 where it is critical;
    a wrong option is 2, and 3 a Prometheus that cannot be asked.

    Examples:

        safelight diagnose

        safelight diagnose instructpix2pix --at 2h

        safelight diagnose --json | jq '.[].headline'

        safelight diagnose --watch 30

        safelight diagnose --monitoring monitoring.toml
    """
    if watch and (at or html or as_json):
        raise BadSetting("--watch shows what is now, as text; leave out --at, --html and --json.")
    refuse_unwritable(html)
    file = load(monitoring=monitoring).monitoring
    rules = read(file, secrets_here=False)  # the secrets are on Alertmanager's host
    spans = Spans(window_seconds=span_of(window, WINDOW))
    out = console()
    with Prometheus(address(prometheus)) as asked:
        if watch:
            _follow(lambda at: diagnoses(asked, service, at, spans, out, rules), asked, watch, out)
            return
        moment = moment_of(at, asked)
        found = diagnoses(asked, service, moment, spans, out, rules)
        reports = [as_data(each, asked) for each in found]
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        show(found, out)
    if html:
        write(html, page(reports))
        typer.echo(f"{html}: open it in a browser", err=True)
    raise typer.Exit(CODES[max((worst(each.findings) for each in found), default=Severity.INFO)])


def diagnoses(
    asked: Prometheus,
    name: str | None,
    at: float,
    spans: Spans,
    out: Console,
    monitoring: Monitoring | None = None,
) -> list[Diagnosis]:
    """Return what is said of each service of a name. Raises MonitoringFailed."""
    known = only(services(asked, at, spans), name)
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("asking Prometheus", total=None)
        made = []
        for service in known:
            progress.update(task, description=f"looking at {service.job}")
            limits = (monitoring or Monitoring()).limits(service.namespace)[service.namespace]
            evidence = gather(asked, service, at, spans, limits)
            made.append(Diagnosis(evidence, judge(evidence)))
    return sorted(made, key=lambda each: -worst(each.findings))


def show(found: Sequence[Diagnosis], out: Console) -> None:
    """Print diagnoses, as people read them."""
    for diagnosis in found:
        level = worst(diagnosis.findings)
        colour = _COLOURS[level] if level else "bold green"
        out.print(Text(diagnosis.headline, style=colour))
        evidence = diagnosis.evidence
        told = f"at {when(evidence.at)}, by the last {evidence.spans.window_seconds} s"
        out.print(Text(told, style="dim"))
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
        (f"  {check.name}, {sign.confidence:.0%} sure", "dim"),
    )
    out.print(title)
    out.print(Padding(Text(sentence(sign.verdict)), _MARGIN))
    if finding.because:
        out.print(Padding(Text(f"Follows from {finding.because}.", style="dim"), _MARGIN))
        return
    rows = [
        ("seen", [exhibit.says for exhibit in sign.exhibits]),
        ("do", list(check.remedy)),
        ("try", [check.experiment]),
        ("or", list(check.alternatives)),
    ]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim", width=4)
    grid.add_column(overflow="fold")
    for name, texts in rows:
        for place, text in enumerate(texts):
            grid.add_row("" if place else name, Text(text))
    out.print(Padding(grid, _MARGIN))


def _follow(
    diagnose_at: Callable[[float], list[Diagnosis]], asked: Prometheus, seconds: float, out: Console
) -> None:
    """Print a diagnosis whenever it is another than the last, until Ctrl-C."""
    pause, last = threading.Event(), None
    told = f"looking every {seconds:g} s, and telling what changes; Ctrl-C ends it"
    out.print(Text(told, style="dim"))
    with suppress(KeyboardInterrupt):
        while True:
            try:
                found = diagnose_at(asked.now())
                said: Any = [[_said(f) for f in each.findings] for each in found]
                if said != last:
                    show(found, out)
                last = said
            except MonitoringFailed as wrong:
                if last != str(wrong):
                    out.print(Text(str(wrong), style="red"))
                last = str(wrong)
            pause.wait(seconds)


def _said(finding: Finding) -> tuple[str, Severity, str, str]:
    return finding.check.name, finding.sign.severity, finding.sign.subject, finding.because
