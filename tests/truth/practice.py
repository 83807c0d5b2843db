"""Faults and healthy services that were not used to choose the checks' limits."""

from dataclasses import replace

from safelight.stories.conditions import Conditions
from tests.truth import expressions as f
from tests.truth.scene import EDIT, PATIENT, TURBO, Scene, at_one, growing, stages, then

Z = "zimage"
_TIGHT = replace(TURBO, rate=1.3, queue_limit=10)
_FULL = replace(PATIENT, rate=1.25)


def _bursts(_: int, t: float) -> Conditions:
    return replace(_TIGHT, rate=(7.5 if int(t) % 90 < 15 else 0.06)) if t >= 0 else _TIGHT


def _filling(_: int, t: float) -> Conditions:
    return replace(_FULL, rate=_FULL.rate * (1.55 if t >= 0 else 1.0))


def _larger(_: int, t: float) -> Conditions:
    large = replace(EDIT, sizes={"1024x1024": 0.8, "512x512": 0.2}, step_seconds=0.07)
    return large if t >= 0 else EDIT


def _bad_deploy(_: int, t: float) -> Conditions:
    slow = replace(PATIENT, step_seconds=0.048, starts=0 <= t < 15)
    return slow if t >= 0 else PATIENT


FAULTS = (
    Scene(
        "turbo decodes for 0.6 s",
        "slow_decode",
        then(TURBO, stages=stages(TURBO, decode=0.6)),
        f.stage("decode", Z),
        namespace=Z,
    ),
    Scene(
        "huge photographs",
        "slow_decode",
        then(PATIENT, stages=stages(PATIENT, decode=0.8, receive=0.2), cpu=0.7),
        f.stage("decode"),
    ),
    Scene(
        "mobile uploads of 4 s",
        "slow_upload",
        then(PATIENT, stages=stages(PATIENT, receive=4.0)),
        f.stage("receive"),
    ),
    Scene(
        "readers of 2.5 s",
        "slow_client",
        then(TURBO, stages=stages(TURBO, respond=2.5)),
        f.stage("respond", Z),
        namespace=Z,
    ),
    Scene(
        "every eighth call compiles",
        "cold_compile",
        then(TURBO, compiled=0.12),
        f.rate("warm_up_calls_total", Z),
        namespace=Z,
    ),
    Scene(
        "crowds every 90 s", "queue_saturated", _bursts, f.rate("rejected_total", Z), namespace=Z
    ),
    Scene("half more traffic", "device_saturated", _filling, f.waiting()),
    Scene(
        "batch limit from 8 to 2",
        "wrong_batch_cap",
        lambda _, t: replace(EDIT, rate=2.6, batch_limit=8 if t < 0 else 2),
        f.waiting(),
    ),
    Scene(
        "first steps twice as slow",
        "slow_early_steps",
        then(PATIENT, places={"1-5": 2.2}),
        f.step("1-5"),
    ),
    Scene(
        "steps from 21 on slow",
        "slow_late_steps",
        then(PATIENT, places={"21-50": 1.9}),
        f.step("21-50"),
    ),
    Scene("a deployment made it slower", "slow_steps", _bad_deploy, f.step()),
    Scene(
        "power brake on one of three",
        "throttled_card",
        at_one(0, TURBO, throttled={"power_brake": 0.7}, clock_hertz=1.0e9, step_seconds=0.09),
        f.level("gpu_throttled"),
        instances=3,
        namespace=Z,
    ),
    Scene(
        "a GPU of 91 degrees",
        "throttled_card",
        then(PATIENT, celsius=91.0),
        f.level("gpu_temperature_celsius"),
    ),
    Scene(
        "steps of 200 MB per hour",
        "vram_leak",
        growing(PATIENT, "vram_used", 200e6, 900),
        f.level("vram_used_bytes", "instructpix2pix"),
        lasted=14_000,
        hours=4,
    ),
    Scene(
        "leak of 4 GB per hour",
        "vram_leak",
        growing(TURBO, "vram_used", 4e9),
        f.level("vram_used_bytes", Z),
        lasted=2400,
        hours=4,
        namespace=Z,
    ),
    Scene(
        "memory in pieces",
        "fragmentation",
        then(PATIENT, vram_used=7e9, vram_reserved=14.6e9, failures={"*": ("cuda_oom", 0.12)}),
        f.failed("cuda_oom"),
    ),
    Scene(
        "cache grows 900 MB per hour",
        "cache_growth",
        growing(TURBO, "vram_reserved", 900e6),
        f.level("vram_reserved_bytes", Z),
        lasted=3 * 3600,
        hours=4,
        namespace=Z,
    ),
    Scene(
        "too large for the GPU",
        "out_of_memory",
        then(TURBO, failures={"*": ("cuda_oom", 0.07)}),
        f.failed("cuda_oom", Z),
        namespace=Z,
    ),
    Scene(
        "process grows 120 MB per hour",
        "process_growth",
        growing(PATIENT, "resident", 120e6),
        f.level("process_resident_memory_bytes"),
        lasted=3 * 3600,
        hours=4,
    ),
    Scene(
        "half of make_him_old fail",
        "failing_instruction",
        then(EDIT, failures={"make_him_old": ("timeout", 0.5)}),
        f.failed("timeout"),
    ),
    Scene(
        "files that are no images",
        "errors_rise",
        then(EDIT, failures={"*": ("not_an_image", 0.3)}),
        f.failed("not_an_image"),
    ),
    Scene(
        "the model fails one in eight",
        "errors_rise",
        then(TURBO, failures={"*": ("model_error", 0.13)}),
        f.failed("model_error", Z),
        namespace=Z,
    ),
    Scene(
        "one in fifteen is black",
        "invalid_outputs",
        then(TURBO, invalid=0.07),
        f.rate("output_invalid_total", Z),
        namespace=Z,
    ),
    Scene(
        "guidance off in one of eight",
        "silent_guidance",
        then(PATIENT, overridden=0.13),
        f.rate("guidance_overridden_total"),
    ),
    Scene(
        "one of four in bfloat16",
        "precision_mixup",
        at_one(3, TURBO, precision="bfloat16"),
        f.rate("inference_duration_seconds_count", Z, ',precision="bfloat16"'),
        instances=4,
        namespace=Z,
    ),
    Scene(
        "one of five 1.6 times slower",
        "slow_node",
        at_one(4, EDIT, step_seconds=0.043),
        f.call(instance="4"),
        instances=5,
    ),
    Scene(
        "workers hang every two minutes",
        "crash_loop",
        then(
            TURBO,
            restarts_per_hour=30,
            restart_reason="hung",
            failures={"*": ("worker_lost", 0.05)},
        ),
        f.rate("worker_restarts_total", Z),
        namespace=Z,
    ),
    Scene(
        "a build on the same cores",
        "host_cpu",
        then(TURBO, cpu=0.96, stages=stages(TURBO, decode=0.06, encode=0.12, check=0.02)),
        f.level("host_cpu_utilization_ratio"),
        namespace=Z,
    ),
    Scene(
        "memory full within hours",
        "host_memory",
        growing(PATIENT, "host_used", 3.5e9),
        f.level("host_memory_used_bytes"),
        lasted=2 * 3600,
        hours=4,
    ),
    Scene(
        "slow disk",
        "disk_busy",
        then(PATIENT, disk_busy=0.93, stages=stages(PATIENT, transfer=0.05)),
        'max(rate(host_disk_busy_seconds_total{job="@"}[5m]))',
    ),
    Scene(
        "logs fill the disk",
        "filesystem_full",
        growing(EDIT, "filesystem_used", 30e9),
        f.level("host_filesystem_used_bytes"),
        lasted=2 * 3600,
        hours=4,
    ),
    Scene(
        "a notebook on the GPU",
        "noisy_neighbour",
        then(TURBO, foreign_bytes=4e9),
        f.level("gpu_memory_used_bytes"),
        namespace=Z,
    ),
    Scene(
        "a neighbour that computes",
        "noisy_neighbour",
        then(PATIENT, foreign_busy=0.55, step_seconds=0.043),
        f.level("gpu_utilization_ratio"),
    ),
    Scene(
        "three times the traffic", "traffic_shift", then(PATIENT, rate=1.9), f.rate("request_total")
    ),
    Scene(
        "larger images",
        "traffic_shift",
        _larger,
        f.rate("request_images_total", where=',image_size="1024x1024"'),
    ),
    Scene("the only one is down", "monitoring_gap", then(TURBO, up=False), f.down(), namespace=Z),
    Scene(
        "a probe stops",
        "monitoring_gap",
        then(PATIENT, probe_age=900.0),
        'time() - max(safelight_probe_last_success_timestamp_seconds{job="@"})',
    ),
)


