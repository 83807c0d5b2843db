"""Dashboard of all HTTP routes, with the metrics of prometheus-fastapi-instrumentator."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CHOSEN,
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    SHARE,
    board,
    by,
    lines,
    on_cards,
    panel,
    row,
)
from safelight.metrics.catalog import (
    GPU,
    GPU_UTILIZATION,
    HANDLER,
    HTTP_IN_PROGRESS,
    HTTP_LAG,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    LOOP_BEAT_SECONDS,
    METHOD,
    STATUS,
)
from safelight.metrics.promql import INSTANCE, Matchers
from safelight.rules.recording import NO_PROBES
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import GPUS, REQUEST, WEB

_ROUTE = (HANDLER,)
_ROUTES = replace(NOW, matchers={**CHOSEN, HANDLER: NO_PROBES})
_FAILED: Matchers = {STATUS: "~5.."}


def web(limits: Thresholds) -> Board:
    """Return the dashboard of the HTTP routes."""
    return board(
        WEB,
        "Web service",
        "Which routes are requested, how fast are they, and how many responses are server errors?",
        row("All routes", REQUEST, *_all(limits)),
        row("Each route", REQUEST, *_each()),
        row("Load", GPUS, *_load(limits)),
    )


def _all(limits: Thresholds) -> tuple[Panel, ...]:
    total, failed = _ROUTES.increase(HTTP_REQUESTS), _ROUTES.increase(HTTP_REQUESTS, (), _FAILED)
    return (
        lines(
            "How many requests arrive? (request rate)",
            "Responses per second, by status, without /healthz, /readyz and /metrics.",
            PER_SECOND,
            Query(_ROUTES.rate(HTTP_REQUESTS, (STATUS,)), by(STATUS)),
        ),
        lines(
            "How long do callers wait? (P95)",
            "95 % of the responses are faster. The line is the limit of HighP95Latency.",
            HTTP_SECONDS.unit,
            Query(_ROUTES.quantile(0.95, HTTP_SECONDS), "P95", exemplars=True),
            limit=limits.http_p95_seconds,
        ),
        lines(
            "How many responses are server errors? (error rate)",
            "Share of responses with a 5xx status. The line is the limit of HighAPIErrorRate.",
            SHARE,
            Query(_ROUTES.part(failed, total), "errors"),
            limit=limits.http_error_ratio,
        ),
    )


def _each() -> tuple[Panel, ...]:
    return (
        lines(
            "Which route is requested?",
            "Responses per second of each route.",
            PER_SECOND,
            Query(_ROUTES.rate(HTTP_REQUESTS, (HANDLER, METHOD)), by(METHOD, HANDLER)),
        ),
        lines(
            "Which route is slow?",
            "P95 of each route.",
            HTTP_SECONDS.unit,
            Query(_ROUTES.quantile(0.95, HTTP_SECONDS, _ROUTE), by(HANDLER), exemplars=True),
        ),
        panel(
            Shape.STACK,
            "Which route fails?",
            "Responses with a 4xx or 5xx status.",
            PER_SECOND,
            Query(
                _ROUTES.rate(HTTP_REQUESTS, (HANDLER, STATUS), {STATUS: "~[45].."}),
                by(STATUS, HANDLER),
            ),
            needs="failed requests",
        ),
    )


def _load(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "How many requests are in progress?",
            "Requests of each instance that have not ended.",
            COUNT,
            Query(NOW.select(HTTP_IN_PROGRESS), by(INSTANCE)),
        ),
        lines(
            "Do handlers block the event loop?",
            "Share of the time in which they do. The line is the limit of EventLoopBlocked.",
            SHARE,
            Query(f"{NOW.late_share(HTTP_LAG, LOOP_BEAT_SECONDS, (INSTANCE,))} >= 0", by(INSTANCE)),
            limit=limits.event_loop_blocked_ratio,
            needs="an app that runs in an event loop",
        ),
        lines(
            "Is the GPU busy? (GPU utilisation)",
            "Share of the time in which a kernel ran on the GPU.",
            SHARE,
            Query(on_cards(lambda q: q.select(GPU_UTILIZATION)), f"{by(INSTANCE)} GPU {by(GPU)}"),
            needs=NVIDIA_GPU,
        ),
    )
