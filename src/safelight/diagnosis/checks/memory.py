"""Checks of memory: leaks, growing caches, fragmentation, and requests that run out of it."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import (
    events,
    gpu_memory_total,
    since_start,
    steady_growth,
    usual_low,
)
from safelight.diagnosis.confidence import confidence_of, until
from safelight.diagnosis.evidence import Evidence, Reading, labels_of
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import RESIDENT, Statistic, Window
from safelight.diagnosis.slope import TREND_SIGMAS, Trend, trend
from safelight.metrics.catalog import (
    DEVICE,
    ERROR,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    REQUESTS,
    VRAM_RESERVED,
    VRAM_USED,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS
from safelight.units import counted, duration, percent, share, size

_LEAK_LOW = 0.25  # of the limit: the lower end of the interval
_IN_USE = 1 / 3  # of the cache's growth: if used memory grows this fast, it is a leak
_RESERVED, _UNUSED_BYTES = 1.5, 2**30  # times the used memory; bytes
_MIN_OUT, _OUT, _CRITICAL_OUT = 2, 0.005, 0.2  # requests; shares of the requests


def _confidence(line: Trend) -> float:
    return confidence_of(line.rise / max(line.noise, 1.0), 4, 20)


def _vram_leak(evidence: Evidence) -> Iterator[Sign]:
    for curve in evidence.curve(VRAM_USED, Statistic.MIN):
        line = steady_growth(evidence, curve)
        limit = evidence.limits.vram_growth_bytes_per_hour / 3600
        if line is None or line.slope < limit or line.low < _LEAK_LOW * limit:
            continue
        total = gpu_memory_total(evidence, curve.labels)
        ends = line.seconds_to(total) if total else None
        exhibits = [
            Exhibit(
                f"{size(line.level)} allocated, growing by {size(line.slope * 3600)} per hour "
                f"(95 %: {size(line.low * 3600)} to {size(line.high * 3600)}) for "
                f"{duration(line.span_seconds)} without a plateau",
                evidence.queries.select(VRAM_USED),
            )
        ]
        if ends:
            exhibits.append(Exhibit(f"the GPU memory is full in {until(ends)}"))
        soon = ends is not None and ends[0] < evidence.limits.forecast_seconds
        yield Sign(
            Severity.CRITICAL if soon else Severity.WARNING,
            _confidence(line),
            f"memory allocated by PyTorch grows steadily: {size(line.slope * 3600)} per hour",
            tuple(exhibits),
            subject=curve.labels.get(INSTANCE.name, ""),
        )


def _cache_growth(evidence: Evidence) -> Iterator[Sign]:
    """Find an allocator that reserves more and more memory without using it."""
    limit = evidence.limits.vram_growth_bytes_per_hour
    for curve in evidence.curve(VRAM_RESERVED, Statistic.MIN):
        line = steady_growth(evidence, curve)
        used = evidence.curve(VRAM_USED, Statistic.MIN, labels_of(curve.labels, INSTANCE, DEVICE))
        if line is None or line.slope * 3600 < limit or line.low <= 0 or not used:
            continue
        inside = trend(since_start(evidence, used[0]))
        if inside is None or (inside.certain and inside.slope > line.slope * _IN_USE):
            continue
        yield Sign(
            Severity.WARNING,
            _confidence(line),
            f"PyTorch's cache grows by {size(line.slope * 3600)} per hour, but the used memory "
            "does not",
            (
                Exhibit(
                    f"{size(line.level)} reserved, {size(inside.level)} of it used",
                    evidence.queries.select(VRAM_RESERVED),
                ),
            ),
            subject=curve.labels.get(INSTANCE.name, ""),
        )


def _fragmentation(evidence: Evidence) -> Iterator[Sign]:
    for labels, reserved in evidence.now.select(VRAM_RESERVED, window=Window.LAST_THIRD):
        where = labels_of(labels, INSTANCE, DEVICE)
        used = evidence.now.sum(VRAM_USED, Statistic.MAX, where=where)
        if not used or reserved < _RESERVED * used or reserved - used < _UNUSED_BYTES:
            continue
        instance = labels.get(INSTANCE.name, "")
        total = gpu_memory_total(evidence, labels)
        errors = {ERROR: "cuda_oom", INSTANCE: instance}
        failed = events(evidence, evidence.now.rate(REQUESTS, where=errors))
        tight = bool(total) and reserved > evidence.limits.gpu_memory_high_ratio * (total or 0.0)
        if failed < 1 and not tight:
            continue
        unused = f"{size(reserved - used)} of {size(reserved)} reserved memory are not used"
        yield Sign(
            Severity.WARNING,
            confidence_of(reserved / used, 1.2, 2.5) if failed >= 1 else 0.6,
            f"the GPU memory is fragmented: {unused}",
            (
                Exhibit(unused, evidence.queries.select(VRAM_RESERVED)),
                Exhibit(f"{counted(failed, 'request')} ran out of memory in the window"),
            ),
            subject=instance,
        )


def _out_of_memory(evidence: Evidence) -> Iterator[Sign]:
    failed = events(evidence, evidence.now.rate(REQUESTS, where={ERROR: "cuda_oom"}))
    requests = events(evidence, evidence.now.rate(REQUESTS))
    if failed < _MIN_OUT or failed < _OUT * requests:
        return
    usual = usual_low(evidence, _out_rate)
    past = "" if usual is None else f", usually {events(evidence, usual):.0f}"
    used = evidence.now.sum(GPU_MEMORY_USED) or evidence.now.sum(VRAM_RESERVED) or 0.0
    total = evidence.now.sum(GPU_MEMORY_TOTAL)
    full = f"; {size(used)} of {size(total)} are in use" if total else ""
    yield Sign(
        Severity.CRITICAL if failed > _CRITICAL_OUT * requests else Severity.WARNING,
        confidence_of(failed / requests, 0.01, 0.1),
        f"{failed:.0f} of {requests:.0f} requests ran out of GPU memory{full}",
        (
            Exhibit(
                f"{counted(failed, 'request')} in the window{past}",
                evidence.queries.rate(REQUESTS, where={ERROR: "cuda_oom"}),
            ),
        ),
    )


def _out_rate(reading: Reading) -> float | None:
    return reading.rate(REQUESTS, where={ERROR: "cuda_oom"}) if reading.select(REQUESTS) else None


def _process_growth(evidence: Evidence) -> Iterator[Sign]:
    limit = evidence.limits.process_growth_bytes_per_hour
    for curve in evidence.curve(RESIDENT):
        line = steady_growth(evidence, curve)
        if line is None or line.slope * 3600 < limit or line.low <= 0:
            continue
        yield Sign(
            Severity.WARNING,
            _confidence(line),
            f"the service's own process grows by {size(line.slope * 3600)} per hour",
            (
                Exhibit(
                    f"{size(line.level)} resident, growing by {size(line.low * 3600)} to "
                    f"{size(line.high * 3600)} per hour (95 %)",
                    evidence.queries.foreign(RESIDENT),
                ),
            ),
            subject=curve.labels.get(INSTANCE.name, ""),
        )


_LEAK = f">= {size(DEFAULTS.vram_growth_bytes_per_hour)} per hour"
_OUT_CHECKS = frozenset({"out_of_memory", "errors_rise", "failing_instruction"})

MEMORY_CHECKS = (
    Check(
        "vram_leak",
        "GPU memory leaks",
        _vram_leak,
        "the Theil-Sen line through the minima of vram_used_bytes, since the last start or large "
        f"fall, rises by {_LEAK} (lower bound of the interval "
        f">= {percent(_LEAK_LOW)} of that), significant by the Mann-Kendall test "
        f"(z > {TREND_SIGMAS:g}), and its last third still rises; critical if the "
        f"GPU memory will be full within {duration(DEFAULTS.forecast_seconds)}",
        (
            "Look for tensors that outlive their request: results kept in a list, an unbounded "
            "cache, a graph kept by autograd (use torch.inference_mode()).",
            "Until the leak is found, restart the worker at a quiet time.",
        ),
        "Call torch.cuda.memory._record_memory_history(), send ten equal requests, then call "
        "_dump_snapshot(). Objects that exist ten times are the leak.",
        ("a bounded cache that still fills up; it will flatten",),
        _OUT_CHECKS | {"cache_growth", "fragmentation"},
        ("vram_growth_bytes_per_hour", "forecast_seconds"),
    ),
    Check(
        "cache_growth",
        "PyTorch's cache grows",
        _cache_growth,
        "the same line through vram_reserved_bytes rises by "
        f"{_LEAK}, and vram_used_bytes does not rise significantly or "
        f"rises by <= {share(_IN_USE)} of that",
        (
            "Round sizes to a few: PyTorch caches each new shape separately.",
            "Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.",
        ),
        "Send one fixed size for ten minutes. The cache must stop growing.",
        ("another library that allocates through PyTorch",),
        _OUT_CHECKS | {"fragmentation"},
        ("vram_growth_bytes_per_hour",),
    ),
    Check(
        "fragmentation",
        "GPU memory is fragmented",
        _fragmentation,
        f"reserved memory is >= {_RESERVED:g} times the highest used memory and >= "
        f"{size(_UNUSED_BYTES)} more; and requests ran out of memory, or > "
        f"{percent(DEFAULTS.gpu_memory_high_ratio)} of the GPU's memory is reserved",
        (
            "Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.",
            "Accept fewer sizes. Restart the worker to clear the fragments.",
        ),
        "Call torch.cuda.memory_summary(). A large 'inactive split' confirms fragmentation.",
        ("one rare request that needed much more memory",),
        _OUT_CHECKS,
        ("gpu_memory_high_ratio",),
    ),
    Check(
        "out_of_memory",
        "Requests run out of GPU memory",
        _out_of_memory,
        f'request_total{{error="cuda_oom"}} is >= {_MIN_OUT} in the window and >= {percent(_OUT)} '
        f"of the requests; critical if it is > {percent(_CRITICAL_OUT)}",
        (
            "Lower SAFELIGHT_BATCH_LIMIT or SAFELIGHT_IMAGE_SIDE_PIXELS.",
            "Set SAFELIGHT_VAE_TILING=true, or use a lower precision.",
        ),
        "Send one request of the largest size alone. If it fails too, the size is the cause.",
        ("larger images than usual", "another program on the GPU"),
        frozenset({"errors_rise", "failing_instruction"}),
    ),
    Check(
        "process_growth",
        "The service's process grows",
        _process_growth,
        "the same line through process_resident_memory_bytes rises by "
        f">= {size(DEFAULTS.process_growth_bytes_per_hour)} per hour",
        (
            "Check queue_depth: images in the queue stay in memory.",
            "Restart it at a quiet time, and report the bug.",
        ),
        "Stop the traffic for ten minutes. Memory that is not released then is leaked.",
        ("a cache of your own application (with `watch`)",),
        frozenset({"host_memory"}),
        ("process_growth_bytes_per_hour",),
    ),
)
