"""Draw a dashboard from a Prometheus, in the order, the widths and the colours of Grafana."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safelight.dashboards.board import INSTANT, Board, Panel, Query, Row, Shape
from safelight.dashboards.catalog import boards
from safelight.dashboards.grafana_json import as_json, widths
from safelight.dashboards.variables import Chosen
from scripts.boards_check import CHECKER, install

MAX_LINES, MAX_LEGEND = 10, 40
_COLUMNS, _INCHES = 24, 18.0
_HEIGHTS = {Shape.NUMBER: 1.1, Shape.TABLE: 1.2, Shape.ALERTS: 1.2}
_HEIGHT, _HEADING = 3.2, 0.45
_POINTS = 120
_GREY, _PAGE, _PANEL, _TEXT = "#8e8e95", "#111217", "#181b1f", "#ccccdc"
Series = tuple[str, list[float], list[float]]


class Data:
    """A time range of a Prometheus, queried as Grafana does."""

    def __init__(self, url: str, chosen: Chosen, begin: float, end: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._chosen, self._begin, self._end = chosen, begin, end

    def series(self, panel: Panel) -> list[Series]:
        """Return the series of a panel that have values."""
        found = [
            one
            for query in panel.queries
            for one in self._of(query, is_instant=panel.shape in INSTANT)
        ]
        return [one for one in found if one[2]]

    def _of(self, query: Query, *, is_instant: bool) -> list[Series]:
        params: dict[str, str | float] = {"query": self._chosen.fill(query.expr)}
        if is_instant:
            params["time"] = self._end
        else:
            step = max(5, round((self._end - self._begin) / _POINTS))
            params.update(start=self._begin, end=self._end, step=step)
        path = "query" if is_instant else "query_range"
        response = self._client.get(f"/api/v1/{path}", params=params)
        if response.is_error:
            raise ValueError(f"{response.text}: {params['query']}")
        return [self._one(query, one) for one in response.json()["data"]["result"]]

    def _one(self, query: Query, result: dict[str, Any]) -> Series:
        labels = {key: value for key, value in result["metric"].items() if key != "__name__"}
        legend = re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), query.legend)
        text = legend or "   ".join(f"{key}: {value}" for key, value in sorted(labels.items()))
        samples = result["values"] if "values" in result else [result["value"]]
        pairs = [(float(at), float(value)) for at, value in samples if value != "NaN"]
        name = re.sub(r"127\.0\.0\.1:\d+", "service", text)
        return name, [(at - self._end) / 60 for at, _ in pairs], [value for _, value in pairs]


def draw(board: Board, data: Data) -> Figure:
    """Return the dashboard as a figure: its guide, then row after row; closed rows are open."""
    mpl.use("Agg")
    plt.rcParams.update(_DARK)
    found = {panel.title: data.series(panel) for panel in board.panels}
    colours = _colours(board, found)
    lines = [line for row in board.rows for line in _lines_of(row)]
    heights = [height for height, _ in lines]
    figure = plt.figure(figsize=(_INCHES, sum(heights) + 1.3))
    top = 1 - 1.0 / (sum(heights) + 1.3)
    grid = figure.add_gridspec(
        len(lines),
        _COLUMNS,
        height_ratios=heights,
        hspace=0.55,
        wspace=1.6,
        left=0.03,
        right=0.99,
        bottom=0.02,
        top=top,
    )
    for place, (_, content) in enumerate(lines):
        if isinstance(content, str):
            _heading(figure.add_subplot(grid[place, :]), content)
            continue
        column = 0
        for panel, width in content:
            axis = figure.add_subplot(grid[place, column : column + width])
            _draw_panel(axis, panel, found[panel.title], colours.get(panel.title, []))
            column += width
    _guide(figure, board)
    return figure


_Line = tuple[float, str | list[tuple[Panel, int]]]


def _lines_of(row: Row) -> list[_Line]:
    lines: list[_Line] = [(_HEADING, f"{row.title}  →  {_name(row.onward)}")]
    line: list[tuple[Panel, int]] = []
    for panel, width in zip(row.panels, widths(row), strict=True):
        line.append((panel, width))
        if sum(each for _, each in line) >= _COLUMNS - _COLUMNS % width:
            lines.append((max(_HEIGHTS.get(each.shape, _HEIGHT) for each, _ in line), line))
            line = []
    return lines


def _name(uid: str) -> str:
    return next((board.name for board in boards() if board.uid == uid), uid)


def _guide(figure: Figure, board: Board) -> None:
    alerts = ", ".join(board.alerts) or "none"
    onward = ", ".join(_name(uid) for uid in board.onward)
    text = f"Alerts that lead here: {alerts}.\nLook next at: {onward}."
    figure.text(0.02, 0.995, f"{board.title}: {board.question}", va="top", fontsize=14)
    height = figure.get_figheight()
    figure.text(0.02, 0.995 - 0.35 / height, text, va="top", fontsize=9, color=_GREY, wrap=True)


def _heading(axis: Axes, text: str) -> None:
    axis.axis("off")
    axis.text(0, 0, text, fontsize=11, color=_GREY, fontweight="bold", va="bottom")


def _colours(board: Board, found: Mapping[str, list[Series]]) -> dict[str, list[str]]:
    """Return the colours of each panel's values, by Grafana's own functions."""
    content = json.loads(as_json(board, boards()))["panels"]
    panels = {
        each["title"]: each
        for outer in content
        for each in [outer, *outer.get("panels", ())]
        if "title" in each
    }
    request = {}
    for panel in board.panels:
        if panel.shape in (Shape.NUMBER, Shape.BARS):
            values = [series[2][-1] for series in found[panel.title]]
        elif panel.shape in (Shape.GRID, Shape.STATES):
            values = [value for series in found[panel.title] for value in series[2]]
        else:
            continue
        request[panel.title] = {"panel": panels[panel.title], "values": values}
    install()
    answer = subprocess.run(
        ("node", "colours.cjs"),
        cwd=CHECKER,
        input=json.dumps(request),
        text=True,
        capture_output=True,
        check=True,
    )
    colours: dict[str, list[str]] = json.loads(answer.stdout)
    return colours


def _draw_panel(axis: Axes, panel: Panel, series: list[Series], colours: list[str]) -> None:
    axis.set_title(panel.title, loc="left", fontsize=10 if panel.shape is Shape.NUMBER else 11)
    if not series:
        axis.axis("off")
        axis.text(0, 0.5, panel.empty_text, color=_GREY)
        return
    _SHAPES[panel.shape](axis, panel, series, colours)


def _lines(axis: Axes, panel: Panel, series: list[Series], _: list[str]) -> None:
    for name, times, values in sorted(series, key=lambda one: -max(one[2]))[:MAX_LINES]:
        shown = f"{name[:MAX_LEGEND]}  max {_readable(max(values), panel.unit)}"
        marker = "o" if len(values) == 1 else ""
        axis.plot(times, values, label=shown, linewidth=1.5, marker=marker)
    highest = max(max(values) for _, _, values in series)
    if panel.limit is not None and panel.limit < 2 * highest:  # as Grafana, it does not rescale
        axis.axhline(panel.limit, color="#f2495c", linestyle="--", linewidth=1)
    axis.set_ylim(bottom=min(0, *(min(values) for _, _, values in series)))
    _timed(axis, panel)


def _stack(axis: Axes, panel: Panel, series: list[Series], _: list[str]) -> None:
    below: dict[float, float] = {}
    for name, times, values in series[:MAX_LINES]:
        bottom = [below.get(round(at, 3), 0.0) for at in times]
        width = (times[-1] - times[0]) / max(1, len(times) - 1) or 0.3
        shown = f"{name[:MAX_LEGEND]}  max {_readable(max(values), panel.unit)}"
        axis.bar(times, values, width, bottom=bottom, label=shown, alpha=0.85)
        for at, value in zip(times, values, strict=True):
            below[round(at, 3)] = below.get(round(at, 3), 0.0) + value
    _timed(axis, panel)


def _heat(axis: Axes, panel: Panel, series: list[Series], _: list[str]) -> None:
    """Draw the counts between the edges of a histogram; the series are cumulative."""
    edges = sorted(series, key=lambda one: float(one[0]))
    before: dict[float, float] = {}
    for place, (_, times, values) in enumerate(edges):
        counts = [max(0.0, v - before.get(at, 0.0)) for at, v in zip(times, values, strict=True)]
        before = dict(zip(times, values, strict=True))
        shown = [(at, count) for at, count in zip(times, counts, strict=True) if count]
        cells = {"c": [count for _, count in shown], "cmap": "Oranges", "s": 14, "marker": "s"}
        axis.scatter([at for at, _ in shown], [place] * len(shown), **cells)
    axis.set_yticks(range(len(edges)), [f"{float(n):g} {panel.axis_unit}" for n, _, _ in edges])
    axis.tick_params(axis="y", labelsize=6)


def _timed(axis: Axes, panel: Panel) -> None:
    axis.set_xlabel("minutes ago", loc="right", fontsize=7)
    axis.set_ylabel(_UNITS.get(panel.unit, panel.unit), fontsize=8)
    bottom, top = axis.get_ylim()
    lines = len(axis.get_legend_handles_labels()[0])
    axis.set_ylim(bottom, top + (top - bottom) * 0.075 * -(-lines // 2))  # room for the legend
    axis.legend(fontsize=7, loc="upper left", frameon=False, ncols=2)


def _cells(axis: Axes, series: list[Series], colours: list[str], size: int) -> None:
    rest = iter(colours)
    for place, (_, times, _values) in enumerate(series):
        own = [next(rest) for _ in times]
        axis.scatter(times, [place] * len(times), c=own, s=size, marker="s")
    begin, end = axis.get_xlim()
    axis.set_xlim(begin - 0.3 * (end - begin), end)
    for place, (name, _, _) in enumerate(series):
        axis.text(axis.get_xlim()[0], place, f" {name[:MAX_LEGEND]}", fontsize=7, va="center")
    axis.set_yticks([])
    axis.set_ylim(-1, len(series))


def _grid(axis: Axes, _: Panel, series: list[Series], colours: list[str]) -> None:
    _cells(axis, series, colours, 40)


def _states(axis: Axes, _: Panel, series: list[Series], colours: list[str]) -> None:
    _cells(axis, series, colours, 120)


def _number(axis: Axes, panel: Panel, series: list[Series], colours: list[str]) -> None:
    axis.axis("off")
    for place, ((name, _, values), colour) in enumerate(zip(series, colours, strict=True)):
        height = 0.55 - 0.6 * place
        text = _readable(values[-1], panel.unit)
        axis.text(0, height, text, color=colour, fontsize=18, fontweight="bold", va="center")
        axis.text(0.98, height, name, color=_GREY, fontsize=8, ha="right", va="center")


def _table(axis: Axes, _: Panel, series: list[Series], __: list[str]) -> None:
    axis.axis("off")
    for place, (name, _times, _values) in enumerate(series[:8]):
        axis.text(0, 0.85 - 0.18 * place, name, fontsize=9)


def _bars(axis: Axes, panel: Panel, series: list[Series], colours: list[str]) -> None:
    last = [values[-1] for _, _, values in series]
    places = range(len(series))
    axis.barh(places, last, color=colours)
    axis.invert_yaxis()
    axis.set_yticks([])
    axis.set_xlim(0, max(1e-9, panel.maximum or max(last)) * 1.15)
    for place, ((name, _, _), value) in enumerate(zip(series, last, strict=True)):
        text = f" {name[:MAX_LEGEND]}   {_readable(value, panel.unit)}"
        axis.text(0, place, text, fontsize=8, va="center", color="white", fontweight="bold")


def _buckets(axis: Axes, panel: Panel, series: list[Series], _: list[str]) -> None:
    edges = sorted((float(name), values[-1]) for name, _, values in series)
    below = [0.0, *(count for _, count in edges[:-1])]
    counts = [count - before for (_, count), before in zip(edges, below, strict=True)]
    axis.bar([f"{edge:g}" for edge, _ in edges], counts, color="#5794f2")
    axis.tick_params(axis="x", labelsize=7, rotation=45)
    axis.set_ylabel(_UNITS.get(panel.unit, panel.unit), fontsize=8)


def _readable(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**30:.2f} GiB"
    return f"{value:.3g} {_UNITS.get(unit, unit)}".strip()


_UNITS = {"short": "", "none": "", "reqps": "req/s", "ops": "/s"}
_DARK = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": _PAGE,
    "axes.facecolor": _PANEL,
    "savefig.facecolor": _PAGE,
    "text.color": _TEXT,
    "axes.labelcolor": _GREY,
    "axes.titlecolor": _TEXT,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "axes.edgecolor": "#34343b",
}
_SHAPES: dict[Shape, Callable[[Axes, Panel, list[Series], list[str]], None]] = {
    Shape.LINES: _lines,
    Shape.STACK: _stack,
    Shape.GRID: _grid,
    Shape.STATES: _states,
    Shape.BARS: _bars,
    Shape.BUCKETS: _buckets,
    Shape.HEAT: _heat,
    Shape.NUMBER: _number,
    Shape.TABLE: _table,
    Shape.ALERTS: _table,
}
