"""Checks of instances and workers: a slow instance, uneven load, crashes, an open circuit."""

from collections.abc import Iterator
from statistics import median

from safelight.diagnosis.checks.common import MIN_REQUESTS, events
from safelight.diagnosis.confidence import confidence_of, wilson
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import STARTED, Statistic, Window
from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEVICE_SECONDS,
    ERROR,
    INFERENCE_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    RESTART,
    STAGE,
    STAGE_SECONDS,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS
from safelight.units import counted, duration, percent, share

_SLOW, _SLOW_OF_TWO, _CERTAINLY_SLOW = 1.4, 1.8, 2.5  # times the median of the others
_MIN_CALLS = 10
_FAIR_SHARES, _FULL, _IDLE = 1.5, 0.9, 0.5  # times a fair share; busy shares of two instances
_ONE_RESTART, _RESTARTS_PER_HOUR = 1, 4
_TOLERANCE = 0.2  # a rate over a window extrapolates: two restarts can read as 1.8
_OPEN, _MIN_REFUSED = 1, 10


def _slow_node(evidence: Evidence) -> Iterator[Sign]:
    for metric in (INFERENCE_SECONDS, REQUEST_SECONDS):
        counts = evidence.now.sums_by(INSTANCE, metric, Statistic.COUNT)
        queued = _queued(evidence) if metric is REQUEST_SECONDS else {}
        means = {
            instance: mean - queued.get(instance, 0.0) / counts[instance]
            for instance, mean in evidence.now.means_by(INSTANCE, metric).items()
            if events(evidence, counts[instance]) >= _MIN_CALLS
            and not (metric is REQUEST_SECONDS and _is_new(evidence, instance))
        }
        if len(means) < 2:
            continue
        worst = max(means, key=lambda each: means[each])
        others = median(mean for instance, mean in means.items() if instance != worst)
        limit = _SLOW if len(means) > 2 else _SLOW_OF_TWO
        if means[worst] < limit * others:
            continue
        unit = "an inference call" if metric is INFERENCE_SECONDS else "a request"
        yield Sign(
            Severity.WARNING,
            confidence_of(means[worst] / others, limit, limit * _CERTAINLY_SLOW / _SLOW),
            f"{worst} is {means[worst] / others:.1f} times slower than the other "
            f"{len(means) - 1} instances",
            (
                Exhibit(
                    f"{unit} takes {duration(means[worst])} on it and {duration(others)} elsewhere",
                    evidence.queries.mean(metric, (INSTANCE,)),
                ),
            ),
            subject=worst,
        )
        return


def _queued(evidence: Evidence) -> dict[str, float]:
    """Return the queue time by instance: a long queue does not make the machine slow."""
    return evidence.now.sums_by(INSTANCE, STAGE_SECONDS, Statistic.SUM, where={STAGE: "queue"})


def _is_new(evidence: Evidence, instance: str) -> bool:
    """Return True if the instance started within the window: first requests are slow."""
    started = evidence.now.maximum(STARTED, where={INSTANCE: instance}) or 0.0
    return evidence.at - started < evidence.spans.window_seconds


def _uneven_load(evidence: Evidence) -> Iterator[Sign]:
    """Find an instance that is overloaded while another is idle."""
    now, window = evidence.now, Window.LAST_THIRD
    ready = {i: n for i, n in now.sums_by(INSTANCE, WORKERS_READY).items() if n > 0}
    requests = {
        instance: events(evidence, rate) / window.divisor
        for instance, rate in now.sums_by(INSTANCE, REQUESTS, window=window).items()
        if instance in ready and not _is_new(evidence, instance)
    }
    spent = now.sums_by(INSTANCE, DEVICE_SECONDS, window=window)
    busy = {i: min(1.0, spent[i] / ready[i]) for i in requests if i in spent}
    total = sum(requests.values())
    if len(busy) < 2 or total < MIN_REQUESTS:
        return
    most = max(busy, key=lambda each: requests[each] / ready[each])
    least = min(busy, key=lambda each: busy[each])
    fair = ready[most] / sum(ready[each] for each in requests)
    low, _ = wilson(requests[most], total)
    if low < _FAIR_SHARES * fair or busy[most] < _FULL or busy[least] > _IDLE:
        return
    yield Sign(
        Severity.WARNING,
        confidence_of(low / fair, _FAIR_SHARES - 0.5, _FAIR_SHARES + 0.5),
        f"{most} gets {share(requests[most] / total)} of the requests, at least {low / fair:.1f} "
        "times its fair share, and is full while another instance is idle",
        (
            Exhibit(
                f"{requests[most]:.0f} of the last {total:.0f} requests to {len(requests)} "
                f"instances; its fair share by workers is {share(fair)}",
                evidence.queries.rate(REQUESTS, (INSTANCE,)),
            ),
            Exhibit(
                f"its device is busy {share(busy[most])} of the time, the device of {least} "
                f"{share(busy[least])}",
                evidence.queries.rate(DEVICE_SECONDS, (INSTANCE,)),
            ),
        ),
        subject=most,
    )


