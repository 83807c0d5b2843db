"""Write docs/images/top.svg: `safelight top` of a real service after half a minute of load."""

import asyncio
import io
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from rich.console import Console

from safelight.cli.screen import screen
from safelight.metrics.registry import parse
from safelight.stack.tools.top import Window
from safelight.stack.tools.traffic import Traffic, drive

IMAGES = Path(__file__).parent.parent / "docs" / "images"
URL = "http://127.0.0.1:8700"
SECONDS = 30.0
WIDTH = 104


def main() -> None:
    """Start the service, send traffic, and save the last view."""
    service = subprocess.Popen([sys.executable, "-m", "safelight", "serve", "--port", "8700"])
    try:
        window, pause = Window(20.0), threading.Event()
        while not _is_ready():
            pause.wait(0.2)
        traffic = threading.Thread(target=lambda: asyncio.run(_traffic()))
        traffic.start()
        view = window.add(parse(httpx.get(f"{URL}/metrics").text), time.monotonic())
        for _ in range(int(SECONDS / 2)):
            pause.wait(2)
            view = window.add(parse(httpx.get(f"{URL}/metrics").text), time.monotonic())
        console = Console(record=True, width=WIDTH, file=io.StringIO())
        console.print(screen(view, "http://127.0.0.1:8000", WIDTH))
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / "top.svg").write_text(
            _without_web_fonts(console.export_svg(title="safelight top"))
        )
        traffic.join()
    finally:
        service.terminate()
        service.wait()


def _without_web_fonts(svg: str) -> str:
    """Return the SVG with the reader's monospace font, so that it loads nothing from the web."""
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "monospace")


def _is_ready() -> bool:
    try:
        return httpx.get(f"{URL}/readyz").is_success
    except httpx.HTTPError:
        return False


async def _traffic() -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        await drive(Traffic(rate=0.8, duration_seconds=SECONDS), URL, client=client)


if __name__ == "__main__":
    main()
