"""Dashboard of all HTTP routes, with the metrics of prometheus-fastapi-instrumentator."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CHOSEN,
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    RANGE,
    SHARE,
    by,
    heat,
    lines,
    panel,
    row,
    shared_board,
)
from safelight.metrics.catalog import (
    GPU_UTILIZATION,
    HANDLER,
    HTTP_IN_PROGRESS,
    HTTP_LAG,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
    LOOP_BEAT_SECONDS,
    METHOD,
    STATUS,
)
from safelight.metrics.promql import INSTANCE, Matchers
from safelight.rules.recording import NO_PROBES
from safelight.rules.thresholds import Thresholds

_ROUTE = (HANDLER,)
_ROUTES = replace(NOW, matchers={**CHOSEN, HANDLER: NO_PROBES})
_FAILED: Matchers = {STATUS: "~5.."}


def web(limits: Thresholds) -> Board:
    """Return the dashboard of the HTTP routes."""
    return shared_board(
        "Web service",
        "Which routes are requested, how fast are they, and how many responses are server errors?",
        row("Live", *_live(limits)),
        row("Routes", *_routes()),
        row("Load", *_load(limits)),
        of=HTTP_REQUESTS,
    )


def _live(limits: Thresholds) -> tuple[Panel, ...]:
    total, failed = _ROUTES.increase(HTTP_REQUESTS), _ROUTES.increase(HTTP_REQUESTS, (), _FAILED)
    return (
        lines(
            "Request rate",
            "Responses per second, by status. This row excludes /healthz, /readyz and /metrics.",
            PER_SECOND,
            Query(_ROUTES.rate(HTTP_REQUESTS, (STATUS,)), by(STATUS)),
        ),
        lines(
            "P95",
            "95 % of the responses are faster. The line is the limit of HighP95Latency.",
            HTTP_SECONDS.unit,
            Query(_ROUTES.quantile(0.95, HTTP_SECONDS), "P95", exemplars=True),
            limit=limits.http_p95_seconds,
        ),
        lines(
            "Error rate",
            "Share of responses with a 5xx status. The line is the limit of HighAPIErrorRate.",
            SHARE,
            Query(f"({failed} or 0 * {total}) / {total}", "errors"),
            limit=limits.http_error_ratio,
        ),
        Panel(
            "GPU utilization",
            "Share of the time in which a kernel ran on the GPU.",
            Shape.LINES,
            SHARE,
            (Query(NOW.select(GPU_UTILIZATION), by(INSTANCE)),),
            needs=NVIDIA_GPU,
        ),
    )


def _routes() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests by route",
            "Responses per second of each route.",
            PER_SECOND,
            Query(NOW.rate(HTTP_REQUESTS, (HANDLER, METHOD)), by(METHOD, HANDLER)),
        ),
        lines(
            "P95 by route",
            "95 % of the responses of each route are faster.",
            HTTP_SECONDS.unit,
            Query(NOW.quantile(0.95, HTTP_SECONDS, _ROUTE), by(HANDLER), exemplars=True),
        ),
        panel(
            Shape.BARS,
            "Slowest routes",
            "Mean time in the time range, slowest first.",
            HTTP_SECONDS.unit,
            Query(f"topk(10, {RANGE.mean(HTTP_SECONDS, _ROUTE)} >= 0)", by(HANDLER)),
        ),
        panel(
            Shape.STACK,
            "Errors by route",
            "Responses with a 4xx or 5xx status.",
            PER_SECOND,
            Query(
                NOW.rate(HTTP_REQUESTS, (HANDLER, STATUS), {STATUS: "~[45].."}), by(STATUS, HANDLER)
            ),
        ),
    )


def _load(limits: Thresholds) -> tuple[Panel, ...]:
    flow = "Bps"
    return (
        lines(
            "In progress",
            "Requests of each instance that have not ended.",
            COUNT,
            Query(NOW.select(HTTP_IN_PROGRESS), by(INSTANCE)),
        ),
        lines(
            "Event loop blocked",
            "Share of the time in which handlers block the event loop of an instance. The line is "
            "the limit of EventLoopBlocked.",
            SHARE,
            Query(NOW.late_share(HTTP_LAG, LOOP_BEAT_SECONDS, (INSTANCE,)), by(INSTANCE)),
            limit=limits.event_loop_blocked_ratio,
        ),
        lines(
            "Received bytes",
            "Bytes of request bodies that the application read, by route.",
            flow,
            Query(NOW.seconds_per_second(HTTP_REQUEST_BYTES, _ROUTE), by(HANDLER)),
        ),
        lines(
            "Sent bytes",
            "Bytes of response bodies, including streamed ones, by route.",
            flow,
            Query(NOW.seconds_per_second(HTTP_RESPONSE_BYTES, _ROUTE), by(HANDLER)),
        ),
        heat("All responses", "Distribution of the response times.", PER_SECOND, HTTP_SECONDS),
    )
