"""Label values of the catalogue: each can be emitted, and each that a text quotes exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import safelight
from safelight.metrics import catalog
from safelight.metrics.buckets import image_size, step_place
from safelight.metrics.catalog import CATALOG, IMAGE_SIZE, METHOD, RATING_REASON, STEP
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.merge import RENAMED
from safelight.metrics.metric import OTHER, Kind, Label, Metric
from safelight.metrics.registry import Meter
from safelight.reasons import REASONS
from safelight.rules.alerts import alerts
from safelight.rules.files import groups
from safelight.rules.rule import Alert, Recording
from safelight.rules.thresholds import Thresholds
from safelight.settings import Settings
from tests.laws.test_expressions import PLACES, Place
from tests.reading import series

ROOT = Path(safelight.__file__).parent
DOCS = ROOT.parents[1] / "docs"
NAMESPACE = "instructpix2pix"
# Modules that read or describe metrics, and those that simulate a service.
READERS = ("metrics", "rules", "dashboards", "diagnosis", "reference", "stories", "cli")
LABELS = tuple(dict.fromkeys(label for metric in CATALOG for label in metric.labels))
OPEN = [metric for metric in CATALOG if any(label.values is None for label in metric.labels)]


# ── Values that the code emits ───────────────────────────────────────────────────────────────────


@cache
def texts_in_code() -> frozenset[str]:
    """Return the string constants of the modules that count."""
    files = [file for file in ROOT.rglob("*.py") if file.relative_to(ROOT).parts[0] not in READERS]
    return frozenset(
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def computed(label: Label) -> set[str]:
    """Return the values that are computed, not written as constants."""
    if label is STEP:
        return {step_place(step) for step in range(1, 60)}
    if label is IMAGE_SIZE:
        sides = [value.split("x") for value in label.values or () if "x" in value]
        return {image_size(int(width), int(height)) for width, height in sides}
    if label in (METHOD, RATING_REASON):
        return set(label.values or ())  # from the request, if the label lists it
    return {OTHER}  # the registry emits it for every value that is not listed


@pytest.mark.parametrize(
    ("label", "value"),
    [
        pytest.param(label, v, id=f"{label.name}-{v}")
        for label in LABELS
        for v in label.values or ()
    ],
)
def test_the_code_can_emit_every_value_of_a_closed_label(label: Label, value: str) -> None:
    assert value in texts_in_code() | computed(label) | {OTHER}


@pytest.mark.parametrize("metric", OPEN, ids=lambda metric: metric.name)
def test_a_metric_with_open_labels_exposes_its_first_values(metric: Metric) -> None:
    meter = Meter("zebra")
    values = tuple(label.values[0] if label.values else "real" for label in metric.labels)
    meter.child(metric, *values)
    exposed = next(iter(series(meter, metric, _suffix(metric))))
    exposed.pop("le", None)
    assert exposed == dict(zip(metric.label_names, values, strict=True))


def _suffix(metric: Metric) -> str:
    return "_count" if metric.buckets or metric.kind == "summary" else ""


# ── Values that texts quote ──────────────────────────────────────────────────────────────────────

SELECTOR = re.compile(r"\b([a-z_]+)\{([a-z_]+ ?[=!~]+ ?\"[^}]*)\}")
MATCHER = re.compile(r"([a-z_]+) ?(=~|!~|!=|=) ?\"([^\"]*)\"")
NAME = re.compile(r"`([a-z][a-z0-9_]+_(?:total|bytes|ratio|celsius|watts|hertz|info|bucket))`")
QUOTED = re.compile(r"`([a-z_]+)`")
RULES = [rule for group in groups(NAMESPACE) for rule in group.rules]
RECORDED = {rule.record for rule in RULES if isinstance(rule, Recording)}
NAMESPACES = ("instructpix2pix", "zimage", "recognition", "diffusion")
FROM_PROMETHEUS = {"job", "instance", "le", "alertname", "alertstate", "severity", "service"}
BY_NAME = {
    exposed: metric
    for metric in CATALOG
    for exposed in (metric.name, *(metric.full_name(name) for name in NAMESPACES))
}


def metric_of(name: str) -> Metric | None:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    usual = base.removeprefix(RENAMED)
    return BY_NAME.get(name) or BY_NAME.get(base) or BY_NAME.get(usual)


def wrong_selectors(text: str) -> Iterator[str]:
    """Yield the selectors in a text with unknown names, labels or label values."""
    for name, inside in SELECTOR.findall(text):
        metric = metric_of(name)
        if metric is None:
            if name not in {*RECORDED, *FOREIGN}:
                yield name
            continue
        labels = {label.name: label for label in metric.labels}
        for label, operator, value in MATCHER.findall(inside):
            if label not in {*labels, *FROM_PROMETHEUS}:
                yield f"{name}{{{label}}}"
            elif label in labels and not exists(labels[label], operator, value):
                yield f'{name}{{{label}="{value}"}}'


def exists(label: Label, operator: str, value: str) -> bool:
    """Return True if a label can have a value, or each alternative of a regular expression."""
    if label.values is None:
        return True
    if operator in ("=", "!="):
        return value in label.values
    return all(any(re.fullmatch(part, v) for v in label.values) for part in value.split("|"))


def text_of(alert: Alert) -> str:
    runbook = alert.runbook
    return " ".join((alert.summary, alert.description, runbook.means, runbook.look, runbook.do))


@pytest.mark.parametrize("alert", alerts(NAMESPACE), ids=lambda alert: alert.name)
def test_an_alert_quotes_only_metrics_labels_and_values_that_exist(alert: Alert) -> None:
    values = {value for label in LABELS for value in label.values or ()}
    assert list(wrong_selectors(text_of(alert))) == []
    assert set(QUOTED.findall(text_of(alert))) <= values | set(REASONS) | {OTHER}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_an_expression_selects_only_values_that_exist(place: Place) -> None:
    expr = place.expr.replace("${namespace}", NAMESPACE)
    assert list(wrong_selectors(expr)) == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_page_quotes_only_metrics_labels_and_values_that_exist(page: Path) -> None:
    text = page.read_text()
    settings = {*Settings.model_fields, *Thresholds.model_fields}
    known = {*BY_NAME, *RECORDED, *FOREIGN, *settings}
    unknown = {name for name in NAME.findall(text) if name not in known and not metric_of(name)}
    assert list(wrong_selectors(text)) == []
    assert unknown == set()


def test_the_law_finds_a_value_that_does_not_exist() -> None:
    assert list(wrong_selectors('see rejected_total{reason="overloaded"}')) == [
        'rejected_total{reason="overloaded"}'
    ]
    assert list(wrong_selectors('rejected_total{colour="red"}')) == ["rejected_total{colour}"]
    assert list(wrong_selectors('nothing_total{colour="red"}')) == ["nothing_total"]


# Counters that are read from elsewhere, and those that are exposed at 0 in another way.
NOT_FROM_ZERO = {"HOST_RECEIVED", "HOST_SENT", "PROBE_SECONDS", "LOG_LINES_LOST", "NOTIFICATIONS"}


def test_every_counter_with_closed_labels_starts_at_zero() -> None:
    calls = (
        node
        for path in ROOT.rglob("*.py")
        if "stories" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "start_at_zero"
    )
    started = {argument.id for call in calls for argument in call.args if hasattr(argument, "id")}
    closed = {
        name
        for name, metric in vars(catalog).items()
        if isinstance(metric, Metric)
        and metric.kind is Kind.COUNTER
        and all(label.values for label in metric.labels)
    }
    assert closed == started | NOT_FROM_ZERO
