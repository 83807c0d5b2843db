"""Overview dashboard: must somebody act, and twelve panels of traffic, model and instructions."""

from safelight.dashboards.board import Better, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    RANGE,
    SHARE,
    board,
    firing,
    or_none,
    row,
)
from safelight.dashboards.boards.now import first_rows
from safelight.metrics.catalog import (
    DEVICE,
    ERROR,
    GPU,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
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
from safelight.rules.thresholds import Thresholds
from safelight.units import percent

_QUANTILES = (0.5, 0.95, 0.99)
_TOP = 10


def live(limits: Thresholds) -> Board:
    """Return the dashboard of the first look, with the twelve core panels of requirement P11."""
    return board(
        "Live",
        "Are callers served well now? If not, is the cause the traffic, the model, the GPU or the "
        "instruction?",
        *first_rows(limits),
        row("Live", _rate(NOW), _latency(NOW, limits), _success(NOW)),
        row("Model", _vram(NOW), _inference(RANGE), _precision(NOW)),
        row("Instructions", _leaders(RANGE, limits), _slowest(RANGE, limits), _errors(NOW)),
        row("Alerts", _slow(NOW, limits), _full(NOW, limits), _waiting(NOW)),
    )


def _legend(label: Label) -> str:
    return f"{{{{{label.name}}}}}"


def _rate(queries: Queries) -> Panel:
    return Panel(
        "Requests per second",
        "Requests to the model, by the status of the response.",
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
        "Time from the arrival of a request to the last byte of its response: P50, P95 and P99. "
        "The dashed line is the limit of RequestP95High. A dot is a trace.",
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
        "Share of successful requests, one row per instruction type. Red means failures.",
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
    device, gpu = _legend(DEVICE), f"GPU {_legend(GPU)}"
    return Panel(
        "VRAM",
        "Memory that PyTorch has allocated and reserved, its peak, and the GPU's total. Growth "
        "that never falls is a leak.",
        Shape.LINES,
        VRAM_USED.unit,
        (
            Query(queries.select(VRAM_USED), f"{device} used"),
            Query(queries.select(VRAM_RESERVED), f"{device} reserved"),
            Query(queries.select(VRAM_PEAK), f"{device} peak"),
            Query(queries.select(GPU_MEMORY_TOTAL), f"{gpu} total"),
        ),
        needs=NVIDIA_GPU,
    )


def _inference(queries: Queries) -> Panel:
    return Panel(
        "Inference time, distribution",
        "Inference calls by their time, in the time range. A bar counts the calls between the "
        "previous edge and its own, in seconds.",
        Shape.BUCKETS,
        "short",
        (Query(queries.bucket_counts(INFERENCE_SECONDS), "{{le}}"),),
    )


def _precision(queries: Queries) -> Panel:
    return Panel(
        "Inference time by precision",
        "P50 and P95 of an inference call, by the number format of the weights.",
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
    frequent = f"topk({_TOP}, {queries.increase(REQUESTS, (INSTRUCTION_TYPE,))} > 0)"
    return Panel(
        "Success of frequent instructions",
        f"The {_TOP} most requested instruction types in the time range, best first. Red is below "
        f"{percent(limits.success_ratio)}.",
        Shape.BARS,
        SHARE,
        (Query(f"sort_desc({ratio} and {frequent})", _legend(INSTRUCTION_TYPE)),),
        limit=limits.success_ratio,
        better=Better.HIGH,
    )


def _slowest(queries: Queries, limits: Thresholds) -> Panel:
    slowest = queries.quantile(0.95, REQUEST_SECONDS, (INSTRUCTION_TYPE,))
    return Panel(
        "Slowest instructions",
        f"The {_TOP} instruction types with the highest P95 in the time range.",
        Shape.BARS,
        REQUEST_SECONDS.unit,
        (Query(f"topk({_TOP}, {slowest} >= 0)", _legend(INSTRUCTION_TYPE)),),  # >= 0 drops NaN
        limit=limits.request_p95_seconds,
    )


def _errors(queries: Queries) -> Panel:
    failures = queries.rate(REQUESTS, (ERROR,), {ERROR: f"!{NO_ERROR}"})
    return Panel(
        "Errors by reason",
        "Failed requests by reason: model errors (`cuda_oom`, `model_error`), invalid input, "
        "timeouts and refusals.",
        Shape.STACK,
        PER_SECOND,
        (Query(or_none(failures, ERROR, REQUESTS), _legend(ERROR)),),
    )


def _slow(queries: Queries, limits: Thresholds) -> Panel:
    fires = firing({"alertname": "RequestP95High"})
    running = f"0 * max by (job) ({queries.service()})"
    return Panel(
        f"P95 over {limits.request_p95_seconds:g} s for 5 minutes",
        "Red while RequestP95High fires for this job.",
        Shape.STATES,
        "short",
        (Query(f"max by (job) ({fires}) or {running}", _legend(JOB)),),
    )


def _full(queries: Queries, limits: Thresholds) -> Panel:
    used = queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)
    return Panel(
        f"VRAM over {percent(limits.gpu_memory_full_ratio)}",
        "Red while all processes together use more GPU memory than the limit of VramNearlyFull.",
        Shape.STATES,
        "short",
        (
            Query(
                f"{used} > bool {limits.gpu_memory_full_ratio:g}",
                f"{_legend(INSTANCE)} GPU {_legend(GPU)}",
            ),
        ),
        needs=NVIDIA_GPU,
    )


def _waiting(queries: Queries) -> Panel:
    return Panel(
        "Queue wait and inference time",
        "Mean queue wait and mean inference time. If the wait is longer, the model is the "
        "bottleneck.",
        Shape.LINES,
        QUEUED_SECONDS.unit,
        (
            Query(queries.mean(QUEUED_SECONDS), "queue wait"),
            Query(queries.mean(INFERENCE_SECONDS), "inference"),
        ),
    )
