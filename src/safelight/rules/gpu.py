"""Alerts on the GPUs: memory and its growth, load, temperature and memory errors."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    DEVICE,
    ECC,
    GPU,
    GPU_ECC_ERRORS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    THROTTLE,
    VRAM_USED,
)
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries, copied
from safelight.rules.rule import (
    AS_BYTES,
    AS_INSTANCE,
    AS_JOB,
    AS_NUMBER,
    AS_SHARE,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, percent, size

_RECENT_WINDOW = "20m"
_GPU = "GPU {{ $labels.gpu }}"
_DEVICE = "{{ $labels.device }}"
_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _memory_full(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.gpu_memory_full_ratio
    return Alert(
        "VramNearlyFull",
        f"{queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)} > {limit:g}",
        for_seconds=60,
        severity="warning",  # PyTorch's cache fills the memory of a healthy service
        scope=Scope.GPU,
        summary=f"{_ON}: more than {percent(limit)} of the memory of {_GPU} is used",
        description=(
            f"{AS_SHARE} of the memory of {_GPU} is used by all processes together "
            "(gpu_memory_used_bytes; vram_used_bytes counts only PyTorch). The next large image "
            "can fail."
        ),
        runbook=Runbook(
            means="The next allocation can fail with CUDA out of memory.",
            look=(
                "Is it this service (vram_reserved_bytes near gpu_memory_used_bytes) or another "
                "process on the GPU? Does it grow (VramLeak)?"
            ),
            do=(
                "Lower the largest image size or the batch limit, move the other process, or "
                "restart the worker to free memory."
            ),
        ),
    )


def _memory_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.gpu_memory_high_ratio
    return Alert(
        "GpuMemoryHigh",
        f"{queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)} > {limit:g}",
        for_seconds=60,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{_ON}: more than {percent(limit)} of the memory of {_GPU} is used",
        description=f"{AS_SHARE} of the memory of {_GPU} is used by all processes together.",
        runbook=Runbook(
            means="Little memory is left for an image that is larger than usual.",
            look=(
                "vram_peak_bytes compared with vram_used_bytes: if only the peak is high, it was "
                "one large request; if both are high, it is the model."
            ),
            do="Before it becomes VramNearlyFull, use float16, smaller images or smaller batches.",
        ),
    )


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


def _gpu_busy(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.gpu_busy_ratio)
    return Alert(
        "GpuUtilizationHigh",
        f"{queries.select(GPU_UTILIZATION)} > {limits.gpu_busy_ratio:g}",
        for_seconds=60,
        severity="info",
        scope=Scope.GPU,
        summary=f"{_ON}: {_GPU} is busy more than {limit} of the time",
        description=f"{_GPU} was busy {AS_SHARE} of the time. It has no capacity for more traffic.",
        runbook=Runbook(
            means="The GPU is fully used. There is no reserve.",
            look="Does the queue wait grow (QueueLongerThanInference)?",
            do="Plan another GPU or replica before traffic grows.",
        ),
    )


def _gpu_hot(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "GpuTemperatureHigh",
        f"{queries.select(GPU_TEMPERATURE)} > {limits.gpu_celsius:g}",
        for_seconds=60,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{_ON}: {_GPU} is hotter than {limits.gpu_celsius:g} °C",
        description=f"{_GPU} has a temperature of {AS_NUMBER} °C. It will soon lower its clock.",
        runbook=Runbook(
            means="The GPU is close to the temperature at which it lowers its clock.",
            look="gpu_throttled by reason, the fans, the air temperature, neighbouring GPUs.",
            do="Improve the cooling, or lower the GPU's power limit a little.",
        ),
    )


def _gpu_throttled(queries: Queries, _: Thresholds) -> Alert:
    reasons: Matchers = {
        THROTTLE: "~software_thermal|hardware_thermal|hardware_slowdown|power_brake"
    }
    return Alert(
        "GpuThrottled",
        f"{queries.select(GPU_THROTTLED, reasons)} > 0",
        for_seconds=300,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{_ON}: {_GPU} is throttled",
        description=f"{_GPU} lowers its clock ({{{{ $labels.reason }}}}). Every step takes longer.",
        runbook=Runbook(
            means="The GPU protects itself from heat or from a weak power supply.",
            look="gpu_temperature_celsius and gpu_power_watts, compared with step_latency_seconds.",
            do=(
                "`software_thermal`, `hardware_thermal`: improve the cooling. `power_brake`, "
                "`hardware_slowdown`: check the power supply and its cables."
            ),
        ),
    )


def _gpu_memory_errors(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "GpuMemoryErrors",
        f"{queries.increase(GPU_ECC_ERRORS, (JOB, INSTANCE, GPU), {ECC: 'uncorrected'})} > 0",
        for_seconds=0,
        severity="critical",
        scope=Scope.GPU,
        summary=f"{_ON}: the memory of {_GPU} has uncorrected errors",
        description=f"{_GPU} had {AS_NUMBER} uncorrected memory errors in {queries.window}.",
        runbook=Runbook(
            means="Images and weights in this GPU's memory can be wrong.",
            look="nvidia-smi -q -d ECC,ROW_REMAPPER, and Xid messages in the kernel log.",
            do="Take the GPU out of service and reset it. Replace it if the errors return.",
        ),
    )


def _gpu_unknown(queries: Queries, _: Thresholds) -> Alert:
    now = queries.select(GPU_UTILIZATION)
    before = f"count by (job, instance) ({now} offset 30m)"
    return Alert(
        "GpuMetricsMissing",
        f"{before} unless on (job, instance) {now} and on (job, instance) {queries.foreign('up')}",
        for_seconds=300,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{_ON}: the GPUs are not measured any more",
        description=f"{_ON} exposed {AS_NUMBER} GPUs half an hour ago, and exposes none now.",
        runbook=Runbook(
            means="The alerts on GPUs have no data and cannot fire.",
            look="Is the exporter running? Does nvidia-smi answer on its machine (Xid in dmesg)?",
            do="Restart the exporter. If nvidia-smi fails, take the GPU out of service.",
        ),
    )


GPU_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _memory_full,
    _memory_high,
    _vram_leak,
    _vram_forecast,
    _gpu_busy,
    _gpu_hot,
    _gpu_throttled,
    _gpu_memory_errors,
    _gpu_unknown,
)
