"""The board to open first: twelve panels from live traffic to the alerts that matter."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import CARD, NOW, PER_SECOND, SHARE, WHOLE, board, row
from safelight.metrics.catalog import (
    DEVICE,
    ERROR,
    GPU,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    INSTRUCTION_TYPE,
    PRECISION,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STATUS_CODE,
    SUCCESSES,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
)
from safelight.metrics.metric import Label
from safelight.metrics.promql import INSTANCE, JOB, Queries
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import Thresholds, percent

_QUANTILES = (0.5, 0.95, 0.99)
_SHOWN = 10


def live(limits: Thresholds) -> Board:
    """Return the twelve core panels."""
    return board(
        "Live",
        "Are callers served well now, and if not: is it the traffic, the model, the card or the "
        "instruction?",
        row("Live", _rate(NOW), _latency(NOW, limits), _success(NOW)),
        row("Deep", _vram(NOW), _inference(WHOLE), _precision(NOW)),
        row("Instructions", _leaders(WHOLE, limits), _slowest(WHOLE, limits), _errors(NOW)),
        row("Alerts", _slow(NOW, limits), _full(NOW, limits), _waiting(NOW)),
    )


def _legend(label: Label) -> str:
    return f"{{{{{label.name}}}}}"


def _rate(queries: Queries) -> Panel:
    return Panel(
        "Requests per second",
        "Requests to the model that were answered, by the status of the answer.",
        Shape.LINES,
        PER_SECOND,
        (
            Query(queries.rate(REQUESTS), "all"),
            Query(queries.rate(REQUESTS, (STATUS_CODE,)), _legend(STATUS_CODE)),
        ),
    )


def _latency(queries: Queries, limits: Thresholds) -> Panel:
    return Panel(
        "P95 latency",
        "From a request's arrival to the last byte of its answer: half, 95 % and 99 % of requests "
        "are faster than these lines. The dashed line is where the alert begins; a dot is a trace.",
        Shape.LINES,
        REQUEST_SECONDS.unit,
        tuple(
            Query(queries.quantile(q, REQUEST_SECONDS), f"P{100 * q:g}", exemplars=True)
            for q in _QUANTILES
        ),
        limit=limits.request_p95_seconds,
    )


def _success(queries: Queries) -> Panel:
    return Panel(
        "Success by instruction",
        "Share of requests that succeeded, a row for each type of instruction; red fails.",
        Shape.GRID,
        SHARE,
        (
            Query(
                queries.success_ratio(SUCCESSES, REQUESTS, (INSTRUCTION_TYPE,)),
                _legend(INSTRUCTION_TYPE),
            ),
        ),
    )


def _vram(queries: Queries) -> Panel:
    device, card = _legend(DEVICE), f"card {_legend(GPU)}"
    return Panel(
        "VRAM",
        "What PyTorch has allocated, holds in reserve and had at most, beside the card's whole "
        "memory. Steps that never come down are a leak.",
        Shape.LINES,
        VRAM_USED.unit,
        (
            Query(queries.select(VRAM_USED), f"{device} used"),
            Query(queries.select(VRAM_RESERVED), f"{device} reserved"),
            Query(queries.select(VRAM_PEAK), f"{device} peak"),
            Query(queries.select(GPU_MEMORY_TOTAL), f"{card} has"),
        ),
        needs=CARD,
    )


def _inference(queries: Queries) -> Panel:
    return Panel(
        "Inference time, distribution",
        "How many calls of the pipeline took how long, over the time shown; a bar is the calls up "
        "to its edge, less those of the bar before.",
        Shape.BUCKETS,
        "short",
        (Query(queries.bucket_counts(INFERENCE_SECONDS), "{{le}}"),),
    )


def _precision(queries: Queries) -> Panel:
    return Panel(
        "float16 against float32",
        "Median and P95 of one call of the pipeline, by the number format of its weights.",
        Shape.LINES,
        INFERENCE_SECONDS.unit,
        tuple(
            Query(
                queries.quantile(q, INFERENCE_SECONDS, (PRECISION,)),
                f"{_legend(PRECISION)} P{100 * q:g}",
                exemplars=True,
            )
            for q in (0.5, 0.95)
        ),
    )


def _leaders(queries: Queries, limits: Thresholds) -> Panel:
    ratio = queries.success_ratio(SUCCESSES, REQUESTS, (INSTRUCTION_TYPE,))
    frequent = f"topk({_SHOWN}, {queries.rate(REQUESTS, (INSTRUCTION_TYPE,))} > 0)"
    return Panel(
        "Success of frequent instructions",
        f"The {_SHOWN} instructions asked most in the time shown, best first; red is under "
        f"{percent(limits.success_ratio)}.",
        Shape.BARS,
        SHARE,
        (Query(f"sort_desc({ratio} and {frequent})", _legend(INSTRUCTION_TYPE)),),
        limit=limits.success_ratio,
    )


def _slowest(queries: Queries, limits: Thresholds) -> Panel:
    slowest = queries.quantile(0.95, REQUEST_SECONDS, (INSTRUCTION_TYPE,))
    return Panel(
        "Slowest instructions",
        f"The {_SHOWN} types of instruction with the highest P95 in the time shown.",
        Shape.BARS,
        REQUEST_SECONDS.unit,
        (Query(f"topk({_SHOWN}, {slowest} >= 0)", _legend(INSTRUCTION_TYPE)),),  # >= 0 drops NaN
        limit=limits.request_p95_seconds,
    )


def _errors(queries: Queries) -> Panel:
    return Panel(
        "Errors by reason",
        "Failed requests by their reason: the model's (cuda_oom, model_error), bad input, "
        "timeouts and refusals apart.",
        Shape.STACK,
        PER_SECOND,
        (Query(queries.rate(REQUESTS, (ERROR,), {ERROR: f"!{NO_ERROR}"}), _legend(ERROR)),),
    )


def _slow(queries: Queries, limits: Thresholds) -> Panel:
    fires = queries.foreign("ALERTS", {"alertname": "RequestP95High", "alertstate": "firing"})
    runs = f"0 * max by (job) ({queries.select(IN_FLIGHT)})"
    return Panel(
        f"P95 over {limits.request_p95_seconds:g} s for 5 minutes",
        "Red while RequestP95High fires for this job: P95 has been over its limit for so long.",
        Shape.STATES,
        "short",
        (Query(f"max by (job) ({fires}) or {runs}", _legend(JOB)),),
    )


def _full(queries: Queries, limits: Thresholds) -> Panel:
    used = queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)
    return Panel(
        f"VRAM over {percent(limits.gpu_memory_full_ratio)}",
        "Red while a card has less memory left than VramNearlyFull allows, by the card's own "
        "count over all processes.",
        Shape.STATES,
        "short",
        (
            Query(
                f"{used} > bool {limits.gpu_memory_full_ratio:g}",
                f"{_legend(INSTANCE)} card {_legend(GPU)}",
            ),
        ),
        needs=CARD,
    )


def _waiting(queries: Queries) -> Panel:
    return Panel(
        "Queue against inference",
        "Mean time a request waits beside the mean time the model works on it. Waiting above "
        "inference means that the model is the bottleneck.",
        Shape.LINES,
        QUEUED_SECONDS.unit,
        (
            Query(queries.mean(QUEUED_SECONDS), "waits"),
            Query(queries.mean(INFERENCE_SECONDS), "is worked on"),
        ),
    )
