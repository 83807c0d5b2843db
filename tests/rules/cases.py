"""Cases of all alerts: series that make each fire, and series just below its limit."""

from dataclasses import replace
from math import inf

from safelight.metrics.catalog import (
    BUILD_INFO,
    CANARY_GOOD,
    CANARY_WORKERS,
    CGROUP_MEMORY_LIMIT,
    CGROUP_MEMORY_USED,
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    DEVICE_SECONDS,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    GPU_ECC_ERRORS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    GUIDANCE_OVERRIDDEN,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HTTP_LAG,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    IMAGES,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    LOG_LINES_LOST,
    MODEL_ASLEEP,
    NOTIFICATIONS,
    OUTCOMES,
    OUTPUT_INVALID,
    PRIORITY_SECONDS,
    PROBE_FAILURES,
    PROBE_TIMESTAMP,
    PROMPTS_TRUNCATED,
    QUEUED_SECONDS,
    QUEUED_WORK,
    READINESS_FORCED,
    RECORDS,
    REJECTED,
    REQUESTS,
    ROLLBACKS,
    SERIES_FOLDED,
    SERVICE_INFO,
    SHADOW,
    STEP_SECONDS,
    VRAM_RESERVED,
    VRAM_USED,
    WARM_UPS,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import Queries
from safelight.rules.objectives import burn_name, missed_name
from tests.rules.case import Case
from tests.rules.promtool import NAMESPACE, Series, histogram, mixture, series


def _http(status: str, values: str) -> Series:
    return series(HTTP_REQUESTS, values, handler="/api/edit", method="POST", status=status)


def _request(error: str, values: str) -> Series:
    status = "200" if error == "none" else "503"
    labels = {"endpoint": "/api/edit", "status_code": status, "instruction_type": "other"}
    return series(REQUESTS, values, error=error, **labels)


def _gauge(metric: Metric | str, fires: str, quiet: str, /, at: int, **labels: str) -> Case:
    return Case((series(metric, fires, **labels),), (series(metric, quiet, **labels),), at)


def _of(
    part: Metric | str, total_metric: Metric | str, values: tuple[str, str], at: int, **labels: str
) -> Case:
    total = series(total_metric, "100x900", **labels)
    fires, quiet = (series(part, each, **labels) for each in values)
    return Case((fires, total), (quiet, total), at)


def _probes(status: str = "200") -> tuple[Series, ...]:
    """Return many readiness probes, which the alerts must ignore."""
    probe = {"handler": "/readyz", "method": "GET", "status": status}
    return (series(HTTP_REQUESTS, "0+1000x900", **probe),)


def _failing(error: str, fires: float, quiet: float, at: int, per_minute: float = 100) -> Case:
    """Return a case in which these percentages of the requests fail."""

    def share(percent: float) -> tuple[Series, ...]:
        bad = per_minute * percent / 100
        return _request("none", f"0+{per_minute - bad:g}x900"), _request(error, f"0+{bad:g}x900")

    return Case(share(fires), share(quiet), at)


def _burning(
    fires: float, quiet: float, per_minute: float, at: int, resolves: int | None = None
) -> Case:
    """Return a case with few requests, so that least_missed decides when it fires."""
    case = _failing("worker_lost", fires, quiet, at, per_minute)
    return Case(case.fires, case.quiet, at, resolves)


def _per_image(
    metric: Metric, fires: str, quiet: str, /, at: int, per_minute: float = 100, **labels: str
) -> Case:
    images = series(IMAGES, f"0+{per_minute:g}x900", image_size="512x512")
    return Case(
        (series(metric, fires, **labels), images), (series(metric, quiet, **labels), images), at
    )


def _wasted(percent: float, useful: float) -> tuple[Series, ...]:
    uses = {"useful": useful, "deadline": percent}
    return tuple(series(DEVICE_SECONDS, f"0+{n:g}x900", use=use) for use, n in uses.items())


def _vram(*values: str) -> tuple[Series, ...]:
    used = tuple(series(VRAM_USED, each, device=f"cuda:{gpu}") for gpu, each in enumerate(values))
    total = (series(GPU_MEMORY_TOTAL, "12e9x900", gpu=f"{gpu}") for gpu in range(len(values)))
    return *used, *total


def _cached(used: str) -> tuple[Series, ...]:
    return (
        series(GPU_MEMORY_USED, "97x900", gpu="0"),
        series(GPU_MEMORY_TOTAL, "100x900", gpu="0"),
        series(VRAM_USED, used, device="cuda:0"),
        series(VRAM_RESERVED, "96x900", device="cuda:0"),
    )


def _waiting(seconds: float, inference: float = 2.0, number: float = 10) -> tuple[Series, ...]:
    return (
        *mixture(QUEUED_SECONDS, {seconds: number}, priority="normal"),
        *histogram(QUEUED_SECONDS, seconds and 60.0, priority="low"),
        *histogram(INFERENCE_SECONDS, inference, precision="float16"),
    )


def _refused(refused: float, served: float, reason: str = "queue_full") -> tuple[Series, ...]:
    return (
        series(REJECTED, f"0+{refused:g}x900", reason=reason),
        _request("overloaded" if reason != "unauthorized" else reason, f"0+{refused:g}x900"),
        _request("none", f"0+{served:g}x900"),
    )


def _outcomes(**per_minute: float) -> tuple[Series, ...]:
    """Return requests by outcome; `low` are server errors of low priority."""
    return tuple(
        series(
            OUTCOMES,
            f"0+{number:g}x900",
            outcome="server_error" if outcome == "low" else outcome,
            priority="low" if outcome == "low" else "normal",
        )
        for outcome, number in per_minute.items()
    )


def _ended(priority: str, values: str) -> Series:
    return series(OUTCOMES, values, outcome="ok", priority=priority)


def _overridden(per_minute: float) -> tuple[Series, ...]:
    ignored = series(GUIDANCE_OVERRIDDEN, f"0+{per_minute:g}x900", parameter="image_guidance_scale")
    return ignored, *histogram(INFERENCE_SECONDS, 2.0, precision="float16")


def _ready(*values: str) -> tuple[Series, ...]:
    """Return the ready workers of several instances."""
    return tuple(
        Series(WORKERS_READY.full_name(NAMESPACE), each, {"job": "safelight", "instance": f"{n}"})
        for n, each in enumerate(values)
    )


def _used(
    per_minute: str, missed: str, before: str = "0.1x4399", after: str = ""
) -> tuple[Series, ...]:
    """Return the recordings of a budget that is used at this speed after three days."""
    after = after or f"0.1+{per_minute}x1500"
    return (
        series(burn_name(NAMESPACE, "30d"), f"{before} {after}", objective="latency"),
        series(missed_name(Queries(NAMESPACE)), f"{missed}x6000", objective="latency"),
    )


def _rarely_slow(values: str) -> tuple[Series, ...]:
    """Return a few requests of four seconds."""
    return _with_slow(values, "0x900")


def _with_slow(all_of_them: str, in_time: str, quick: str = "") -> tuple[Series, ...]:
    """Return requests of four seconds, of nearly three and, by default instead, quick ones."""
    values = {5: all_of_them, 3: in_time, 0: quick or in_time}
    edges = {edge: f"{float(edge)}" for edge in PRIORITY_SECONDS.buckets} | {inf: "+Inf"}
    buckets = (
        series(
            PRIORITY_SECONDS,
            next(each for limit, each in values.items() if edge >= limit),
            "_bucket",
            le=name,
            priority="normal",
        )
        for edge, name in edges.items()
    )
    return (*buckets, series(PRIORITY_SECONDS, all_of_them, "_count", priority="normal"))


def _failing_type() -> tuple[Series, ...]:
    """Return the requests of a type; 32 % fail."""
    return _request("none", "0+0.68x900"), _request("model_error", "0+0.32x900")


def _failing_route() -> tuple[Series, ...]:
    """Return a route of the model that fails 40 % of the requests."""
    return _http("200", "0+60x900"), _http("503", "0+40x900"), _request("none", "0+10x900"), _RUNS


def _slow_route() -> tuple[Series, ...]:
    """Return a route of the model that is slow for low-priority requests."""
    return (
        *mixture(HTTP_SECONDS, {1.0: 90, 60.0: 10}, **_ROUTE),
        *histogram(PRIORITY_SECONDS, 60.0, priority="low"),
        _request("none", "0+10x900"),
        _RUNS,
    )


_EDIT = {"endpoint": "/api/edit", "status_code": "200", "instruction_type": "other"}
_ROUTE = {"handler": "/api/edit", "method": "POST"}
_RISING, _FLAT = "0x5 0+1x900", "4x900"
_BORN = "_x5 1+1x900"  # a counter whose first sample already has an event
_RUNS = series(SERVICE_INFO, "1x900", namespace=NAMESPACE)
_VERSION = {"version": "0.1.0", "python": "3.11"}
_BUILT = series(BUILD_INFO, "1x900", **_VERSION)


def _with_ours(case: Case) -> Case:
    """Return the case for a target of ours."""
    return replace(case, fires=(*case.fires, _BUILT), quiet=(*case.quiet, _BUILT))


CASES: dict[str, tuple[Case, ...]] = {
    name: case if isinstance(case, tuple) else (case,)
    for name, case in {
        "RequestP95High": (
            # So few requests that least_missed decides when it fires; quiet: one in ten minutes.
            Case(_rarely_slow("0+0.3x900"), _rarely_slow("0+0.1x900"), at=22, resolves=35),
            Case(
                mixture(PRIORITY_SECONDS, {3.0: 94, 5.0: 6}, priority="normal"),
                # Low-priority requests may wait.
                (
                    *mixture(PRIORITY_SECONDS, {3.0: 96, 5.0: 4}, priority="normal"),
                    *histogram(PRIORITY_SECONDS, 60.0, priority="low"),
                ),
                at=6,
            ),
            # Quiet: many slow ones in one minute, then requests just below the limit.
            Case(
                mixture(PRIORITY_SECONDS, {3.0: 94, 5.0: 6}, priority="normal"),
                _with_slow("0+100x30 3300+100x900", "0+100x30 3100+100x900", "0x900"),
                at=6,
            ),
            # Quiet: ten large images among hundreds, within five minutes.
            Case(
                mixture(PRIORITY_SECONDS, {3.0: 94, 5.0: 6}, priority="normal"),
                _with_slow("0+10x40 402+12x5 472+10x900", "0+10x40 400+10x900"),
                at=6,
            ),
        ),
        "HighP95Latency": (
            Case(
                (*mixture(HTTP_SECONDS, {15.0: 94, 30.0: 6}, **_ROUTE), _RUNS),
                (*histogram(HTTP_SECONDS, 15.0, **_ROUTE), _RUNS),
                at=11,
            ),
            # Low-priority requests may wait, and do not hide that others wait too.
            Case(
                (
                    *_slow_route(),
                    *mixture(PRIORITY_SECONDS, {15.0: 94, 20.0: 6}, priority="normal"),
                ),
                (*_slow_route(), *histogram(PRIORITY_SECONDS, 15.0, priority="normal")),
                at=11,
                resolves=30,
            ),
            # Without low priority, or on another route, nothing is hidden.
            Case(
                (
                    *mixture(HTTP_SECONDS, {15.0: 94, 30.0: 6}, handler="/other", method="GET"),
                    *histogram(PRIORITY_SECONDS, 1.0, priority="normal"),
                    *histogram(PRIORITY_SECONDS, 60.0, priority="low"),
                    _request("none", "0+10x900"),
                    _RUNS,
                ),
                (),
                at=11,
                resolves=10,
            ),
        ),
        "HighAPIErrorRate": (
            Case(
                (_http("200", "0+22.2x900"), _http("503", "0+0.5x900"), *_probes(), _RUNS),
                (
                    _http("200", "0+882x900"),
                    _http("422", "0+100x900"),
                    _http("503", "0+18x900"),
                    *_probes("503"),
                    _RUNS,
                ),
                at=15,
            ),
            # Low-priority requests may fail, and do not hide that others fail too.
            Case(
                (*_failing_route(), *_outcomes(ok=60, server_error=2, low=40)),
                (*_failing_route(), *_outcomes(ok=60, server_error=0.2, low=40)),
                at=8,
                resolves=30,
            ),
        ),
        "MostRequestsFail": (
            replace(_failing("worker_lost", 55, 45, at=2, per_minute=100), resolves=12),
            # So few that failure_burst decides when it fires.
            Case(
                (_request("none", "0+0.5x900"), _request("worker_lost", "0+1x900")),
                (_request("none", "0+0.5x900"), _request("worker_lost", "0+0.9x900")),
                at=11,
                resolves=14,
            ),
        ),
        "SuccessRatioLow": (
            replace(_failing("timeout", 6, 4.5, per_minute=8, at=16), resolves=20),
            # Callers' mistakes, cancelled and low-priority requests do not count.
            Case(
                _outcomes(ok=94, server_error=6),
                _outcomes(ok=94, caller_error=50, cancelled=9, low=9, server_error=4.5),
                at=6,
                resolves=20,
            ),
        ),
        # Twelve failures that are the first of their series; quiet: nine.
        "RequestsFailing": (
            Case(
                (_request("none", "0+1x900"), _request("model_error", "_x5 12x900")),
                (_request("none", "0+1x900"), _request("model_error", "_x5 9x900")),
                at=5,
                resolves=12,
            ),
            replace(_failing("model_error", 5.5, 4.5, at=2), resolves=12),
        ),
        "RequestsStuck": Case(
            (series(IN_FLIGHT, "2x900"), _request("none", "5x900")),
            (series(IN_FLIGHT, "2x900"), _request("none", "5+1x900")),
            at=10,
        ),
        "TrafficStopped": Case(
            (_ended("normal", "0+6.6x90 594x300"),),
            # Quiet: too little traffic; low-priority work that is done.
            (_ended("normal", "0+5.4x90 486x300"), _ended("low", "0+60x90 5400x300")),
            at=110,
            resolves=200,
        ),
        "RequestsRefused": (
            Case(_refused(5.5, 94.5), _refused(4.5, 95.5), at=6),
            Case(_refused(0.4, 3.6), _refused(4, 4, "unauthorized"), at=18),
        ),
        "QueueLongerThanInference": (
            Case(_waiting(2.2), _waiting(1.8), at=7),
            Case(_waiting(0.55, 0.1), _waiting(0.45, 0.1), at=7),
            # So few that least_requests decides when it fires.
            Case(_waiting(2.2, number=0.75), _waiting(2.2, number=0.6), at=32, resolves=35),
        ),
        "ErrorBudgetBurnFast": _burning(16, 13, 1, at=36),
        "ErrorBudgetBurn": _burning(6.6, 5.4, 3, at=43, resolves=60),
        "ErrorBudgetBurnSlow": _burning(3.3, 2.7, 5, at=93, resolves=150),
        "ErrorBudgetLeaking": _burning(1.1, 0.9, 10, at=228, resolves=400),
        # Healthy for 400 minutes, then 1 % fail; quiet: 0.5 % fail from the start.
        # Used 10 % in three days, then the rest in less than a day; quiet: in more than a day.
        "ErrorBudgetExhaustionAhead": (
            Case(_used("0.001", "0.01"), _used("0.0001", "0.01"), at=4616),
            # So few failures that least_missed decides; quiet: a new Prometheus.
            Case(
                _used("0.001", "0.00025"),
                _used("0.001", "0.0002", after="0.1+0.001x300 0.1x1200"),
                at=4616,
            ),
            Case(
                _used("0.001", "0.01"),
                _used("0.001", "0.01", "_x4000 0.1x399", "0.1+0.001x300 0.1x1200"),
                at=4616,
            ),
        ),
        "OutputsInvalid": (
            _per_image(OUTPUT_INVALID, "0+2.2x900", "0+1.8x900", at=8, reason="black"),
            _per_image(
                OUTPUT_INVALID, "0+0.4x900", "0+0.01x900", at=18, per_minute=4, reason="black"
            ),
        ),
        "InstructionFailing": (
            replace(_failing("model_error", 32, 28, at=25, per_minute=1), resolves=40),
            # Quiet: nearly all that fail have low priority.
            Case(
                (*_failing_type(), *_outcomes(ok=1, server_error=0.18, low=0.2)),
                (*_failing_type(), *_outcomes(ok=1, server_error=0.15, low=0.2)),
                at=33,
                resolves=40,
            ),
        ),
        "PromptsTruncated": (
            _per_image(PROMPTS_TRUNCATED, "0+11x900", "0+9x900", at=11),
            _per_image(PROMPTS_TRUNCATED, "0+0.2x900", "0+0.01x900", at=35, per_minute=1),
        ),
        "WorkPilesUp": Case(
            (series(QUEUED_WORK, "61x900", priority="normal"),),
            (
                series(QUEUED_WORK, "60x900", priority="normal"),
                series(QUEUED_WORK, "600x900", priority="low"),
            ),
            at=2,
        ),
        "DeadlinesMissed": (
            _failing("timeout", 5.5, 4.5, at=6),
            _failing("timeout", 10, 1, at=18, per_minute=4),
        ),
        "ServiceDegraded": _gauge(DEGRADATION_LEVEL, "1x900", "0x900", at=10),
        "ModelBroken": _gauge(CANARY_WORKERS, "0x3 1x900", "0x900", at=5, state="hung"),
        "ModelSlow": _gauge(CANARY_WORKERS, "1x900", "0x900", at=5, state="slow"),
        "ReadinessForced": _gauge(READINESS_FORCED, "1x900", "0x900", at=1),
        "CanaryOverdue": Case(
            (series(CANARY_GOOD, "0x900"), series(WORKERS_READY, "1x900")),
            (series(CANARY_GOOD, "0+60x900"), series(WORKERS_READY, "1x900")),
            at=66,
        ),
        "RolloutRolledBack": _gauge(ROLLBACKS, "0x10 1x900", "1x900", at=11),
        "SecondModelWorse": _gauge(SHADOW, "0x10 1x900", "1x900", at=11, verdict="worse"),
        "CircuitOpen": _gauge(CIRCUIT_OPEN, "0.5x900", "0x900", at=1),
        "DeviceTimeWasted": (
            Case(_wasted(22, 78), _wasted(18, 82), at=11),
            Case(_wasted(0.75, 1), _wasted(0.6, 1), at=24),
        ),
        "StepsSlow": Case(
            mixture(STEP_SECONDS, {1.0: 94, 2.0: 6}, step="1-5"),
            histogram(STEP_SECONDS, 1.0, step="1-5"),
            at=11,
        ),
        "ModelRecompiles": _gauge(WARM_UPS, "0+0.41x900", "0+0.3x900", at=25),
        # Quiet: another instance is ready; the first load; the model sleeps.
        "NoWorkerReady": (
            Case(_ready("1x5 0x900", "1x5 0x900"), _ready("1x5 0x900", "1x900"), at=11),
            Case(_ready("1x5 0x900"), _ready("0x20 1x900"), at=11),
            Case(
                (*_ready("1x5 0x900"), series(MODEL_ASLEEP.full_name(NAMESPACE), "0x900")),
                (*_ready("1x5 0x900"), series(MODEL_ASLEEP.full_name(NAMESPACE), "0x5 1x900")),
                at=11,
            ),
            Case(
                (*_ready("0x900"), series("process_start_time_seconds", "0x900")),
                (*_ready("1x900"), series("process_start_time_seconds", "0x900")),
                at=36,
            ),
        ),
        "TooFewReplicas": Case(
            (series("up", "1x5 0x900"), _RUNS),
            (series("up", "1x900"), Series("up", "0x900", {"job": "mysql"}), _RUNS),
            at=11,
        ),
        "WorkersRestarting": _gauge(
            WORKER_RESTARTS, "0+0.16x900", "0+0.12x900", at=13, reason="died"
        ),
        "CudaOutOfMemory": (
            Case((_request("cuda_oom", _BORN),), (_request("timeout", _BORN),), resolves=10, at=5),
            # Quiet: the series continues after a gap of ten minutes.
            Case(
                (_request("cuda_oom", _BORN),),
                (_request("cuda_oom", "3x5 _x10 3x900"), series("up", "1x5 _x10 1x900")),
                resolves=10,
                at=5,
            ),
        ),
        "GuidanceOverridden": Case(_overridden(0.55), _overridden(0.45), at=10),
        "VramNearlyFull": (
            _of(GPU_MEMORY_USED, GPU_MEMORY_TOTAL, ("96x900", "95x900"), at=1, gpu="0"),
            # Quiet: a third of it is PyTorch's cache.
            Case(_cached("96x900"), _cached("64x900"), at=1),
        ),
        "GpuMemoryHigh": _of(
            GPU_MEMORY_USED, GPU_MEMORY_TOTAL, ("91x900", "90x900"), at=1, gpu="0"
        ),
        # 110 MB per hour; quiet: 90 MB per hour, and a jump when a model loads.
        "VramLeak": (
            Case(_vram("4e9+1833333x900"), _vram("4e9+1.5e6x900", "0x3 4e9x900"), at=150),
            # Quiet: a single step up.
            Case(_vram("4e9+1833333x900"), _vram("4e9x150 6e9x900"), at=150),
        ),
        "VramExhaustionAhead": (
            Case(_vram("2e9+5e7x900"), _vram("2e9+4e6x900"), at=146),
            Case(_vram("11.7e9+1833333x900"), _vram("11.7e9+1.5e6x900"), at=125),
            Case(_vram("2e9+5e7x900"), _vram("4e9x150 11e9x900"), at=146),
        ),
        "GpuUtilizationHigh": _gauge(GPU_UTILIZATION, "0.92x900", "0.9x900", at=1, gpu="0"),
        "GpuTemperatureHigh": _gauge(GPU_TEMPERATURE, "86x900", "85x900", at=1, gpu="0"),
        "GpuThrottled": Case(
            (series(GPU_THROTTLED, "1x900", gpu="0", reason="hardware_thermal"),),
            (series(GPU_THROTTLED, "1x900", gpu="0", reason="power_cap"),),  # normal operation
            at=5,
            resolves=10,
        ),
        "GpuMemoryErrors": Case(
            (series(GPU_ECC_ERRORS, _RISING, gpu="0", kind="uncorrected"),),
            (series(GPU_ECC_ERRORS, _RISING, gpu="0", kind="corrected"),),
            at=7,
        ),
        "GpuXidError": Case(
            (series("DCGM_FI_DEV_XID_ERRORS", "0x5 79x900", gpu="0"),),
            (series("DCGM_FI_DEV_XID_ERRORS", "79x900", gpu="0"),),  # an old one
            at=6,
        ),
        "GpuUseUneven": Case(
            (
                series(GPU_UTILIZATION, "0.9x900", gpu="0"),
                series(GPU_UTILIZATION, "0.38x900", gpu="1"),
            ),
            (
                series(GPU_UTILIZATION, "0.9x900", gpu="0"),
                series(GPU_UTILIZATION, "0.42x900", gpu="1"),
            ),
            at=10,
        ),
        "GpuMetricsMissing": Case(
            (series(GPU_UTILIZATION, "0.5x20 _x900", gpu="0"), series("up", "1x900")),
            (series(GPU_UTILIZATION, "0.5x900", gpu="0"), series("up", "1x900")),
            at=35,
        ),
        "HostCpuBusy": _gauge(HOST_CPU, "0.87x900", "0.85x900", at=2),
        "HostMemoryHigh": _of(HOST_MEMORY_USED, HOST_MEMORY_TOTAL, ("87x900", "83x900"), at=2),
        "HostMemoryFull": _of(HOST_MEMORY_USED, HOST_MEMORY_TOTAL, ("96x900", "95x900"), at=2),
        "HostDiskBusy": _gauge(
            HOST_DISK_BUSY, "0+52x900", "0+50x900", at=4, disk="nvme0n1"
        ),  # seconds per minute
        "HostFilesystemFull": _of(
            HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, ("87x900", "83x900"), at=2, mountpoint="/"
        ),
        "EventLoopBlocked": Case(
            mixture(HTTP_LAG, {0.001: 467, 1.0: 13}), mixture(HTTP_LAG, {0.001: 469, 1.0: 11}), at=6
        ),
        "FileDescriptorsNearlyGone": _with_ours(
            _of("process_open_fds", "process_max_fds", ("83x900", "80x900"), at=2)
        ),
        "ServiceRestarting": _with_ours(
            _gauge("process_start_time_seconds", "1x9 2x9 3x9 4x900", "1x10 2x10 3x900", at=30)
        ),
        "ServiceMemoryGrows": (
            Case(
                (series("process_resident_memory_bytes", "1e9+9.166e5x900"), _BUILT),
                (series("process_resident_memory_bytes", "1e9+7.5e5x900"), _BUILT),
                at=150,
            ),
            # Quiet: a model loads, which is a jump that ends; other programs may grow.
            Case(
                (series("process_resident_memory_bytes", "1e9+9.166e5x900"), _BUILT),
                (
                    series("process_resident_memory_bytes", "3e8x10 3e9x900"),
                    _BUILT,
                    Series("process_resident_memory_bytes", "1e9+9e6x900", {"job": "mysql"}),
                ),
                at=150,
            ),
        ),
        "FilesystemExhaustionAhead": _of(
            HOST_FILESYSTEM_USED,
            HOST_FILESYSTEM_SIZE,
            ("10+0.2013x440", "10+0.05x900"),
            at=238,
            mountpoint="/",
        ),
        "HostMemoryExhaustionAhead": (
            _of(HOST_MEMORY_USED, HOST_MEMORY_TOTAL, ("45+0.1x500", "25x20 66x900"), at=326),
            # So fast that the condition of half the memory decides when it fires.
            _of(HOST_MEMORY_USED, HOST_MEMORY_TOTAL, ("0x60 0+2x60", "40x900"), at=102),
        ),
        "ContainerMemoryHigh": _of(
            CGROUP_MEMORY_USED, CGROUP_MEMORY_LIMIT, ("91x900", "90x900"), at=2
        ),
        "LogLinesLost": _gauge(LOG_LINES_LOST, _RISING, _FLAT, at=7),
        "TargetDown": Case(
            (series("up", "1x5 0x900"), series(BUILD_INFO, "1x5 _x900", **_VERSION)),
            # Other scraped targets must not fire.
            (series("up", "1x900"), Series("up", "0x900", {"job": "mysql", "instance": "db:9104"})),
            at=7,
        ),
        "ProbeFailing": _gauge(PROBE_FAILURES, _RISING, _FLAT, at=7, probe="nvml"),
        "ProbeSilent": _gauge(PROBE_TIMESTAMP, "-130+60x900", "-110+60x900", at=1, probe="nvml"),
        "ExpositionSlow": _gauge(EXPOSITION_SECONDS, "1.1x900", "0.9x900", at=5),
        "ExpositionLarge": _gauge(EXPOSITION_LINES, "5001x900", "5000x900", at=5),
        "SeriesFolded": _gauge(SERIES_FOLDED, _RISING, _FLAT, at=7, metric="request_total"),
        "RecordsLost": _gauge(RECORDS, _RISING, _FLAT, at=7, outcome="lost"),
        "ServiceMissing": Case((), (_RUNS,), at=5),
        "BudgetsStale": Case(
            (_request("none", "0+100x900"),),
            (_request("none", "0+100x900"), series(burn_name(NAMESPACE, "6h"), "0x900")),
            at=15,
        ),
        "RulesFailing": _gauge(
            "prometheus_rule_evaluation_failures_total",
            _RISING,
            _FLAT,
            at=7,
            rule_group=f"/etc/rules.yml;{NAMESPACE}-levels",
        ),
        "AlertmanagerMissing": _gauge(
            "prometheus_notifications_alertmanagers_discovered", "0x900", "1x900", at=5
        ),
        "RelayFailing": _gauge(
            NOTIFICATIONS, _RISING, _FLAT, at=7, channel="dingtalk", outcome="refused"
        ),
        "NotificationsFailing": _gauge(
            "alertmanager_notifications_failed_total", _RISING, _FLAT, at=7, integration="slack"
        ),
    }.items()
}
