"""`safelight traffic`: sends requests to a service, at a rate, for a while, and sums up."""

import asyncio
from dataclasses import replace
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from safelight.cli.options import address, console
from safelight.errors import BadSetting, ServiceFailed
from safelight.stack.tools.traffic import MOST_REQUESTS, Summary, Traffic, drive, task_of

_TIMEOUT_SECONDS = 150.0  # longer than a service's own, so that its answer is what counts
_QUANTILES = (0.5, 0.95, 0.99)


def traffic(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Requests per second.")] = 1.0,
    duration: Annotated[float, typer.Option(min=0.1, max=86400, help="Seconds.")] = 60.0,
    instruction: Annotated[
        list[str] | None,
        typer.Option(help="Instruction or prompt to send; may be repeated for a mixture."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Size of the images, such as 512x384; may be repeated.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Denoising steps; without, as the model's own."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the mixture.")] = 0,
) -> None:
    """Send requests at a rate, whether or not the last was answered; say what became of them.

    An editor gets edits, a generator prompts, a recogniser pictures.

    Examples:

        safelight traffic --rate 2 --duration 300

        safelight traffic http://127.0.0.1:8000 --instruction "make him old" --size 512x512
    """
    target = address(url)
    if rate * duration > MOST_REQUESTS:
        raise BadSetting(
            f"{rate * duration:.0f} requests are too many; the most is {MOST_REQUESTS}. "
            "Lower --rate or --duration."
        )
    wanted = Traffic(
        rate=rate,
        duration_seconds=duration,
        steps=steps,
        seed=seed,
        instructions=tuple(instruction or ()),
        sizes=tuple(_size(text) for text in size or ()),
    )
    out = console()
    summary, interrupted = asyncio.run(_run(wanted, target, out))
    out.print(_table(summary))
    if summary.seconds:
        pairs = ((q, summary.quantile(q)) for q in _QUANTILES)
        out.print("ok: " + "  ".join(f"P{q * 100:g} {seconds:.3f} s" for q, seconds in pairs))
    if interrupted:
        raise typer.Exit(130)
    if not summary.outcomes["ok"]:
        reason = next((outcome for outcome, _ in summary.outcomes.most_common(1)), "none was sent")
        raise ServiceFailed(f"Not one request was answered by {target}: {reason}.")


async def _run(wanted: Traffic, target: str, out: Console) -> tuple[Summary, bool]:
    """Return what became of the traffic, and whether Ctrl-C cut it short."""
    seen = Summary()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=out) as progress:
        bar = progress.add_task("sending", total=wanted.requests)

        def show(summary: Summary) -> None:
            nonlocal seen
            seen = summary
            warned = f" ({summary.warned} with a warning)" if summary.warned else ""
            text = f"{summary.outcomes['ok']} ok{warned}, {summary.failed} failed"
            progress.update(bar, completed=summary.sent + summary.skipped, description=text)

        limits = httpx.Limits(max_connections=wanted.in_flight_limit)
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits) as client:
            try:
                asked = replace(wanted, task=await task_of(target, client))
                return await drive(asked, target, client=client, on_progress=show), False
            except asyncio.CancelledError:
                return seen, True


def _table(summary: Summary) -> Table:
    noun = "request" if summary.sent == 1 else "requests"
    table = Table(title=f"{summary.sent} {noun} ended", title_justify="left")
    table.add_column("outcome")
    table.add_column("requests", justify="right")
    table.add_column("share", justify="right")
    for outcome, count in summary.outcomes.most_common():
        style = "green" if outcome == "ok" else "red"
        table.add_row(Text(outcome, style=style), str(count), f"{count / summary.sent:.1%}")
        for reason, warned in summary.warnings.most_common() if outcome == "ok" else ():
            words = Text(f"  of them with a warning: {reason}", style="yellow")
            table.add_row(words, str(warned), f"{warned / summary.sent:.1%}")
    if summary.skipped:
        table.add_row("[red]not sent: too many unanswered[/]", str(summary.skipped), "")
    return table


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(side.isascii() and side.isdigit() and 32 <= int(side) <= 4096 for side in sides):
        raise BadSetting(f"{text[:40]!r} is no size; write it like 512x384, each side 32 to 4096.")
    return int(width), int(height)