def _rolling(instance: int, t: float) -> Conditions:
    begin = 120 * instance
    return replace(EDIT, starts=begin <= t < begin + 15, ready=0 if begin <= t < begin + 30 else 1)


def _bursty(_: int, t: float) -> Conditions:
    return replace(EDIT, rate=3.0 if int(t) % 300 < 45 else 0.7)


def _rush(_: int, t: float) -> Conditions:
    return replace(TURBO, rate=0.6 * (1 + min(1.6, max(0.0, t / 2000))))


def _plateau(_: int, t: float) -> Conditions:
    filled = min(1.0, max(0.0, t) / 1500)
    begins = 0 <= t < 60
    return replace(
        PATIENT, vram_used=3e9 + 3e9 * filled, vram_reserved=4e9 + 3e9 * filled, starts=begins
    )


def _sawtooth(_: int, t: float) -> Conditions:
    part = (t % 3600) / 3600
    return replace(
        EDIT,
        vram_reserved=5e9 + 1.5e9 * part,
        filesystem_used=80e9 + 8e9 * part,
        host_used=12e9 + 2e9 * part,
    )


def _campaign(_: int, t: float) -> Conditions:
    mix = {"add_sunglasses": 0.85, "make_him_old": 0.1, "other": 0.05}
    return replace(EDIT, types=mix) if t >= 0 else EDIT


