"""Where memory goes: leaks against plateaus, fragments, caches that grow, and what is full."""

from collections.abc import Iterator, Sequence

from safelight.diagnosis.checks.common import events, usual
from safelight.diagnosis.confidence import amount, seconds, surely, until
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.prometheus import Series
from safelight.diagnosis.queries import LATELY, RESIDENT, STARTED
from safelight.diagnosis.slope import Point, Trend, latest, since, since_last_fall, trend
from safelight.metrics.catalog import (
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    REQUESTS,
    VRAM_RESERVED,
    VRAM_USED,
)

_LEAK_PER_HOUR = 100e6
_SOON_SECONDS = 3600.0
_SHARES = 1.5  # reserved over used
_LEAST_GAP = 1e9
_SAME = 1.02
_OOM_SHARE = 0.005
_PROCESS_PER_HOUR = 50e6


def _leak(evidence: Evidence) -> Iterator[Sign]:
    for curve in evidence.curve(VRAM_USED, "min"):
        found = steady(evidence, curve)
        if found is None or found.low * 3600 < _LEAK_PER_HOUR / 4:
            continue
        if found.slope * 3600 < _LEAK_PER_HOUR:
            continue
        total = _total(evidence, curve)
        ends = found.seconds_to(total) if total else None
        told = [
            Exhibit(
                f"{amount(found.level)} allocated, {amount(found.slope * 3600)} more an hour "
                f"(95 %: {amount(found.low * 3600)} to {amount(found.high * 3600)}), for "
                f"{seconds(found.span_seconds)} and without a plateau",
                evidence.asking.queries.select(VRAM_USED),
            )
        ]
        if ends:
            told.append(Exhibit(f"the card is full in {until(ends)}"))
        yield Sign(
            Severity.CRITICAL if ends and ends[0] < _SOON_SECONDS else Severity.WARNING,
            surely(found.rise / max(found.noise, 1.0), 4, 20),
            f"memory that PyTorch has allocated climbs like a staircase: "
            f"{amount(found.slope * 3600)} an hour",
            tuple(told),
            subject=curve.labels.get("instance", ""),
        )


def _cache(evidence: Evidence) -> Iterator[Sign]:
    """Find that the allocator keeps more and more, though no more is used."""
    for curve in evidence.curve(VRAM_RESERVED, "min"):
        found = steady(evidence, curve)
        where = {
            name: curve.labels[name] for name in ("instance", "device") if name in curve.labels
        }
        used = evidence.curve(VRAM_USED, "min", **where)
        if found is None or found.slope * 3600 < _LEAK_PER_HOUR or found.low <= 0 or not used:
            continue
        inside = trend(_running(evidence, used[0]))
        if inside is None or (inside.certain and inside.slope > found.slope / 3):
            continue  # what is kept is in use: that is a leak
        yield Sign(
            Severity.WARNING,
            surely(found.rise / max(found.noise, 1.0), 4, 20),
            f"PyTorch's cache grows by {amount(found.slope * 3600)} an hour, but no more is used",
            (
                Exhibit(
                    f"{amount(found.level)} reserved, {amount(inside.level)} of it used",
                    evidence.asking.queries.select(VRAM_RESERVED),
                ),
            ),
            subject=curve.labels.get("instance", ""),
        )


def _fragments(evidence: Evidence) -> Iterator[Sign]:
    for labels, reserved in evidence.now.found(VRAM_RESERVED, LATELY):
        where = {name: labels[name] for name in ("instance", "device") if name in labels}
        used = evidence.now.sum(VRAM_USED, "max", **where)
        if not used or reserved < _SHARES * used or reserved - used < _LEAST_GAP:
            continue
        card = labels.get("device", "").removeprefix("cuda:")
        instance = labels.get("instance", "")
        total = evidence.now.sum(GPU_MEMORY_TOTAL, instance=instance, gpu=card)
        ran_out = evidence.now.rate(REQUESTS, error="cuda_oom", instance=instance)
        failed = events(evidence, ran_out)
        tight = bool(total) and reserved > 0.8 * (total or 0.0)
        if failed < 1 and not tight:
            continue
        says = f"{amount(reserved - used)} of {amount(reserved)} reserved are in no use"
        yield Sign(
            Severity.WARNING,
            surely(reserved / used, 1.2, 2.5) if failed >= 1 else 0.6,
            f"the card's memory is in fragments: {says}",
            (
                Exhibit(says, evidence.asking.queries.select(VRAM_RESERVED)),
                Exhibit(f"{failed:.0f} requests ran out of memory within the window"),
            ),
            subject=labels.get("instance", ""),
        )


def _out(evidence: Evidence) -> Iterator[Sign]:
    failed = events(evidence, evidence.now.rate(REQUESTS, error="cuda_oom"))
    asked = events(evidence, evidence.now.rate(REQUESTS))
    if failed < 2 or failed < _OOM_SHARE * asked:
        return
    then = usual(evidence, _oom_rate)
    past = "" if then is None else f"usually {events(evidence, then):.0f} in such a time"
    used = evidence.now.sum(GPU_MEMORY_USED) or evidence.now.sum(VRAM_RESERVED) or 0.0
    total = evidence.now.sum(GPU_MEMORY_TOTAL)
    full = f"; the card holds {amount(used)} of {amount(total)}" if total else ""
    yield Sign(
        Severity.CRITICAL if failed > 0.2 * asked else Severity.WARNING,
        surely(failed / asked, 0.01, 0.1),
        f"{failed:.0f} of {asked:.0f} requests ran out of the card's memory{full}",
        (
            Exhibit(
                past or f"{failed:.0f} within the window",
                evidence.asking.queries.rate(REQUESTS, where={"error": "cuda_oom"}),
            ),
        ),
    )


