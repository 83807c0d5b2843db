"""Parts that several dashboards share: variables, annotations, panels and legends."""

from collections.abc import Callable
from dataclasses import replace

from safelight.dashboards.board import Annotation, Better, Board, Panel, Query, Row, Shape, Variable
from safelight.metrics.catalog import (
    BUILD_INFO,
    DEGRADATION_LEVEL,
    GPU_UTILIZATION,
    HOST_CPU,
    MODEL_INFO,
    SERVICE_INFO,
)
from safelight.metrics.exact import ExactQueries
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers
from safelight.rules.alerts import alerts
from safelight.rules.machines import MACHINE, with_machine
from safelight.rules.rule import Scope

PER_SECOND, SHARE, COUNT, TIMES = "reqps", "percentunit", "short", "ops"
NVIDIA_GPU = "an NVIDIA GPU"
SERVED = "a model that Safelight serves"

_FIRES: Matchers = {"alertstate": "firing", "severity": "!none"}

# Grafana replaces these variables with the chosen namespace and the time range.
CHOSEN: Matchers = {JOB: "~$job", INSTANCE: "~$instance"}
NOW = ExactQueries("${namespace}", "$__rate_interval", CHOSEN)
RANGE = replace(NOW, window="$__range", resets=True)
OF_JOB = replace(NOW, matchers={JOB: CHOSEN[JOB]})  # recordings, and targets that are down
# Metrics of GPUs and hosts come from the service or from an exporter with a job of its own.
CARDS = replace(NOW, matchers={JOB: "~$card_job", INSTANCE: "~$card_instance"})


def board(
    uid: str,
    name: str,
    question: str,
    *rows: Row,
    first: str = "instructpix2pix",
    is_fixed: bool = False,
) -> Board:
    """Return the dashboard of one service, with variables for namespace, job and instance.

    `first` is the namespace until somebody chooses another one; a fixed one cannot be chosen.
    """
    query = "" if is_fixed else f"label_values({SERVICE_INFO.name}, namespace)"
    namespace = Variable("namespace", query, several=False, first=first)
    variables = (namespace, *_targets(SERVICE_INFO), *_cards(rows))
    marks = (*_marks(), *_changes())
    return Board(uid, f"Safelight / {name}", question, variables, rows, marks)


def shared_board(uid: str, name: str, question: str, *rows: Row, of: Metric) -> Board:
    """Return a dashboard of all jobs that have a metric, of any service."""
    return Board(uid, f"Safelight / {name}", question, _targets(of), rows, _marks())


def _targets(metric: Metric) -> tuple[Variable, ...]:
    own: Matchers = {"namespace": NOW.namespace} if metric is SERVICE_INFO else {}
    everything = replace(NOW, matchers={})
    return (
        Variable("job", f"label_values({everything.select(metric, own)}, job)"),
        # Also those that are down, which expose nothing.
        Variable("instance", f"label_values({OF_JOB.foreign('up')}, instance)"),
    )


def _cards(rows: tuple[Row, ...]) -> tuple[Variable, ...]:
    """Return the variables for the targets with metrics of GPUs and hosts.

    They are hidden where no panel uses them; there they only pass a choice on.
    """
    queries = (query.expr for each in rows for panel in each.panels for query in panel.queries)
    is_hidden = not any("$card_job" in expr for expr in queries)
    names = f'__name__=~"{GPU_UTILIZATION.name}|{HOST_CPU.name}"'
    jobs, instances = f"{{{names}}}", f'{{{names}, job=~"$card_job"}}'
    return (
        Variable("card_job", f"label_values({jobs}, job)", is_hidden=is_hidden),
        Variable("card_instance", f"label_values({instances}, instance)", is_hidden=is_hidden),
    )


def on_cards(expression: Callable[[ExactQueries], str]) -> str:
    """Return an expression over the GPUs and hosts of the service, else of the chosen exporter."""
    return f"{expression(NOW)} or on () {expression(CARDS)}"


def row(title: str, onward: str, *panels: Panel, closed: bool = False) -> Row:
    """Return a row of panels; each leads to the dashboard with the uid `onward`."""
    return Row(title, panels, onward, closed)


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


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    better: Better | None = None,
    needs: str = "",
) -> Panel:
    """Return a panel with a bar per series, over the whole time range, without a limit."""
    return panel(Shape.BARS, title, description, unit, query, needs=needs, better=better)


def heat(title: str, description: str, unit: str, metric: Metric) -> Panel:
    """Return a panel of a histogram's buckets over time; `unit` is that of its counts."""
    query = Query(NOW.buckets(metric), "{{le}}")
    return Panel(title, description, Shape.HEAT, unit, (query,), axis_unit=metric.unit)


def firing(where: Matchers | None = None) -> str:
    """Return the selector of the alerts that fire for the chosen service.

    Many alerts are for a job, without an instance.
    """
    chosen: Matchers = {INSTANCE: f"{CHOSEN[INSTANCE]}|", **_FIRES}
    return NOW.foreign("ALERTS", {**chosen, **(where or {})})


def firing_on_targets() -> str:
    """Return the selector of the alerts about the GPUs of a target, also of an exporter."""
    return CARDS.foreign("ALERTS", _of_machines())


def firing_on_machines() -> str:
    """Return the selector of the alerts about whole machines, which have no job."""
    return replace(NOW, matchers={}).foreign("ALERTS", {**_of_machines(), MACHINE: "!"})


def on_chosen_machines(expression: str) -> str:
    """Return those results of an expression that are about a machine of a chosen target."""
    return f"({expression} and on (machine) {with_machine(CARDS.foreign('up'))})"


def _of_machines() -> Matchers:
    return {**_FIRES, "alertname": f"~{_named(Scope.GPU, Scope.HOST)}"}


def firing_of_monitoring() -> str:
    """Return the selector of the alerts about Prometheus, Alertmanager and the relay."""
    everything = replace(NOW, matchers={})
    return everything.foreign("ALERTS", {**_FIRES, "alertname": f"~{_named(Scope.MONITORING)}"})


def _named(*scopes: Scope) -> str:
    return "|".join(alert.name for alert in alerts(NOW.namespace) if alert.scope in scopes)


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
        Annotation("Restarts", f"time() - {started} < 60", "{{job}} started", "orange"),
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
