"""`safelight up`: start services and their monitoring on this machine."""

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

from safelight.cli.options import console, model_argument, program_name, setting_option
from safelight.errors import ServiceFailed
from safelight.settings import load
from safelight.stack.local import PROMETHEUS, Plan, Stack, plan
from safelight.stack.programs import error_text
from safelight.stack.reloading import Reloading
from safelight.stack.services import CONSOLE, RELOAD_SIGNAL
from safelight.stack.tools.check import TIMEOUT_SECONDS, Checker, Result, verify
from safelight.stack.tools.samples import parse_task
from safelight.units import duration, size

_INTERRUPTED = 130
_WIDE_COLUMNS = 120  # enough to show the queries beside their results
_CURL = {
    "edit": (
        "Edit an image:",
        'curl -F image=@photo.jpg -F "instruction=make him old" {url}/api/edit -o edited.png',
    ),
    "generate": (
        "Generate an image:",
        "curl -H 'content-type: application/json' {url}/generate -o made.png \\",
        '  -d \'{{"prompt": "an old person with a beard, in the city"}}\'',
    ),
    "predict": ("Recognise an image:", "curl -F image=@photo.jpg {url}/predict"),
}


def up(
    models: Annotated[list[str] | None, model_argument()] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Send requests, show the metrics in Prometheus, and exit."),
    ] = False,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("port")] = None,
    prometheus_port: Annotated[int | None, setting_option("prometheus_port")] = None,
    alertmanager_port: Annotated[int | None, setting_option("alertmanager_port")] = None,
    node_exporter_port: Annotated[int | None, setting_option("node_exporter_port")] = None,
    grafana_port: Annotated[int | None, setting_option("grafana_port")] = None,
    console_port: Annotated[int | None, setting_option("console_port")] = None,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Do not start the console.")
    ] = False,
    namespace: Annotated[str | None, setting_option("namespace")] = None,
    devices: Annotated[str | None, setting_option("devices")] = None,
    precision: Annotated[str | None, setting_option("precision")] = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    alert_relay_port: Annotated[int | None, setting_option("alert_relay_port")] = None,
    retention: Annotated[str | None, setting_option("retention")] = None,
    state_folder: Annotated[Path | None, setting_option("state_folder")] = None,
) -> None:
    """Start services, Prometheus, Alertmanager and the console, and stop them on Ctrl-C.

    Node-exporter and Grafana, with all dashboards, are started too if they are installed. Each
    model is a service with its own namespace and port: --port is the port of the first.
    --namespace is for one model only. SIGUSR1, or the console's page Act, makes it read the
    monitoring file again.

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
        console_port=console_port,
        retention=retention,
        namespace=namespace,
        devices=devices,
        precision=precision,
        state_folder=state_folder,
        monitoring=monitoring,
        alert_relay_port=alert_relay_port,
    )
    out, stop = console(), _stop_on_signals()

    def plan_again() -> Plan:
        return plan(settings, models or (), with_console=not no_console)

    def report(text: str) -> None:
        out.print(text, style="dim")

    stack = Stack(plan_again(), settings, report, stop.wait)
    reloading = Reloading(stack, plan_again, report)
    signal.signal(RELOAD_SIGNAL, reloading.ask)
    try:
        if not _start(stack, out):
            raise typer.Exit(_INTERRUPTED)
        out.print(_addresses(stack.plan))
        if check:
            passed = _check(stack.plan, out, stop)
            raise typer.Exit(_INTERRUPTED if stop.is_set() else 0 if passed else 1)
        out.print(_hints(stack.plan), soft_wrap=True)
        stack.follow(reloading.look)
    finally:
        stack.stop()


def _start(stack: Stack, out: Console) -> bool:
    """Start the stack; on a terminal show the elapsed time."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        progress.add_task("loading; a large model takes minutes", total=None)
        return stack.start()


def _stop_on_signals() -> threading.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        # In another thread: this thread may hold the event's lock.
        threading.Thread(target=stop.set, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return stop


def _addresses(plan: Plan) -> Table:
    table = Table(title=f"Safelight is up (state and logs in {plan.state})", title_justify="left")
    for column in ("service", "address", "content"):
        table.add_column(column, overflow="fold")
    for program in plan.programs:
        table.add_row(program.name, program.url, program.shows)
    return table


def _hints(plan: Plan) -> Text:
    services = [plan.find(name).url for name in plan.services]
    tasks = {_task(url): url for url in reversed(services)}
    url = services[0]
    hints = Text()
    consoles = [program.url for program in plan.programs if program.name == CONSOLE]
    for title, *lines in (
        *(("Look at it in the browser:", console_url) for console_url in consoles),
        *(
            (title, *(line.format(url=tasks[task]) for line in lines))
            for task, (title, *lines) in _CURL.items()
            if task in tasks
        ),
        ("Send traffic:", f"{program_name()} traffic {url}"),
        ("Show it live:", f"{program_name()} top {url}"),
    ):
        hints.append(f"{title}\n", style="dim").append("".join(f"  {line}\n" for line in lines))
    return hints.append("Ctrl-C stops everything.", style="dim")


def _check(plan: Plan, out: Console, stop: threading.Event) -> bool:
    """Check every service and print the results. Return True if all checks passed."""
    passed = True
    for name, settings in plan.services.items():
        url, prometheus = plan.find(name).url, plan.find(PROMETHEUS).url
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client, out.status("sending") as status:
            checker = Checker(url, prometheus, client, _task(url))
            results = verify(
                checker, settings.namespace, name, wait=stop.wait, report=status.update
            )
        out.print(_results(settings.model, results, with_queries=out.width >= _WIDE_COLUMNS))
        passed = passed and bool(results) and all(result.passed for result in results)
    return passed


def _task(url: str) -> str:
    try:
        return parse_task(httpx.get(f"{url}/v1/models", timeout=TIMEOUT_SECONDS))
    except httpx.HTTPError as error:
        raise ServiceFailed(f"{url}/v1/models cannot be read: {error_text(error)}.") from None


def _results(model: str, results: list[Result], *, with_queries: bool) -> Table:
    table = Table(title=f"Metrics of {model} in Prometheus", title_justify="left")
    for column in ("", "metric", "value", *(["query"] if with_queries else [])):
        table.add_column(column, overflow="fold")
    for result in results:
        mark = "[green]ok[/green]" if result.passed else "[red]no[/red]"
        row = (Text(result.check.title), Text(_value(result)), Text(result.check.query))
        table.add_row(mark, *(row if with_queries else row[:2]))
    return table


def _value(result: Result) -> str:
    if result.value is None:
        return result.note or "no data"
    match result.check.unit:
        case "s":
            return duration(result.value)
        case "B":
            return size(result.value)
        case _:
            return f"{result.value:.4g}"
