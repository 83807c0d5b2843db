"""Checks of the GPU: throttling, heat, and use by other programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from safelight.diagnosis.checks.common import growth, usual_high, usual_low
from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence, Reading, Where
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Window
from safelight.metrics.catalog import (
    CLOCK,
    DEVICE,
    DEVICE_SECONDS,
    GPU,
    GPU_CLOCK,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    INFERENCE_SECONDS,
    THROTTLE,
    VRAM_RESERVED,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS
from safelight.units import percent, share, size

_THROTTLED, _THROTTLED_NOW, _CERTAINLY_THROTTLED = 0.2, 0.4, 0.8  # of the time
_CERTAINLY_HOTTER = 10.0  # degrees Celsius above the limit
_POWER_CAP_SLOWER = 1.2  # times the usual call; below, a power cap is normal operation
_NOTABLY_SLOWER = 1.1
_FOREIGN_BYTES, _FOREIGN_SHARE, _CERTAINLY_FOREIGN = 2**30, 0.07, 0.3
_FOREIGN_BUSY, _CROWDED_SLOWER = 0.15, 1.15
_CONTEXT_BYTES = 1e9  # CUDA context of a process, a generous estimate
_NOW = Window.LAST_THIRD


def _throttled(evidence: Evidence) -> Iterator[Sign]:
    hot = evidence.limits.gpu_celsius
    for instance, gpu in _gpus(evidence):
        where = {INSTANCE: instance, GPU: gpu}
        reasons = evidence.now.sums_by(THROTTLE, GPU_THROTTLED, where=where)
        reason = max(reasons, key=lambda each: reasons[each], default="")
        part = reasons.get(reason, 0.0)
        recent = evidence.now.rate(GPU_THROTTLED, window=_NOW, where={**where, THROTTLE: reason})
        part = max(part, recent if recent >= _THROTTLED_NOW else 0.0)
        hottest = evidence.now.maximum(GPU_TEMPERATURE, window=_NOW, where=where) or 0.0
        slowdown = growth(evidence, partial(_call_seconds, instance=instance)) or 1.0
        # A GPU at its power limit works as designed. It is a fault only if calls became slower.
        harmless = reason == "power_cap" and slowdown < _POWER_CAP_SLOWER
        if part < _THROTTLED or harmless:
            if hottest < hot:
                continue
            reason = ""
        heat = f"GPU {gpu} of {instance} has {hottest:.0f} degrees Celsius"
        slow = f"GPU {gpu} of {instance} is throttled {share(part)} of the time ({reason})"
        yield Sign(
            Severity.WARNING,
            confidence_of(part, _THROTTLED, _CERTAINLY_THROTTLED)
            if reason
            else confidence_of(hottest, hot, hot + _CERTAINLY_HOTTER),
            slow if reason else heat,
            tuple(_throttle_exhibits(evidence, where, hottest, slowdown)),
            subject=instance,
        )


def _throttle_exhibits(
    evidence: Evidence, where: Where, hottest: float, slowdown: float
) -> Iterator[Exhibit]:
    query = evidence.queries.select(GPU_TEMPERATURE)
    yield Exhibit(f"temperature {hottest:.0f} degrees Celsius", query)
    clock = _clock_hertz(evidence.now, where)
    usual = usual_high(evidence, partial(_clock_hertz, where=where))
    if clock and usual:
        yield Exhibit(f"clock {clock / 1e6:.0f} MHz, usually {usual / 1e6:.0f} MHz")
    if slowdown > _NOTABLY_SLOWER:
        yield Exhibit(f"an inference call takes {slowdown:.1f} times the usual time")


@dataclass(frozen=True, slots=True)
class _Crowding:
    """How busy a GPU is, how busy the service keeps it, and the slowdown of the service's calls."""

    utilization: float
    own_busy: float
    slowdown: float


def _neighbour(evidence: Evidence) -> Iterator[Sign]:
    for instance, gpu in _gpus(evidence):
        foreign = partial(_foreign_bytes, instance=instance, gpu=gpu)
        used, usual = foreign(evidence.now), usual_low(evidence, foreign)
        total = evidence.now.sum(GPU_MEMORY_TOTAL, where={INSTANCE: instance, GPU: gpu}) or 0.0
        grew = used - usual if used is not None and usual is not None else 0.0
        takes_memory = total > 0 and grew >= max(_FOREIGN_BYTES, _FOREIGN_SHARE * total)
        crowding = _crowding(evidence, instance, gpu)
        if not takes_memory and crowding is None:
            continue
        exhibits = []
        if used is not None and usual is not None:
            text = (
                f"other programs use {size(max(0.0, used))} of GPU memory, usually "
                f"{size(max(0.0, usual))}"
            )
            exhibits.append(Exhibit(text, evidence.queries.select(GPU_MEMORY_USED)))
        if crowding is not None:
            exhibits.append(
                Exhibit(
                    f"the GPU is busy {share(crowding.utilization)} of the time, "
                    f"{share(crowding.own_busy)} for this service; an inference call takes "
                    f"{crowding.slowdown:.1f} times the usual time"
                )
            )
        confidence = confidence_of(grew / (total or 1), _FOREIGN_SHARE, _CERTAINLY_FOREIGN)
        yield Sign(
            Severity.WARNING,
            max(confidence, 0.85 if crowding else 0.0),
            f"another program uses GPU {gpu} of {instance}",
            tuple(exhibits),
            subject=instance,
        )


