"""`safelight up`: the service and its watchers, on this machine, in one command."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from safelight.cli.options import console, knob, model_argument, own_name
from safelight.errors import ServiceFailed
from safelight.settings import load
from safelight.stack.local import PROMETHEUS, Plan, Stack, plan
from safelight.stack.programs import why
from safelight.stack.tools.check import TIMEOUT_SECONDS, Answer, Checker, prove
from safelight.stack.tools.samples import task_told
from safelight.units import duration, size

_INTERRUPTED = 130
_WIDE_COLUMNS = 120  # from here on there is room for the queries beside their answers
_CURL = {
    "edit": (
        "Send it a picture:",
        'curl -F image=@photo.jpg -F "instruction=make him old" {url}/api/edit -o edited.png',
    ),
    "generate": (
        "Ask for a picture:",
        "curl -H 'content-type: application/json' {url}/generate -o made.png \\",
        '  -d \'{{"prompt": "an old person with a beard, in the city"}}\'',
    ),
    "predict": ("Ask what is on a picture:", "curl -F image=@photo.jpg {url}/predict"),
}


def up(
    models: Annotated[list[str] | None, model_argument()] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Send real requests, show what Prometheus knows, and end."),
    ] = False,
    host: Annotated[str | None, knob("host")] = None,
    port: Annotated[int | None, knob("port")] = None,
    prometheus_port: Annotated[int | None, knob("prometheus_port")] = None,
    alertmanager_port: Annotated[int | None, knob("alertmanager_port")] = None,
    node_exporter_port: Annotated[int | None, knob("node_exporter_port")] = None,
    grafana_port: Annotated[int | None, knob("grafana_port")] = None,
    namespace: Annotated[str | None, knob("namespace")] = None,
    devices: Annotated[str | None, knob("devices")] = None,
    precision: Annotated[str | None, knob("precision")] = None,
    monitoring: Annotated[Path | None, knob("monitoring")] = None,
    alert_relay_port: Annotated[int | None, knob("alert_relay_port")] = None,
    retention: Annotated[str | None, knob("retention")] = None,
    state_folder: Annotated[Path | None, knob("state_folder")] = None,
) -> None:
    """Start services, Prometheus, Alertmanager and node-exporter, and stop them on Ctrl-C.

    Grafana is started too where its program is found, with the boards in it. Several models are
    several services, each with its namespace, on ports that follow each other.

    Examples:

        safelight up

        safelight up demo-edit demo-generate demo-recognize

        safelight up timbrooks/instruct-pix2pix --devices cuda:0

        safelight up --monitoring monitoring.toml

        safelight up --check
    """
    settings = load(
        host=host,
        port=port,
        prometheus_port=prometheus_port,
        alertmanager_port=alertmanager_port,
        node_exporter_port=node_exporter_port,
        grafana_port=grafana_port,
        retention=retention,
        namespace=namespace,
        devices=devices,
        precision=precision,
        state_folder=state_folder,
        monitoring=monitoring,
        alert_relay_port=alert_relay_port,
    )
    out, stop = console(), _stop_on_signals()
    stack = Stack(
        plan(settings, models or ()), settings, lambda text: out.print(text, style="dim"), stop.wait
    )
    try:
        if not _start(stack, out):
            raise typer.Exit(_INTERRUPTED)
        out.print(_addresses(stack.plan))
        if check:
            good = _check(stack.plan, out, stop)
            raise typer.Exit(_INTERRUPTED if stop.is_set() else 0 if good else 1)
        out.print(_hints(stack.plan), soft_wrap=True)
        stack.follow()
    finally:
        stack.stop()


def _start(stack: Stack, out: Console) -> bool:
    """Start the stack; on a terminal a line shows meanwhile that time passes, and how much."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        progress.add_task("loading; a large model takes minutes", total=None)
        return stack.start()


def _stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C, SIGTERM and a closed terminal set: all is ended in order."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        # By another thread: this one may hold the event's lock at this very moment.
        threading.Thread(target=stop.set, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return stop


def _addresses(started: Plan) -> Table:
    table = Table(
        title=f"Safelight is up (state and logs in {started.state})", title_justify="left"
    )
    for column in ("service", "address", "what is there"):
        table.add_column(column, overflow="fold")
    for program in started.programs:
        table.add_row(program.name, program.url, program.shows)
    return table


def _hints(started: Plan) -> Text:
    services = [started.find(name).url for name in started.services]
    tasks = {_task(url): url for url in reversed(services)}
    url = services[0]
    hints = Text()
    for what, *lines in (
        *(
            (said, *(line.format(url=tasks[task]) for line in lines))
            for task, (said, *lines) in _CURL.items()
            if task in tasks
        ),
        ("Send traffic:", f"{own_name()} traffic {url}"),
        ("and watch:", f"{own_name()} top {url}"),
    ):
        hints.append(f"{what}\n", style="dim").append("".join(f"  {line}\n" for line in lines))
    return hints.append("Ctrl-C stops everything.", style="dim")


def _check(started: Plan, out: Console, stop: threading.Event) -> bool:
    """Prove every service, and show what is known of each; tell whether all is."""
    good = True
    for name, settings in started.services.items():
        url, prometheus = started.find(name).url, started.find(PROMETHEUS).url
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client, out.status("sending") as status:
            checker = Checker(url, prometheus, client, _task(url))
            answers = prove(checker, settings.namespace, name, wait=stop.wait, report=status.update)
        out.print(_answers(settings.model, answers, with_queries=out.width >= _WIDE_COLUMNS))
        good = good and bool(answers) and all(answer.good for answer in answers)
    return good


def _task(url: str) -> str:
    try:
        return task_told(httpx.get(f"{url}/v1/models", timeout=TIMEOUT_SECONDS))
    except httpx.HTTPError as error:
        raise ServiceFailed(f"{url} does not say what it serves: {why(error)}.") from None


def _answers(model: str, answers: list[Answer], *, with_queries: bool) -> Table:
    table = Table(title=f"What Prometheus knows of {model}", title_justify="left")
    for column in ("", "question", "answer", *(["query"] if with_queries else [])):
        table.add_column(column, overflow="fold")
    for answer in answers:
        mark = "[green]ok[/green]" if answer.good else "[red]no[/red]"
        row = (Text(answer.question.title), Text(_value(answer)), Text(answer.question.query))
        table.add_row(mark, *(row if with_queries else row[:2]))
    return table


def _value(answer: Answer) -> str:
    if answer.value is None:
        return answer.note or "no data"
    match answer.question.unit:
        case "s":
            return duration(answer.value)
        case "B":
            return size(answer.value)
        case _:
            return f"{answer.value:.4g}"
