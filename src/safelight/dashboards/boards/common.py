"""Parts that several dashboards share: variables, annotations, panels and legends."""

from dataclasses import replace

from safelight.dashboards.board import Annotation, Better, Board, Panel, Query, Row, Shape, Variable
from safelight.metrics.catalog import (
    BUILD_INFO,
    DEGRADATION_LEVEL,
    MODEL_INFO,
    QUALITY_SCORE,
    SERVICE_INFO,
    USER_RATING,
)
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, ExactQueries, Matchers

PER_SECOND, SHARE, COUNT, TIMES = "reqps", "percentunit", "short", "ops"
NVIDIA_GPU = "an NVIDIA GPU"
# Grafana replaces these variables with the chosen namespace and the time range.
CHOSEN: Matchers = {JOB: "~$job", INSTANCE: "~$instance"}
NOW = ExactQueries("${namespace}", "$__rate_interval", CHOSEN)
RANGE = replace(NOW, window="$__range", resets=True)


def board(
    name: str,
    question: str,
    *rows: Row,
    first: str = "instructpix2pix",
    of: Metric = SERVICE_INFO,
    slug: str = "",
) -> Board:
    """Return the dashboard of one service, with variables for namespace, job and instance.

    `of` is the metric whose jobs can be chosen. `slug` is the end of the uid, by default the name.
    """
    namespace = Variable(
        "namespace", f"label_values({SERVICE_INFO.name}, namespace)", several=False, first=first
    )
    variables = (namespace, *_targets(of))
    return _board(slug or name, name, question, rows, variables, (*_marks(), *_changes()))


def shared_board(name: str, question: str, *rows: Row, of: Metric) -> Board:
    """Return a dashboard of metrics without a namespace: hosts, HTTP routes, Safelight itself."""
    return _board(name, name, question, rows, _targets(of), _marks())


def _board(
    slug: str,
    name: str,
    question: str,
    rows: tuple[Row, ...],
    variables: tuple[Variable, ...],
    annotations: tuple[Annotation, ...],
) -> Board:
    uid = f"safelight-{slug.lower().replace(' ', '-')}"
    return Board(uid, f"Safelight / {name}", question, variables, rows, annotations)


def _targets(metric: Metric) -> tuple[Variable, ...]:
    own: Matchers = {"namespace": NOW.namespace} if metric is SERVICE_INFO else {}
    of_job = replace(NOW, matchers={JOB: CHOSEN[JOB]})
    everything = replace(NOW, matchers={})
    return (
        Variable("job", f"label_values({everything.select(metric, own)}, job)"),
        Variable("instance", f"label_values({of_job.select(metric, own)}, instance)"),
    )


def row(title: str, *panels: Panel) -> Row:
    """Return a row of panels."""
    return Row(title, panels)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limit: float | None = None,
    needs: str = "",
) -> Panel:
    """Return a panel with a line per series."""
    return Panel(title, description, Shape.LINES, unit, queries, limit, needs)


def panel(
    shape: Shape,
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    needs: str = "",
    better: Better | None = None,
) -> Panel:
    """Return a panel of any shape, without a limit."""
    return Panel(title, description, shape, unit, queries, needs=needs, better=better)


def heat(title: str, description: str, unit: str, metric: Metric) -> Panel:
    """Return a panel of a histogram's buckets over time; `unit` is that of its counts."""
    query = Query(NOW.buckets(metric), "{{le}}")
    return Panel(title, description, Shape.HEAT, unit, (query,), axis_unit=metric.unit)


def ratings() -> Panel:
    """Return the panel of the callers' ratings."""
    return panel(
        Shape.BUCKETS,
        "User ratings, distribution",
        "First ratings in the time range, 1 (bad) to 5 (good).",
        COUNT,
        Query(RANGE.bucket_counts(USER_RATING), "{{le}}"),
        needs="callers who rate responses",
    )


def scores() -> Panel:
    """Return the panel of the quality scores."""
    return lines(
        "Score",
        "Quality score of the assessed images: median and worst 10 %.",
        QUALITY_SCORE.unit,
        Query(NOW.quantile(0.5, QUALITY_SCORE), "median"),
        Query(NOW.quantile(0.1, QUALITY_SCORE), "worst 10 %"),
    )


def firing(where: Matchers | None = None) -> str:
    """Return the selector of the alerts that fire for the chosen service.

    Many alerts are for a job, without an instance.
    """
    chosen: Matchers = {INSTANCE: f"{CHOSEN[INSTANCE]}|", "alertstate": "firing"}
    return NOW.foreign("ALERTS", {**chosen, **(where or {})})


def or_none(expr: str, label: Label, total: Metric) -> str:
    """Return the expression, or 0 with the label value `none` while it has no series.

    `total` is a metric that has series whenever the service runs.
    """
    zero = f'label_replace(0 * {NOW.rate(total)}, "{label.name}", "none", "", "")'
    return f"{expr} or on () {zero}"


def by(*labels: Label) -> str:
    """Return the legend made of these labels."""
    return " ".join(f"{{{{{label.name}}}}}" for label in labels)


def quantiles(
    metric: Metric, *quantile: float, by_labels: tuple[Label, ...] = ()
) -> tuple[Query, ...]:
    """Return a query for each quantile of a histogram, with traces as exemplars."""
    return tuple(
        Query(
            NOW.quantile(q, metric, by_labels),
            f"{by(*by_labels)} P{100 * q:g}".strip(),
            exemplars=True,
        )
        for q in quantile
    )


def _marks() -> tuple[Annotation, ...]:
    started = NOW.foreign("process_start_time_seconds")
    return (
        Annotation("Restarts", f"changes({started}[1m]) > 0", "{{job}} started", "orange"),
        Annotation("Deployments", _new(BUILD_INFO, "version"), "{{job}} runs {{version}}", "blue"),
        Annotation("Alerts", f"max by (alertname, job) ({firing()})", "{{alertname}}", "red"),
    )


def _changes() -> tuple[Annotation, ...]:
    level = f"max by (job) ({NOW.select(DEGRADATION_LEVEL)}) > 0"
    return (
        Annotation("Models", _new(MODEL_INFO, "model"), "{{job}} serves {{model}}", "purple"),
        Annotation("Degradations", level, "{{job}} reduces quality", "yellow"),
    )


def _new(metric: Metric, label: str) -> str:
    """Return the targets that have a label value now and did not have it five minutes ago."""
    values = f"max by (job, {label}) ({NOW.select(metric)}"
    return f"{values}) unless {values} offset 5m)"