def _oom_rate(reading: Reading) -> float | None:
    return reading.rate(REQUESTS, error="cuda_oom") if reading.found(REQUESTS) else None


def _process(evidence: Evidence) -> Iterator[Sign]:
    for curve in evidence.curve(RESIDENT):
        found = steady(evidence, curve)
        if found is None or found.slope * 3600 < _PROCESS_PER_HOUR or found.low <= 0:
            continue
        yield Sign(
            Severity.WARNING,
            surely(found.rise / max(found.noise, 1.0), 4, 20),
            f"the service's own process grows by {amount(found.slope * 3600)} an hour",
            (
                Exhibit(
                    f"{amount(found.level)} resident (95 %: {amount(found.low * 3600)} to "
                    f"{amount(found.high * 3600)} more an hour)",
                    evidence.asking.queries.foreign(RESIDENT),
                ),
            ),
            subject=curve.labels.get("instance", ""),
        )


def steady(evidence: Evidence, curve: Series) -> Trend | None:
    """Return the trend of a curve that rises for certain and goes on rising, or None.

    What lies before the process' last start, or before memory was last given back, is over.
    """
    points, height = since_last_fall(_running(evidence, curve))
    found = latest(points)
    if found is None or not found.certain or not found.goes_on:
        return None
    if found.level <= _SAME * height:
        return None  # as high as it was before it came down by itself: it will come down again
    return found if found.slope > 0 and found.rise > 3 * found.noise else None


def _running(evidence: Evidence, curve: Series) -> Sequence[Point]:
    """Return a curve since its process was started; by then the model is loaded, or is loading."""
    starts = evidence.curve(STARTED, instance=curve.labels.get("instance", ""))
    began = max((series.value for series in starts), default=0.0)
    return since(curve.points, began + 2 * evidence.spans.step_seconds)


def _total(evidence: Evidence, curve: Series) -> float | None:
    gpu = curve.labels.get("device", "").removeprefix("cuda:")
    where = {"instance": curve.labels.get("instance", ""), "gpu": gpu}
    return evidence.now.sum(GPU_MEMORY_TOTAL, **where)


_OOM = frozenset({"out_of_memory", "errors_rise", "failing_instruction"})

MEMORY_CHECKS = (
    Check(
        "vram_leak",
        "Card memory leaks",
        _leak,
        "Theil-Sen line through vram_used_bytes' floor since the last start or fall, certain by "
        f"Mann-Kendall (z > 3.5), >= {amount(_LEAK_PER_HOUR)} an hour, its last third rising like "
        "the whole",
        (
            "Look for tensors that outlive their request: results kept in a list, an unbounded "
            "cache, a graph kept by autograd (use torch.inference_mode()).",
            "Until the leak is found, restart the worker at a quiet time.",
        ),
        "torch.cuda.memory._record_memory_history(), ten equal requests, then _dump_snapshot(): "
        "what is there ten times is it.",
        ("a cache that fills up to its bound (then it will flatten)",),
        _OOM | {"cache_growth", "fragmentation"},
    ),
    Check(
        "cache_growth",
        "PyTorch's cache grows",
        _cache,
        "the same line through vram_reserved_bytes rises while that of vram_used_bytes does not",
        (
            "Round sizes to a few: each new shape is cached anew.",
            "Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.",
        ),
        "Send one fixed size for ten minutes: the cache must stop growing.",
        ("another library that allocates through PyTorch",),
        _OOM | {"fragmentation"},
    ),
    Check(
        "fragmentation",
        "Card memory is in fragments",
        _fragments,
        f"reserved >= {_SHARES:g} times the most used, and >= {amount(_LEAST_GAP)} more, with "
        "requests out of memory or the card over 80 % reserved",
        (
            "Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.",
            "Let fewer sizes in; restart the worker to begin anew.",
        ),
        "torch.cuda.memory_summary(): large 'inactive split' says that it is fragments.",
        ("one rare request that needed much more",),
        _OOM,
    ),
    Check(
        "out_of_memory",
        "Requests run out of card memory",
        _out,
        'request_total{error="cuda_oom"} >= 2 within the window and >= 0.5 % of the requests',
        (
            "Lower SAFELIGHT_BATCH_LIMIT or SAFELIGHT_IMAGE_SIDE_PIXELS.",
            "Use SAFELIGHT_VAE_TILING=true, or a lower precision.",
        ),
        "Send one request of the largest size alone: if it fails too, it is the size.",
        ("larger pictures than usual", "another program on the card"),
        frozenset({"errors_rise", "failing_instruction"}),
    ),
    Check(
        "process_growth",
        "The service's own process grows",
        _process,
        f"the same line through process_resident_memory_bytes, >= {amount(_PROCESS_PER_HOUR)} an "
        "hour",
        (
            "Look at what waits (queue_depth): waiting pictures are kept in memory.",
            "Restart it outside the rush, and report it.",
        ),
        "Stop the traffic for ten minutes: what does not go back was kept.",
        ("a cache of your own application (with `watch`)",),
        frozenset({"host_memory"}),
    ),
)
