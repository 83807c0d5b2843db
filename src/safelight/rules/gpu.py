"""Alerts on the GPUs: memory and its growth, load, temperature and memory errors."""

from collections.abc import Callable

from safelight.metrics.catalog import (
    ECC,
    GPU,
    GPU_ECC_ERRORS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    THROTTLE,
)
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries
from safelight.rules.machines import AS_MACHINE, NODE, per_machine, with_machine
from safelight.rules.recording import TORCH_CACHE
from safelight.rules.rule import (
    AS_COUNT,
    AS_INSTANCE,
    AS_JOB,
    AS_NUMBER,
    AS_SHARE,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import percent

_GPU = "GPU {{ $labels.gpu }}"
_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _memory_share(queries: Queries) -> str:
    return per_machine(queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL), GPU)


def _cached(queries: Queries) -> str:
    """Return the share of a GPU's memory that PyTorch has reserved and can use for new tensors."""
    total = per_machine(queries.select(GPU_MEMORY_TOTAL), GPU)
    return f"sum by (machine, gpu) ({TORCH_CACHE}) / {total}"


def _memory_full(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.gpu_memory_full_ratio
    return Alert(
        "VramNearlyFull",
        f"{_memory_share(queries)} - ({_cached(queries)} or 0 * {_memory_share(queries)})"
        f" > {limit:g}",
        for_seconds=60,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: more than {percent(limit)} of the memory of {_GPU} is used",
        description=(
            f"{AS_SHARE} of the memory of {_GPU} is used by all processes together, without the "
            "cache that PyTorch can use again. The next large image can fail."
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
        f"{_memory_share(queries)} > {limit:g}",
        for_seconds=60,
        severity="info",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: more than {percent(limit)} of the memory of {_GPU} is used",
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


def _gpu_busy(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.gpu_busy_ratio)
    return Alert(
        "GpuUtilizationHigh",
        f"{per_machine(queries.select(GPU_UTILIZATION), GPU)} > {limits.gpu_busy_ratio:g}",
        for_seconds=60,
        severity="info",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: {_GPU} is busy more than {limit} of the time",
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
        f"{per_machine(queries.select(GPU_TEMPERATURE), GPU)} > {limits.gpu_celsius:g}",
        for_seconds=60,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: {_GPU} is hotter than {limits.gpu_celsius:g} °C",
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
        f"{per_machine(queries.select(GPU_THROTTLED, reasons), GPU, THROTTLE)} > 0",
        for_seconds=300,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: {_GPU} is throttled",
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
    by = (JOB, INSTANCE, GPU, NODE)
    errors = queries.increase(GPU_ECC_ERRORS, by, {ECC: "uncorrected"})
    return Alert(
        "GpuMemoryErrors",
        f"{per_machine(errors, GPU)} > 0",
        for_seconds=0,
        severity="critical",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: the memory of {_GPU} has uncorrected errors",
        description=f"{_GPU} had {AS_COUNT} uncorrected memory errors in {queries.window}.",
        runbook=Runbook(
            means="Images and weights in this GPU's memory can be wrong.",
            look="nvidia-smi -q -d ECC,ROW_REMAPPER, and Xid messages in the kernel log.",
            do="Take the GPU out of service and reset it. Replace it if the errors return.",
        ),
    )


def _gpu_failing(queries: Queries, _: Thresholds) -> Alert:
    code = queries.foreign("DCGM_FI_DEV_XID_ERRORS")
    return Alert(
        "GpuXidError",
        f"{per_machine(f'{code} and changes({code}[15m]) > 0', GPU)} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: the driver reports Xid {AS_COUNT} of {_GPU}",
        description=f"{_GPU} of {AS_MACHINE} had an error: Xid {AS_COUNT}, as dcgm-exporter reads.",
        runbook=Runbook(
            means="The GPU or its driver had an error. Work on the GPU may have failed.",
            look="Xid in the kernel log (dmesg). 13, 31 and 43 are errors of the program.",
            do="48, 63, 64, 74, 79, 92, 94, 95: take the GPU out of service and reset it.",
        ),
    )


def _gpu_uneven(queries: Queries, limits: Thresholds) -> Alert:
    busy = with_machine(f"avg_over_time({queries.select(GPU_UTILIZATION)}[30m])")
    limit = percent(limits.gpu_uneven_ratio)
    return Alert(
        "GpuUseUneven",
        f"max by (machine) ({busy}) - min by (machine) ({busy}) > {limits.gpu_uneven_ratio:g}",
        for_seconds=600,
        severity="info",
        scope=Scope.GPU,
        summary=f"{AS_MACHINE}: one GPU works much more than another",
        description=(
            f"The use of the GPUs of {AS_MACHINE} differs by {AS_SHARE} of the time. The limit is "
            f"{limit}."
        ),
        runbook=Runbook(
            means="One GPU has little to do while another is busy.",
            look="gpu_utilization_ratio by GPU, and the devices that each service may use.",
            do="Give the service all GPUs (SAFELIGHT_DEVICES), or move other programs.",
        ),
    )


def _gpu_unknown(queries: Queries, _: Thresholds) -> Alert:
    now = queries.select(GPU_UTILIZATION)
    before = f"count by (job, instance) ({now} offset 30m)"
    of_dcgm = queries.foreign("DCGM_FI_DEV_GPU_UTIL")  # also of GPUs that Safelight measures
    return Alert(
        "GpuMetricsMissing",
        f"{before} unless on (job, instance) ({now} or {of_dcgm})"
        f" and on (job, instance) {queries.foreign('up')}",
        for_seconds=300,
        severity="warning",
        scope=Scope.GPU,
        summary=f"{_ON}: the GPUs are not measured any more",
        description=f"{_ON} exposed {AS_COUNT} GPUs half an hour ago, and exposes none now.",
        runbook=Runbook(
            means="The alerts on GPUs have no data and cannot fire.",
            look="Is the exporter running? Does nvidia-smi answer on its machine (Xid in dmesg)?",
            do="Restart the exporter. If nvidia-smi fails, take the GPU out of service.",
        ),
    )


GPU_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _memory_full,
    _memory_high,
    _gpu_busy,
    _gpu_hot,
    _gpu_throttled,
    _gpu_memory_errors,
    _gpu_failing,
    _gpu_uneven,
    _gpu_unknown,
)
