"""What the machine lacks: processor, memory, a fast disk, room on it."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import grown, latency, usually_most
from safelight.diagnosis.checks.memory import steady
from safelight.diagnosis.confidence import amount, share, surely, until
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import LATELY
from safelight.diagnosis.slope import Trend
from safelight.metrics.catalog import (
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    STAGE_SECONDS,
)
from safelight.metrics.metric import Metric

_CPU, _CPU_SURE = 0.9, 0.99
_CPU_MORE = 0.2
_FULL, _SURE_FULL, _CRITICAL = 0.92, 0.98, 0.97
_DISK = 0.8  # by then what asks it waits for as long as four others take
_SOON = 4 * 3600.0
_LEAST_SPAN_SECONDS = 900
_HURTS = 1.25
_PROCESSOR = ("validate", "transfer", "decode", "check", "encode")


def _cpu(evidence: Evidence) -> Iterator[Sign]:
    whole = evidence.now.by("instance", HOST_CPU)
    for instance, lately in sorted(evidence.now.by("instance", HOST_CPU, LATELY).items()):
        used = max(lately, whole.get(instance, 0.0))
        past = usually_most(evidence, lambda r, i=instance: r.sum(HOST_CPU, instance=i))  # type: ignore[misc]
        slower = grown(evidence, latency)
        rose = past is not None and used >= past + _CPU_MORE / 2
        hurts = (rose and (slower or 1.0) >= _HURTS) or _own_work(evidence) >= 2
        if used < _CPU or (past is not None and used < past + _CPU_MORE and not hurts):
            continue
        says = f", and requests take {slower:.1f} times as long" if slower and hurts else ""
        odd = past is not None and used >= past + 0.5
        yield Sign(
            Severity.WARNING if hurts or odd else Severity.INFO,
            surely(used, _CPU, _CPU_SURE),
            f"the processor of {instance} is {share(used)} in use{says}",
            (
                Exhibit(
                    share(used) + ("" if past is None else f", usually {share(past)}"),
                    evidence.asking.queries.select(HOST_CPU),
                ),
            ),
            subject=instance,
        )


def _own_work(evidence: Evidence) -> float:
    """Return how many times its usual time the service's own work on the processor takes."""

    def figure(reading: Reading) -> float | None:
        means = [reading.mean(STAGE_SECONDS, stage=stage) for stage in _PROCESSOR]
        return sum(mean for mean in means if mean is not None) or None

    return grown(evidence, figure) or 1.0


def _memory(evidence: Evidence) -> Iterator[Sign]:
    for instance in sorted(evidence.now.by("instance", HOST_MEMORY_USED, "last")):
        # Below a half it is a program that starts, or the kernel that keeps files.
        store = (HOST_MEMORY_USED, HOST_MEMORY_TOTAL, 0.5)
        yield from _filling(
            evidence, store, {"instance": instance}, f"the memory of {instance}", "in use"
        )


def _filesystem(evidence: Evidence) -> Iterator[Sign]:
    for labels, _ in evidence.now.found(HOST_FILESYSTEM_USED, "last"):
        where = {name: labels[name] for name in ("instance", "mountpoint") if name in labels}
        what = f"{labels.get('mountpoint', '')} of {labels.get('instance', '')}"
        store = (HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, 0.0)
        yield from _filling(evidence, store, where, what, "full")


def _filling(
    evidence: Evidence, store: tuple[Metric, Metric, float], where: dict[str, str], *words: str
) -> Iterator[Sign]:
    """Find that something is all but full, or soon will be.

    `store` is its level, its size, and the share from which on its rise is looked at.
    """
    level, size, least = store
    used = evidence.now.sum(level, "last", **where)
    whole = evidence.now.sum(size, **where)
    if used is None or not whole:
        return
    curves = evidence.curve(level, "min", **where)
    rises = steady(evidence, curves[0]) if curves else None
    ends = rises.seconds_to(whole) if rises and used > least * whole else None
    soon = rises is not None and ends is not None and _soon(rises, ends[0])
    if used < _FULL * whole and not soon:
        return
    what, state = words
    when = f", full in {until(ends)}" if ends else ""
    yield Sign(
        Severity.CRITICAL if used > _CRITICAL * whole else Severity.WARNING,
        max(surely(used / whole, _FULL, _SURE_FULL), 0.75 if soon else 0.0),
        f"{what} is {share(used / whole)} {state}{when}",
        (
            Exhibit(
                f"{amount(used)} of {amount(whole)}", evidence.asking.queries.fraction(level, size)
            ),
        ),
        subject=where.get("instance", ""),
    )


