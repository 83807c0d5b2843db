"""Draw the Live dashboard from a running demo, and count the series of every panel.

Writes docs/images/live.png and docs/panels.md in five minutes. Assess more images than usual, or
the quality panels stay empty: `SAFELIGHT_QUALITY_SAMPLE_RATIO=0.5 python scripts/boards.py`.
"""

import asyncio
import platform
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

import httpx
import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from safelight.dashboards.board import Better, Board, Panel, Query, Shape
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen, first_choice
from safelight.models.demo.bundle import DEMOS
from safelight.settings import load
from safelight.stack.local import PROMETHEUS, Stack, plan
from safelight.stack.tools.samples import parse_task, photo
from safelight.stack.tools.traffic import Traffic, drive

DOCS = Path(__file__).parent.parent / "docs"
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
MAX_LINES, MAX_LEGEND = 10, 34
_COLUMNS = 24
_LOW = (Shape.NUMBER, Shape.TABLE)
Series = tuple[str, list[float], list[float]]


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
            data = Data(stack.plan.find(PROMETHEUS).url)
            draw(boards()[0], data).savefig(DOCS / "images" / "live.png", dpi=80)
            (DOCS / "panels.md").write_text(table(data))
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


class Data:
    """The last minutes of Prometheus, queried as Grafana does."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._end = time()

    def __call__(self, board: Board, query: Query) -> list[Series]:
        """Return the series of a query: their legends, times in minutes from now, and values."""
        window = f"{SECONDS:.0f}s"
        chosen = Chosen(first_choice(board) or "instructpix2pix", rate_interval="30s", range=window)
        times = {"start": self._end - SECONDS, "end": self._end, "step": STEP_SECONDS}
        params = {"query": chosen.fill(query.expr), **times}
        response = self._client.get("/api/v1/query_range", params=params).raise_for_status()
        return [self._series(query, one) for one in response.json()["data"]["result"]]

    def _series(self, query: Query, result: dict[str, Any]) -> Series:
        labels = result["metric"]
        legend = re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), query.legend)
        pairs = [(float(at), float(value)) for at, value in result["values"] if value != "NaN"]
        name = re.sub(r"127\.0\.0\.1:\d+", "service", legend)[:MAX_LEGEND]
        return name, [(at - self._end) / 60 for at, _ in pairs], [value for _, value in pairs]


def table(data: Data) -> str:
    """Return the page that counts the series and samples of each panel."""
    machine = f"Python {platform.python_version()}, no NVIDIA GPU"
    lines = [
        "# Panels",
        "",
        f"Result of every panel with the three demo services, after {SECONDS / 60:g} minutes of "
        f"traffic on {datetime.now(UTC):%Y-%m-%d} ({machine}). Written by "
        "`SAFELIGHT_QUALITY_SAMPLE_RATIO=0.5 python scripts/boards.py`.",
        "",
        "| dashboard | panel | series | samples | |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row for board in boards() for row in _rows(board, data))]) + "\n"


def _rows(board: Board, data: Data) -> Iterator[str]:
    for panel in board.panels:
        series = [one for query in panel.queries for one in data(board, query) if one[2]]
        samples = sum(len(values) for _, _, values in series)
        note = f"needs {panel.needs}" if panel.needs and not series else ""
        title = board.title.rpartition("/ ")[2]
        yield f"| {title} | {panel.title} | {len(series)} | {samples} | {note} |"


def draw(board: Board, data: Data) -> Any:
    """Return the dashboard as a matplotlib figure; numbers and tables have half the height."""
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    heights = [0.5 if row.panels[0].shape in _LOW else 1 for row in board.rows]
    figure = plt.figure(figsize=(18, 3.6 * sum(heights)))
    grid = figure.add_gridspec(len(board.rows), _COLUMNS, height_ratios=heights)
    for place, row in enumerate(board.rows):
        width = _COLUMNS // len(row.panels)
        for column, panel in enumerate(row.panels):
            axis = figure.add_subplot(grid[place, column * width : (column + 1) * width])
            series = [one for query in panel.queries for one in data(board, query) if one[2]]
            axis.set_title(panel.title, loc="left", fontweight="bold", fontsize=11)
            if series:
                _SHAPES[panel.shape](
                    axis, panel, series if panel.shape is Shape.BUCKETS else series[:MAX_LINES]
                )
            else:
                _empty(axis, panel)
    figure.suptitle(f"{board.title}: {board.question}", x=0.01, ha="left", fontsize=13)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    return figure


def _empty(axis: Axes, panel: Panel) -> None:
    axis.axis("off")
    axis.text(0.5, 0.5, f"no data here: needs {panel.needs or 'traffic'}", ha="center")


def _lines(axis: Axes, panel: Panel, series: list[Series]) -> None:
    for name, times, values in series:
        axis.plot(times, values, label=name, linewidth=1.5)
    if panel.limit is not None:
        axis.axhline(panel.limit, color="tab:red", linestyle="--", linewidth=1)
    axis.set_ylim(bottom=0)
    _timed(axis, panel)


def _stack(axis: Axes, panel: Panel, series: list[Series]) -> None:
    for name, times, values in series:
        axis.fill_between(times, values, alpha=0.5, label=name)
    axis.set_ylim(bottom=0)
    _timed(axis, panel)


def _timed(axis: Axes, panel: Panel) -> None:
    axis.set_xlabel("minutes ago", loc="right", fontsize=8)
    axis.set_ylabel(panel.unit, fontsize=8)
    axis.legend(fontsize=7, loc="upper left", frameon=False, ncols=2)


def _grid(axis: Axes, _: Panel, series: list[Series]) -> None:
    for place, (_, times, values) in enumerate(series):
        cells = {"c": values, "cmap": "RdYlGn", "vmin": 0, "vmax": 1}
        axis.scatter(times, [place] * len(times), s=60, marker="s", **cells)
    axis.set_yticks(range(len(series)), [name for name, _, _ in series], fontsize=7)


def _number(axis: Axes, panel: Panel, series: list[Series]) -> None:
    axis.axis("off")
    for place, (name, _, values) in enumerate(series):
        colour = "tab:blue" if panel.limit is None else _verdict(panel, values[-1])
        text = _readable(values[-1], panel.unit)
        height = 0.5 - 0.4 * place
        axis.text(0, height, text, color=colour, fontsize=18, fontweight="bold")
        axis.text(0, height - 0.18, name, color="gray", fontsize=8)


def _verdict(panel: Panel, value: float) -> str:
    assert panel.limit is not None
    is_high = value >= panel.limit
    return "tab:green" if is_high == (panel.better is Better.HIGH) else "tab:red"


def _readable(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    return f"{value:.3g} {unit}".removesuffix(" short").replace("reqps", "req/s")


def _table(axis: Axes, _: Panel, series: list[Series]) -> None:
    axis.axis("off")
    for place, (name, _, _) in enumerate(series[:5]):
        axis.text(0, 0.8 - 0.2 * place, name, fontsize=9)


def _states(axis: Axes, _: Panel, series: list[Series]) -> None:
    for place, (_, times, values) in enumerate(series):
        colours = ["tab:red" if value else "tab:green" for value in values]
        axis.scatter(times, [place] * len(times), c=colours, s=200, marker="s")
    axis.set_yticks(range(len(series)), [name for name, _, _ in series], fontsize=7)
    axis.set_ylim(-1, len(series))


def _bars(axis: Axes, panel: Panel, series: list[Series]) -> None:
    names, last = [name for name, _, _ in series], [values[-1] for _, _, values in series]
    colours = ["tab:blue" if panel.limit is None else _verdict(panel, value) for value in last]
    axis.barh(names[::-1], last[::-1], color=colours[::-1])
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel(panel.unit, fontsize=8)


def _buckets(axis: Axes, panel: Panel, series: list[Series]) -> None:
    edges = sorted((float(name), values[-1]) for name, _, values in series)
    below = [0.0, *(count for _, count in edges[:-1])]
    counts = [count - before for (_, count), before in zip(edges, below, strict=True)]
    axis.bar([f"{edge:g}" for edge, _ in edges], counts, color="tab:blue")
    axis.tick_params(axis="x", labelsize=7, rotation=45)
    axis.set_ylabel(panel.unit, fontsize=8)


_SHAPES: dict[Shape, Callable[[Axes, Panel, list[Series]], None]] = {
    Shape.LINES: _lines,
    Shape.STACK: _stack,
    Shape.GRID: _grid,
    Shape.STATES: _states,
    Shape.BARS: _bars,
    Shape.BUCKETS: _buckets,
    Shape.NUMBER: _number,
    Shape.TABLE: _table,
}

if __name__ == "__main__":
    main()
