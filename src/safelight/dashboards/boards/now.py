"""The first rows of the Live dashboard: eight numbers and the firing alerts say who must act."""

from dataclasses import replace

from safelight.dashboards.board import FIRING, Better, Panel, Query, Row, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    OF_JOB,
    PER_SECOND,
    SHARE,
    firing,
    firing_of_monitoring,
    firing_on_machines,
    firing_on_targets,
    on_cards,
    on_chosen_machines,
    panel,
    row,
)
from safelight.dashboards.leads import with_dashboard
from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    ERROR,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    HOST_CPU,
    MODEL_ASLEEP,
    OUTCOMES,
    QUEUED_WORK,
    REQUEST_SECONDS,
    REQUESTS,
    RESULT,
    WORKERS_READY,
)
from safelight.metrics.promql import JOB
from safelight.reasons import NO_ERROR
from safelight.rules.objectives import DAYS, burn_name
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import ENGINE, GPUS, INSTRUCTIONS, REQUEST, SLO

# One window for all, so that a single failure stays visible, too.
_NOW = replace(NOW, window="5m", resets=True)
_P95 = f"{REQUEST_SECONDS.name}:p95_rate5m"


def first_rows(limits: Thresholds) -> tuple[Row, ...]:
    """Return the rows that show whether somebody must act."""
    return (
        row("Must somebody act?", REQUEST, *_service(limits), *_resources(limits)),
        row("What fires?", REQUEST, _alerts()),
    )


def _number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    onward: str,
    limit: float | None = None,
) -> Panel:
    return Panel(
        title,
        description,
        Shape.NUMBER,
        unit,
        queries,
        limit,
        better=None if limit is None else Better.LOW,
        onward=onward,
    )


def _service(limits: Thresholds) -> tuple[Panel, ...]:
    failed = _NOW.increase(REQUESTS, where={ERROR: f"!{NO_ERROR}"})
    own = _NOW.increase(OUTCOMES, where={RESULT: "~server_error|overload"})
    return (
        _workers(),
        _number(
            "How many requests per second?",
            "Requests per second, now and an hour ago.",
            PER_SECOND,
            Query(_NOW.rate(REQUESTS), "last five minutes"),
            Query(f"sum({_recorded('request:rate5m')} offset 1h)", "an hour ago"),
            onward=REQUEST,
        ),
        _number(
            "How many fail?",
            "Share of the requests that failed: for any reason, and by the service's fault (errors "
            "and overload). See the row Failures.",
            SHARE,
            Query(_NOW.part(failed, _NOW.increase(REQUESTS)), "in all"),
            Query(_NOW.part(own, _NOW.increase(OUTCOMES)), "by the service"),
            limit=1 - limits.success_ratio,
            onward=INSTRUCTIONS,
        ),
        _number(
            "Is P95 slow?",
            "95 % of the requests are faster, now and an hour ago. Red is above the limit of "
            "RequestP95High.",
            REQUEST_SECONDS.unit,
            Query(_NOW.quantile(0.95, REQUEST_SECONDS), "last five minutes"),
            Query(f"max({_recorded(_P95)} offset 1h)", "an hour ago"),
            limit=limits.request_p95_seconds,
            onward=REQUEST,
        ),
    )


def _workers() -> Panel:
    ready = _NOW.select(WORKERS_READY)
    down = f"{_NOW.foreign('up')} == 0"  # a target that is down has no other series
    number = _number(
        "Are workers ready?",
        "Worker processes that have loaded the model: of all instances, and of the instance with "
        "the fewest, unless its model sleeps. Red: an instance serves no request.",
        COUNT,
        Query(f"sum({ready}) or sum({down})", "in all"),
        Query(
            f"min(({ready} unless on (job, instance) {_NOW.select(MODEL_ASLEEP)} > 0) "
            f"or on (job, instance) {down})",
            "fewest of an instance",
        ),
        limit=1,
        onward=ENGINE,
    )
    return replace(number, better=Better.HIGH)


def _recorded(name: str) -> str:
    """Return the selector of a recording of the chosen jobs."""
    return OF_JOB.recorded(f"{OF_JOB.namespace}:{name}")


def _resources(limits: Thresholds) -> tuple[Panel, ...]:
    used = on_cards(lambda q: f"max({q.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)})")
    return (
        _number(
            "How much work is queued?",
            "Estimated time until the requests of the fullest instance are done. Red is above the "
            "limit of WorkPilesUp.",
            QUEUED_WORK.unit,
            Query(f"max(sum by (job, instance) ({_NOW.select(QUEUED_WORK)}))", "queued"),
            limit=limits.queued_work_seconds,
            onward=ENGINE,
        ),
        _number(
            "Is a protection active?",
            "Instances whose circuit breaker refuses requests, and the highest active step of the "
            "degradation ladder. 0 is normal.",
            COUNT,
            Query(f"sum({_NOW.select(CIRCUIT_OPEN)} > bool 0)", "breakers open"),
            Query(f"max({_NOW.select(DEGRADATION_LEVEL)})", "degradation"),
            limit=1,
            onward=ENGINE,
        ),
        _number(
            "Is a GPU or host full?",
            "Used memory of the fullest GPU, and used CPU of the busiest host. Red is above the "
            "limit of GpuMemoryHigh.",
            SHARE,
            Query(used, "GPU"),
            Query(on_cards(lambda q: f"max({q.select(HOST_CPU)})"), "CPU"),
            limit=limits.gpu_memory_high_ratio,
            onward=GPUS,
        ),
        _budget(),
    )


def _budget() -> Panel:
    left = f"1 - {OF_JOB.recorded(burn_name(OF_JOB.namespace, f'{DAYS}d'))}"
    number = _number(
        "How much error budget is left?",
        "Remaining error budget of the worst objective, of thirty days. Below 0 it is overspent.",
        SHARE,
        Query(f"min({left})", "left"),
        limit=0,
        onward=SLO,
    )
    return replace(number, better=Better.HIGH)


def _alerts() -> Panel:
    # A missing service has no job; its alert has the namespace of its metrics.
    missing = replace(NOW, matchers={}).foreign(
        "ALERTS", {"alertstate": "firing", "namespace": NOW.namespace, JOB: ""}
    )
    labels = "alertname, severity, job, instance, machine"
    selectors = (firing(), firing_on_targets(), firing_of_monitoring(), missing)
    machines = firing_on_machines()
    now = " or ".join((*selectors, on_chosen_machines(machines)))
    now = f"max by ({labels}) ({now})"
    lasted = [f"last_over_time({selector}[15m])" for selector in (*selectors, machines)]
    before = " or ".join((*lasted[:-1], on_chosen_machines(lasted[-1])))
    recent = f"max by ({labels}) ({before}) unless on ({labels}) {now}"
    fires = (
        f'label_replace({now}, "fires", "now", "", "") or '
        f'label_replace({recent}, "fires", "in the last 15 minutes", "", "")'
    )
    return panel(
        Shape.ALERTS,
        "Which alerts fire?",
        "Alerts of the chosen jobs, now and recently; each name is a link to the dashboard that "
        "shows its cause. docs/runbooks.md says what to do.",
        COUNT,
        Query(with_dashboard(fires), ""),
        needs=FIRING,
    )
