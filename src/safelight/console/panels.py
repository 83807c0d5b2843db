"""What a dashboard shows, as data for the browser: Grafana gets the same panels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safelight.dashboards.board import INSTANT, Board, Panel, Shape
from safelight.diagnosis.prometheus import Exemplar, Series
from safelight.metrics.catalog import STEP
from safelight.units import by_numbers

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MOST_SERIES, _MOST_DOTS = 50, 60  # drawn in one panel
_HIDDEN_LABELS = frozenset({"__name__"})


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """A panel for the browser. `empty` says why there may be no data."""

    id: int
    title: str
    text: str
    shape: str
    unit: str
    axis_unit: str
    limit: float | None
    better: str | None
    maximum: float | None
    onward: str
    empty: str


@dataclass(frozen=True, slots=True)
class RowSpec:
    """Panels under a heading."""

    title: str
    closed: bool
    panels: tuple[PanelSpec, ...]


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """A dashboard for the browser."""

    uid: str
    name: str
    question: str
    variables: tuple[str, ...]
    first: str
    is_fixed: bool
    begin: str
    refresh: str
    onward: tuple[str, ...]
    alerts: tuple[str, ...]
    rows: tuple[RowSpec, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One series of a panel: its legend, labels, and points of [seconds since 1970, value]."""

    legend: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Dot:
    """An exemplar: where it is drawn, and the request that it leads to, by its id or its trace."""

    at: float
    value: float
    request: str


def dots(found: Sequence[Exemplar]) -> list[Dot]:
    """Return the exemplars with the largest values, each request once."""
    by_request: dict[str, Dot] = {}
    for each in sorted(found, key=lambda each: -each.value):
        name = each.labels.get("request_id") or each.labels.get("trace_id") or ""
        if name and name not in by_request:
            by_request[name] = Dot(each.at, each.value, name)
    return list(by_request.values())[:_MOST_DOTS]


def board_spec(board: Board) -> BoardSpec:
    """Return a dashboard as data. The id of a panel is its place."""
    place = 0
    rows = []
    for row in board.rows:
        specs = []
        for panel in row.panels:
            specs.append(_panel_spec(place, panel, panel.onward or row.onward))
            place += 1
        rows.append(RowSpec(row.title, row.closed, tuple(specs)))
    shown = tuple(each.name for each in board.variables if each.query and not each.is_hidden)
    first = next((each.first for each in board.variables if each.first), "")
    return BoardSpec(
        board.uid,
        board.name,
        board.question,
        shown,
        first,
        board.is_fixed,
        board.begin,
        board.refresh,
        board.onward,
        board.alerts,
        tuple(rows),
    )


def _panel_spec(place: int, panel: Panel, onward: str) -> PanelSpec:
    return PanelSpec(
        place,
        panel.title,
        panel.text,
        panel.shape.name.lower(),
        panel.unit,
        panel.axis_unit,
        panel.limit,
        panel.better.value if panel.better else None,
        panel.maximum,
        onward,
        panel.empty_text,
    )


def is_instant(panel: Panel) -> bool:
    """Return whether a panel shows the values of one moment."""
    return panel.shape in INSTANT


def curves(panel: Panel, results: Sequence[Sequence[Series]]) -> tuple[list[Curve], int]:
    """Return the series of a panel from the results of its queries, and how many were left out."""
    found = [
        Curve(_legend(query.legend, series.labels), _visible(series.labels), series.points)
        for query, result in zip(panel.queries, results, strict=True)
        for series in _in_order(result)
    ]
    if panel.shape in (Shape.BUCKETS, Shape.HEAT):
        found = _per_bucket(found)
    return found[:_MOST_SERIES], max(0, len(found) - _MOST_SERIES)


def _in_order(result: Sequence[Series]) -> Sequence[Series]:
    """Return the series of steps in order of their positions; others as Prometheus gives them."""
    if not all(STEP.name in each.labels for each in result):
        return result
    return sorted(result, key=lambda each: by_numbers(each.labels[STEP.name]))


def _visible(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in _HIDDEN_LABELS}


def _legend(template: str, labels: Mapping[str, str]) -> str:
    """Return a legend with the values of its labels, as Grafana fills it in."""
    return _LABEL.sub(lambda match: labels.get(match[1], ""), template)


def _per_bucket(cumulative: list[Curve]) -> list[Curve]:
    """Return the counts of each bucket from those up to its edge, in order of the edges."""
    ordered = sorted(cumulative, key=lambda curve: float(curve.labels.get("le", "inf")))
    below: dict[float, float] = {}
    result = []
    for curve in ordered:
        own = [(at, max(0.0, value - below.get(at, 0.0))) for at, value in curve.points]
        below.update(curve.points)
        result.append(Curve(curve.legend or curve.labels.get("le", ""), curve.labels, own))
    return result
