"""What the card tells: throttled, too hot, or somebody else's too."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import grown, usual, usually_most
from safelight.diagnosis.confidence import amount, share, surely
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import LATELY
from safelight.metrics.catalog import (
    DEVICE_SECONDS,
    GPU_CLOCK,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    INFERENCE_SECONDS,
    VRAM_RESERVED,
    WORKERS_READY,
)

_THROTTLED, _THROTTLED_LATELY = 0.2, 0.4  # of the time: of the window, of its end
_HOT_CELSIUS = 85.0
_FOREIGN_BYTES, _FOREIGN_SHARE = 1e9, 0.07
_CONTEXT_BYTES = 1e9  # what CUDA itself takes for a process, generously


def _throttled(evidence: Evidence) -> Iterator[Sign]:
    for instance, gpu in _cards(evidence):
        where = {"instance": instance, "gpu": gpu}
        reasons = evidence.now.by("reason", GPU_THROTTLED, **where)
        reason = max(reasons, key=lambda each: reasons[each], default="")
        part = reasons.get(reason, 0.0)
        lately = evidence.now.rate(GPU_THROTTLED, LATELY, reason=reason, **where)
        part = max(part, lately if lately >= _THROTTLED_LATELY else 0.0)
        hottest = evidence.now.most(GPU_TEMPERATURE, LATELY, **where) or 0.0
        # A card at its power limit is at work as it was built to be; what it costs decides.
        slower = grown(evidence, lambda r, w=where: _call(r, w["instance"])) or 1.0  # type: ignore[misc]
        harmless = reason == "power_cap" and slower < 1.2
        if part < _THROTTLED or harmless:
            if hottest < _HOT_CELSIUS:
                continue
            reason = ""
        clock = evidence.now.level(GPU_CLOCK, clock="sm", **where)
        was = usually_most(evidence, lambda r, w=where: r.level(GPU_CLOCK, clock="sm", **w))  # type: ignore[misc]
        told = [
            Exhibit(
                f"{hottest:.0f} degrees Celsius", evidence.asking.queries.select(GPU_TEMPERATURE)
            )
        ]
        if clock and was:
            told.append(Exhibit(f"clock {clock / 1e6:.0f} MHz, usually {was / 1e6:.0f} MHz"))
        if slower > 1.1:
            told.append(Exhibit(f"a call of the model takes {slower:.1f} times as long as usual"))
        heat = f"card {gpu} of {instance} is {hottest:.0f} degrees hot"
        slow = f"card {gpu} of {instance} runs below its clock {share(part)} of the time ({reason})"
        yield Sign(
            Severity.WARNING,
            surely(part, _THROTTLED, 0.8) if reason else surely(hottest, _HOT_CELSIUS, 95),
            slow if reason else heat,
            tuple(told),
            subject=instance,
        )


def _neighbour(evidence: Evidence) -> Iterator[Sign]:
    for instance, gpu in _cards(evidence):
        used, then = _foreign(evidence.now, instance, gpu), None
        past = [_foreign(r, instance, gpu) for r in (evidence.before, evidence.yesterday)]
        then = min((value for value in past if value is not None), default=None)
        total = evidence.now.sum(GPU_MEMORY_TOTAL, instance=instance, gpu=gpu)
        grew = used - then if used is not None and then is not None else 0.0
        takes = bool(total) and grew >= max(_FOREIGN_BYTES, _FOREIGN_SHARE * (total or 0))
        crowded = _crowded(evidence, instance, gpu)
        if not takes and crowded is None:
            continue
        told = []
        if used is not None and then is not None:
            here, usually = amount(max(0.0, used)), amount(max(0.0, then))
            says = f"{here} of the card are not ours, usually {usually}"
            told.append(Exhibit(says, evidence.asking.queries.select(GPU_MEMORY_USED)))
        if crowded is not None:
            util, own, slower = crowded
            told.append(
                Exhibit(
                    f"the GPU is busy {share(util)} of the time, {share(own)} for this service; "
                    f"a model call takes {slower:.1f} times as long as usual"
                )
            )
        yield Sign(
            Severity.WARNING,
            max(surely(grew / (total or 1), _FOREIGN_SHARE, 0.3), 0.85 if crowded else 0.0),
            f"another program uses card {gpu} of {instance}",
            tuple(told),
            subject=instance,
        )


def _crowded(evidence: Evidence, instance: str, gpu: str) -> tuple[float, float, float] | None:
    """Return that the card works for others: its utilisation, our share, and what it costs us."""
    util = evidence.now.level(GPU_UTILIZATION, LATELY, instance=instance, gpu=gpu)
    own = _own(evidence.now, instance, LATELY)
    slower = grown(evidence, lambda reading: _call(reading, instance))
    was = usual(evidence, lambda r: r.level(GPU_UTILIZATION, instance=instance, gpu=gpu))
    own_was = usual(evidence, lambda reading: _own(reading, instance))
    if None in (util, own, slower, was, own_was):
        return None
    assert util is not None and own is not None and slower is not None  # noqa: PT018
    assert was is not None and own_was is not None  # noqa: PT018
    others, others_were = util - own, was - own_was
    found = others - others_were >= 0.15 and slower >= 1.15
    return (util, own, slower) if found else None


def _own(reading: Reading, instance: str, part: str = "") -> float | None:
    spent = reading.sum(DEVICE_SECONDS, part, instance=instance)
    ready = reading.sum(WORKERS_READY, instance=instance)
    return min(1.0, spent / ready) if spent is not None and ready else None


def _foreign(reading: Reading, instance: str, gpu: str) -> float | None:
    """Return the card's memory that is in use but not ours."""
    whole = reading.sum(GPU_MEMORY_USED, LATELY, instance=instance, gpu=gpu)
    own = reading.sum(VRAM_RESERVED, LATELY, instance=instance, device=f"cuda:{gpu}")
    return whole - own - _CONTEXT_BYTES if whole is not None and own is not None else None