def _crowding(evidence: Evidence, instance: str, gpu: str) -> _Crowding | None:
    """Return the load by other programs, or None if it did not rise or does not hurt."""
    where = {INSTANCE: instance, GPU: gpu}
    utilization = evidence.now.level(GPU_UTILIZATION, window=_NOW, where=where)
    own_busy = _own_busy(evidence.now, instance, _NOW)
    slowdown = growth(evidence, partial(_call_seconds, instance=instance))
    usual = usual_low(evidence, lambda reading: reading.level(GPU_UTILIZATION, where=where))
    own_usual = usual_low(evidence, lambda reading: _own_busy(reading, instance))
    if (
        utilization is None
        or own_busy is None
        or slowdown is None
        or usual is None
        or own_usual is None
    ):
        return None
    rise = (utilization - own_busy) - (usual - own_usual)
    crowded = rise >= _FOREIGN_BUSY and slowdown >= _CROWDED_SLOWER
    return _Crowding(utilization, own_busy, slowdown) if crowded else None


def _own_busy(reading: Reading, instance: str, window: Window = Window.WHOLE) -> float | None:
    spent = reading.sum(DEVICE_SECONDS, window=window, where={INSTANCE: instance})
    ready = reading.sum(WORKERS_READY, where={INSTANCE: instance})
    return min(1.0, spent / ready) if spent is not None and ready else None


def _foreign_bytes(reading: Reading, instance: str, gpu: str) -> float | None:
    """Return the GPU memory that other programs use, in bytes."""
    used = reading.sum(GPU_MEMORY_USED, window=_NOW, where={INSTANCE: instance, GPU: gpu})
    device = {INSTANCE: instance, DEVICE: f"cuda:{gpu}"}
    reserved = reading.sum(VRAM_RESERVED, window=_NOW, where=device)
    return used - reserved - _CONTEXT_BYTES if used is not None and reserved is not None else None


def _call_seconds(reading: Reading, instance: str) -> float | None:
    return reading.mean(INFERENCE_SECONDS, where={INSTANCE: instance})


def _clock_hertz(reading: Reading, where: Where) -> float | None:
    return reading.level(GPU_CLOCK, where={**where, CLOCK: "sm"})


def _gpus(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the instance and the index of every GPU."""
    rows = [
        *evidence.now.select(GPU_TEMPERATURE, window=_NOW),
        *evidence.now.select(GPU_MEMORY_TOTAL),
    ]
    return sorted({(labels.get(INSTANCE.name, ""), labels.get(GPU.name, "")) for labels, _ in rows})


_EFFECTS = frozenset(
    {"slow_steps", "slow_node", "slow_late_steps", "device_saturated", "queue_saturated"}
)

GPU_CHECKS = (
    Check(
        "throttled_card",
        "A GPU is throttled or hot",
        _throttled,
        f"gpu_throttled is >= {percent(_THROTTLED)} over the window or >= "
        f"{percent(_THROTTLED_NOW)} over its last third (for the reason power_cap only if calls "
        f"take >= {_POWER_CAP_SLOWER:g} times the usual time); or the GPU has >= "
        f"{DEFAULTS.gpu_celsius:g} degrees Celsius in the last third",
        (
            "Check fans, airflow and neighbouring machines. Lower the power limit a little.",
            "Remove the instance from the load balancer until the GPU is cool.",
        ),
        "Stop its traffic for ten minutes. The clock and the step time must recover together.",
        ("a power supply at its limit",),
        _EFFECTS,
        ("gpu_celsius",),
    ),
    Check(
        "noisy_neighbour",
        "Another program uses the GPU",
        _neighbour,
        "GPU memory of other programs is higher than usual by "
        f">= {percent(_FOREIGN_SHARE)} of the GPU's memory and >= {size(_FOREIGN_BYTES)}; or the "
        "share of time in which the GPU is busy for other programs is higher than usual by "
        f">= {percent(_FOREIGN_BUSY)} of the time, and calls take >= {_CROWDED_SLOWER:g} times the "
        "usual time",
        (
            "List the programs on the GPU with nvidia-smi.",
            "Give the service its own GPU or MIG instance.",
        ),
        "Pause the other program for five minutes. The step time must recover.",
        ("a second worker of this service on the same GPU",),
        _EFFECTS | {"fragmentation", "out_of_memory"},
    ),
)
