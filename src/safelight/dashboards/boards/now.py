"""The first rows of the Live dashboard: eight numbers and the firing alerts say who must act."""

from dataclasses import replace

from safelight.dashboards.board import FIRING, Better, Panel, Query, Row, Shape
from safelight.dashboards.boards.common import (
    CHOSEN,
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    SHARE,
    firing,
    on_cards,
    panel,
    row,
)
from safelight.dashboards.leads import with_dashboard
from safelight.dashboards.uids import REQUEST
from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    ERROR,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    QUEUED_WORK,
    REQUEST_SECONDS,
    REQUESTS,
    WORKERS_READY,
)
from safelight.metrics.promql import JOB
from safelight.reasons import NO_ERROR
from safelight.rules.objectives import DAYS, burn_name
from safelight.rules.thresholds import Thresholds

_NOW = replace(NOW, window="5m")  # one window for all: also a single failure stays visible


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
    limit: float | None = None,
    better: Better | None = Better.LOW,
    needs: str = "",
) -> Panel:
    return Panel(title, description, Shape.NUMBER, unit, queries, limit, needs, better)


def _service(limits: Thresholds) -> tuple[Panel, ...]:
    up = _NOW.foreign("up")
    failed = _NOW.increase(REQUESTS, where={ERROR: f"!{NO_ERROR}"})
    total = _NOW.increase(REQUESTS)
    return (
        _number(
            "Workers ready?",
            "Worker processes that have loaded the model. Red: no request is served.",
            COUNT,
            # Without any ready worker there may be no series: then a target that is down is 0.
            Query(f"sum({_NOW.select(WORKERS_READY)}) or sum({up} == 0)", "ready"),
            limit=1,
            better=Better.HIGH,
        ),
        _number(
            "Requests/s?",
            "Requests per second.",
            PER_SECOND,
            Query(_NOW.rate(REQUESTS), "all"),
            better=None,
        ),
        _number(
            "Errors?",
            "Share of the requests that failed, for any reason. Row Failures has the reasons.",
            SHARE,
            Query(_NOW.part(failed, total), "failed"),
            limit=1 - limits.success_ratio,
        ),
        _number(
            "P95 slow?",
            "95 % of the requests are faster. Red is above the limit of RequestP95High.",
            REQUEST_SECONDS.unit,
            Query(_NOW.quantile(0.95, REQUEST_SECONDS), "P95"),
            limit=limits.request_p95_seconds,
        ),
    )


def _resources(limits: Thresholds) -> tuple[Panel, ...]:
    used = on_cards(lambda q: f"max({q.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)})")
    of_job = replace(_NOW, matchers={JOB: CHOSEN[JOB]})
    left = f"1 - {of_job.recorded(burn_name(of_job.namespace, f'{DAYS}d'))}"
    return (
        _number(
            "Work queued?",
            "Estimated time until the requests of the fullest instance are done. Red is above the "
            "limit of WorkPilesUp.",
            QUEUED_WORK.unit,
            Query(f"max({_NOW.select(QUEUED_WORK)})", "queued"),
            limit=limits.queued_work_seconds,
        ),
        _number(
            "Protection on?",
            "Instances whose circuit breaker refuses requests, and the highest active step of the "
            "degradation ladder. 0 is normal.",
            COUNT,
            Query(f"sum({_NOW.select(CIRCUIT_OPEN)} > bool 0)", "breakers open"),
            Query(f"max({_NOW.select(DEGRADATION_LEVEL)})", "degradation"),
            limit=1,
        ),
        _number(
            "GPU full?",
            "Share of used memory. Red is above the limit of VramNearlyFull.",
            SHARE,
            Query(used, "used"),
            limit=limits.gpu_memory_full_ratio,
            needs=NVIDIA_GPU,
        ),
        _number(
            "Budget left?",
            "Remaining budget of the worst objective, of thirty days. Below 0 it is overspent.",
            SHARE,
            Query(f"min({left})", "left"),
            limit=0,
            better=Better.HIGH,
        ),
    )


def _alerts() -> Panel:
    # A missing service has no job; its alert has the namespace of its metrics.
    missing = replace(NOW, matchers={}).foreign(
        "ALERTS", {"alertstate": "firing", "namespace": NOW.namespace, JOB: ""}
    )
    fires = f"max by (alertname, severity, job, instance) ({firing()} or {missing})"
    return panel(
        Shape.ALERTS,
        "Which alerts fire?",
        "Alerts of the chosen jobs; each name is a link to the dashboard that shows its cause. "
        "docs/runbook.md says what to do.",
        COUNT,
        Query(with_dashboard(fires), ""),
        needs=FIRING,
    )
