"""`safelight canary`: what the canary of a service found; run it, or enrol the model."""

from collections.abc import Iterator
from typing import Annotated

import orjson
import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.operating import DEFAULT_ADDRESS, Address, get, post
from safelight.cli.options import console
from safelight.errors import BadSetting, ServiceFailed
from safelight.units import duration

_PATH = "/v1/model/canary"
_WAIT_SECONDS = 90.0
_COLOURS = {"good": "green", "slow": "yellow", "unknown": "yellow"}
_BAD = 1


class _Golden(BaseModel):
    noise_floor: float
    limit: float | None
    usual_seconds: float
    slow_seconds: float


class _Worker(BaseModel):
    worker: int
    device: str
    fingerprint: str
    ready: bool
    in_service: bool
    verdict: str
    why: str
    drift_ratio: float | None
    device_seconds: float | None
    enrolled_at: str | None
    enrolling: str | None
    goldens: dict[str, _Golden]


class _Report(BaseModel):
    on: bool
    in_service: bool
    readiness_forced: bool
    waits: bool
    workers: list[_Worker]


def canary(
    url: Address = DEFAULT_ADDRESS,
    run: Annotated[bool, typer.Option("--run", help="Run it now, and wait for it.")] = False,
    enrol: Annotated[
        bool, typer.Option("--enrol", help="What the model gives now counts as right from now on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether the model of a service still gives its golden outputs.

    The exit code is 1 if the model of a worker is wrong, hung or dead, or the instance is out of
    service. A key is read from
    SAFELIGHT_OPERATOR_KEY.

    Examples:

        safelight canary

        safelight canary --run http://127.0.0.1:8000

        safelight canary --enrol
    """
    if run and enrol:
        raise BadSetting("Choose --run or --enrol: an enrolment runs the model anyway.")
    path, send = f"{_PATH}/enrol" if enrol else _PATH, post if run or enrol else get
    answer = send(url, path, timeout_seconds=_WAIT_SECONDS)
    try:
        report = _Report.model_validate(answer)
    except ValidationError:
        raise ServiceFailed(f"{url} answered something else. Is it an older version?") from None
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(report, console())
    bad = any(worker.verdict in ("wrong", "hung", "dead") for worker in report.workers)
    if bad or report.readiness_forced or not report.in_service:
        raise typer.Exit(_BAD)


def _show(report: _Report, out: Console) -> None:
    if not report.on:
        out.print("The canary is off: SAFELIGHT_CANARY_SECONDS is 0.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("worker", "device", "verdict", "difference", "time", "usual", "enrolled"):
        table.add_column(name)
    for worker in report.workers:
        table.add_row(*_row(worker))
    out.print(table)
    for line in _notes(report):
        out.print(Text(line))


def _row(worker: _Worker) -> Iterator[Text | str]:
    usual = [golden.usual_seconds for golden in worker.goldens.values()]
    yield str(worker.worker)
    yield worker.device
    yield Text(worker.verdict, style=_COLOURS.get(worker.verdict, "bold red"))
    drift = worker.drift_ratio
    yield "unknown" if drift is None else f"{drift:.2f} of the limit"
    yield "unknown" if worker.device_seconds is None else duration(worker.device_seconds)
    yield duration(sum(usual) / len(usual)) if usual else "unknown"
    yield worker.enrolled_at or worker.enrolling or "not yet"


def _notes(report: _Report) -> Iterator[str]:
    for worker in report.workers:
        if worker.why:
            yield f"Worker {worker.worker}: {worker.why}."
        if not worker.ready:
            yield f"Worker {worker.worker} has no model loaded now."
        elif not worker.in_service:
            yield f"Worker {worker.worker} gets no requests until three runs in a row are good."
        if any(golden.limit is None for golden in worker.goldens.values()):
            yield (
                f"Worker {worker.worker}: the model ignores the seed or the input. Only its "
                "speed and the validity of its images are judged."
            )
    if report.waits:
        yield "Not all runs are done: the service is not idle, or the budget is spent."
    if report.readiness_forced:
        yield "The model is broken, but it serves: no other instance is ready."
    elif not report.in_service:
        yield "This instance is out of service; another one serves."
