"""`safelight up`: the service and its watchers, on this machine, in one command."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from safelight.cli.options import console, knob, model_argument
from safelight.settings import Settings, load
from safelight.stack.check import Answer, Checker, prove
from safelight.stack.local import PROMETHEUS, SERVICE, Plan, Stack, plan


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
    device: Annotated[str | None, knob("device")] = None,
    precision: Annotated[str | None, knob("precision")] = None,
    state_folder: Annotated[Path | None, knob("state_folder")] = None,
) -> None:
    """Start a service, Prometheus, Alertmanager and node-exporter, and stop them on Ctrl-C.

    Examples:

        safelight up

        safelight up timbrooks/instruct-pix2pix --device cuda:0

        safelight up --check
    """
    settings = load(
        model=model, host=host, port=port, prometheus_port=prometheus_port,
        alertmanager_port=alertmanager_port, node_exporter_port=node_exporter_port,
        namespace=namespace, device=device, precision=precision, state_folder=state_folder,
    )  # fmt: skip
    out, stop = console(), _stop_on_signals()
    stack = Stack(plan(settings), settings, lambda text: out.print(f"[dim]{text}[/dim]"), stop.wait)
    try:
        with out.status("starting (a large model takes minutes to load)"):
            ready = stack.start()
        if not ready:
            raise typer.Exit(130)
        out.print(_addresses(stack.plan))
        if check:
            raise typer.Exit(0 if _check(stack.plan, settings, out, stop) else 1)
        out.print("Send it a picture (below), look at its page, and press Ctrl-C to stop.\n")
        out.print(_example(stack.plan), highlight=False, soft_wrap=True)
        stack.follow()
    finally:
        out.print("stopping")
        stack.stop()


def _stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set, so that everything is ended in order."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
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


def _example(started: Plan) -> str:
    url = started.find(SERVICE).url
    return (
        f'  curl -F image=@photo.jpg -F "instruction=make him old" {url}/api/edit -o edited.png\n'
    )


def _check(started: Plan, settings: Settings, out: Console, stop: threading.Event) -> bool:
    checker = Checker(started.find(SERVICE).url, started.find(PROMETHEUS).url)
    with out.status("sending edits") as status:
        answers = prove(checker, settings.namespace, SERVICE, wait=stop.wait, report=status.update)
    out.print(_answers(answers))
    return bool(answers) and all(answer.good for answer in answers)


def _answers(answers: list[Answer]) -> Table:
    table = Table(title="What Prometheus knows", title_justify="left")
    for column in ("", "question", "answer", "query"):
        table.add_column(column, overflow="fold")
    for answer in answers:
        mark = "[green]ok[/green]" if answer.good else "[red]no[/red]"
        table.add_row(mark, answer.question.title, _value(answer), answer.question.query)
    return table


def _value(answer: Answer) -> str:
    if answer.value is None:
        return answer.note or "no data"
    return f"{answer.value:.4g} {answer.question.unit}".strip()
