"""Convert dashboards into the JSON that Grafana imports.

Importing this module raises MissingExtra if the extra `grafana` is not installed. It writes the v1
model, because Grafana's file provisioning rejects v2.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from safelight.dashboards.board import (
    INSTANT,
    Annotation,
    Board,
    Panel,
    Query,
    Row,
    Shape,
    Variable,
)
from safelight.errors import MissingExtra

try:
    from grafana_foundation_sdk.builders import dashboard, prometheus, text
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as choices
    from grafana_foundation_sdk.models import dashboard as model
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    from safelight.dashboards.visualizations import draw
except ModuleNotFoundError as missing:
    raise MissingExtra("grafana", "grafana_foundation_sdk") from missing

_SOURCE = choices.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 24, 8
_HEIGHT_OF_NUMBERS = 4
_MAX_ID = 2**31


def as_json(board: Board, others: Iterable[Board] = ()) -> str:
    """Return a dashboard as JSON, with links to those of the others that it leads to.

    The same dashboards give the same text.
    """
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.question)
        .tags(["safelight"])
        .time(board.begin, "now")
        .refresh(board.refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
    )
    by_uid = {other.uid: other for other in others}
    for uid in board.onward:
        if uid in by_uid:
            built.link(_link(board, by_uid[uid]))
    built.link(_all_dashboards())
    for variable in board.variables:
        built.with_variable(_variable(variable))
    for annotation in board.annotations:
        built.annotation(_annotation(annotation))
    built.with_panel(_question(board.question))
    for row in board.rows:
        _add_row(built, row)
    content = _without_defaults(built.build())
    return str(JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(content)) + "\n"


def _without_defaults(content: model.Dashboard) -> model.Dashboard:
    """Remove defaults of the SDK that are wrong in a current Grafana."""
    for link in content.links or ():
        link.placement = None  # it hides links in a menu
    for panel in content.panels or ():
        if panel.type_val == "table":
            panel.options.footer = None  # Grafana has no such option any more
    return content


def _link(source: Board, target: Board) -> Any:
    """Return the link to the next dashboard, with the time and the variables that both have.

    A variable with the same name and another query has other values: the target would be empty.
    """
    known = {(each.name, each.query) for each in source.variables}
    shared = [each.name for each in target.variables if (each.name, each.query) in known]
    values = "".join(f"&${{{name}:queryparam}}" for name in shared)
    url = f"/d/{target.uid}?${{__url_time_range}}&${{datasource:queryparam}}{values}"
    name = target.title.rpartition(" / ")[2]
    return dashboard.DashboardLink(name).type(model.DashboardLinkType.LINK).url(url)


def _all_dashboards() -> Any:
    """Return the menu of all dashboards, which keeps the time but not the variables."""
    link = dashboard.DashboardLink("Safelight").type(model.DashboardLinkType.DASHBOARDS)
    return link.tags(["safelight"]).as_dropdown(True).keep_time(True)  # noqa: FBT003


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
        return built.current(all_values)  # no `all_value`: it would select other jobs too
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
    numbers = all(panel.shape is Shape.NUMBER for panel in row.panels)
    height = _HEIGHT_OF_NUMBERS if numbers else _HEIGHT
    for panel in row.panels:
        built.with_panel(_panel(panel, _WIDTH // len(row.panels), height))


def _panel(panel: Panel, width: int, height: int) -> Any:
    built = draw(panel)
    built.id(crc32(panel.title.encode()) % _MAX_ID)  # stays the same when panels are added
    built.title(panel.title).description(panel.text).datasource(_SOURCE).interval("1m")
    built.unit(panel.unit).span(width).height(height)
    for place, query in enumerate(panel.queries):
        built.with_target(_query(query, chr(ord("A") + place), panel.shape))
    return built


def _query(query: Query, ref: str, shape: Shape) -> Any:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    if shape in (Shape.BUCKETS, Shape.HEAT):
        target.format(PromQueryFormat.HEATMAP)
    if shape is Shape.TABLE:
        return target.format(PromQueryFormat.TABLE).instant()
    if shape in INSTANT:
        return target.instant()
    return target.exemplar(query.exemplars).range()
