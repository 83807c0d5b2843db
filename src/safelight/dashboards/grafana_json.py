"""The one door to grafana_foundation_sdk: turns a board into the JSON that Grafana imports.

Importing this module raises MissingExtra where the extra `grafana` is not installed. It writes the
v1 model: Grafana's file provisioning rejects v2.
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
    """Return the board as Grafana imports it; the same board gives the same text."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.question)
        .tags(["safelight"])
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
    )
    for variable in board.variables:
        built.with_variable(_variable(variable))
    for annotation in board.annotations:
        built.annotation(_annotation(annotation))
    built.with_panel(_opening(board.question))
    for row in board.rows:
        _add_row(built, row)
    return (
        str(JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(built.build())) + "\n"
    )


def _others() -> Any:
    """Return the list of the other boards, which keep the time and the service that is chosen."""
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
        every = model.VariableOption(selected=True, text="All", value="$__all")
        return built.all_value(".*").current(every)
    first = model.VariableOption(selected=True, text=variable.first, value=variable.first)
    return built.current(first)


def _annotation(annotation: Annotation) -> Any:
    built = dashboard.AnnotationQuery().name(annotation.name).datasource(_SOURCE).enable(True)  # noqa: FBT003
    built.title_format(annotation.name).text_format(annotation.text).step("60s")
    return built.expr(annotation.expr).icon_color(annotation.colour)


def _opening(question: str) -> Any:
    return text.Panel().content(question).transparent(True).span(_WIDTH).height(2)  # noqa: FBT003


def _add_row(built: Any, row: Row) -> None:
    built.with_row(dashboard.Row(row.title))
    for panel in row.panels:
        built.with_panel(_panel(panel, _WIDTH // len(row.panels)))


def _panel(panel: Panel, width: int) -> Any:
    drawn = _SHAPES[panel.shape](panel)
    drawn.title(panel.title).description(panel.text).datasource(_SOURCE)
    drawn.unit(panel.unit).span(width).height(_HEIGHT)
    for place, query in enumerate(panel.queries):
        drawn.with_target(_query(query, chr(ord("A") + place), panel.shape))
    return drawn


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
    drawn = timeseries.Panel().axis_soft_min(0).line_width(1).fill_opacity(10)
    drawn.show_points(choices.VisibilityMode.NEVER)
    if panel.limit is None:
        return drawn
    style = common.GraphThresholdsStyleConfig().mode(choices.GraphThresholdsStyleMode.DASHED)
    return drawn.thresholds(_thresholds(panel.limit)).thresholds_style(style)


def _stack(_: Panel) -> Any:
    stacking = common.StackingConfig().mode(choices.StackingMode.NORMAL)
    bars = timeseries.Panel().min(0).draw_style(choices.GraphDrawStyle.BARS).fill_opacity(80)
    return bars.stacking(stacking)


def _grid(_: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("RdYlGn")
    cells = heatmap.Panel().calculate(False).color(colour.min(0).max(1).steps(64).reverse(False))  # noqa: FBT003
    # By default Grafana hides cells of 0, which here are the worst.
    cells.filter_values(heatmap.FilterValueRange().le(-1))
    return cells.cell_values(heatmap.CellValues().unit("percentunit")).cell_gap(1)


def _heat(_: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges")
    return heatmap.Panel().calculate(False).color(colour.steps(64)).cell_gap(1)  # noqa: FBT003


def _number(panel: Panel) -> Any:
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003
    drawn = stat.Panel().reduce_options(last).graph_mode(choices.BigValueGraphMode.NONE)
    if panel.limit is None:
        return drawn
    better_above = panel.unit == "percentunit"
    return drawn.thresholds(_thresholds(panel.limit, better_above=better_above))


def _table(_: Panel) -> Any:
    return table.Panel()


def _states(_: Panel) -> Any:
    words = {
        "0": model.ValueMappingResult(text="within", color=_GREEN),
        "1": model.ValueMappingResult(text="over", color=_RED),
    }
    drawn = statetimeline.Panel().mappings([model.ValueMap(options=words)])
    drawn.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    return drawn.thresholds(_thresholds(1)).show_value(choices.VisibilityMode.NEVER)


def _bars(panel: Panel) -> Any:
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003
    drawn = bargauge.Panel().reduce_options(last).min(0)
    drawn.orientation(choices.VizOrientation.HORIZONTAL)
    if panel.unit == "percentunit":
        drawn.max(1)
    if panel.limit is None:
        return drawn.color_scheme(
            dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)
        )
    better_above = panel.unit == "percentunit"
    return drawn.thresholds(_thresholds(panel.limit, better_above=better_above))


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