def _stray(_: int, t: float) -> Conditions:
    return replace(EDIT, failures={"*": ("not_an_image", 0.03)}, up=not 100 <= t < 115)


def _backup(_: int, t: float) -> Conditions:
    return replace(PATIENT, cpu=0.8, disk_busy=0.6) if t >= 0 else PATIENT


def _warm(_: int, t: float) -> Conditions:
    return replace(TURBO, celsius=70, throttled={"power_cap": 0.6})


HEALTHY = (
    Scene("bursts within the capacity", "", _bursty),
    Scene("a rolling deployment", "", _rolling, instances=3),
    Scene(
        "one instance restarts",
        "",
        lambda i, t: replace(TURBO, starts=i == 1 and 0 <= t < 15),
        instances=2,
        namespace=Z,
    ),
    Scene("low traffic", "", then(PATIENT, rate=0.03), lasted=4400),
    Scene("a holiday", "", then(EDIT, rate=0.1)),
    Scene("the morning rush", "", _rush, namespace=Z, lasted=3600),
    Scene("memory fills to its plateau", "", _plateau, lasted=3 * 3600, hours=4),
    Scene("growing stores are cleaned up", "", _sawtooth, lasted=3 * 3600, hours=4),
    Scene("a campaign for sunglasses", "", _campaign),
    Scene("a stray scrape and few bad files", "", _stray),
    Scene("the backup runs", "", _backup),
    Scene("a GPU at its power limit", "", _warm, namespace=Z),
    Scene(
        "clients near and far",
        "",
        lambda i, t: replace(PATIENT, noise=0.7, stages=stages(PATIENT, receive=0.12)),
    ),
    Scene("no requests", "", then(EDIT, rate=0.0), lasted=1800),
)
