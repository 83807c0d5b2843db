"""`safelight top`: show a service live in the terminal, from its `/metrics`."""

import threading
from contextlib import suppress
from time import monotonic
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.live import Live
from rich.panel import Panel

from safelight.cli.options import console, parse_address
from safelight.cli.screen import screen
from safelight.errors import ServiceFailed
from safelight.metrics.registry import Samples, parse
from safelight.stack.programs import error_text
from safelight.stack.tools.top import Window, is_from_safelight
from safelight.stack.tools.view import View

_TIMEOUT_SECONDS = 5.0


def top(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    interval: Annotated[
        float, typer.Option(min=0.2, max=60, help="Seconds between readings.")
    ] = 2.0,
    window: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Window for rates and quantiles, in seconds.")
    ] = 20.0,
    once: Annotated[bool, typer.Option("--once", help="Show one view and exit.")] = False,
) -> None:
    """Show a service live: requests, latency, stages, steps, queue, memory and GPUs.

    Press Ctrl-C to stop.

    Examples:

        safelight top

        safelight top http://127.0.0.1:8000 --once
    """
    with httpx.Client(timeout=_TIMEOUT_SECONDS) as client, suppress(KeyboardInterrupt):
        _show(_Source(parse_address(url), window, client), interval, once=once)


def _show(source: "_Source", interval: float, *, once: bool) -> None:
    out, first, pause = console(), source.read(), threading.Event()
    if once:
        pause.wait(interval)
        out.print(_panel(source, source.read(), out))
    elif out.is_terminal:
        with Live(_panel(source, first, out), console=out, screen=True) as live:
            while not pause.wait(interval):
                live.update(_panel(source, source.read(), out), refresh=True)
    else:
        while not pause.wait(interval):
            out.print(_panel(source, source.read(), out))


class _Source:
    """Reads `/metrics` repeatedly and computes rates from the readings."""

    def __init__(self, url: str, window_seconds: float, client: httpx.Client) -> None:
        self.url = url
        self._client = client
        self._window = Window(window_seconds)

    def read(self) -> View:
        """Return the view after a new reading. Raises ServiceFailed."""
        return self._window.add(self._samples(), monotonic())

    def _samples(self) -> Samples:
        try:
            response = self._client.get(f"{self.url}/metrics")
            response.raise_for_status()
            samples = parse(response.text)
        except httpx.HTTPError as error:
            raise self._failure(error_text(error)) from None
        except ValueError:
            raise self._failure("it is not in Prometheus' text format") from None
        if not is_from_safelight(samples):
            raise self._failure("it has no Safelight metrics")
        return samples

    def _failure(self, reason: str) -> ServiceFailed:
        return ServiceFailed(
            f"{self.url}/metrics cannot be shown: {reason}. "
            "Give the address of a running service: safelight top http://HOST:PORT"
        )


def _panel(source: _Source, view: View, out: Console) -> Panel:
    return screen(view, source.url, out.width)
