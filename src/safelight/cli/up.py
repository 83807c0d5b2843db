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

from safelight.cli.options import console, knob, model_argument
from safelight.settings import Settings, load
from safelight.stack.check import TIMEOUT_SECONDS, Answer, Checker, prove
from safelight.stack.local import PROMETHEUS, SERVICE, Plan, Stack, plan

_INTERRUPTED = 130
_WIDE_COLUMNS = 120  # from here on there is room for the queries beside their answers


def up(
    model: Annotated[str | None, model_argument()] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Send real edits, show what Prometheus knows, and end.")
    ] = False,
    host: Annotated[str | None, knob("host")] = None,
    port: Annotated[int | None, knob("port")] = None,
    prometheus_port: Annotated[int | None, knob("prometheus_port")] = None,
    alertmanager_port: Annotated[int | None, knob("alertmanager_port")] = None,
    node_exporter_port: Annotated[int | None, knob("node_exporter_port")] = None,
    namespace: Annotated[str | None, knob("namespace")] = None,
    devices: Annotated[str | None, knob("devices")] = None,
    precision: Annotated[str | None, knob("precision")] = None,
    state_folder: Annotated[Path | None, knob("state_folder")] = None,
) -> None:
    """Start a service, Prometheus, Alertmanager and node-exporter, and stop them on Ctrl-C.

    Examples:

        safelight up

        safelight up timbrooks/instruct-pix2pix --devices cuda:0

        safelight up --check
    """
    settings = load(
        model=model, host=host, port=port, prometheus_port=prometheus_port,
        alertmanager_port=alertmanager_port, node_exporter_port=node_exporter_port,
        namespace=namespace, devices=devices, precision=precision, state_folder=state_folder,
    )  # fmt: skip
    out, stop = console(), _stop_on_signals()
    stack = Stack(plan(settings), settings, lambda text: out.print(text, style="dim"), stop.wait)
    try:
        if not _start(stack, out):
            raise typer.Exit(_INTERRUPTED)
        out.print(_addresses(stack.plan))
        if check:
            good = _check(stack.plan, settings, out, stop)
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
    url = started.find(SERVICE).url
    hints = Text()
    for what, *lines in (
        (
            "Send it a picture:",
            'curl -F image=@photo.jpg -F "instruction=make him old" \\',
            f"  {url}/api/edit -o edited.png",
        ),
        ("or traffic:", f"safelight traffic {url}"),
        ("and watch:", f"safelight top {url}"),
    ):
        hints.append(f"{what}\n", style="dim").append("".join(f"  {line}\n" for line in lines))
    return hints.append("Ctrl-C stops everything.", style="dim")


def _check(started: Plan, settings: Settings, out: Console, stop: threading.Event) -> bool:
    service, prometheus = (started.find(name).url for name in (SERVICE, PROMETHEUS))
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client, out.status("sending edits") as status:
        checker = Checker(service, prometheus, client)
        answers = prove(checker, settings.namespace, SERVICE, wait=stop.wait, report=status.update)
    out.print(_answers(answers, with_queries=out.width >= _WIDE_COLUMNS))
    return bool(answers) and all(answer.good for answer in answers)


def _answers(answers: list[Answer], *, with_queries: bool) -> Table:
    table = Table(title="What Prometheus knows", title_justify="left")
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
            return f"{answer.value * 1e3:.4g} ms" if answer.value < 1 else f"{answer.value:.4g} s"
        case "B":
            return f"{answer.value / 1024**3:.1f} GiB"
        case _:
            return f"{answer.value:.4g}"
