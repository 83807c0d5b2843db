"""The board of a web service: every route, model or not, by the names that people know."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CHOSEN,
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    WHOLE,
    by,
    lines,
    machines,
    panel,
    row,
)
from safelight.metrics.catalog import (
    GPU_UTILIZATION,
    HANDLER,
    HTTP_IN_PROGRESS,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
    METHOD,
    STATUS,
)
from safelight.metrics.promql import INSTANCE, Matchers
from safelight.rules.recording import NO_PROBES
from safelight.rules.thresholds import Thresholds

_ROUTE = (HANDLER,)
_ASKED = replace(NOW, matchers={**CHOSEN, HANDLER: NO_PROBES})
_OURS: Matchers = {STATUS: "~5.."}


def web(limits: Thresholds) -> Board:
    """Return the board of the routes."""
    return machines(
        "Web service",
        "Which routes are asked, how fast do they answer, and what share of the answers are "
        "errors of ours?",
        row("Live", *_live(limits)),
        row("Routes", *_routes()),
        row("Load", *_load()),
        of=HTTP_REQUESTS,
    )


def _live(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Request rate",
            "Answers per second, by status; probes of readiness are left out of this row.",
            PER_SECOND,
            Query(_ASKED.rate(HTTP_REQUESTS, (STATUS,)), by(STATUS)),
        ),
        lines(
            "P95",
            "95 % of all answers are faster; the line is where HighP95Latency begins.",
            HTTP_SECONDS.unit,
            Query(_ASKED.quantile(0.95, HTTP_SECONDS), "P95", exemplars=True),
            limit=limits.http_p95_seconds,
        ),
        lines(
            "Error rate",
            "Share of answers with a 5xx status; the line is where HighAPIErrorRate begins.",
            SHARE,
            Query(
                f"({_ASKED.rate(HTTP_REQUESTS, (), _OURS)} or 0 * {_ASKED.rate(HTTP_REQUESTS)}) / "
                f"{_ASKED.rate(HTTP_REQUESTS)}",
                "errors",
            ),
            limit=limits.http_error_ratio,
        ),
        Panel(
            "GPU utilisation",
            "Share of time in which a kernel ran on the card.",
            Shape.LINES,
            SHARE,
            (Query(NOW.select(GPU_UTILIZATION), by(INSTANCE)),),
            needs="an NVIDIA card",
        ),
    )


def _routes() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests by route",
            "Answers per second of each route.",
            PER_SECOND,
            Query(NOW.rate(HTTP_REQUESTS, (HANDLER, METHOD)), by(METHOD, HANDLER)),
        ),
        lines(
            "P95 by route",
            "The slow twentieth of each route.",
            HTTP_SECONDS.unit,
            Query(NOW.quantile(0.95, HTTP_SECONDS, _ROUTE), by(HANDLER), exemplars=True),
        ),
        panel(
            Shape.BARS,
            "Slowest routes",
            "Mean time over the time shown, slowest first.",
            HTTP_SECONDS.unit,
            Query(f"topk(10, {WHOLE.mean(HTTP_SECONDS, _ROUTE)} >= 0)", by(HANDLER)),
        ),
        panel(
            Shape.STACK,
            "Errors by route",
            "Answers with a 4xx or 5xx status.",
            PER_SECOND,
            Query(
                NOW.rate(HTTP_REQUESTS, (HANDLER, STATUS), {STATUS: "~[45].."}), by(STATUS, HANDLER)
            ),
        ),
    )


def _load() -> tuple[Panel, ...]:
    flow = "Bps"
    return (
        lines(
            "In progress",
            "Requests not answered yet, of each instance.",
            COUNT,
            Query(NOW.select(HTTP_IN_PROGRESS), by(INSTANCE)),
        ),
        lines(
            "Bytes in",
            "Body bytes that the application read, by route.",
            flow,
            Query(NOW.seconds_per_second(HTTP_REQUEST_BYTES, _ROUTE), by(HANDLER)),
        ),
        lines(
            "Bytes out",
            "Body bytes sent, streamed ones too, by route.",
            flow,
            Query(NOW.seconds_per_second(HTTP_RESPONSE_BYTES, _ROUTE), by(HANDLER)),
        ),
        panel(
            Shape.HEAT,
            "All answers",
            "How many answers took how long.",
            PER_SECOND,
            Query(NOW.buckets(HTTP_SECONDS), "{{le}}"),
        ),
    )
