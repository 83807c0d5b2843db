"""How Grafana draws each shape of a panel: legends, colours, thresholds and units."""

from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from safelight.dashboards.board import Better, Panel, Shape

_GREEN, _RED, _BLUE = "green", "red", "blue"
_SHARE = "percentunit"
_HIDDEN_COLUMNS = ("Time", "Value", "__name__")


def draw(panel: Panel) -> Any:
    """Return the builder of a panel, with what depends on its shape."""
    built = _SHAPES[panel.shape](panel)
    if panel.needs or panel.is_of_model:
        built.no_value(panel.empty_text)
    if panel.unit == _SHARE:
        built.decimals(1)
    return built


def _series(panel: Panel) -> Any:
    """Return a panel of curves, with a table of their mean, maximum and last value."""
    legend = common.VizLegendOptions().show_legend(True).as_table(True)  # noqa: FBT003
    legend.display_mode(choices.LegendDisplayMode.TABLE).calcs(["mean", "max", "lastNotNull"])
    legend.placement(choices.LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(choices.TooltipDisplayMode.MULTI)
    tooltip.sort(choices.SortOrder.DESCENDING)
    built = timeseries.Panel().legend(legend).tooltip(tooltip)
    built.show_points(choices.VisibilityMode.AUTO)  # a single value is a point, not a line
    if panel.limit is None:
        return built
    style = common.GraphThresholdsStyleConfig().mode(choices.GraphThresholdsStyleMode.DASHED)
    # A line has the colour of its step.
    return built.thresholds(_steps((_GREEN, None), (_RED, panel.limit))).thresholds_style(style)


def _lines(panel: Panel) -> Any:
    return _series(panel).axis_soft_min(0).line_width(1).fill_opacity(10)


def _stack(panel: Panel) -> Any:
    stacking = common.StackingConfig().mode(choices.StackingMode.NORMAL)
    bars = _series(panel).min(0).draw_style(choices.GraphDrawStyle.BARS).fill_opacity(80)
    return bars.stacking(stacking)


def _grid(_: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("RdYlGn")
    # Grafana always inverts this scheme (palettes.ts), so `reverse` makes 0 red and 1 green.
    colour.min(0).max(1).steps(64).reverse(True)  # noqa: FBT003
    cells = heatmap.Panel().calculate(False).color(colour)  # noqa: FBT003
    # By default Grafana hides cells with the value 0, which here are the worst.
    cells.filter_values(heatmap.FilterValueRange().le(-1))
    return cells.cell_values(heatmap.CellValues().unit(_SHARE).decimals(1)).cell_gap(1)


def _heat(panel: Panel) -> Any:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges")
    cells = heatmap.Panel().calculate(False).color(colour.steps(64)).cell_gap(1)  # noqa: FBT003
    cells.y_axis(heatmap.YAxisConfig().unit(panel.axis_unit))
    return cells.cell_values(heatmap.CellValues().unit(panel.unit))


def _number(panel: Panel) -> Any:
    built = stat.Panel().reduce_options(_last()).graph_mode(choices.BigValueGraphMode.NONE)
    if panel.limit is None:  # Grafana's default is red from 80 on
        return built.color_scheme(_scale(panel))
    return built.thresholds(_thresholds(panel.limit, panel))


def _table(_: Panel) -> Any:
    options = {"excludeByName": dict.fromkeys(_HIDDEN_COLUMNS, True)}
    return _organized(options)


def _organized(options: dict[str, Any]) -> Any:
    organize = model.DataTransformerConfig(id_val="organize", options=options)
    return table.Panel().with_transformation(organize)


def _alerts(_: Panel) -> Any:
    """Return a table of alerts. The label `dashboard` of each is the uid of its dashboard."""
    url = (
        "/d/${__data.fields.dashboard}?${__url_time_range}&${datasource:queryparam}"
        "&${namespace:queryparam}&${job:queryparam}"
    )
    link = {"title": "Show what this alert measures", "url": url}
    links = model.DynamicConfigValue(id_val="links", value=[link])
    order = ("fires", "severity", "alertname", "job", "instance", "machine", "dashboard")
    options = {
        "excludeByName": dict.fromkeys(_HIDDEN_COLUMNS, True),
        "indexByName": {name: place for place, name in enumerate(order)},
    }
    return _organized(options).override_by_name("alertname", [links])


def _states(_: Panel) -> Any:
    texts = {
        "0": model.ValueMappingResult(text="ok", color=_GREEN),
        "1": model.ValueMappingResult(text="above limit", color=_RED),
    }
    built = statetimeline.Panel().mappings([model.ValueMap(options=texts)])
    built.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    return built.thresholds(_steps((_GREEN, None), (_RED, 1))).show_value(
        choices.VisibilityMode.NEVER
    )


def _bars(panel: Panel) -> Any:
    built = bargauge.Panel().reduce_options(_last()).min(0)
    built.orientation(choices.VizOrientation.HORIZONTAL)
    built.display_mode(choices.BarGaugeDisplayMode.BASIC)  # a gradient paints good values red
    if panel.unit == _SHARE:
        built.max(1)
    if panel.maximum is not None:
        built.max(panel.maximum)
    if panel.limit is not None:
        return built.thresholds(_thresholds(panel.limit, panel))
    return built.color_scheme(_scale(panel))


def _buckets(panel: Panel) -> Any:
    """Return the bars of a histogram, side by side: a dozen rows would be too low to read."""
    return _bars(panel).orientation(choices.VizOrientation.VERTICAL)


def _scale(panel: Panel) -> Any:
    """Return the colours of values without a limit: by value if some are better, else one."""
    if panel.better is None:
        return dashboard.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(_BLUE)
    good_to_bad = model.FieldColorModeId.CONTINUOUS_GR_YL_RD
    bad_to_good = model.FieldColorModeId.CONTINUOUS_RD_YL_GR
    return dashboard.FieldColor().mode(bad_to_good if panel.better is Better.HIGH else good_to_bad)


def _last() -> Any:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003


def _thresholds(limit: float, panel: Panel) -> Any:
    below, above = (_RED, _GREEN) if panel.better is Better.HIGH else (_GREEN, _RED)
    return _steps((below, None), (above, limit))


def _steps(*steps: tuple[str, float | None]) -> Any:
    thresholds = [model.Threshold(color=colour, value=value) for colour, value in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)


_SHAPES: dict[Shape, Callable[[Panel], Any]] = {
    Shape.LINES: _lines,
    Shape.STACK: _stack,
    Shape.GRID: _grid,
    Shape.STATES: _states,
    Shape.BARS: _bars,
    Shape.BUCKETS: _buckets,
    Shape.HEAT: _heat,
    Shape.NUMBER: _number,
    Shape.TABLE: _table,
    Shape.ALERTS: _alerts,
}
