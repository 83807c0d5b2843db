"""`safelight top`: a live view of a service in the terminal, from its `/metrics` alone."""

import threading
from time import monotonic
from typing import Annotated

import httpx
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from safelight.cli.options import console
from safelight.errors import ServiceFailed
from safelight.metrics.registry import Samples, parse
from safelight.stack.top import QUANTILES, Reading, View, namespace_of

_COLOURS = (
    "cyan", "blue", "magenta", "bright_black", "green", "yellow", "bright_yellow", "red",
    "bright_magenta", "white", "bright_green", "bright_blue",
)  # fmt: skip
_BAR = 60


def top(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    interval: Annotated[
        float, typer.Option(min=0.2, max=60, help="Seconds between readings.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show one interval, and end.")] = False,
) -> None:
    """Watch a service live: requests, latency, stages, steps, queue, memory, cards. Ctrl-C ends it.

    Examples:

        safelight top

        safelight top http://127.0.0.1:8000 --once
    """
    source, out, pause = _Source(url.rstrip("/")), console(), threading.Event()
    try:
        if once:
            source.read()
            pause.wait(interval)
            out.print(_screen(source.read(), source.url))
            return
        with Live(Text(f"reading {source.url}"), console=out, screen=out.is_terminal) as live:
            source.read()
            while not pause.wait(interval):
                live.update(_screen(source.read(), source.url))
    except KeyboardInterrupt:
        return


class _Source:
    """Reads `/metrics` again and again, and compares each reading with the last."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(timeout=5)
        self._last: Samples = {}
        self._at = monotonic()

    def read(self) -> View | None:
        """Return the view since the last reading, or None before a namespace is known."""
        try:
            answer = self._client.get(f"{self.url}/metrics")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"{self.url}/metrics cannot be read: {str(error) or type(error).__name__}. "
                "Name the address of a running service: safelight top http://HOST:PORT"
            ) from None
        now, at = parse(answer.text), monotonic()
        namespace = namespace_of(now)
        reading = Reading(now, self._last or now, at - self._at, namespace) if namespace else None
        self._last, self._at = now, at
        return reading.view() if reading else None


def _screen(view: View | None, url: str) -> RenderableType:
    if view is None:
        return Panel(
            f"{url} exposes no model yet: it is still loading, or only its HTTP is watched."
        )
    ready = "" if view.workers_ready is None else f" · {view.workers_ready:.0f} worker ready"
    parts = [_requests(view), _stages(view), _steps(view), _resources(view)]
    return Panel(
        Group(*parts), title=f"[bold]{url}[/bold] · {view.model}{ready}", title_align="left"
    )


def _requests(view: View) -> Table:
    table = _grid()
    rates = f"{view.requests_per_second:.2f}/s"
    if view.failures_per_second > 0:
        rates += f"  [red]{view.failures_per_second:.2f}/s failed[/red]"
    pairs = zip(QUANTILES, view.latency_seconds, strict=True)
    table.add_row("requests", rates)
    table.add_row("latency", "  ".join(f"P{q * 100:g} {_seconds(value)}" for q, value in pairs))
    table.add_row("queue", f"{view.queue_depth:.0f} waiting, {view.in_flight:.0f} in flight")
    return table


def _stages(view: View) -> Table:
    table = _grid()
    bar, legend = Text(), Text()
    for colour, (stage, share) in zip(_COLOURS, view.stage_shares.items(), strict=False):
        bar.append("█" * round(share * _BAR), style=colour)
        if share >= 0.01:
            legend.append(f"{stage} {share:.0%}  ", style=colour)
    table.add_row("stages", bar if view.stage_shares else Text("no request finished", style="dim"))
    table.add_row("", legend)
    return table


def _steps(view: View) -> Table:
    table = _grid()
    means = "  ".join(f"{place}: {_seconds(mean)}" for place, mean in view.step_seconds.items())
    table.add_row("steps", f"{view.steps_per_second:.1f}/s  {means}")
    return table


def _resources(view: View) -> Table:
    table = _grid()
    for device, (used, peak) in view.vram.items():
        table.add_row(f"VRAM {device}", f"{_gib(used)} used, {_gib(peak)} at most")
    for card in view.cards:
        busy = "" if card.utilization_ratio is None else f"{card.utilization_ratio:.0%} busy, "
        heat = "" if card.celsius is None else f", {card.celsius:.0f} °C"
        table.add_row(
            f"card {card.name}", f"{busy}{_gib(card.used_bytes)} of {_gib(card.total_bytes)}{heat}"
        )
    if view.cpu_ratio is not None and view.memory is not None:
        used, total = view.memory
        table.add_row("machine", f"CPU {view.cpu_ratio:.0%}, memory {_gib(used)} of {_gib(total)}")
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=12)
    table.add_column()
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def _gib(value: float | None) -> str:
    return "?" if value is None else f"{value / 1024**3:.1f} GiB"
