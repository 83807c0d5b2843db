"""`safelight traffic`: sends edits to a service, at a rate, for a while, and sums up."""

import asyncio
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from safelight.cli.options import console
from safelight.errors import BadSetting, ServiceFailed
from safelight.stack.traffic import MOST_REQUESTS, Summary, Traffic, drive

_TIMEOUT_SECONDS = 120.0


def traffic(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Requests per second.")] = 1.0,
    duration: Annotated[float, typer.Option(min=0.1, max=86400, help="Seconds.")] = 60.0,
    instruction: Annotated[
        list[str] | None, typer.Option(help="Instruction to send; may be repeated for a mixture.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Size of the images, such as 512x384; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the mixture.")] = 0,
) -> None:
    """Send edits at a rate, whether or not the last was answered, and say what became of them.

    Examples:

        safelight traffic --rate 2 --duration 300

        safelight traffic http://127.0.0.1:8000 --instruction "make him old" --size 512x512
    """
    base = Traffic(rate=rate, duration_seconds=duration, steps=steps, seed=seed)
    wanted = Traffic(
        rate=rate, duration_seconds=duration, steps=steps, seed=seed,
        instructions=tuple(instruction or base.instructions),
        sizes=tuple(_size(text) for text in size) if size else base.sizes,
    )  # fmt: skip
    if rate * duration > MOST_REQUESTS:
        raise BadSetting(
            f"{rate * duration:.0f} requests are too many; the most is {MOST_REQUESTS}."
        )
    summary = asyncio.run(_run(wanted, url.rstrip("/")))
    console().print(_table(summary))
    if not summary.outcomes["ok"]:
        raise ServiceFailed(f"Not one edit was answered by {url}.")


async def _run(wanted: Traffic, url: str) -> Summary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console()) as progress:
        bar = progress.add_task("sending", total=wanted.requests)
        limits = httpx.Limits(max_connections=wanted.in_flight_limit)
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits) as client:
            return await drive(
                wanted, url, client=client,
                on_progress=lambda seen: progress.update(bar, completed=seen.sent + seen.skipped),
            )  # fmt: skip


def _table(summary: Summary) -> Table:
    table = Table(title=f"{summary.sent} requests", title_justify="left", show_header=False)
    for outcome, count in summary.outcomes.most_common():
        table.add_row(outcome, str(count))
    if summary.skipped:
        table.add_row("not sent: too many unanswered", str(summary.skipped))
    for q in (0.5, 0.95, 0.99):
        seconds = summary.quantile(q)
        table.add_row(f"P{q * 100:g}", "-" if seconds is None else f"{seconds:.3f} s")
    return table


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (
        width.isdigit()
        and height.isdigit()
        and 32 <= int(width) <= 4096
        and 32 <= int(height) <= 4096
    ):
        raise BadSetting(f"{text[:40]!r} is no size; write it like 512x384, each side 32 to 4096.")
    return int(width), int(height)
