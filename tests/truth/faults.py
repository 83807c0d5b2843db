"""Kinds of faults with the ranges of their random parameters."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from safelight.stories.conditions import Conditions
from tests.truth import expressions as f
from tests.truth.draft import Draft
from tests.truth.scene import stages

Draw = Callable[[Draft], dict[str, Any]]


def _bursts(d: Draft) -> dict[str, Any]:
    """Return bursts that the device can serve, with a queue that is too short for them."""
    capacity = d.capacity()
    smooth = replace(d.base, rate=0.45 * capacity, queue_limit=d.random.choice((4, 6, 8)))
    period = d.random.choice((60, 90))
    burst = replace(smooth, rate=smooth.rate * period / 15)
    quiet = replace(smooth, rate=0.0)

    def conditions(_: int, t: float) -> Conditions:
        if t < 0:
            return smooth
        return burst if int(t) % period < 15 else quiet

    return {"conditions": conditions, "expression": f.rate("rejected_total", d.ns)}


def _full(d: Draft) -> dict[str, Any]:
    capacity = d.capacity()
    before, after = (replace(d.base, rate=capacity * x) for x in (0.75, d.between(1.15, 1.4)))
    return {"conditions": lambda _, t: after if t >= 0 else before, "expression": f.waiting(d.ns)}


def _cap(d: Draft) -> dict[str, Any]:
    capped = d.random.choice((1, 2))
    capacity = d.capacity(capped)
    before = replace(d.base, rate=capacity * d.between(1.1, 1.3), batch_limit=8)
    after = replace(before, batch_limit=capped)
    return {"conditions": lambda _, t: after if t >= 0 else before, "expression": f.waiting(d.ns)}


def _throttle(d: Draft) -> dict[str, Any]:
    reason = d.random.choice(
        ("software_thermal", "hardware_thermal", "power_brake", "hardware_slowdown")
    )
    by = d.between(1.3, 2.2)
    changes = {
        "throttled": {reason: d.between(0.5, 1)},
        "clock_hertz": d.base.clock_hertz / by,
        "step_seconds": d.base.step_seconds * by,
        "celsius": d.between(70, 92),
    }
    instances = d.random.choice((1, 3))
    if instances == 1:
        return d.then(**changes) | {"expression": f.level("gpu_throttled")}
    return d.at_one(instances, **changes) | {"expression": f.level("gpu_throttled")}


def _neighbour(d: Draft) -> dict[str, Any]:
    if d.random.random() < 0.5:
        taken = d.base.vram_total * d.between(0.16, 0.25)
        return d.then(foreign_bytes=taken) | {"expression": f.level("gpu_memory_used_bytes")}
    slower = d.base.step_seconds * d.between(1.4, 2)
    scene = d.then(foreign_busy=d.between(0.45, 0.6), step_seconds=slower)
    return scene | {"expression": f.level("gpu_utilization_ratio")}


def _leak(d: Draft) -> dict[str, Any]:
    stair = d.random.choice((0, 300, 600, 1200))
    scene = d.grow("vram_used", 180e6, 1.5e9, d.between(2, 3.8), stair)
    return scene | {"expression": f.level("vram_used_bytes", d.ns)}


def _shift(d: Draft) -> dict[str, Any]:
    capacity = d.capacity()
    before = replace(d.base, rate=capacity * 0.35)
    after = replace(d.base, rate=capacity * d.between(1.1, 1.5))
    return {
        "conditions": lambda _, t: after if t >= 0 else before,
        "expression": f.rate("request_total", d.ns),
    }


def _node(d: Draft) -> dict[str, Any]:
    scene = d.at_one(
        d.random.choice((3, 4)), step_seconds=d.base.step_seconds * d.between(1.7, 2.5)
    )
    return scene | {"expression": f.call(d.ns, str(scene["which"]))}


def _fails(d: Draft, reason: str, low: float, high: float) -> dict[str, Any]:
    scene = d.then(failures={"*": (reason, d.between(low, high))})
    return scene | {"expression": f.failed(reason, d.ns)}


def _type_fails(d: Draft) -> dict[str, Any]:
    kind = max(d.base.types, key=lambda each: (d.base.types[each], d.random.random()))
    reason = d.random.choice(("model_error", "timeout", "invalid_parameter"))
    scene = d.then(failures={kind: (reason, d.between(0.35, 0.7))})
    return scene | {"expression": f.failed(reason, d.ns)}


def _crash(d: Draft) -> dict[str, Any]:
    reason = d.random.choice(("died", "hung", "poisoned"))
    lost = {"*": ("worker_lost", d.between(0.03, 0.1))}
    scene = d.then(restarts_per_hour=d.between(40, 90), restart_reason=reason, failures=lost)
    return scene | {"expression": f.rate("worker_restarts_total", d.ns)}


def _destroyed(d: Draft) -> dict[str, Any]:
    busy = d.between(0.2, 0.5)
    scene = d.then(busy=busy, corrupted_busy=d.between(0.4, 0.8))
    return scene | {"expression": f.failed("structure_corruption", d.ns)}


def _blocked(d: Draft) -> dict[str, Any]:
    """Return handlers that block the loop: requests wait before and after their model."""
    part = d.between(0.35, 0.8)
    waits = {
        name: d.base.stages[name] + part * d.between(0.3, 0.6) for name in ("receive", "respond")
    }
    scene = d.then(blocked=part, stages=stages(d.base, **waits))
    return scene | {"expression": f.blocked()}


def _cpu(d: Draft) -> dict[str, Any]:
    by = d.between(4, 8)
    busy = {name: d.base.stages[name] * by for name in ("decode", "encode", "check", "transfer")}
    scene = d.then(cpu=d.between(0.95, 0.99), stages=stages(d.base, **busy))
    return scene | {"expression": f.level("host_cpu_utilization_ratio")}


def _memory(d: Draft) -> dict[str, Any]:
    """Return memory that is full in one to three hours, after two hours of growth."""
    per_hour = (d.base.host_total - d.base.host_used) / (2 + d.between(1, 3))
    return d.grow("host_used", per_hour, per_hour, 2) | {
        "expression": f.level("host_memory_used_bytes")
    }


def _fragments(d: Draft) -> dict[str, Any]:
    whole = d.base.vram_total
    used, reserved = whole * d.between(0.35, 0.5), whole * d.between(0.88, 0.93)
    scene = d.then(
        vram_used=used, vram_reserved=reserved, failures={"*": ("cuda_oom", d.between(0.07, 0.15))}
    )
    return scene | {"expression": f.failed("cuda_oom", d.ns)}


def _down(d: Draft) -> dict[str, Any]:
    instances = d.random.choice((1, 3))
    which = d.random.randrange(instances)
    down = replace(d.base, up=False)
    return {
        "conditions": lambda i, t: down if t >= 0 and i == which else d.base,
        "instances": instances,
        "expression": f.down(),
    }


_OUTSIDE = ("receive", "decode", "encode", "respond")


def _outside(d: Draft) -> dict[str, Any]:
    """Return input and output that take as long as the model, then more than twice as long."""
    each, by = d.base.call_seconds / len(_OUTSIDE), d.between(2.3, 2.8)
    before, after = (
        replace(d.base, stages=stages(d.base, **dict.fromkeys(_OUTSIDE, each * factor)))
        for factor in (1, by)
    )
    return {"conditions": lambda _, t: after if t >= 0 else before, "expression": f.latency(d.ns)}


def _circuit(d: Draft) -> dict[str, Any]:
    scene = d.then(circuit=d.between(0.3, 0.9), failures={"*": ("model_error", 0.8)})
    return scene | {"expression": f.level("circuit_open", d.ns)}


def _broken_model(d: Draft) -> dict[str, Any]:
    """Return a model that gives other outputs; callers see it in no status."""
    scene = d.then(canary="wrong", drift=d.between(1.5, 40), score=d.between(0.5, 0.75))
    return scene | {"expression": f.level("canary_workers", d.ns, ', state="wrong"')}


def _slower_model(d: Draft) -> dict[str, Any]:
    """Return a device that is slower, also without load."""
    scene = d.then(canary="slow", step_seconds=d.base.step_seconds * d.between(1.6, 2.2))
    return scene | {"expression": f.level("canary_workers", d.ns, ', state="slow"')}


def _uneven(d: Draft) -> dict[str, Any]:
    """Return instances that can serve all requests together, but one gets nearly all of them."""
    instances = d.random.choice((2, 3))
    which = d.random.randrange(instances)
    whole = d.capacity() * (1.2 if instances == 2 else 1.35)
    part = d.between(0.88, 0.95) if instances == 2 else d.between(0.8, 0.9)
    even = replace(d.base, rate=whole / instances)
    full = replace(d.base, rate=whole * part)
    idle = replace(d.base, rate=whole * (1 - part) / (instances - 1))

    def conditions(instance: int, t: float) -> Conditions:
        if t < 0:
            return even
        return full if instance == which else idle

    return {
        "conditions": conditions,
        "instances": instances,
        "expression": f.largest_share("request_total", d.ns),
    }


_REASONS = ("model_error", "not_an_image", "timeout")

KINDS: tuple[tuple[str, Draw], ...] = (
    ("slow_decode", lambda d: d.slow_stage("decode", 0.6, 2)),
    ("slow_upload", lambda d: d.slow_stage("receive", 0.8, 5)),
    ("slow_client", lambda d: d.slow_stage("respond", 0.8, 4)),
    ("slow_encode", lambda d: d.slow_stage("encode", 0.7, 2)),
    (
        "cold_compile",
        lambda d: (
            d.then(compiled=d.between(0.12, 0.4))
            | {"expression": f.rate("warm_up_calls_total", d.ns)}
        ),
    ),
    ("queue_saturated", _bursts),
    ("device_saturated", _full),
    ("wrong_batch_cap", _cap),
    ("traffic_shift", _shift),
    (
        "slow_early_steps",
        lambda d: d.then(places={"1-5": d.between(1.9, 4)}) | {"expression": f.step("1-5", d.ns)},
    ),
    (
        "slow_late_steps",
        lambda d: (
            d.then(places={p: d.between(2, 3) for p in ("11-20", "21-50")})
            | {"expression": f.step("11-20", d.ns)}
        ),
    ),
    (
        "slow_steps",
        lambda d: (
            d.then(step_seconds=d.base.step_seconds * d.between(1.6, 2.5))
            | {"expression": f.step("", d.ns)}
        ),
    ),
    (
        "silent_guidance",
        lambda d: (
            d.then(overridden=d.between(0.12, 0.6))
            | {"expression": f.rate("guidance_overridden_total", d.ns)}
        ),
    ),
    (
        "precision_mixup",
        lambda d: (
            d.at_one(3, precision=d.random.choice(("float32", "bfloat16")))
            | {
                "expression": f.rate(
                    "inference_duration_seconds_count", d.ns, ',precision!="float16"'
                )
            }
        ),
    ),
    ("throttled_card", _throttle),
    ("noisy_neighbour", _neighbour),
    ("vram_leak", _leak),
    ("vram_leak", _leak),
    (
        "cache_growth",
        lambda d: (
            d.grow("vram_reserved", 500e6, 1.5e9, d.between(2, 3.5))
            | {"expression": f.level("vram_reserved_bytes", d.ns)}
        ),
    ),
    ("fragmentation", _fragments),
    ("out_of_memory", lambda d: _fails(d, "cuda_oom", 0.07, 0.15)),
    (
        "process_growth",
        lambda d: (
            d.grow("resident", 100e6, 500e6, d.between(2, 3.5))
            | {"expression": f.level("process_resident_memory_bytes")}
        ),
    ),
    ("failing_instruction", _type_fails),
    ("errors_rise", lambda d: _fails(d, d.random.choice(_REASONS), 0.12, 0.4)),
    (
        "invalid_outputs",
        lambda d: (
            d.then(invalid=d.between(0.07, 0.2))
            | {"expression": f.rate("output_invalid_total", d.ns)}
        ),
    ),
    ("structure_corruption", _destroyed),
    (
        "quality_drift",
        lambda d: (
            d.then(score=d.base.score - d.between(0.13, 0.25))
            | {"expression": f.mean("image_quality_score", d.ns)}
        ),
    ),
    ("event_loop_blocked", _blocked),
    ("host_cpu", _cpu),
    ("host_memory", _memory),
    (
        "disk_busy",
        lambda d: (
            d.then(disk_busy=d.between(0.95, 1))
            | {"expression": 'max(rate(host_disk_busy_seconds_total{job="@"}[5m]))'}
        ),
    ),
    (
        "filesystem_full",
        lambda d: (
            d.grow("filesystem_used", 25e9, 45e9, 2)
            | {"expression": f.level("host_filesystem_used_bytes")}
        ),
    ),
    ("slow_node", _node),
    ("crash_loop", _crash),
    ("monitoring_gap", _down),
    ("slow_transfer", lambda d: d.slow_stage("transfer", 0.6, 2)),
    ("input_output_bottleneck", _outside),
    (
        "device_starved",
        lambda d: (
            d.then(held=d.between(3, 6) * d.base.call_seconds) | {"expression": f.waiting(d.ns)}
        ),
    ),
    ("circuit_open", _circuit),
    ("model_broken", _broken_model),
    ("model_slower", _slower_model),
    ("uneven_load", _uneven),
)
