"""Instances and workers: one that is slower than its like, gets more, keeps dying, is not seen."""

from collections.abc import Iterator
from statistics import median

from safelight.diagnosis.checks.common import FEW, events
from safelight.diagnosis.confidence import seconds, share, surely, wilson
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import LATELY, LATELY_PARTS, STARTED
from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEVICE_SECONDS,
    INFERENCE_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE

_SLOWER, _SLOWER_OF_TWO = 1.4, 1.8
_FEW = 10
_MORE, _FULL, _IDLE = 1.5, 0.9, 0.5  # times a fair share; shares of time at work
_RESTARTS, _RESTARTS_AN_HOUR = 2, 4
_UNSEEN, _SURELY_UNSEEN = 0.15, 0.6
_SILENT_SECONDS = 120.0


def _slow_node(evidence: Evidence) -> Iterator[Sign]:
    for metric in (INFERENCE_SECONDS, REQUEST_SECONDS):
        counts = evidence.now.by("instance", metric, "count")
        waits = _waits(evidence) if metric is REQUEST_SECONDS else {}
        means = {
            instance: mean - waits.get(instance, 0.0) / counts[instance]
            for instance, mean in evidence.now.means("instance", metric).items()
            if events(evidence, counts[instance]) >= _FEW
            and not (metric is REQUEST_SECONDS and _new(evidence, instance))
        }
        if len(means) < 2:
            continue
        worst = max(means, key=lambda each: means[each])
        others = median(mean for instance, mean in means.items() if instance != worst)
        limit = _SLOWER if len(means) > 2 else _SLOWER_OF_TWO
        if means[worst] < limit * others:
            continue
        what = "a call of the model" if metric is INFERENCE_SECONDS else "a request"
        yield Sign(
            Severity.WARNING,
            surely(means[worst] / others, limit, 2.5 * limit / _SLOWER),
            f"{worst} is {means[worst] / others:.1f} times slower than the other "
            f"{len(means) - 1} instances",
            (
                Exhibit(
                    f"{what} takes {seconds(means[worst])} there, elsewhere {seconds(others)}",
                    evidence.asking.queries.mean(metric, (INSTANCE,)),
                ),
            ),
            subject=worst,
        )
        return


def _waits(evidence: Evidence) -> dict[str, float]:
    """Return the time that requests waited, by instance: a long queue is no slow machine."""
    return evidence.now.by("instance", STAGE_SECONDS, "sum", stage="queue")


def _new(evidence: Evidence, instance: str) -> bool:
    """Tell whether an instance was started within the window: its first requests are slow."""
    started = evidence.now.most(STARTED, instance=instance) or 0.0
    return evidence.at - started < evidence.spans.window_seconds


def _uneven(evidence: Evidence) -> Iterator[Sign]:
    """Find that one instance gets more than it can do, while another could do it."""
    now = evidence.now
    ready = {i: n for i, n in now.by("instance", WORKERS_READY).items() if n > 0}
    got = {
        instance: events(evidence, rate) / LATELY_PARTS
        for instance, rate in now.by("instance", REQUESTS, LATELY).items()
        if instance in ready and not _new(evidence, instance)
    }
    spent = now.by("instance", DEVICE_SECONDS, LATELY)
    at_work = {i: min(1.0, spent[i] / ready[i]) for i in got if i in spent}
    whole = sum(got.values())
    if len(at_work) < 2 or whole < FEW:
        return
    most = max(at_work, key=lambda each: got[each] / ready[each])
    least = min(at_work, key=lambda each: at_work[each])
    fair = ready[most] / sum(ready[each] for each in got)
    low, _ = wilson(got[most], whole)
    if low < _MORE * fair or at_work[most] < _FULL or at_work[least] > _IDLE:
        return
    yield Sign(
        Severity.WARNING,
        surely(low / fair, _MORE - 0.5, _MORE + 0.5),
        f"{most} gets {share(got[most] / whole)} of the requests, {low / fair:.1f} times its share "
        "or more, and is full, while another idles",
        (
            Exhibit(
                f"{got[most]:.0f} of {whole:.0f} requests to {len(got)} instances lately; its fair "
                f"share, by its workers, is {share(fair)}",
                evidence.asking.queries.rate(REQUESTS, (INSTANCE,)),
            ),
            Exhibit(
                f"its device is at work {share(at_work[most])} of the time, that of {least} "
                f"{share(at_work[least])}",
                evidence.asking.queries.rate(DEVICE_SECONDS, (INSTANCE,)),
            ),
        ),
        subject=most,
    )


