"""Alerts on the growth of PyTorch's GPU memory."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import DEVICE, GPU, GPU_MEMORY_TOTAL, VRAM_USED
from safelight.metrics.promql import INSTANCE, JOB, Queries, copied
from safelight.rules.rule import AS_BYTES, AS_INSTANCE, AS_JOB, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, size

_RECENT_WINDOW = "20m"
_GPU = "GPU {{ $labels.gpu }}"
_DEVICE = "{{ $labels.device }}"
_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _vram_leak(queries: Queries, limits: Thresholds) -> Alert:
    hours = replace(queries, window="2h")
    limit = limits.vram_growth_bytes_per_hour
    return Alert(
        "VramLeak",
        f"3600 * {hours.trend(VRAM_USED)} > {limit:.10g} and {_still_grows(queries, limit)}"
        f" and {_as_old_as_window(hours)}",
        for_seconds=1800,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{_ON}: GPU memory on {_DEVICE} grows by more than {size(limit)} per hour",
        description=(
            f"PyTorch's memory on {_DEVICE} grew by {AS_BYTES} per hour in the last {hours.window}."
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
    hours = replace(queries, window="2h")
    ahead = hours.forecast(VRAM_USED, limits.forecast_seconds)
    grows = _still_grows(queries, limits.vram_growth_bytes_per_hour)
    ahead = f"({ahead} and {grows} and {_as_old_as_window(hours)})"
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
            f"If the growth of the last {hours.window} continues, PyTorch will need {AS_BYTES} on "
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


def _still_grows(queries: Queries, limit: float) -> str:
    """Return the condition of growth in the last minutes, by a target that still exists.

    A single step, such as a larger image, is only in the long window.
    """
    recent = replace(queries, window=_RECENT_WINDOW)
    return f"3600 * {recent.trend(VRAM_USED)} > {limit:.10g} and {queries.select(VRAM_USED)}"


def _as_old_as_window(queries: Queries) -> str:
    """Return the condition that a series covers the window: loading a model is no leak."""
    return f"{queries.select(VRAM_USED)} offset {queries.window}"


GROWTH_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (_vram_leak, _vram_forecast)
