"""Convert dashboards into the JSON that Grafana imports.

Importing this module raises MissingExtra if the extra `grafana` is not installed. It writes the v1
model, because Grafana's file provisioning rejects v2.
"""

from collections.abc import Iterable, Iterator, Mapping
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
from safelight.translation import Language, translate

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
_PER_LINE, _NUMBERS_PER_LINE = 3, 4
_MAX_ID = 2**31
# Dashboards with the same variables keep them; the others show a fixed service, or all of them.
_TAG, _OF_SERVICES, _OTHER = "safelight", "safelight-services", "safelight-other"


def as_json(board: Board, others: Iterable[Board] = (), language: Language = "en") -> str:
    """Return a dashboard as JSON, with links to those of the others that it leads to.

    The same dashboards give the same text. In every language the panels have the same ids.
    """
    built = (
        dashboard.Dashboard(board.title.replace(board.name, translate(board.name, language)))
        .uid(board.uid)
        .description(translate(board.question, language))
        .tags([_TAG, _OF_SERVICES if _is_of_any_service(board) else _OTHER])
        .time(board.begin, "now")
        .refresh(board.refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label(translate("Source", language))
            .type("prometheus")
        )
    )
    by_uid = {other.uid: other for other in others}
    links = {
        uid: _link(translate(other.name, language), _url(board, other))
        for uid, other in by_uid.items()
    }
    for uid in board.onward:
        if uid in by_uid:
            built.link(links[uid])
    services = _menu(translate("Services", language), _OF_SERVICES)
    built.link(services.include_vars(_is_of_any_service(board)))
    built.link(_menu(translate("Others", language), _OTHER))
    for variable in board.variables:
        built.with_variable(_variable(variable, language))
    for annotation in board.annotations:
        built.annotation(_annotation(annotation, language))
    built.with_panel(_guide(board, by_uid, language))
    for row in board.rows:
        _add_row(built, row, links)
    content = _corrected(built.build())
    _translate_panels(content, language)  # at the end: their ids come from the English titles
    return str(JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(content)) + "\n"


def _translate_panels(content: model.Dashboard, language: Language) -> None:
    for panel in _panels(content):
        panel.title = translate(panel.title or "", language) or None
        if isinstance(panel, model.Panel):
            panel.description = translate(panel.description or "", language) or None
            if panel.field_config:
                defaults = panel.field_config.defaults
                defaults.no_value = translate(defaults.no_value or "", language) or None


def _corrected(content: model.Dashboard) -> model.Dashboard:
    """Correct what the SDK cannot set, or sets wrongly for a current Grafana."""
    for link in content.links or ():
        link.placement = None  # it hides links in a menu
    for panel in _panels(content):
        for link in getattr(panel, "links", None) or ():
            link.placement = None
        if panel.type_val == "table":
            panel.options.footer = None  # Grafana has no such option any more
    for annotation in content.annotations.list_val or () if content.annotations else ():
        annotation.placement = None
    for variable in content.templating.list_val or () if content.templating else ():
        if variable.type_val == "constant":
            variable.hide = model.VariableHide.HIDE_VARIABLE
            variable.skip_url_sync = True  # a link to another service does not change it
    return content


def _panels(content: model.Dashboard) -> Iterator[Any]:
    for panel in content.panels or ():
        yield panel
        yield from getattr(panel, "panels", None) or ()


def _url(source: Board, target: Board) -> str:
    """Return the address of a dashboard, with the time and the variables that it takes over."""
    values = "".join(f"&${{{name}:queryparam}}" for name in handed_over(source, target))
    return f"/d/{target.uid}?${{__url_time_range}}&${{datasource:queryparam}}{values}"


def handed_over(source: Board, target: Board) -> list[str]:
    """Return the variables whose values a link passes on.

    A dashboard of one fixed service keeps its service. One without a service has other jobs.
    """
    names = [each.name for each in source.variables]
    shared = [each.name for each in target.variables if each.name in names]
    is_same_service = "namespace" in shared or "namespace" not in target.names
    if target.is_fixed or not is_same_service:
        return [name for name in shared if name.startswith("card_")]
    return shared


def _link(name: str, url: str) -> Any:
    return dashboard.DashboardLink(name).type(model.DashboardLinkType.LINK).url(url)


def _is_of_any_service(board: Board) -> bool:
    return "namespace" in board.names and not board.is_fixed