def _soon(line: Trend, seconds: float) -> bool:
    """Tell whether an end is near, and seen for long enough not to be a burst."""
    return seconds < _SOON and line.span_seconds >= _LEAST_SPAN_SECONDS


def _disk(evidence: Evidence) -> Iterator[Sign]:
    for labels, lately in evidence.now.found(HOST_DISK_BUSY, LATELY):
        where = {name: labels[name] for name in ("instance", "disk") if name in labels}
        at_work = max(lately, evidence.now.rate(HOST_DISK_BUSY, **where))
        past = usually_most(evidence, lambda r, w=where: r.sum(HOST_DISK_BUSY, **w))  # type: ignore[misc]
        if at_work < _DISK or (past is not None and at_work < past + _CPU_MORE):
            continue
        slower = grown(evidence, latency)
        says = f", and requests take {slower:.1f} times as long" if (slower or 1) > 1.25 else ""
        yield Sign(
            Severity.WARNING,
            surely(at_work, _DISK - 0.1, 1.0),
            f"the disk {labels.get('disk', '')} of {labels.get('instance', '')} is at work "
            f"{share(at_work)} of the time{says}",
            (
                Exhibit(
                    share(at_work) + ("" if past is None else f", usually {share(past)}"),
                    evidence.asking.queries.rate(HOST_DISK_BUSY),
                ),
            ),
            subject=labels.get("instance", ""),
        )


_STAGES = frozenset(
    {
        "slow_decode",
        "slow_encode",
        "slow_transfer",
        "input_output_bottleneck",
        "slow_steps",
        "slow_node",
        "device_starved",
        "queue_saturated",
        "device_saturated",
    }
)

HOST_CHECKS = (
    Check(
        "host_cpu",
        "The machine's processor is full",
        _cpu,
        f"host_cpu_utilization_ratio >= {_CPU:.0%}, of the window or its last third, and >= "
        f"{_CPU_MORE:.0%} above the usual, or requests >= 1.25 times as slow",
        ("See who uses it (top); move what is not the service's away.", "Give it more cores."),
        "Stop the other program for a minute: decode and encode must become fast again.",
        ("more or larger pictures to decode",),
        _STAGES,
    ),
    Check(
        "host_memory",
        "The machine's memory runs out",
        _memory,
        f"host_memory_used_bytes >= {_FULL:.0%}, or full within 4 hours by its line",
        ("Stop what is not needed; restart what grows.", "Give it more memory."),
        "ps --sort -rss: does the largest grow?",
        ("files cached by the kernel do not count here",),
        _STAGES | {"crash_loop", "disk_busy"},
    ),
    Check(
        "disk_busy",
        "The disk is the bottleneck",
        _disk,
        f"host_disk_busy_seconds_total's rate >= {_DISK:.0%}, of the window or its last third, and "
        f">= {_CPU_MORE:.0%} above the usual",
        (
            "See who reads or writes (iotop): swapping, logs, a model that is loaded again.",
            "Put models, logs and Prometheus on disks of their own.",
        ),
        "Stop that program for a minute and watch the rate.",
        ("memory is short, and the machine swaps",),
        frozenset({"slow_transfer", "input_output_bottleneck", "device_starved", "slow_upload"}),
    ),
    Check(
        "filesystem_full",
        "A file system runs full",
        _filesystem,
        f"used >= {_FULL:.0%}, or full within 4 hours by its line",
        ("Remove what is not needed: old models, logs, Prometheus' data (--retention).",),
        "du -x --max-depth=2 on it, twice, ten minutes apart.",
        ("a file that was deleted but is still open",),
        frozenset({"monitoring_gap"}),
    ),
)
