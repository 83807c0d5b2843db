"""Faults and quiet times that judge the checks: drawn by chance, so that nobody chose them.

Every fault's kind has ranges; a seed draws the service, how bad it is and where. Another seed draws
another set: `make truth SEED=7`. Seeds below 10 were looked at while the limits were chosen.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from safelight.stories.world import Conditions
from tests.truth import figures as f
from tests.truth.scene import EDIT, PATIENT, TURBO, Scene, Weather, growing, stages

SEED = int(os.environ.get("TRUTH_SEED", "20261121"))
_FEW_SECONDS = 15


@dataclass(frozen=True)
class Drawn:
    """What chance chose for one scene: the service, its namespace, and how bad things are."""

    chance: Random
    base: Conditions
    ns: str

    def between(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)

    def then(self, **changes: Any) -> dict[str, Any]:
        changed = replace(self.base, **changes)
        return {"weather": lambda _, t: changed if t >= 0 else self.base}

    def at_one(self, instances: int, **changes: Any) -> dict[str, Any]:
        """Return that one instance of several is started anew, and is other from then on."""
        which = self.chance.randrange(instances)
        changed = replace(self.base, **changes)

        def weather(instance: int, t: float) -> Conditions:
            if t < 0 or instance != which:
                return self.base
            return replace(changed, starts=t < _FEW_SECONDS)

        return {"weather": weather, "instances": instances, "which": which}

    def slow_stage(self, name: str, low: float, high: float) -> dict[str, Any]:
        value = self.between(low, high)
        return self.then(stages=stages(self.base, **{name: value})) | {
            "figure": f.stage(name, self.ns)
        }

    def grow(
        self, name: str, low: float, high: float, hours: float, stair: float = 0
    ) -> dict[str, Any]:
        weather = growing(self.base, name, self.between(low, high), stair)
        return {"weather": weather, "lasted": int(hours * 3600), "hours": 4}


Draw = Callable[[Drawn], dict[str, Any]]


def _bursts(d: Drawn) -> dict[str, Any]:
    """Return bursts that the device could do, were the queue not so short."""
    capacity = 1 / (d.base.call_seconds * (0.55 / d.base.batch_limit + 0.45))
    smooth = replace(d.base, rate=0.45 * capacity, queue_limit=d.chance.choice((4, 6, 8)))
    period = d.chance.choice((60, 90))
    burst = replace(smooth, rate=smooth.rate * period / 15)
    quiet = replace(smooth, rate=0.0)

    def weather(_: int, t: float) -> Conditions:
        if t < 0:
            return smooth
        return burst if int(t) % period < 15 else quiet

    return {"weather": weather, "figure": f.rate("rejected_total", d.ns)}


def _full(d: Drawn) -> dict[str, Any]:
    capacity = 1 / (d.base.call_seconds * (0.55 / d.base.batch_limit + 0.45))
    before, after = (replace(d.base, rate=capacity * x) for x in (0.75, d.between(1.15, 1.4)))
    return {"weather": lambda _, t: after if t >= 0 else before, "figure": f.waiting(d.ns)}


def _cap(d: Drawn) -> dict[str, Any]:
    capped = d.chance.choice((1, 2))
    capacity = 1 / (d.base.call_seconds * (0.55 / capped + 0.45))
    before = replace(d.base, rate=capacity * d.between(1.1, 1.3), batch_limit=8)
    after = replace(before, batch_limit=capped)
    return {"weather": lambda _, t: after if t >= 0 else before, "figure": f.waiting(d.ns)}


def _throttle(d: Drawn) -> dict[str, Any]:
    reason = d.chance.choice(
        ("software_thermal", "hardware_thermal", "power_brake", "hardware_slowdown")
    )
    by = d.between(1.3, 2.2)
    told = {"throttled": {reason: d.between(0.5, 1)}, "clock_hertz": d.base.clock_hertz / by,
            "step_seconds": d.base.step_seconds * by, "celsius": d.between(70, 92)}  # fmt: skip
    instances = d.chance.choice((1, 3))
    if instances == 1:
        return d.then(**told) | {"figure": f.level("gpu_throttled")}
    return d.at_one(instances, **told) | {"figure": f.level("gpu_throttled")}


def _neighbour(d: Drawn) -> dict[str, Any]:
    if d.chance.random() < 0.5:
        taken = d.base.vram_total * d.between(0.16, 0.25)
        return d.then(foreign_bytes=taken) | {"figure": f.level("gpu_memory_used_bytes")}
    slower = d.base.step_seconds * d.between(1.4, 2)
    told = d.then(foreign_busy=d.between(0.45, 0.6), step_seconds=slower)
    return told | {"figure": f.level("gpu_utilization_ratio")}


def _leak(d: Drawn) -> dict[str, Any]:
    stair = d.chance.choice((0, 300, 600, 1200))
    told = d.grow("vram_used", 180e6, 1.5e9, d.between(2, 3.8), stair)
    return told | {"figure": f.level("vram_used_bytes", d.ns)}


def _shift(d: Drawn) -> dict[str, Any]:
    capacity = 1 / (d.base.call_seconds * (0.55 / d.base.batch_limit + 0.45))
    before = replace(d.base, rate=capacity * 0.35)
    after = replace(d.base, rate=capacity * d.between(1.1, 1.5))
    return {
        "weather": lambda _, t: after if t >= 0 else before,
        "figure": f.rate("request_total", d.ns),
    }


def _node(d: Drawn) -> dict[str, Any]:
    told = d.at_one(d.chance.choice((3, 4)), step_seconds=d.base.step_seconds * d.between(1.7, 2.5))
    return told | {"figure": f.call(d.ns, str(told["which"]))}


def _fails(d: Drawn, reason: str, low: float, high: float) -> dict[str, Any]:
    told = d.then(failures={"*": (reason, d.between(low, high))})
    return told | {"figure": f.failed(reason, d.ns)}


def _type_fails(d: Drawn) -> dict[str, Any]:
    kind = max(d.base.types, key=lambda each: (d.base.types[each], d.chance.random()))
    reason = d.chance.choice(("model_error", "timeout", "invalid_parameter"))
    told = d.then(failures={kind: (reason, d.between(0.35, 0.7))})
    return told | {"figure": f.failed(reason, d.ns)}


def _crash(d: Drawn) -> dict[str, Any]:
    told = d.then(restarts_per_hour=d.between(40, 90), restart_reason=d.chance.choice(("died", "hung", "poisoned")),
                  failures={"*": ("worker_lost", d.between(0.03, 0.1))})  # fmt: skip
    return told | {"figure": f.rate("worker_restarts_total", d.ns)}


def _cpu(d: Drawn) -> dict[str, Any]:
    by = d.between(4, 8)
    busy = {name: d.base.stages[name] * by for name in ("decode", "encode", "check", "transfer")}
    told = d.then(cpu=d.between(0.95, 0.99), stages=stages(d.base, **busy))
    return told | {"figure": f.level("host_cpu_utilization_ratio")}


def _memory(d: Drawn) -> dict[str, Any]:
    """Return memory that is gone in one to three hours, after two."""
    per_hour = (d.base.host_total - d.base.host_used) / (2 + d.between(1, 3))
    return d.grow("host_used", per_hour, per_hour, 2) | {
        "figure": f.level("host_memory_used_bytes")
    }


def _fragments(d: Drawn) -> dict[str, Any]:
    whole = d.base.vram_total
    told = d.then(vram_used=whole * d.between(0.35, 0.5), vram_reserved=whole * d.between(0.88, 0.93),
                  failures={"*": ("cuda_oom", d.between(0.07, 0.15))})  # fmt: skip
    return told | {"figure": f.failed("cuda_oom", d.ns)}


def _down(d: Drawn) -> dict[str, Any]:
    instances = d.chance.choice((1, 3))
    which = d.chance.randrange(instances)
    down = replace(d.base, up=False)
    return {
        "weather": lambda i, t: down if t >= 0 and i == which else d.base,
        "instances": instances, "figure": f.unseen(),
    }  # fmt: skip


_KINDS: tuple[tuple[str, Draw], ...] = (
    ("slow_decode", lambda d: d.slow_stage("decode", 0.6, 2)),
    ("slow_upload", lambda d: d.slow_stage("receive", 0.8, 5)),
    ("slow_client", lambda d: d.slow_stage("respond", 0.8, 4)),
    ("slow_encode", lambda d: d.slow_stage("encode", 0.7, 2)),
    ("cold_compile", lambda d: d.then(compiled=d.between(0.12, 0.4))
     | {"figure": f.rate("warm_up_calls_total", d.ns)}),
    ("queue_saturated", _bursts),
    ("device_saturated", _full),
    ("wrong_batch_cap", _cap),
    ("traffic_shift", _shift),
    ("slow_early_steps", lambda d: d.then(places={"1-5": d.between(1.9, 4)})
     | {"figure": f.step("1-5", d.ns)}),
    ("slow_late_steps", lambda d: d.then(places={p: d.between(2, 3) for p in ("11-20", "21-50")})
     | {"figure": f.step("11-20", d.ns)}),
    ("slow_steps", lambda d: d.then(step_seconds=d.base.step_seconds * d.between(1.6, 2.5))
     | {"figure": f.step("", d.ns)}),
    ("silent_guidance", lambda d: d.then(overridden=d.between(0.12, 0.6))
     | {"figure": f.rate("guidance_overridden_total", d.ns)}),
    ("precision_mixup", lambda d: d.at_one(3, precision=d.chance.choice(("float32", "bfloat16")))
     | {"figure": f.rate("inference_duration_seconds_count", d.ns, ',precision!="float16"')}),
    ("throttled_card", _throttle),
    ("noisy_neighbour", _neighbour),
    ("vram_leak", _leak),
    ("vram_leak", _leak),
    ("cache_growth", lambda d: d.grow("vram_reserved", 500e6, 1.5e9, d.between(2, 3.5))
     | {"figure": f.level("vram_reserved_bytes", d.ns)}),
    ("fragmentation", _fragments),
    ("out_of_memory", lambda d: _fails(d, "cuda_oom", 0.07, 0.15)),
    ("process_growth", lambda d: d.grow("resident", 100e6, 500e6, d.between(2, 3.5))
     | {"figure": f.level("process_resident_memory_bytes")}),
    ("failing_instruction", _type_fails),
    ("errors_rise", lambda d: _fails(d, d.chance.choice(("model_error", "not_an_image", "timeout")), 0.12, 0.4)),
    ("invalid_outputs", lambda d: d.then(invalid=d.between(0.07, 0.2))
     | {"figure": f.rate("output_invalid_total", d.ns)}),
    ("host_cpu", _cpu),
    ("host_memory", _memory),
    ("disk_busy", lambda d: d.then(disk_busy=d.between(0.95, 1))
     | {"figure": 'max(rate(host_disk_busy_seconds_total{job="@"}[5m]))'}),
    ("filesystem_full", lambda d: d.grow("filesystem_used", 25e9, 45e9, 2)
     | {"figure": f.level("host_filesystem_used_bytes")}),
    ("slow_node", _node),
    ("crash_loop", _crash),
    ("monitoring_gap", _down),
)  # fmt: skip


def _well(d: Drawn) -> tuple[tuple[str, Weather, dict[str, Any]], ...]:
    """Return situations in which all is well, though not all is still."""
    base, begin = d.base, 0
    mix = {"add_sunglasses": d.between(0.6, 0.9), "other": 0.1}
    cap = replace(base, throttled={"power_cap": d.between(0.4, 0.9)}, celsius=d.between(65, 72))
    spike, gap = int(d.between(30, 100)), int(d.between(60, 500)) // 15 * 15
    plateau = d.between(1500, 3000)
    teeth, factor = d.between(0.5e9, 1.5e9), d.between(1.8, 2.6)

    def burst(_: int, t: float) -> Conditions:
        return replace(base, rate=base.rate * factor if 60 <= t < 60 + spike else base.rate)

    def rolling(instance: int, t: float) -> Conditions:
        begins = begin + 100 * instance
        loading = begins <= t < begins + 30
        return replace(base, starts=begins <= t < begins + 15, ready=0 if loading else 1)

    def restart(instance: int, t: float) -> Conditions:
        return replace(base, starts=instance == 0 and 0 <= t < 15)

    def filling(_: int, t: float) -> Conditions:
        part = min(1.0, max(0.0, t) / plateau)
        return replace(base, vram_used=base.vram_used * (0.6 + 0.4 * part), starts=0 <= t < 60)

    def sawtooth(_: int, t: float) -> Conditions:
        part = (t % 2700) / 2700
        return replace(base, vram_reserved=base.vram_reserved + teeth * part)

    def rush(_: int, t: float) -> Conditions:
        return replace(base, rate=base.rate * (0.6 + 0.8 * min(1.0, max(0.0, t) / 3000)))

    def holiday(_: int, t: float) -> Conditions:
        return replace(base, rate=base.rate * (0.15 if t >= 0 else 1))

    def missed(_: int, t: float) -> Conditions:
        return replace(base, up=not gap <= t < gap + 15)

    def campaign(_: int, t: float) -> Conditions:
        return replace(base, types=mix) if t >= 0 else base

    def backup(_: int, t: float) -> Conditions:
        return replace(base, cpu=0.8, disk_busy=0.6) if t >= 0 else base

    long: dict[str, Any] = {"lasted": 3 * 3600, "hours": 4}
    return (
        ("steady", lambda _i, _t: base, {}),
        ("a burst", burst, {}),
        ("a rolling deployment", rolling, {"instances": 3}),
        ("a restart", restart, {"instances": 2}),
        ("night", lambda _i, _t: replace(base, rate=0.03), {}),
        ("a holiday", holiday, {}),
        ("the morning rush", rush, {"lasted": 3000}),
        ("memory fills to a plateau", filling, long),
        ("a cache that is cleaned", sawtooth, long),
        ("a campaign", campaign, {}),
        ("a missed scrape", missed, {}),
        ("a backup", backup, {}),
        ("a card at its power limit", lambda _i, _t: cap, {}),
        (
            "a few bad files",
            lambda _i, _t: replace(base, failures={"*": ("not_an_image", 0.03)}),
            {},
        ),
    )


_BASES = ((EDIT, "instructpix2pix"), (TURBO, "zimage"), (PATIENT, "instructpix2pix"))
_STEPS_NEEDED = {"slow_early_steps": 10, "slow_late_steps": 20}


def draw(seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return the faults and the quiet times that a seed draws."""
    chance = Random(seed)
    faults = []
    for number, (cause, how) in enumerate(_KINDS):
        bases = [b for b in _BASES if b[0].steps >= _STEPS_NEEDED.get(cause, 0)]
        base, ns = chance.choice(bases)
        told = how(Drawn(Random(chance.random()), base, ns))
        told.pop("which", None)
        faults.append(Scene(f"{number + 1} {cause}", cause, namespace=ns, **told))
    well = []
    for number in range(len(_well(Drawn(Random(0), EDIT, "")))):
        base, ns = chance.choice(_BASES)
        name, weather, told = _well(Drawn(Random(chance.random()), base, ns))[number]
        well.append(Scene(f"well {number + 1} {name}", "", weather, namespace=ns, **told))
    return faults, well


FAULTS, WELL = draw(SEED)
