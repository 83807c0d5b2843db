"""`safelight traffic`: send requests to a service at a fixed rate, and print a summary."""

import asyncio
from dataclasses import replace
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from safelight.cli.options import console, parse_address
from safelight.errors import BadSetting, ServiceFailed
from safelight.stack.tools.traffic import MAX_REQUESTS, Summary, Traffic, drive, task_of
from safelight.units import share

_TIMEOUT_SECONDS = 150.0  # longer than the service's own, so that the service's timeout applies
_QUANTILES = (0.5, 0.95, 0.99)


def traffic(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Requests per second.")] = 1.0,
    duration: Annotated[
        float, typer.Option(min=0.1, max=86400, help="Duration in seconds.")
    ] = 60.0,
    instruction: Annotated[
        list[str] | None,
        typer.Option(help="Instruction or prompt to send. Repeat it to send a mixture."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Size of the images, such as 512x384. Repeatable.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Denoising steps. Default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choice of requests.")] = 0,
) -> None:
    """Send requests at a fixed rate without waiting for responses, and print a summary.

    The requests match the model: edits, prompts or images to recognise.

    Examples:

        safelight traffic --rate 2 --duration 300

        safelight traffic http://127.0.0.1:8000 --instruction "make him old" --size 512x512
    """
    target = parse_address(url)
    if rate * duration > MAX_REQUESTS:
        raise BadSetting(
            f"{rate * duration:.0f} requests are too many; the limit is {MAX_REQUESTS}. "
            "Lower --rate or --duration."
        )
    plan = Traffic(
        rate=rate,
        duration_seconds=duration,
        steps=steps,
        seed=seed,
        instructions=tuple(instruction or ()),
        sizes=tuple(_size(text) for text in size or ()),
    )
    out = console()
    summary, interrupted = asyncio.run(_run(plan, target, out))
    out.print(_table(summary))
    if summary.seconds:
        pairs = ((q, summary.quantile(q)) for q in _QUANTILES)
        out.print("ok: " + "  ".join(f"P{q * 100:g} {seconds:.3f} s" for q, seconds in pairs))
    if interrupted:
        raise typer.Exit(130)
    if not summary.outcomes["ok"]:
        reason = next((outcome for outcome, _ in summary.outcomes.most_common(1)), "none was sent")
        raise ServiceFailed(f"No request to {target} succeeded: {reason}.")


async def _run(plan: Traffic, target: str, out: Console) -> tuple[Summary, bool]:
    """Return the summary, and whether Ctrl-C interrupted the traffic."""
    latest = Summary()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=out) as progress:
        bar = progress.add_task("sending", total=plan.requests)

        def show(summary: Summary) -> None:
            nonlocal latest
            latest = summary
            warned = f" ({summary.warned} with a warning)" if summary.warned else ""
            text = f"{summary.outcomes['ok']} ok{warned}, {summary.failed} failed"
            progress.update(bar, completed=summary.sent + summary.skipped, description=text)

        limits = httpx.Limits(max_connections=plan.in_flight_limit)
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits) as client:
            try:
                traffic = replace(plan, task=await task_of(target, client))
                return await drive(traffic, target, client=client, on_progress=show), False
            except asyncio.CancelledError:
                return latest, True


def _table(summary: Summary) -> Table:
    noun = "request" if summary.sent == 1 else "requests"
    table = Table(title=f"{summary.sent} {noun} ended", title_justify="left")
    table.add_column("outcome")
    table.add_column("requests", justify="right")
    table.add_column("share", justify="right")
    for outcome, count in summary.outcomes.most_common():
        style = "green" if outcome == "ok" else "red"
        table.add_row(Text(outcome, style=style), str(count), share(count / summary.sent))
        for reason, warned in summary.warnings.most_common() if outcome == "ok" else ():
            label = Text(f"  of them with a warning: {reason}", style="yellow")
            table.add_row(label, str(warned), share(warned / summary.sent))
    if summary.skipped:
        table.add_row("[red]not sent: too many in flight[/]", str(summary.skipped), "")
    return table


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(side.isascii() and side.isdigit() and 32 <= int(side) <= 4096 for side in sides):
        raise BadSetting(
            f"{text[:40]!r} is not a valid size. Write it like 512x384, each side 32 to 4096."
        )
    return int(width), int(height)
