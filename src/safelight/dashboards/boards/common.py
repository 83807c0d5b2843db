"""What the boards share: the service chosen at their top, the marks across them, short forms."""

from dataclasses import replace

from safelight.dashboards.board import Annotation, Board, Panel, Query, Row, Shape, Variable
from safelight.metrics.catalog import (
    BUILD_INFO,
    DEGRADATION_LEVEL,
    IN_FLIGHT,
    MODEL_INFO,
    QUALITY_SCORE,
    USER_RATING,
)
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries

PER_SECOND, SHARE, COUNT, TIMES = "reqps", "percentunit", "short", "ops"
CARD = "an NVIDIA card"
# Grafana fills these in: the namespace that is chosen, the time shown.
CHOSEN: Matchers = {JOB: "~$job", INSTANCE: "~$instance"}
NOW = Queries("${namespace}", "$__rate_interval", CHOSEN)
WHOLE = replace(NOW, window="$__range")
_ANY_SERVICE = f'{{__name__=~".+_{IN_FLIGHT.name}"}}'


def board(
    name: str, question: str, *rows: Row, first: str = "instructpix2pix", of: Metric = IN_FLIGHT
) -> Board:
    """Return the board of one service, chosen at its top by its namespace; its jobs show `of`."""
    chosen = Variable(
        "namespace",
        f"label_values({_ANY_SERVICE}, __name__)",
        several=False,
        pattern=f"/(.+)_{IN_FLIGHT.name}/",
        first=first,
    )
    return _board(name, question, rows, (chosen, *_targets(of)), (*_marks(), *_changes()))


def machines(name: str, question: str, *rows: Row, of: Metric) -> Board:
    """Return a board of whatever shows a metric: machines, routes, Safelight itself."""
    return _board(name, question, rows, _targets(of), _marks())


def _board(
    name: str,
    question: str,
    rows: tuple[Row, ...],
    variables: tuple[Variable, ...],
    annotations: tuple[Annotation, ...],
) -> Board:
    uid = f"safelight-{name.lower().replace(' ', '-')}"
    return Board(uid, f"Safelight / {name}", question, variables, rows, annotations)


def _targets(metric: Metric) -> tuple[Variable, ...]:
    of_job = replace(NOW, matchers={JOB: CHOSEN[JOB]})
    anything = replace(NOW, matchers={})
    return (
        Variable("job", f"label_values({anything.select(metric)}, job)"),
        Variable("instance", f"label_values({of_job.select(metric)}, instance)"),
    )


def row(title: str, *panels: Panel) -> Row:
    """Return panels side by side."""
    return Row(title, panels)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limit: float | None = None,
    needs: str = "",
) -> Panel:
    """Return a panel of a line per series."""
    return Panel(title, description, Shape.LINES, unit, queries, limit, needs)


def panel(
    shape: Shape, title: str, description: str, unit: str, *queries: Query, needs: str = ""
) -> Panel:
    """Return a panel of any shape."""
    return Panel(title, description, shape, unit, queries, needs=needs)


def ratings() -> Panel:
    """Return the panel of how callers rate, which stands on more than one board."""
    return panel(
        Shape.BUCKETS,
        "User ratings, distribution",
        "First ratings over the time shown, 1 (bad) to 5 (good).",
        COUNT,
        Query(WHOLE.bucket_counts(USER_RATING), "{{le}}"),
        needs="callers who rate",
    )


def scores() -> Panel:
    """Return the panel of how pictures look, which stands on more than one board."""
    return lines(
        "Score",
        "Looks of the pictures that were looked at closer: half of them, and the worst tenth.",
        QUALITY_SCORE.unit,
        Query(NOW.quantile(0.5, QUALITY_SCORE), "median"),
        Query(NOW.quantile(0.1, QUALITY_SCORE), "worst tenth"),
    )


def by(*labels: Label) -> str:
    """Return the legend that names a series by its labels."""
    return " ".join(f"{{{{{label.name}}}}}" for label in labels)


def quantiles(
    metric: Metric, *quantile: float, by_labels: tuple[Label, ...] = ()
) -> tuple[Query, ...]:
    """Return a query for each quantile of a histogram; a dot on its line is a trace."""
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
    fires = NOW.foreign("ALERTS", {"alertstate": "firing"})
    return (
        Annotation("Restarts", f"changes({started}[1m]) > 0", "{{job}} was started", "orange"),
        Annotation("Deployments", _new(BUILD_INFO, "version"), "{{job}} runs {{version}}", "blue"),
        Annotation("Alerts", f"max by (alertname, job) ({fires})", "{{alertname}}", "red"),
    )


def _changes() -> tuple[Annotation, ...]:
    level = f"max by (job) ({NOW.select(DEGRADATION_LEVEL)}) > 0"
    return (
        Annotation("Models", _new(MODEL_INFO, "model"), "{{job}} serves {{model}}", "purple"),
        Annotation("Degradations", level, "{{job}} does less", "yellow"),
    )


def _new(metric: Metric, label: str) -> str:
    """Return the targets that show a label's value now and did not five minutes ago."""
    named = f"max by (job, {label}) ({NOW.select(metric)}"
    return f"{named}) unless {named} offset 5m)"