def _call(reading: Reading, instance: str) -> float | None:
    return reading.mean(INFERENCE_SECONDS, instance=instance)


def _cards(evidence: Evidence) -> list[tuple[str, str]]:
    rows = evidence.now.found(GPU_TEMPERATURE, LATELY) + evidence.now.found(GPU_MEMORY_TOTAL)
    return sorted({(labels.get("instance", ""), labels.get("gpu", "")) for labels, _ in rows})


_AFTER = frozenset(
    {"slow_steps", "slow_node", "slow_late_steps", "device_saturated", "queue_saturated"}
)

CARD_CHECKS = (
    Check(
        "throttled_card",
        "A card is throttled or hot",
        _throttled,
        f"gpu_throttled >= {_THROTTLED:.0%} of the time, or >= {_THROTTLED_LATELY:.0%} of the "
        "window's last third (power_cap only where calls are slower), or >= "
        f"{_HOT_CELSIUS:g} degrees Celsius",
        (
            "Look at fans, air and the machines beside it; lower the power limit a little.",
            "Take the instance out of the balancer until it is cool.",
        ),
        "Stop its traffic for ten minutes: clock and step time must come back together.",
        ("a power supply at its limit",),
        _AFTER,
    ),
    Check(
        "noisy_neighbour",
        "Somebody else uses the card",
        _neighbour,
        f"card memory that is not ours grew by >= {_FOREIGN_SHARE:.0%} of the card; or the card is "
        "at work >= 15 points more than for us, and calls take >= 1.15 times as long",
        (
            "List who is on the card: nvidia-smi.",
            "Give the service a card or a MIG instance of its own.",
        ),
        "Ask the other to pause for five minutes; step time must come back.",
        ("a second worker of our own on the same card",),
        _AFTER | {"fragmentation", "out_of_memory"},
    ),
)
