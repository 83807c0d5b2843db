"""Every expression of rules and panels parses, and uses only existing metrics and labels."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import pytest

from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.queries import series_names
from safelight.metrics.catalog import CATALOG
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import UNITS, Kind
from safelight.reference.metrics import lookup
from safelight.rules.files import groups
from safelight.rules.rule import Recording

NAMESPACE = "instructpix2pix"
BOARDS = boards()
RULES = tuple(rule for group in groups(NAMESPACE) for rule in group.rules)
RECORDED = {rule.record for rule in RULES if isinstance(rule, Recording)}
SECONDS = {3600, 300, 60_000}  # an hour, the windows of Live's numbers and of Grafana (in ms)
OF_RECORDINGS = {"model_name", "status", "objective", "handler"}
FROM_PROMETHEUS = {
    "__name__",
    "job",
    "instance",
    "node",
    "le",
    "quantile",
    "alertname",
    "alertstate",
    "severity",
}


@dataclass(frozen=True, slots=True)
class Place:
    """An expression and the name of its rule or panel."""

    name: str
    expr: str

    @property
    def tree(self) -> promql.Expr:
        """Return the parsed expression, with Grafana's variables filled in."""
        return promql.parse(Chosen(NAMESPACE).fill(self.expr))


PLACES = (
    *(Place(getattr(rule, "name", getattr(rule, "record", "")), rule.expr) for rule in RULES),
    *(
        Place(f"{board.uid}/{panel.title}/{query.legend}", query.expr)
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ),
    *(
        Place(f"{board.uid}/{annotation.name}", annotation.expr)
        for board in BOARDS
        for annotation in board.annotations
    ),
)


def nodes(tree: Any) -> Iterator[Any]:
    yield tree
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(tree, part, None)
        if child is not None:
            yield from nodes(child)
    for argument in getattr(tree, "args", ()):
        yield from nodes(argument)


def selectors(tree: Any) -> Iterator[Any]:
    return (node for node in nodes(tree) if isinstance(node, promql.VectorSelector))


def labels_of(name: str) -> set[str] | None:
    """Return the labels that a metric can have, or None for a recording."""
    if name in FOREIGN:
        return {*FOREIGN[name], *FROM_PROMETHEUS}
    metric = lookup(name, NAMESPACE)
    if metric is None and name in RECORDED:
        return None
    assert metric is not None, f"{name} is in no catalogue"
    has_parts = metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY)
    assert has_parts == name.endswith(("_bucket", "_sum", "_count")), f"{name} is never exposed"
    assert not (metric.kind is Kind.SUMMARY and name.endswith("_bucket"))
    return {*metric.label_names, *FROM_PROMETHEUS}


def added_labels(tree: Any) -> set[str]:
    copies = (
        node
        for node in nodes(tree)
        if isinstance(node, promql.Call) and node.func.name == "label_replace"
    )
    return {copy.args[1].val for copy in copies}


def grouped_labels(tree: Any) -> set[str]:
    names: set[str] = set()
    for node in nodes(tree):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql.AggregateExpr) and modifier is not None:
            names |= set(modifier.labels)
        matching = getattr(modifier, "matching", None)
        if matching is not None:
            names |= set(matching.labels)
    return names


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_an_expression_parses_and_uses_only_existing_metrics(place: Place) -> None:
    queried = list(selectors(place.tree))
    assert queried, "an expression without a selector"
    for selector in queried:
        labels_of(selector.name)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_an_expression_uses_only_labels_of_its_metrics(place: Place) -> None:
    known: set[str] = added_labels(place.tree) | FROM_PROMETHEUS
    for selector in selectors(place.tree):
        allowed = labels_of(selector.name)
        if allowed is not None:
            assert {matcher.name for matcher in selector.matchers.matchers} <= allowed
            known |= allowed
        else:
            known |= OF_RECORDINGS
    assert grouped_labels(place.tree) <= known


def dimension(node: Any) -> Counter[str]:
    """Return the unit of an expression's result, as powers of base units."""
    if isinstance(node, promql.VectorSelector):
        return dimension_of(str(node.name))
    if isinstance(node, promql.NumberLiteral):
        return Counter({"s": 1}) if node.val in SECONDS else Counter()
    if isinstance(node, promql.MatrixSelector):
        return dimension(node.vector_selector)
    if isinstance(node, promql.Call):
        return dimension_of_call(node)
    if isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.return_bool:
        return Counter()
    if isinstance(node, promql.BinaryExpr):
        left, right = dimension(node.lhs), dimension(node.rhs)
        if str(node.op) == "*":
            return minus(left, minus(Counter(), right))
        return minus(left, right) if str(node.op) == "/" else left
    inner = getattr(node, "expr", None)
    return dimension(inner) if inner is not None else Counter()


