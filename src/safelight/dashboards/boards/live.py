"""Overview dashboard: must somebody act, and twelve panels of traffic, model and instructions."""

from safelight.dashboards.board import Better, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    RANGE,
    SERVED,
    SHARE,
    board,
    firing,
    on_cards,
    or_none,
    row,
)
from safelight.dashboards.boards.instructions import EDITS, TYPE, TYPED
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
from safelight.rules.uids import DENOISING, ENGINE, GPUS, INSTRUCTIONS, LIVE, REQUEST
from safelight.units import percent

_QUANTILES = (0.5, 0.95, 0.99)
_TOP = 10


def live(limits: Thresholds) -> Board:
    """Return the dashboard of the first look, with the twelve core panels of requirement P11."""
    return board(
        LIVE,
        "Live",
        "Must somebody act now? If so, is it the traffic, the model, the GPU or the instruction?",
        *first_rows(limits),
        row("Callers", REQUEST, _rate(NOW), _latency(NOW, limits)),
        row("Failures", INSTRUCTIONS, _success(NOW), _errors(NOW)),
        row("Model", DENOISING, _vram(), _inference(RANGE), _precision(NOW)),
        row("Instructions", INSTRUCTIONS, _leaders(RANGE, limits), _slowest(RANGE, limits)),
        row("Alerts", ENGINE, _waiting(NOW), _slow(NOW, limits), _full(limits)),
    )


def _legend(label: Label) -> str:
    return f"{{{{{label.name}}}}}"


def _rate(queries: Queries) -> Panel:
    return Panel(
        "QPS: how many requests arrive?",
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
        "P95 latency: how long do callers wait?",
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
        "Success rate by instruction: which ones fail?",
        "Share of successful requests, one row per instruction type. Red means failures.",
        Shape.GRID,
        SHARE,
        (
            Query(
                queries.success_ratio(SUCCESSES, REQUESTS, TYPE, TYPED), _legend(INSTRUCTION_TYPE)
            ),
        ),
        needs=EDITS,
    )


def _vram() -> Panel:
    queries = NOW
    device = f"{_legend(INSTANCE)} {_legend(DEVICE)}"
    gpu = f"{_legend(INSTANCE)} GPU {_legend(GPU)}"
    return Panel(
        "VRAM trend: does the memory grow?",
        "Memory that PyTorch has allocated and reserved, its peak, and the GPU's total. Growth "
        "that never falls is a leak.",
        Shape.LINES,
        VRAM_USED.unit,
        (
            Query(queries.select(VRAM_USED), f"{device} used"),
            Query(queries.select(VRAM_RESERVED), f"{device} reserved"),
            Query(queries.select(VRAM_PEAK), f"{device} peak"),
            Query(on_cards(lambda q: q.select(GPU_MEMORY_TOTAL)), f"{gpu} total"),
        ),
        needs=NVIDIA_GPU,
        onward=GPUS,
    )


def _inference(queries: Queries) -> Panel:
    return Panel(
        "Inference time: how is it distributed?",
        "Inference calls by their time, in the time range. A bar counts the calls between the "
        "previous edge and its own, in seconds.",
        Shape.BUCKETS,
        "short",
        (Query(queries.bucket_counts(INFERENCE_SECONDS), "{{le}}"),),
    )


def _precision(queries: Queries) -> Panel:
    return Panel(
        "float16 and float32: which is faster?",
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
        needs="a diffusion pipeline",
    )


def _leaders(queries: Queries, limits: Thresholds) -> Panel:
    ratio = queries.success_ratio(SUCCESSES, REQUESTS, TYPE, TYPED)
    frequent = f"topk({_TOP}, {queries.increase(REQUESTS, TYPE, TYPED)} > 0)"
    return Panel(
        "Success ranking: do the frequent instructions work?",
        f"The {_TOP} most requested instruction types in the time range, best first. Red is below "
        f"{percent(limits.success_ratio)}.",
        Shape.BARS,
        SHARE,
        (Query(f"sort_desc({ratio} and {frequent})", _legend(INSTRUCTION_TYPE)),),
        limit=limits.success_ratio,
        better=Better.HIGH,
        needs=EDITS,
    )


def _slowest(queries: Queries, limits: Thresholds) -> Panel:
    slowest = queries.quantile(0.95, REQUEST_SECONDS, TYPE, TYPED)
    return Panel(
        "Slowest instructions: which take too long?",
        f"The {_TOP} instruction types with the highest P95 in the time range.",
        Shape.BARS,
        REQUEST_SECONDS.unit,
        (Query(f"topk({_TOP}, {slowest})", _legend(INSTRUCTION_TYPE)),),
        limit=limits.request_p95_seconds,
        needs=EDITS,
    )


def _errors(queries: Queries) -> Panel:
    failures = queries.rate(REQUESTS, (ERROR,), {ERROR: f"!{NO_ERROR}"})
    return Panel(
        "Errors by reason: why do requests fail?",
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
        f"When was P95 over {limits.request_p95_seconds:g} s for 5 minutes?",
        "Red while RequestP95High fires for this job.",
        Shape.STATES,
        "short",
        (Query(f"max by (job) ({fires}) or {running}", _legend(JOB)),),
        onward=REQUEST,
    )


def _full(limits: Thresholds) -> Panel:
    limit = f"> bool {limits.gpu_memory_full_ratio:g}"
    used = on_cards(lambda q: f"{q.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)} {limit}")
    return Panel(
        f"When was VRAM over {percent(limits.gpu_memory_full_ratio)}?",
        "Red while all processes together use more GPU memory than the limit of VramNearlyFull.",
        Shape.STATES,
        "short",
        (Query(used, f"{_legend(INSTANCE)} GPU {_legend(GPU)}"),),
        needs=NVIDIA_GPU,
        onward=GPUS,
    )


def _waiting(queries: Queries) -> Panel:
    return Panel(
        "Queue wait or inference: which is longer?",
        "Mean queue wait and mean inference time. If the wait is longer, the model is the "
        "bottleneck.",
        Shape.LINES,
        QUEUED_SECONDS.unit,
        (
            Query(queries.mean(QUEUED_SECONDS), "queue wait"),
            Query(queries.mean(INFERENCE_SECONDS), "inference"),
        ),
        needs=SERVED,
    )
