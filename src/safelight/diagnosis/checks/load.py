"""Checks of the load: traffic, device, queue, batches and compilation."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import (
    MIN_REQUESTS,
    MIN_WAIT_SECONDS,
    SIZE_MIX,
    TYPE_MIX,
    device_busy,
    events,
    growth,
    is_young,
    mean_latency,
    mix_change,
    mix_shares,
    peak_device_busy,
    queue_hurts,
    queue_share,
    recent_growth,
    refused_share,
    refuses,
    request_rate,
    usual_high,
    usual_low,
)
from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Statistic, Window
from safelight.metrics.catalog import (
    BATCH_LIMIT,
    BATCH_SIZE,
    BATCH_SPEEDUP,
    INFERENCE_SECONDS,
    QUEUE_DEPTH,
    REQUESTS,
    STOP,
    WARM_UPS,
)
from safelight.rules.thresholds import DEFAULTS
from safelight.units import counted, duration, percent, share

_BUSY = 0.9
_WAIT_SHARE, _LONG_WAIT_SHARE = 0.4, 0.6  # shares of the latency
_CERTAINLY_REFUSED = 0.2  # of the requests
_COMPILED_SECONDS = 1800  # in which the limit counts calls that compile
_TRAFFIC, _TRAFFIC_CERTAIN, _RECENT_TRAFFIC = 2.0, 4.0, 2.5  # times the usual traffic
_SLOWER = 1.5  # times the usual latency
_MIXED, _CERTAINLY_MIXED = 0.4, 0.8  # of the requests
_MIN_COMPILED, _COMPILED, _CERTAINLY_COMPILED = 3, 0.05, 0.3
_CAPPED, _CAPPED_HALVED, _CERTAINLY_CAPPED = 0.5, 0.2, 0.4  # of the batches
_CAP, _HALVED = 1, 0.5  # requests; times the usual cap
_LARGE_BATCH, _MIN_GAIN = 4, 1.1


def _device_saturated(evidence: Evidence) -> Iterator[Sign]:
    busy = device_busy(evidence.now, Window.LAST_THIRD)
    if busy is None or busy < _BUSY or evidence.requests < MIN_REQUESTS:
        return
    refused = refused_share(evidence.now)
    if not queue_hurts(evidence, _WAIT_SHARE) and not refuses(evidence):
        return
    part = queue_share(evidence.now) or 0.0
    yield Sign(
        Severity.WARNING,
        confidence_of(busy, _BUSY - 0.1, 1.0),
        f"the device is busy {share(busy)} of the time and cannot serve all requests",
        (
            Exhibit(
                f"requests spend {share(part)} of their latency in the queue; {share(refused)} are "
                "refused"
            ),
            Exhibit(
                f"{request_rate(evidence.now) or 0:.2f} requests per second",
                evidence.queries.rate(REQUESTS),
            ),
        ),
    )


def _queue_saturated(evidence: Evidence) -> Iterator[Sign]:
    if evidence.requests < MIN_REQUESTS:
        return
    refused, part = refused_share(evidence.now), queue_share(evidence.now) or 0.0
    if not queue_hurts(evidence, _LONG_WAIT_SHARE) and not refuses(evidence):
        return
    longest = evidence.now.sum(QUEUE_DEPTH, Statistic.MAX) or 0.0
    busy = peak_device_busy(evidence)
    bursts = busy is not None and busy < _BUSY - 0.1
    yield Sign(
        Severity.WARNING,
        max(
            confidence_of(part, _LONG_WAIT_SHARE, 0.9),
            confidence_of(refused, evidence.limits.refused_ratio, _CERTAINLY_REFUSED),
        ),
        f"requests spend {share(part)} of their latency in the queue and {share(refused)} are "
        "refused"
        + ("; they come in bursts, because the device is idle in between" if bursts else ""),
        (
            Exhibit(
                f"up to {counted(longest, 'request')} waited at once",
                evidence.queries.select(QUEUE_DEPTH),
            ),
            *([] if busy is None else [Exhibit(f"the device is busy {share(busy)} of the time")]),
        ),
    )


def _batches(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    limit, mean = now.level(BATCH_LIMIT, Statistic.LAST), now.mean(BATCH_SIZE)
    batches = now.sums_by(STOP, BATCH_SIZE, Statistic.COUNT)
    total = sum(batches.values())
    if not limit or not mean or not total or evidence.requests < MIN_REQUESTS:
        return
    capped = batches.get("cap", 0.0) / total
    usual = usual_high(evidence, lambda reading: reading.level(BATCH_LIMIT))
    halved = usual is not None and limit <= _HALVED * usual
    is_capped = capped >= (_CAPPED_HALVED if halved else _CAPPED)
    if queue_hurts(evidence, _WAIT_SHARE) and is_capped and (halved or limit < _CAP + 0.5):
        before = f" (before: {usual:.0f})" if halved else ""
        verdict = (
            f"batches are capped at {limit:.0f}{before}, while requests spend "
            f"{share(queue_share(now) or 0)} of their latency in the queue"
        )
    elif (gain := now.level(BATCH_SPEEDUP)) and mean >= _LARGE_BATCH and gain < _MIN_GAIN:
        verdict = (
            f"batches of {mean:.1f} requests only make {gain:.2f} times as many images per second, "
            "and each caller waits longer"
        )
    else:
        return
    yield Sign(
        Severity.WARNING,
        confidence_of(capped, 0.0, _CERTAINLY_CAPPED) if halved else 0.7,
        verdict,
        (
            Exhibit(f"{share(capped)} of the batches reached the cap"),
            Exhibit(f"a batch has {mean:.1f} requests", evidence.queries.mean(BATCH_SIZE)),
        ),
    )


def _traffic_shift(evidence: Evidence) -> Iterator[Sign]:
    if events(evidence, request_rate(evidence.now) or 0.0) < MIN_REQUESTS or is_young(evidence):
        return
    recent = recent_growth(evidence)
    mix_shift = max(mix_change(evidence, TYPE_MIX), mix_change(evidence, SIZE_MIX))
    factor = growth(evidence, request_rate) or 0.0
    rate_rose = factor >= _TRAFFIC or recent >= _RECENT_TRAFFIC
    factor = max(factor, recent)
    if not rate_rose and mix_shift < _MIXED:
        return
    slowdown = growth(evidence, mean_latency) or 1.0
    overload = queue_hurts(evidence, _WAIT_SHARE) or refuses(evidence)
    is_harmful = slowdown >= _SLOWER or overload
    verdict = f"traffic is {factor:.1f} times the usual rate" if rate_rose else _mix_text(evidence)
    yield Sign(
        Severity.WARNING if is_harmful else Severity.INFO,
        max(
            confidence_of(factor, _TRAFFIC, _TRAFFIC_CERTAIN),
            confidence_of(mix_shift, _MIXED, _CERTAINLY_MIXED),
        ),
        verdict + (f", and requests take {slowdown:.1f} times as long" if is_harmful else ""),
        (
            Exhibit(
                f"{request_rate(evidence.now) or 0:.2f} requests per second, usually "
                f"{usual_low(evidence, request_rate) or 0:.2f}",
                evidence.queries.rate(REQUESTS),
            ),
            Exhibit(f"{share(mix_shift)} of the requests have another type or size than usual"),
        ),
    )


def _mix_text(evidence: Evidence) -> str:
    """Return the name of the size or type whose share rose most."""
    for mix, word in ((SIZE_MIX, "size"), (TYPE_MIX, "type")):
        now, then = mix_shares(evidence.now, mix), mix_shares(evidence.before, mix)
        if now and mix_change(evidence, mix) >= _MIXED:
            name = max(now, key=lambda each: now[each] - then.get(each, 0.0))
            return (
                f"{share(now[name])} of the requests have {word} {name}, usually "
                f"{share(then.get(name, 0.0))}"
            )
    return "the mix of requests is not the usual one"


def _cold_compile(evidence: Evidence) -> Iterator[Sign]:
    calls = events(evidence, evidence.now.rate(INFERENCE_SECONDS, Statistic.COUNT))
    compiled = events(evidence, evidence.now.rate(WARM_UPS))
    part = compiled / (compiled + calls) if compiled else 0.0
    limit = evidence.limits.warm_ups * evidence.spans.window_seconds / _COMPILED_SECONDS
    if compiled < max(_MIN_COMPILED, limit) or part < _COMPILED:
        return
    mean = evidence.now.mean(INFERENCE_SECONDS)
    others = f"; other calls take {duration(mean)}" if mean else ""
    yield Sign(
        Severity.WARNING,
        confidence_of(part, _COMPILED, _CERTAINLY_COMPILED),
        f"torch.compile ran in {compiled:.0f} of {compiled + calls:.0f} calls, and their callers "
        "waited for it",
        (Exhibit(f"{compiled:.0f} calls compiled{others}", evidence.queries.rate(WARM_UPS)),),
    )


_EFFECTS = frozenset({"device_saturated", "queue_saturated", "input_output_bottleneck"})
_REFUSED = f">= {percent(DEFAULTS.refused_ratio)} are refused"
_QUEUEING = (
    f"requests spend >= {percent(_WAIT_SHARE)} of their latency, and "
    f">= {duration(MIN_WAIT_SECONDS)}, in the queue"
)

LOAD_CHECKS = (
    Check(
        "traffic_shift",
        "The traffic changed",
        _traffic_shift,
        f"the request rate is >= {_TRAFFIC:g} times the usual rate (>= {_RECENT_TRAFFIC:g} times "
        f"in the window's last third), or >= {percent(_MIXED)} of the requests have another type "
        f"or size than usual, with >= {MIN_REQUESTS} requests, of a service that is as old as the "
        f"compared hour. It is a warning only if the latency is >= {_SLOWER:g} times the usual, "
        f"{_QUEUEING}, or {_REFUSED}",
        (
            "Add an instance, or limit each caller (SAFELIGHT_RATE_LIMIT_PER_MINUTE).",
            "Find the callers of the new traffic in the log of your proxy.",
        ),
        "Limit the caller who sends most for five minutes. The queue time must become normal.",
        ("callers retry because responses are slow",),
        _EFFECTS | {"slow_steps", "slow_decode", "slow_encode", "errors_rise", "wrong_batch_cap"},
        ("refused_ratio",),
    ),
    Check(
        "device_saturated",
        "The device is full",
        _device_saturated,
        f"the device is busy >= {percent(_BUSY)} of the window's last third (device seconds per "
        f"second and worker), with >= {MIN_REQUESTS} requests; and {_QUEUEING}, or {_REFUSED}",
        (
            "Add an instance or a GPU.",
            "Use fewer steps, smaller images or a lower precision.",
            "Refuse less important requests first: X-Priority: low, SAFELIGHT_QUEUE_LIMIT.",
        ),
        "Halve the traffic with a rate limit for five minutes. The queue must become empty.",
        ("the device became slower (see slow_steps)",),
        frozenset({"queue_saturated", "errors_rise"}),
        ("refused_ratio",),
    ),
    Check(
        "queue_saturated",
        "The queue is full",
        _queue_saturated,
        f"requests spend >= {percent(_LONG_WAIT_SHARE)} of their latency, and "
        f">= {duration(MIN_WAIT_SECONDS)}, in the queue, or {_REFUSED} because "
        f"capacity is missing, with >= {MIN_REQUESTS} requests",
        (
            "If the device has idle time, raise SAFELIGHT_QUEUE_LIMIT or smooth the bursts.",
            "If it has none, see device_saturated.",
        ),
        "Send the same number of requests evenly with `safelight traffic --rate`. If none is "
        "refused, bursts are the cause.",
        ("a worker is missing", "the device became slower"),
        frozenset({"errors_rise"}),
        ("refused_ratio",),
    ),
    Check(
        "wrong_batch_cap",
        "The batch size limit is wrong",
        _batches,
        f"{_QUEUEING}, and batches reach the cap: >= {percent(_CAPPED)} of them with a cap of "
        f"{_CAP}, or >= {percent(_CAPPED_HALVED)} of them if the cap is <= {percent(_HALVED)} of "
        f"the usual cap. Or batches of >= {_LARGE_BATCH} requests in the mean make < "
        f"{_MIN_GAIN:g} times as many images per second as single requests. Needs >= "
        f"{MIN_REQUESTS} requests",
        (
            "Raise SAFELIGHT_BATCH_LIMIT, or free GPU memory so that batches can grow.",
            "If larger batches gain nothing, lower it. Each caller then waits less.",
        ),
        "Double SAFELIGHT_BATCH_LIMIT for five minutes and compare images per second.",
        ("the degradation ladder made batches smaller (degradation_level)",),
        _EFFECTS,
    ),
    Check(
        "cold_compile",
        "Requests wait for torch.compile",
        _cold_compile,
        f">= {DEFAULTS.warm_ups:g} calls per {duration(_COMPILED_SECONDS)} compiled, and "
        f">= {_MIN_COMPILED} calls and >= {percent(_COMPILED)} of all calls in the window",
        (
            "Warm up every size that callers send, or round sizes to a few.",
            "Compile with dynamic shapes, or do not compile.",
        ),
        "Send two requests of the same new size. Only the first must be slow.",
        ("the process started a moment ago",),
        _EFFECTS | {"slow_steps", "slow_early_steps", "device_starved"},
        ("warm_ups",),
    ),
)
