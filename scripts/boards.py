"""Draw every dashboard from a running demo, and count the series of every panel.

Writes docs/images/live.png, request.png and docs/panels.md in five minutes, and the pictures of the
other dashboards into build/boards. Assess more images than usual, or the quality panels stay empty:
`SAFELIGHT_QUALITY_SAMPLE_RATIO=0.5 python -m scripts.boards`.
"""

import asyncio
import platform
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

import httpx

from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen, first_choice
from safelight.models.demo.bundle import DEMOS
from safelight.settings import load
from safelight.stack.local import PROMETHEUS, Stack, plan
from safelight.stack.tools.samples import parse_task, photo
from safelight.stack.tools.traffic import Traffic, drive
from scripts.drawing import Data, draw

ROOT = Path(__file__).parent.parent
DOCS, PICTURES = ROOT / "docs", ROOT / "build" / "boards"
SHOWN = ("live", "request")
SECONDS = 240.0
STEP_SECONDS = 5
RATES = {"edit": 0.6, "generate": 0.4, "predict": 2.0}
PATHS = {"edit": "/api/edit", "generate": "/generate", "predict": "/predict"}
PORTS = {
    "port": 8700,
    "prometheus_port": 8790,
    "alertmanager_port": 8793,
    "node_exporter_port": 8791,
    "grafana_port": 8792,
}


def main() -> None:
    """Start the demos, send traffic, query every panel, and write the image and the page."""
    with TemporaryDirectory() as folder:
        settings = load(state_folder=Path(folder), grace_seconds=5, **PORTS)
        stack = Stack(plan(settings, list(DEMOS)), settings, print, lambda s: bool(_pause(s)))
        try:
            stack.start()
            urls = [stack.plan.find(name).url for name in stack.plan.services]
            asyncio.run(_traffic(urls))
            _pause(2 * STEP_SECONDS)
            url, end = stack.plan.find(PROMETHEUS).url, time()
            (DOCS / "panels.md").write_text(table(url, end))
            for board in boards():
                PICTURES.mkdir(parents=True, exist_ok=True)
                drawn = draw(board, _data(url, board, end))
                drawn.savefig(_image(board), dpi=72)
        finally:
            stack.stop()


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


async def _traffic(urls: list[str]) -> None:
    await asyncio.gather(*map(_good, urls), *map(_bad, urls))


async def _good(url: str) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        task = parse_task(await client.get(f"{url}/v1/models"))
        steps = {"edit": 10, "generate": 8}.get(task)
        await drive(Traffic(RATES[task], SECONDS, steps=steps, task=task), url, client=client)


async def _bad(url: str) -> None:
    """Send some invalid requests, and edits with an ignored guidance scale and a rating."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        path = PATHS[parse_task(await client.get("/v1/models"))]
        for turn in range(int(SECONDS / 15)):
            await client.post(path, data={"instruction": "make him old"}, files={"image": b"no"})
            form = {"instruction": "add a beard", "steps": "4", "image_guidance_scale": "0.5"}
            if path == PATHS["edit"] and turn % 3 == 0:
                edited = await client.post(path, data=form, files={"image": photo(64, 64)})
                name = edited.headers["x-request-id"]
                await client.post(f"/v1/requests/{name}/rating", json={"rating": 1 + turn % 5})
            await asyncio.sleep(15)


def _data(url: str, board: Board, end: float) -> Data:
    namespace = first_choice(board) or "instructpix2pix"
    chosen = Chosen(namespace, rate_interval="30s", range=f"{SECONDS:.0f}s")
    return Data(url, chosen, end - SECONDS, end)


def _image(board: Board) -> Path:
    """Return where the picture goes: into the docs, or beside them if the docs do not show it."""
    name = board.uid.removeprefix("safelight-")
    return DOCS / "images" / f"{name}.png" if name in SHOWN else PICTURES / f"{name}.png"


def table(url: str, end: float) -> str:
    """Return the page that counts the series and samples of each panel."""
    machine = f"Python {platform.python_version()}, no NVIDIA GPU"
    lines = [
        "# Panels",
        "",
        f"Result of every panel with the three demo services, after {SECONDS / 60:g} minutes of "
        f"traffic on {datetime.now(UTC):%Y-%m-%d} ({machine}). Written by "
        "`SAFELIGHT_QUALITY_SAMPLE_RATIO=0.5 python -m scripts.boards`.",
        "",
        "| dashboard | panel | series | samples | |",
        "|---|---|---|---|---|",
    ]
    rows = (row for board in boards() for row in _rows(board, _data(url, board, end)))
    return "\n".join([*lines, *rows]) + "\n"


def _rows(board: Board, data: Data) -> Iterator[str]:
    for panel in board.panels:
        series = data.series(panel)
        samples = sum(len(values) for _, _, values in series)
        note = f"needs {panel.needs}" if panel.needs and not series else ""
        yield f"| {board.name} | {panel.title} | {len(series)} | {samples} | {note} |"


if __name__ == "__main__":
    main()
