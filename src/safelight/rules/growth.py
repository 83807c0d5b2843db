"""Alerts on the growth of PyTorch's GPU memory."""

from collections.abc import Callable

from safelight.metrics.catalog import DEVICE, GPU, GPU_MEMORY_TOTAL, VRAM_USED
from safelight.metrics.promql import INSTANCE, JOB, Queries, copied
from safelight.rules.rule import AS_BYTES, AS_INSTANCE, AS_JOB, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, size

_WINDOW, _CALLS, _CALLS_SECONDS = "2h", "10m", 600
_GPU = "GPU {{ $labels.gpu }}"
_DEVICE = "{{ $labels.device }}"
_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _vram_leak(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.vram_growth_bytes_per_hour
    return Alert(
        "VramLeak",
        f"3600 * deriv({_floor(queries)}) > {limit:.10g} and {_still_grows(queries, limit)}"
        f" and {_as_old_as_window(queries)}",
        for_seconds=1800,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{_ON}: GPU memory on {_DEVICE} grows by more than {size(limit)} per hour",
        description=(
            f"PyTorch's memory on {_DEVICE} grew by {AS_BYTES} per hour in the last {_WINDOW}."
        ),
        runbook=Runbook(
            means="The process keeps tensors from one request to the next.",
            look=(
                "Does it grow with each request of one type or size? Tensors are often kept in "
                "lists, callbacks, caches or exceptions. If only vram_reserved_bytes grows, the "
                "memory is fragmented."
            ),
            do="Restart the worker at a quiet time. Find the reference that keeps the tensors.",
        ),
    )


def _vram_forecast(queries: Queries, limits: Thresholds) -> Alert:
    # While memory grows, its minimum in ten minutes is the value ten minutes ago.
    seconds = limits.forecast_seconds + _CALLS_SECONDS
    ahead = f"predict_linear({_floor(queries)}, {seconds})"
    grows = _still_grows(queries, limits.vram_growth_bytes_per_hour)
    ahead = f"({ahead} and {grows} and {_as_old_as_window(queries)})"
    by_gpu = copied(ahead, DEVICE, GPU.name, "cuda:(.+)")
    labels = ", ".join(label.name for label in (JOB, INSTANCE, GPU))
    return Alert(
        "VramExhaustionAhead",
        f"{by_gpu} > on ({labels}) {queries.select(GPU_MEMORY_TOTAL)}",
        for_seconds=300,
        severity="critical",
        scope=Scope.SERVICE,
        summary=(
            f"{_ON}: the memory of {_GPU} will be full within {duration(limits.forecast_seconds)}"
        ),
        description=(
            f"If the growth of the last {_WINDOW} continues, PyTorch will need {AS_BYTES} on "
            f"{_GPU}, more than it has (vram_used_bytes of cuda:N compared with "
            "gpu_memory_total_bytes of GPU N)."
        ),
        runbook=Runbook(
            means="At the present growth, the memory of the GPU will soon be full.",
            look=(
                "The runbook of VramLeak. CUDA_VISIBLE_DEVICES renumbers the GPUs: check which GPU "
                "it is."
            ),
            do=(
                "Add a replica, admit smaller images, or restart the worker before it fails during "
                "a request."
            ),
        ),
    )


def _floor(queries: Queries) -> str:
    """Return the memory that stays in use between calls, over the window.

    What a running call needs comes and goes, and would hide a slow growth.
    """
    return f"min_over_time({queries.select(VRAM_USED)}[{_CALLS}])[{_WINDOW}:5m]"


def _still_grows(queries: Queries, limit: float) -> str:
    """Return the condition of growth in the last minutes, by a target that still exists.

    A single step, such as a larger image, is only in the long window.
    """
    used = queries.select(VRAM_USED)
    now, before = (f"min_over_time({used}[{_CALLS}]{when})" for when in ("", " offset 20m"))
    return f"3 * ({now} - {before}) > {limit:.10g} and {used}"


def _as_old_as_window(queries: Queries) -> str:
    """Return the condition that a series covers the window: loading a model is no leak."""
    return f"{queries.select(VRAM_USED)} offset {_WINDOW}"


GROWTH_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (_vram_leak, _vram_forecast)
