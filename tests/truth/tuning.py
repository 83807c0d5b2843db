"""Faults and healthy services that were used to choose the checks' limits."""

from dataclasses import replace

from safelight.stories.conditions import Conditions
from tests.truth import expressions as f
from tests.truth.scene import EDIT, PATIENT, TURBO, Scene, at_one, growing, stages, then

_HEAT = {"software_thermal": 0.8}


def _bursts(_: int, t: float) -> Conditions:
    base = replace(EDIT, rate=1.25, queue_limit=6)
    if t < 0:
        return base
    return replace(base, rate=5.0 if int(t) % 60 < 15 else 0.0)


def _ramp(_: int, t: float) -> Conditions:
    return replace(EDIT, rate=2.5 if t < 0 else 3.9)


FAULTS = (
    Scene(
        "decode 75 times slower",
        "slow_decode",
        then(EDIT, stages=stages(EDIT, decode=0.9)),
        f.stage("decode"),
    ),
    Scene(
        "uploads of 1.5 s",
        "slow_upload",
        then(EDIT, stages=stages(EDIT, receive=1.5)),
        f.stage("receive"),
    ),
    Scene(
        "readers of 1 s",
        "slow_client",
        then(EDIT, stages=stages(EDIT, respond=1.0)),
        f.stage("respond"),
    ),
    Scene(
        "a fifth of calls compile",
        "cold_compile",
        then(EDIT, compiled=0.2),
        f.rate("warm_up_calls_total"),
    ),
    Scene("bursts and a queue of 6", "queue_saturated", _bursts, f.rate("rejected_total")),
    Scene("more requests than the capacity", "device_saturated", _ramp, f.waiting()),
    Scene(
        "batch limit from 8 to 1",
        "wrong_batch_cap",
        lambda _, t: replace(EDIT, rate=2.2, batch_limit=8 if t < 0 else 1),
        f.waiting(),
    ),
    Scene(
        "first steps 3 times slower",
        "slow_early_steps",
        then(EDIT, places={"1-5": 3.0}),
        f.step("1-5"),
    ),
    Scene(
        "last steps 2.5 times slower",
        "slow_late_steps",
        then(EDIT, places={"11-20": 2.5}),
        f.step("11-20"),
    ),
    Scene("every step 1.8 times slower", "slow_steps", then(EDIT, step_seconds=0.045), f.step()),
    Scene(
        "GPU throttled by heat",
        "throttled_card",
        then(EDIT, throttled=_HEAT, celsius=88, clock_hertz=0.95e9, step_seconds=0.045),
        f.level("gpu_throttled"),
    ),
    Scene(
        "steps of 600 MB per hour",
        "vram_leak",
        growing(EDIT, "vram_used", 600e6, 600),
        f.level("vram_used_bytes", "instructpix2pix"),
        lasted=3 * 3600,
        hours=4,
    ),
    Scene(
        "reserved 15 of 16, 6 used",
        "fragmentation",
        then(EDIT, vram_used=6e9, vram_reserved=15e9, failures={"*": ("cuda_oom", 0.06)}),
        f.failed("cuda_oom"),
    ),
    Scene(
        "cache grows 1.5 GB per hour",
        "cache_growth",
        growing(EDIT, "vram_reserved", 1.5e9),
        f.level("vram_reserved_bytes", "instructpix2pix"),
        lasted=3 * 3600,
        hours=4,
    ),
    Scene(
        "out of memory in a tenth",
        "out_of_memory",
        then(EDIT, failures={"*": ("cuda_oom", 0.1)}),
        f.failed("cuda_oom"),
    ),
    Scene(
        "process grows 300 MB per hour",
        "process_growth",
        growing(EDIT, "resident", 300e6),
        f.level("process_resident_memory_bytes"),
        lasted=3 * 3600,
        hours=4,
    ),
    Scene(
        "sunglasses fail in 4 of 10",
        "failing_instruction",
        then(EDIT, failures={"add_sunglasses": ("model_error", 0.4)}),
        f.failed("model_error"),
    ),
    Scene(
        "a fifth fails",
        "errors_rise",
        then(EDIT, failures={"*": ("model_error", 0.2)}),
        f.failed("model_error"),
    ),
    Scene(
        "a tenth is black",
        "invalid_outputs",
        then(EDIT, invalid=0.1),
        f.rate("output_invalid_total"),
    ),
    Scene(
        "guidance off in 3 of 10",
        "silent_guidance",
        then(EDIT, overridden=0.3),
        f.rate("guidance_overridden_total"),
    ),
    Scene(
        "one of three in float32",
        "precision_mixup",
        at_one(1, EDIT, precision="float32", step_seconds=0.05),
        f.call(),
        instances=3,
    ),
    Scene(
        "one of three 1.8 times slower",
        "slow_node",
        at_one(2, EDIT, step_seconds=0.045),
        f.call(instance="2"),
        instances=3,
    ),
    Scene(
        "workers die every minute",
        "crash_loop",
        then(EDIT, restarts_per_hour=60, failures={"*": ("worker_lost", 0.08)}),
        f.rate("worker_restarts_total"),
    ),
    Scene(
        "cores used by another program",
        "host_cpu",
        then(EDIT, cpu=0.98, stages=stages(EDIT, decode=0.08, encode=0.1, transfer=0.05)),
        f.level("host_cpu_utilization_ratio"),
    ),
    Scene(
        "memory almost full",
        "host_memory",
        then(EDIT, host_used=30.5e9),
        f.level("host_memory_used_bytes"),
    ),
    Scene(
        "disk busy all the time",
        "disk_busy",
        then(EDIT, disk_busy=0.97),
        'max(rate(host_disk_busy_seconds_total{job="@"}[5m]))',
    ),
    Scene(
        "disk 95 percent full",
        "filesystem_full",
        then(EDIT, filesystem_used=190e9),
        f.level("host_filesystem_used_bytes"),
    ),
    Scene(
        "neighbour takes 5 GB and time",
        "noisy_neighbour",
        then(EDIT, foreign_bytes=5e9, foreign_busy=0.5, step_seconds=0.04),
        f.level("gpu_memory_used_bytes"),
    ),
    Scene("four times the traffic", "traffic_shift", then(EDIT, rate=4.4), f.rate("request_total")),
    Scene(
        "busy backgrounds are destroyed",
        "structure_corruption",
        then(EDIT, corrupted_busy=0.6),
        f.failed("structure_corruption"),
    ),
    Scene(
        "scores fall by a seventh",
        "quality_drift",
        then(EDIT, score=0.67),
        f.mean("image_quality_score"),
    ),
    Scene(
        "one of three is down", "monitoring_gap", at_one(1, EDIT, up=False), f.down(), instances=3
    ),
)


def _restart(_: int, t: float) -> Conditions:
    return replace(EDIT, starts=0 <= t < 15)


def _spike(_: int, t: float) -> Conditions:
    return replace(EDIT, rate=2.5 if 60 <= t < 150 else 1.0)


HEALTHY = (
    Scene("steady", "", then(EDIT)),
    Scene("steady turbo", "", then(TURBO), namespace="zimage"),
    Scene("steady but noisy", "", then(replace(PATIENT, noise=0.8))),
    Scene("a short spike", "", _spike),
    Scene("a restart", "", _restart),
    Scene("night", "", then(EDIT, rate=0.02), lasted=3600),
)