def _crash_loop(evidence: Evidence) -> Iterator[Sign]:
    now = events(evidence, evidence.now.rate(WORKER_RESTARTS))
    before = evidence.before.rate(WORKER_RESTARTS) * evidence.spans.before_seconds
    reasons = evidence.now.sums_by(RESTART, WORKER_RESTARTS)
    limit = max(_ONE_RESTART, evidence.limits.worker_restarts)
    again = now >= _ONE_RESTART - _TOLERANCE and now + before >= _RESTARTS_PER_HOUR
    if now < limit - _TOLERANCE and not again:
        return
    reason = max(reasons, key=lambda each: reasons[each])
    ready = evidence.now.sum(WORKERS_READY, Statistic.MIN)
    lost = events(evidence, evidence.now.rate(REQUESTS, where={ERROR: "worker_lost"}))
    instances = evidence.now.sums_by(INSTANCE, WORKER_RESTARTS)
    instance = max(instances, key=lambda each: instances[each], default="")
    yield Sign(
        Severity.CRITICAL if ready == 0 else Severity.WARNING,
        confidence_of(now + before, _ONE_RESTART, _RESTARTS_PER_HOUR),
        f"workers of {instance} were replaced {now:.0f} times in the window: {reason}",
        (
            Exhibit(
                f"{now:.0f} restarts in the window, {before:.0f} in the hour before",
                evidence.queries.rate(WORKER_RESTARTS),
            ),
            Exhibit(f"{counted(lost, 'request')} failed because their worker died"),
        ),
        subject=instance,
    )


def _circuit_open(evidence: Evidence) -> Iterator[Sign]:
    state = evidence.now.maximum(CIRCUIT_OPEN, Statistic.MAX) or 0.0
    refused = events(evidence, evidence.now.rate(REQUESTS, where={ERROR: "circuit_open"}))
    if state < _OPEN and refused < _MIN_REFUSED:
        return
    errors = evidence.now.sums_by(ERROR, REQUESTS)
    causes = {r: errors.get(r, 0.0) for r in ("model_error", "cuda_oom", "invalid_output")}
    reason = max(causes, key=lambda each: causes[each])
    yield Sign(
        Severity.CRITICAL,
        0.8,
        "the model failed repeatedly, so the circuit breaker refuses requests",
        (
            Exhibit(
                f"{refused:.0f} requests were refused; the most frequent failure is {reason}",
                evidence.queries.select(CIRCUIT_OPEN),
            ),
        ),
    )


FLEET_CHECKS = (
    Check(
        "crash_loop",
        "Workers restart again and again",
        _crash_loop,
        f"worker_restarts_total grows by >= {DEFAULTS.worker_restarts:g} in the window; or by >= "
        f"{_ONE_RESTART} in the window and by >= {_RESTARTS_PER_HOUR} in the window and the hour "
        f"before. Counts may be {_TOLERANCE:g} lower, because rates are extrapolated",
        (
            "Read the worker's last lines in the service's log.",
            "died: look for the out-of-memory killer in the kernel log. hung: check the driver "
            "(dmesg, Xid). poisoned: check the model's CUDA kernels. load_failed: check the "
            "weights and the disk. memory: the model leaks; find what it keeps after a call.",
        ),
        "Serve the same model alone, with one request at a time. Check whether workers still die.",
        ("a person or a script ends the workers",),
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
        limits=("worker_restarts",),
    ),
    Check(
        "circuit_open",
        "The circuit breaker is open",
        _circuit_open,
        f"circuit_open was {_OPEN} in the window, or it refused >= {_MIN_REFUSED} requests",
        ("Check the reason of the failures before the circuit opened.",),
        "Send one request when the breaker lets one through.",
        ("inputs that the model cannot process",),
        frozenset({"errors_rise"}),
    ),
    Check(
        "slow_node",
        "One instance is slower than the others",
        _slow_node,
        f"an instance's mean inference time is >= {_SLOW:g} times the median of the others "
        f"(>= {_SLOW_OF_TWO:g} times with two instances), or, if that is not so, its mean latency "
        "without queueing. Instances that started in the window are left out of the latency. "
        f"Every instance needs >= {_MIN_CALLS} calls",
        ("Remove it from the load balancer. Compare its GPU, clock, driver, precision and host.",),
        "Send the same request to it and to another instance: `safelight traffic URL`.",
        ("it gets more expensive requests than the others",),
        frozenset({"slow_steps", "queue_saturated"}),
    ),
    Check(
        "uneven_load",
        "One instance gets too many requests",
        _uneven_load,
        "in the window's last third, the lower Wilson bound of an instance's share of the requests "
        f"is >= {_FAIR_SHARES:g} times the share of its workers, its device is busy "
        f">= {percent(_FULL)} of the time and another device <= {percent(_IDLE)}, with "
        f">= {MIN_REQUESTS} requests",
        (
            "Configure the load balancer to choose the instance with the fewest open requests.",
            "Turn off sticky sessions. Close keep-alive connections after some requests.",
        ),
        "Send a hundred requests through the load balancer, each over a new connection. If they "
        "spread evenly, keep-alive connections are the cause.",
        ("one caller sends most requests over one connection", "the others refuse requests"),
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