def _crashes(evidence: Evidence) -> Iterator[Sign]:
    now = events(evidence, evidence.now.rate(WORKER_RESTARTS))
    hour = evidence.before.rate(WORKER_RESTARTS) * evidence.spans.before_seconds
    reasons = evidence.now.by("reason", WORKER_RESTARTS)
    if now < _RESTARTS - 0.2 and not (now >= 0.8 and now + hour >= _RESTARTS_AN_HOUR):
        return
    reason = max(reasons, key=lambda each: reasons[each])
    ready = evidence.now.sum(WORKERS_READY, "min")
    lost = events(evidence, evidence.now.rate(REQUESTS, error="worker_lost"))
    where = evidence.now.by("instance", WORKER_RESTARTS)
    instance = max(where, key=lambda each: where[each], default="")
    yield Sign(
        Severity.CRITICAL if ready == 0 else Severity.WARNING,
        surely(now + hour, 1, _RESTARTS_AN_HOUR),
        f"workers of {instance} keep being replaced, {now:.0f} times lately: {reason}",
        (
            Exhibit(
                f"{now:.0f} within the window, {hour:.0f} in the hour before",
                evidence.asking.queries.rate(WORKER_RESTARTS),
            ),
            Exhibit(f"{lost:.0f} requests were lost with them"),
        ),
        subject=instance,
    )


def _circuit(evidence: Evidence) -> Iterator[Sign]:
    opened = evidence.now.most(CIRCUIT_OPEN, "max") or 0.0
    failed = events(evidence, evidence.now.rate(REQUESTS, error="circuit_open"))
    if opened < 1 and failed < _FEW:
        return
    why = evidence.now.by("error", REQUESTS)
    model = {r: why.get(r, 0.0) for r in ("model_error", "cuda_oom", "invalid_output")}
    reason = max(model, key=lambda each: model[each])
    yield Sign(
        Severity.CRITICAL,
        0.8,
        "the model failed so often in a row that it is left alone",
        (
            Exhibit(
                f"{failed:.0f} requests were refused; before, most failed with {reason}",
                evidence.asking.queries.select(CIRCUIT_OPEN),
            ),
        ),
    )


FLEET_CHECKS = (
    Check(
        "crash_loop",
        "Workers keep dying",
        _crashes,
        f"worker_restarts_total >= {_RESTARTS} within the window, or >= {_RESTARTS_AN_HOUR} within "
        "the hour",
        (
            "Read the worker's last words in the service's log.",
            "died: the kernel's log for the out-of-memory killer. hung: the driver (dmesg, Xid). "
            "poisoned: the model's own kernels. load_failed: the weights and the disk.",
        ),
        "Serve the same model alone with one request at a time: does it still die?",
        ("somebody ends them by hand",),
        frozenset(
            {
                "errors_rise",
                "device_starved",
                "queue_saturated",
                "device_saturated",
                "failing_instruction",
                "circuit_open",
                "slow_transfer",
                "input_output_bottleneck",
            }
        ),
    ),
    Check(
        "circuit_open",
        "The model is left alone after failures",
        _circuit,
        "circuit_open was 1 within the window",
        ("Look at the reason that requests failed with before.",),
        "Send one request by itself once it has rested.",
        ("bad input that the model chokes on",),
        frozenset({"errors_rise"}),
    ),
    Check(
        "slow_node",
        "One instance is slower than its like",
        _slow_node,
        f"an instance's mean call >= {_SLOWER:g} times the others' median "
        f"(>= {_SLOWER_OF_TWO:g} with two)",
        ("Take it out of the balancer; compare its card, clock, driver, precision and host.",),
        "Send the same request to it and to another: `safelight traffic URL`.",
        ("it gets other requests than the others",),
        frozenset({"slow_steps", "queue_saturated"}),
    ),
    Check(
        "uneven_load",
        "One instance gets more than its share",
        _uneven,
        f"of the window's last third, an instance gets >= {_MORE:g} times the share of its workers "
        f"by the Wilson interval, is at work >= {_FULL:.0%} of the time and another "
        f"<= {_IDLE:.0%}",
        (
            "Have the balancer choose the instance with the fewest open requests.",
            "Turn sticky sessions off; end connections that are kept open after some requests.",
        ),
        "Send a hundred requests, each over a new connection, through the balancer: if they are "
        "spread evenly, connections that are kept open are it.",
        ("one caller sends most, over one connection", "the others refuse what they get"),
        frozenset(
            {
                "device_saturated",
                "queue_saturated",
                "errors_rise",
                "slow_node",
                "slow_steps",
                "wrong_batch_cap",
                "traffic_shift",
                "input_output_bottleneck",
                "device_starved",
            }
        ),
    ),
)
