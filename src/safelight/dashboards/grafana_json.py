"""Convert dashboards into the JSON that Grafana imports.

Importing this module raises MissingExtra if the extra `grafana` is not installed. It writes the v1
model, because Grafana's file provisioning rejects v2.
"""

from collections.abc import Callable
from typing import Any

from safelight.dashboards.board import Annotation, Board, Panel, Query, Row, Shape, Variable
from safelight.errors import MissingExtra

try:
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        dashboard,
        heatmap,
        prometheus,
        stat,
        statetimeline,
        table,
        text,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as choices
    from grafana_foundation_sdk.models import dashboard as model
    from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat
except ModuleNotFoundError as missing:
    raise MissingExtra("grafana", "grafana_foundation_sdk") from missing

_SOURCE = choices.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 24, 8
_GREEN, _RED = "green", "red"


def as_json(board: Board) -> str:
    """Return a dashboard as JSON. The same dashboard gives the same text."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.question)
        .tags(["safelight"])
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
    )
    for variable in board.variables:
        built.with_variable(_variable(variable))
    for annotation in board.annotations:
        built.annotation(_annotation(annotation))
    built.with_panel(_question(board.question))
    for row in board.rows:
        _add_row(built, row)
    return (
        str(JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(built.build())) + "\n"
    )


def _links() -> Any:
    """Return the links to the other dashboards, which keep the time range and the variables."""
    link = dashboard.DashboardLink("Safelight").type(model.DashboardLinkType.DASHBOARDS)
    return link.tags(["safelight"]).as_dropdown(True).keep_time(True).include_vars(True)  # noqa: FBT003


def _variable(variable: Variable) -> Any:
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.name.capitalize())
        .datasource(_SOURCE)
        .query(variable.query)
        .regex(variable.pattern)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.several)
        .include_all(variable.several)
    )
    if variable.several:
        all_values = model.VariableOption(selected=True, text="All", value="$__all")
        return built.all_value(".*").current(all_values)
    first = model.VariableOption(selected=True, text=variable.first, value=variable.first)
    return built.current(first)


def _annotation(annotation: Annotation) -> Any:
    built = dashboard.AnnotationQuery().name(annotation.name).datasource(_SOURCE).enable(True)  # noqa: FBT003
    built.title_format(annotation.name).text_format(annotation.text).step("60s")
    return built.expr(annotation.expr).icon_color(annotation.colour)


def _question(question: str) -> Any:
    return text.Panel().content(question).transparent(True).span(_WIDTH).height(2)  # noqa: FBT003


def _add_row(built: Any, row: Row) -> None:
    built.with_row(dashboard.Row(row.title))
    for panel in row.panels:
        built.with_panel(_panel(panel, _WIDTH // len(row.panels)))


def _panel(panel: Panel, width: int) -> Any:
    built = _SHAPES[panel.shape](panel)
    built.title(panel.title).description(panel.text).datasource(_SOURCE)
    built.unit(panel.unit).span(width).height(_HEIGHT)
    for place, query in enumerate(panel.queries):
        built.with_target(_query(query, chr(ord("A") + place), panel.shape))
    return built


def _query(query: Query, ref: str, shape: Shape) -> Any:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    if shape in (Shape.BUCKETS, Shape.HEAT):
        target.format(PromQueryFormat.HEATMAP)
    if shape is Shape.TABLE:
        return target.format(PromQueryFormat.TABLE).instant()
    if shape in (Shape.BARS, Shape.BUCKETS, Shape.NUMBER):
        return target.instant()
    return target.exemplar(query.exemplars).range()


def _lines(panel: Panel) -> Any:
    built = timeseries.Panel().axis_soft_min(0).line_width(1).fill_opacity(10)
    built.show_points(choices.VisibilityMode.NEVER)
    if panel.limit is None:
        return built
    style = common.GraphThresholdsStyleConfig().mode(choices.GraphThresholdsStyleMode.DASHED)
    return built.thresholds(_thresholds(panel.limit)).thresholds_style(style)


def _stack(_: Panel) -> Any:
    stacking = common.StackingConfig().mode(choices.StackingMode.NORMAL)
    bars = timeseries.Panel().min(0).draw_style(choices.GraphDrawStyle.BARS).fill_opacity(80)
    return bars.stacking(stacking)


def _grid(_: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("RdYlGn")
    cells = heatmap.Panel().calculate(False).color(colour.min(0).max(1).steps(64).reverse(False))  # noqa: FBT003
    # By default Grafana hides cells with the value 0, which here are the worst.
    cells.filter_values(heatmap.FilterValueRange().le(-1))
    return cells.cell_values(heatmap.CellValues().unit("percentunit")).cell_gap(1)


def _heat(_: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges")
    return heatmap.Panel().calculate(False).color(colour.steps(64)).cell_gap(1)  # noqa: FBT003


def _number(panel: Panel) -> Any:
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003
    built = stat.Panel().reduce_options(last).graph_mode(choices.BigValueGraphMode.NONE)
    if panel.limit is None:
        return built
    better_above = panel.unit == "percentunit"
    return built.thresholds(_thresholds(panel.limit, better_above=better_above))


def _table(_: Panel) -> Any:
    return table.Panel()


def _states(_: Panel) -> Any:
    texts = {
        "0": model.ValueMappingResult(text="ok", color=_GREEN),
        "1": model.ValueMappingResult(text="above limit", color=_RED),
    }
    built = statetimeline.Panel().mappings([model.ValueMap(options=texts)])
    built.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    return built.thresholds(_thresholds(1)).show_value(choices.VisibilityMode.NEVER)


def _bars(panel: Panel) -> Any:
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003
    built = bargauge.Panel().reduce_options(last).min(0)
    built.orientation(choices.VizOrientation.HORIZONTAL)
    if panel.unit == "percentunit":
        built.max(1)
    if panel.limit is None:
        return built.color_scheme(
            dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)
        )
    better_above = panel.unit == "percentunit"
    return built.thresholds(_thresholds(panel.limit, better_above=better_above))


def _thresholds(limit: float, *, better_above: bool = False) -> Any:
    below, above = (_RED, _GREEN) if better_above else (_GREEN, _RED)
    steps = [model.Threshold(color=below, value=None), model.Threshold(color=above, value=limit)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


_SHAPES: dict[Shape, Callable[[Panel], Any]] = {
    Shape.LINES: _lines,
    Shape.STACK: _stack,
    Shape.GRID: _grid,
    Shape.STATES: _states,
    Shape.BARS: _bars,
    Shape.BUCKETS: _bars,
    Shape.HEAT: _heat,
    Shape.NUMBER: _number,
    Shape.TABLE: _table,
}
