"""Alerts on the cards: their memory and its trend, load, heat, damage."""

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
from safelight.rules.rule import AS_BYTES, AS_INSTANCE, AS_JOB, AS_NUMBER, AS_SHARE, Alert, Runbook
from safelight.rules.thresholds import Thresholds, percent

_CARD = "card {{ $labels.gpu }}"
_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _vram_full(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.gpu_memory_full_ratio
    return Alert(
        "VramNearlyFull",
        f"{queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)} > {limit:g}",
        for_seconds=60,
        severity="critical",
        summary=f"{_ON}: {_CARD} has under {percent(1 - limit)} of its memory left",
        description=(
            f"{AS_SHARE} of the memory of {_CARD} is in use, by the card's own count over all "
            "processes (gpu_memory_used_bytes, not PyTorch's vram_used_bytes): the next large "
            "picture may fail."
        ),
        runbook=Runbook(
            means="The next allocation may fail with CUDA out of memory.",
            look=(
                "Is it ours (vram_reserved_bytes near the card's use) or another process on the "
                "card? Is it growing (VramLeak)?"
            ),
            do=(
                "Lower the largest size or the number served at once, move the other process, or "
                "restart the worker to give back."
            ),
        ),
    )


def _vram_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.gpu_memory_high_ratio
    return Alert(
        "GpuMemoryHigh",
        f"{queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)} > {limit:g}",
        for_seconds=60,
        severity="warning",
        summary=f"{_ON}: {_CARD} uses more than {percent(limit)} of its memory",
        description=f"{AS_SHARE} of the memory of {_CARD} is in use, by the card's own count.",
        runbook=Runbook(
            means="Little memory is left for a larger picture than usual.",
            look=(
                "vram_peak_bytes against vram_used_bytes: a high peak is one large request, a high "
                "level the model itself."
            ),
            do="Use float16, smaller sizes or fewer at once before it becomes VramNearlyFull.",
        ),
    )


def _vram_leak(queries: Queries, limits: Thresholds) -> Alert:
    hours = replace(queries, window="2h")
    limit = limits.vram_growth_bytes_per_hour
    return Alert(
        "VramLeak",
        f"3600 * {hours.trend(VRAM_USED)} > {limit:g} and {_as_old_as_window(hours)}",
        for_seconds=1800,
        severity="warning",
        summary=f"{_ON}: the memory of {{{{ $labels.device }}}} climbs and does not come back",
        description=(
            f"PyTorch's memory on {{{{ $labels.device }}}} grows by {AS_BYTES} an hour over "
            f"{hours.window}."
        ),
        runbook=Runbook(
            means="Something keeps tensors alive from one request to the next.",
            look=(
                "Does it step up with every request of one type or size? Tensors kept in lists, "
                "callbacks, caches or exceptions are the usual places; a rising "
                "vram_reserved_bytes alone is fragmentation."
            ),
            do="Restart the worker at a quiet time; find the reference that is kept.",
        ),
    )


def _vram_forecast(queries: Queries, limits: Thresholds) -> Alert:
    hours = replace(queries, window="2h")
    minutes = limits.forecast_seconds // 60
    ahead = hours.forecast(VRAM_USED, limits.forecast_seconds)
    aged = copied(f"({ahead} and {_as_old_as_window(hours)})", DEVICE, GPU.name, "cuda:(.+)")
    on = ", ".join(label.name for label in (JOB, INSTANCE, GPU))
    return Alert(
        "VramExhaustionAhead",
        f"{aged} > on ({on}) {queries.select(GPU_MEMORY_TOTAL)}",
        for_seconds=300,
        severity="critical",
        summary=f"{_ON}: {_CARD} will be out of memory within {minutes} minutes",
        description=(
            f"At the pace of the last {hours.window}, PyTorch will want {AS_BYTES} on {_CARD}, "
            "more than the card has (vram_used_bytes of cuda:N against gpu_memory_total_bytes of "
            "card N). Scale out or limit what is admitted."
        ),
        runbook=Runbook(
            means="The trend crosses the card's memory within the hour.",
            look=(
                "VramLeak's runbook. Where CUDA_VISIBLE_DEVICES renumbers the cards, check which "
                "card is meant."
            ),
            do=(
                "Scale out, limit the sizes admitted, or restart the worker before it fails in the "
                "middle of a request."
            ),
        ),
    )


def _as_old_as_window(queries: Queries) -> str:
    """Hold only for a series that spans the window: a model that has just loaded is no leak."""
    return f"{queries.select(VRAM_USED)} offset {queries.window}"


def _gpu_busy(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "GpuUtilizationHigh",
        f"{queries.select(GPU_UTILIZATION)} > {limits.gpu_busy_ratio:g}",
        for_seconds=300,
        severity="info",
        summary=f"{_ON}: {_CARD} is busy nearly all the time",
        description=(
            f"{_CARD} has been at work {AS_SHARE} of the time: there is no room for more traffic."
        ),
        runbook=Runbook(
            means="The card is used to the full: good value, and no reserve.",
            look="Is waiting rising (QueueLongerThanInference)? Then the reserve is gone already.",
            do="Plan another card or replica before traffic grows.",
        ),
    )


def _gpu_hot(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "GpuTemperatureHigh",
        f"{queries.select(GPU_TEMPERATURE)} > {limits.gpu_celsius:g}",
        for_seconds=60,
        severity="warning",
        summary=f"{_ON}: {_CARD} is hotter than {limits.gpu_celsius:g} °C",
        description=f"{_CARD} has {AS_NUMBER} °C; it will soon slow itself down.",
        runbook=Runbook(
            means="The card nears the temperature at which it lowers its clock.",
            look="gpu_throttled by reason, the fan, the room, its neighbours in the case.",
            do=(
                "Improve cooling or lower the card's power limit; both cost less than its own "
                "throttling."
            ),
        ),
    )


def _gpu_throttled(queries: Queries, _: Thresholds) -> Alert:
    heat: Matchers = {THROTTLE: "~software_thermal|hardware_thermal|hardware_slowdown|power_brake"}
    return Alert(
        "GpuThrottled",
        f"{queries.select(GPU_THROTTLED, heat)} > 0",
        for_seconds=300,
        severity="warning",
        summary=f"{_ON}: {_CARD} runs below its clock",
        description=(
            f"{_CARD} slows itself down because of {{{{ $labels.reason }}}}; every step takes "
            "longer."
        ),
        runbook=Runbook(
            means="The card protects itself from heat or from a power supply that is too weak.",
            look="gpu_temperature_celsius and gpu_power_watts beside step_latency_seconds.",
            do="Heat: cool. Power brake or hardware slowdown: check the supply and its cables.",
        ),
    )


def _gpu_memory_errors(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "GpuMemoryErrors",
        f"{queries.increase(GPU_ECC_ERRORS, (JOB, INSTANCE, GPU), {ECC: 'uncorrected'})} > 0",
        for_seconds=0,
        severity="critical",
        summary=f"{_ON}: the memory of {_CARD} is damaged",
        description=(
            f"{_CARD} had {AS_NUMBER} memory errors in {queries.window} that it could not correct."
        ),
        runbook=Runbook(
            means="Pictures and weights in this card's memory can no longer be trusted.",
            look="nvidia-smi -q -d ECC,ROW_REMAPPER, and the kernel's log for Xid messages.",
            do="Take the card out of service, reset it, and replace it if the errors return.",
        ),
    )


CARD_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _vram_full,
    _vram_high,
    _vram_leak,
    _vram_forecast,
    _gpu_busy,
    _gpu_hot,
    _gpu_throttled,
    _gpu_memory_errors,
)