def _menu(name: str, tag: str) -> Any:
    """Return the menu of the dashboards with a tag, which keeps the time."""
    link = dashboard.DashboardLink(name).type(model.DashboardLinkType.DASHBOARDS)
    return link.tags([tag]).as_dropdown(True).keep_time(True)  # noqa: FBT003


def _variable(variable: Variable, language: Language) -> Any:
    if not variable.query:
        return dashboard.ConstantVariable(variable.name).value(variable.first)
    built = (
        dashboard.QueryVariable(variable.name)
        .label(translate(variable.label, language))
        .datasource(_SOURCE)
        .query(variable.query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.several)
        .include_all(variable.several)
    )
    if variable.is_hidden:
        built.hide(model.VariableHide.HIDE_VARIABLE)
    if variable.several:
        all_values = model.VariableOption(selected=True, text="All", value="$__all")
        return built.current(all_values)  # no `all_value`: it would select other jobs too
    first = model.VariableOption(selected=True, text=variable.first, value=variable.first)
    return built.current(first)


def _annotation(annotation: Annotation, language: Language) -> Any:
    name, text = (translate(part, language) for part in (annotation.name, annotation.text))
    built = dashboard.AnnotationQuery().name(name).datasource(_SOURCE).enable(True)  # noqa: FBT003
    built.title_format(name).text_format(text).step("60s")
    return built.expr(annotation.expr).icon_color(annotation.colour)


def _guide(board: Board, by_uid: Mapping[str, Board], language: Language) -> Any:
    """Return the text at the top: the question, the alerts that lead here, where to look next."""
    alerts = ", ".join(board.alerts) or translate("none", language)
    links = (
        f"[{translate(by_uid[uid].name, language)}]({_url(board, by_uid[uid])})"
        for uid in board.onward
        if uid in by_uid
    )
    lines = (
        f"**{translate(board.question, language)}**",
        f"{translate('Alerts that lead here', language)}: {alerts}.",
        f"{translate('Look next at', language)}: {', '.join(links)}.",
    )
    content = "  \n".join(lines)  # two spaces: a line break in Markdown
    guide = text.Panel().id(_id(board.uid)).content(content)
    return guide.transparent(True).span(_WIDTH).height(3)  # noqa: FBT003


def _add_row(built: Any, row: Row, links: Mapping[str, Any]) -> None:
    heading = dashboard.Row(row.title).id(_id(f"row {row.title}"))
    panels = []
    for panel, width in zip(row.panels, widths(row), strict=True):
        uid = panel.onward or row.onward
        panels.append(_panel(panel, width, row).links([links[uid]] if uid in links else []))
    if row.closed:
        for panel in panels:
            heading.with_panel(panel)
        built.with_row(heading)
        return
    built.with_row(heading)
    for panel in panels:
        built.with_panel(panel)


def widths(row: Row) -> list[int]:
    """Return the columns of each panel: three panels beside each other at most, and two of four.

    Four numbers are beside each other, because all of them must be visible at once.
    """
    number = len(row.panels)
    lines = -(-number // (_NUMBERS_PER_LINE if _is_low(row) else _PER_LINE))
    shares = [number // lines + (line < number % lines) for line in range(lines)]
    return [_WIDTH // share for share in shares for _ in range(share)]


def _is_low(row: Row) -> bool:
    return all(panel.shape is Shape.NUMBER for panel in row.panels)


def _panel(panel: Panel, width: int, row: Row) -> Any:
    built = draw(panel)
    built.id(_id(panel.title))
    built.title(panel.title).description(panel.text).datasource(_SOURCE).interval("1m")
    built.unit(panel.unit).span(width).height(_HEIGHT_OF_NUMBERS if _is_low(row) else _HEIGHT)
    for place, query in enumerate(panel.queries):
        built.with_target(_query(query, chr(ord("A") + place), panel.shape))
    return built


def _id(text: str) -> int:
    """Return an id that stays the same when panels are added."""
    return crc32(text.encode()) % _MAX_ID


def _query(query: Query, ref: str, shape: Shape) -> Any:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    if shape in (Shape.BUCKETS, Shape.HEAT):
        target.format(PromQueryFormat.HEATMAP)
    if shape in (Shape.TABLE, Shape.ALERTS):
        return target.format(PromQueryFormat.TABLE).instant()
    if shape in INSTANT:
        return target.instant()
    return target.exemplar(query.exemplars).range()