def dimension_of(name: str) -> Counter[str]:
    """Return the unit of a metric, by the last word of its name."""
    if name.endswith(("_bucket", "_count")):
        return Counter()
    if match := re.search(r":(\w+):p\d+_", name):
        return dimension_of(match[1])
    if ":" in name:
        return Counter() if "ratio" in name else Counter({"s": -1})
    word = name.removesuffix("_sum").removesuffix("_total").rpartition("_")[2]
    unit = UNITS.get(word, "")
    return Counter({unit: 1}) if unit not in ("", "percentunit", "percent") else Counter()


def dimension_of_call(node: Any) -> Counter[str]:
    if node.func.name == "time":
        return Counter({"s": 1})
    if node.func.name in ("rate", "deriv"):
        return minus(dimension(node.args[0]), Counter({"s": 1}))
    if node.func.name == "histogram_quantile":
        return dimension_of(next(selectors(node.args[1])).name.removesuffix("_bucket"))
    return dimension(node.args[0])


def minus(left: Counter[str], right: Counter[str]) -> Counter[str]:
    out = Counter(left)
    out.subtract(right)
    return Counter({unit: power for unit, power in out.items() if power})


UNIT_OF = {
    **{unit: Counter({unit: 1}) for unit in ("s", "bytes", "celsius", "watt", "joule", "hertz")},
    "reqps": Counter({"s": -1}),
    "ops": Counter({"s": -1}),
    "Bps": Counter({"bytes": 1, "s": -1}),
    "percentunit": Counter(),
    "short": Counter(),
    "none": Counter(),
}


@pytest.mark.parametrize(
    ("unit", "expr"),
    [
        pytest.param(panel.unit, query.expr, id=f"{panel.title}/{query.legend}")
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ],
)
def test_a_panel_has_the_unit_of_its_expression(unit: str, expr: str) -> None:
    assert dimension(Place("", expr).tree) == UNIT_OF[unit]


def test_the_law_finds_an_unknown_metric() -> None:
    with pytest.raises(AssertionError, match="is in no catalogue"):
        test_an_expression_parses_and_uses_only_existing_metrics(Place("", "rate(unknown[5m])"))


def test_the_law_finds_an_unknown_label() -> None:
    wrong = Place("", f'{NAMESPACE}_queue_depth{{colour="red"}}')
    with pytest.raises(AssertionError):
        test_an_expression_uses_only_labels_of_its_metrics(wrong)


def test_the_law_finds_a_wrong_unit() -> None:
    with pytest.raises(AssertionError):
        test_a_panel_has_the_unit_of_its_expression("s", f"{NAMESPACE}_vram_used_bytes")


@pytest.mark.parametrize(
    "panel", [panel for board in BOARDS for panel in board.panels], ids=lambda panel: panel.title
)
def test_every_panel_has_a_description_and_queries(panel: Any) -> None:
    assert panel.description.endswith(".")
    assert panel.queries


# Details that somebody looks up in Prometheus or on /metrics when a dashboard leads to them.
LOOKED_UP = {
    "model_load_seconds",
    "model_warm_up_seconds",
    "model_weights_bytes",
    "degraded_total",
    "user_ratings_changed_total",
    "background_entropy",
    "http_request_size_bytes",
    "http_response_size_bytes",
    "gpu_memory_busy_ratio",
    "host_disk_read_bytes_total",
    "host_disk_written_bytes_total",
    "host_network_received_bytes_total",
    "host_network_sent_bytes_total",
    "safelight_notification_seconds",
}


def test_every_metric_is_used_by_a_dashboard_a_rule_or_the_diagnosis_or_is_looked_up() -> None:
    queried = {selector.name for place in PLACES for selector in selectors(place.tree)}
    used = {*queried, *series_names(NAMESPACE)}
    ends = ("", "_bucket", "_sum", "_count")
    unused = {
        metric.name
        for metric in CATALOG
        if not used & {metric.full_name(NAMESPACE) + end for end in ends}
    }
    assert unused == LOOKED_UP
