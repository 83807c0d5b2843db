"""Whether more is asked than can be done: traffic, queue, device, batches, compilation."""

from collections.abc import Iterator, Mapping

from safelight.diagnosis.checks.common import (
    FEW,
    at_most_busy,
    busy,
    events,
    grown,
    latency,
    refused,
    usual,
    usually_most,
    waiting,
)
from safelight.diagnosis.confidence import seconds, share, surely
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import LATELY, LATELY_PARTS
from safelight.metrics.catalog import (
    BATCH_LIMIT,
    BATCH_SIZE,
    BATCH_SPEEDUP,
    IMAGES,
    INFERENCE_SECONDS,
    QUEUE_DEPTH,
    REQUESTS,
    WARM_UPS,
)

_BUSY, _WAITS, _REFUSES = 0.9, 0.4, 0.02
_LONG_WAIT = 0.6
_MORE, _MUCH_MORE = 2.0, 4.0  # times the usual traffic
_MORE_LATELY = 2.5  # over the end of the window, where chance weighs more
_MIXED = 0.4  # of the requests are of another kind than usual
_COMPILES, _COMPILING = 3, 0.05
_CAP_HALVED = 0.5


def _rate(reading: Reading) -> float | None:
    return reading.sum(REQUESTS)


def _waits(evidence: Evidence, limit: float) -> bool:
    """Tell whether requests wait much, and long enough for a caller to notice."""
    part, whole = waiting(evidence.now), latency(evidence.now)
    return bool(part and whole and part >= limit and part * whole >= 0.1)


def _saturated(evidence: Evidence) -> Iterator[Sign]:
    at_work = busy(evidence.now, LATELY)
    if at_work is None or at_work < _BUSY or evidence.requests < FEW:
        return
    turned = refused(evidence.now)
    if not _waits(evidence, _WAITS) and turned < _REFUSES:
        return
    part = waiting(evidence.now) or 0.0
    yield Sign(
        Severity.WARNING,
        surely(at_work, _BUSY - 0.1, 1.0),
        f"the device is at work {share(at_work)} of the time, and more is asked than it can do",
        (
            Exhibit(f"requests wait {share(part)} of their time, {share(turned)} are refused"),
            Exhibit(
                f"{_rate(evidence.now) or 0:.2f} requests a second",
                evidence.asking.queries.rate(REQUESTS),
            ),
        ),
    )


def _queue(evidence: Evidence) -> Iterator[Sign]:
    if evidence.requests < FEW:
        return
    turned, part = refused(evidence.now), waiting(evidence.now) or 0.0
    if not _waits(evidence, _LONG_WAIT) and turned < _REFUSES:
        return
    longest = evidence.now.sum(QUEUE_DEPTH, "max") or 0.0
    at_work = at_most_busy(evidence)
    bursts = at_work is not None and at_work < _BUSY - 0.1
    yield Sign(
        Severity.WARNING,
        max(surely(part, _LONG_WAIT, 0.9), surely(turned, _REFUSES, 0.2)),
        f"requests wait {share(part)} of their time and {share(turned)} are refused"
        + (": they come in bursts, for the device has time in between" if bursts else ""),
        (
            Exhibit(
                f"up to {longest:.0f} requests waited at once",
                evidence.asking.queries.select(QUEUE_DEPTH),
            ),
            *([] if at_work is None else [Exhibit(f"the device is at work {share(at_work)}")]),
        ),
    )


def _batches(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    limit, mean = now.level(BATCH_LIMIT, "last"), now.mean(BATCH_SIZE)
    batches = now.by("stop_reason", BATCH_SIZE, "count")
    whole = sum(batches.values())
    if not limit or not mean or not whole or evidence.requests < FEW:
        return
    capped = batches.get("cap", 0.0) / whole
    past = usually_most(evidence, lambda reading: reading.level(BATCH_LIMIT))
    halved = past is not None and limit <= _CAP_HALVED * past
    if _waits(evidence, _WAITS) and capped >= (0.2 if halved else 0.5) and (halved or limit < 1.5):
        was = f", where it was {past:.0f}" if halved else ""
        says = f"batches end at {limit:.0f}{was}, while {share(waiting(now) or 0)} of the time is"
        says += " waiting"
    elif (gain := now.level(BATCH_SPEEDUP)) and mean >= 4 and gain < 1.1:
        says = f"batches of {mean:.1f} bring only {gain:.2f} times the pictures, and take longer"
    else:
        return
    yield Sign(
        Severity.WARNING,
        surely(capped, 0.0, 0.4) if halved else 0.7,
        says,
        (
            Exhibit(f"{share(capped)} of the batches ended at the cap"),
            Exhibit(f"a batch holds {mean:.1f} requests", evidence.asking.queries.mean(BATCH_SIZE)),
        ),
    )


def _shift(evidence: Evidence) -> Iterator[Sign]:
    if events(evidence, _rate(evidence.now) or 0.0) < FEW:
        return
    factor = grown(evidence, _rate)
    other = max(moved(evidence, INSTRUCTION), moved(evidence, SIZE))
    lately = _lately(evidence)
    more = (factor or 0) >= _MORE or lately >= _MORE_LATELY
    factor = max(factor or 0.0, lately)
    if not more and other < _MIXED:
        return
    slower = grown(evidence, latency) or 1.0
    hurts = slower >= 1.5 or _waits(evidence, _WAITS) or refused(evidence.now) >= _REFUSES
    says = f"{factor:.1f} times the usual requests come" if more else _of_another_kind(evidence)
    yield Sign(
        Severity.WARNING if hurts else Severity.INFO,
        max(surely(factor, _MORE, _MUCH_MORE), surely(other, _MIXED, 0.8)),
        says + (f", and requests take {slower:.1f} times as long" if hurts else ""),
        (
            Exhibit(
                f"{_rate(evidence.now) or 0:.2f} requests a second, usually "
                f"{usual(evidence, _rate) or 0:.2f}",
                evidence.asking.queries.rate(REQUESTS),
            ),
            Exhibit(f"{share(other)} of the requests are of another type or size than usual"),
        ),
    )


def _lately(evidence: Evidence) -> float:
    """Return how many times the usual traffic comes at the window's end, 0 of too few requests."""
    rate, past = evidence.now.rate(REQUESTS, LATELY), usually_most(evidence, _rate)
    return rate / past if past and events(evidence, rate) / LATELY_PARTS >= FEW else 0.0


INSTRUCTION, SIZE = (REQUESTS, "instruction_type"), (IMAGES, "image_size")


def moved(evidence: Evidence, kind: tuple[object, str], part: str = "") -> float:
    """Return which share of the requests is of another kind than before (total variation)."""
    now, then = _shares(evidence.now, kind, part), _shares(evidence.before, kind)
    yesterday = _shares(evidence.yesterday, kind)
    past = [mix for mix in (then, yesterday) if mix]
    if not now or not past:
        return 0.0
    return min(sum(max(0.0, own - mix.get(name, 0.0)) for name, own in now.items()) for mix in past)


def _shares(reading: Reading, kind: tuple[object, str], part: str = "") -> Mapping[str, float]:
    metric, label = kind
    counts = reading.by(label, metric, part)  # type: ignore[arg-type]
    total = sum(counts.values())
    return {name: value / total for name, value in counts.items()} if total > 0 else {}


def _of_another_kind(evidence: Evidence) -> str:
    """Return what came more often than usual, by its name."""
    for kind, word in ((SIZE, "of size"), (INSTRUCTION, "of type")):
        now, then = _shares(evidence.now, kind), _shares(evidence.before, kind)
        if now and moved(evidence, kind) >= _MIXED:
            name = max(now, key=lambda each: now[each] - then.get(each, 0.0))
            return (
                f"{share(now[name])} of the requests are {word} {name}, usually "
                f"{share(then.get(name, 0.0))}"
            )
    return "other requests come than usual"


def _compiles(evidence: Evidence) -> Iterator[Sign]:
    calls = events(evidence, evidence.now.rate(INFERENCE_SECONDS, "count"))
    compiled = events(evidence, evidence.now.rate(WARM_UPS))
    part = compiled / (compiled + calls) if compiled else 0.0
    if compiled < _COMPILES or part < _COMPILING:
        return
    mean = evidence.now.mean(INFERENCE_SECONDS)
    typical = f"; others take {seconds(mean)}" if mean else ""
    yield Sign(
        Severity.WARNING,
        surely(part, _COMPILING, 0.3),
        f"torch.compile was at work in {compiled:.0f} calls of the last {compiled + calls:.0f}: "
        "their callers waited for it",
        (
            Exhibit(
                f"{compiled:.0f} calls compiled{typical}", evidence.asking.queries.rate(WARM_UPS)
            ),
        ),
    )


_AFTER = frozenset({"device_saturated", "queue_saturated", "input_output_bottleneck"})

LOAD_CHECKS = (
    Check(
        "traffic_shift",
        "The traffic is not what it was",
        _shift,
        f"requests a second >= {_MORE:g} times the most usual (>= {_MORE_LATELY:g} over the "
        f"window's last third), or >= {_MIXED:.0%} of them of another type or size; a warning only "
        "where requests suffer from it",
        (
            "Add an instance, or limit each caller (SAFELIGHT_RATE_LIMIT_PER_MINUTE).",
            "Find who sends it: the access log has the callers' keys.",
        ),
        "Limit the caller who sends most for five minutes; waiting must fall to what it was.",
        ("callers retry because answers are slow",),
        _AFTER | {"slow_steps", "slow_decode", "slow_encode", "errors_rise", "wrong_batch_cap"},
    ),
    Check(
        "device_saturated",
        "The device is full",
        _saturated,
        f"device seconds a second and worker >= {_BUSY:.0%}, with waiting >= {_WAITS:.0%} or "
        f">= {_REFUSES:.0%} refused",
        (
            "Add an instance or a card.",
            "Use fewer steps, smaller pictures or a lower precision.",
            "Shed what matters least: X-Priority: low, SAFELIGHT_QUEUE_LIMIT.",
        ),
        "Halve the traffic with a rate limit for five minutes: waiting must vanish.",
        ("the device became slower than it was (see slow_steps)",),
        frozenset({"queue_saturated", "errors_rise"}),
    ),
    Check(
        "queue_saturated",
        "The queue is too long or too short",
        _queue,
        f"waiting >= {_LONG_WAIT:.0%} of requests' time, or >= {_REFUSES:.0%} refused for want of "
        "capacity",
        (
            "If the device has time in between: raise SAFELIGHT_QUEUE_LIMIT, or smooth the bursts.",
            "If it has none: see device_saturated.",
        ),
        "Send the same number of requests evenly: `safelight traffic --rate`; if none is refused, "
        "it was the bursts.",
        ("a worker is missing", "the device became slower"),
        frozenset({"errors_rise"}),
    ),
    Check(
        "wrong_batch_cap",
        "Batches have the wrong size",
        _batches,
        "batches that end at the cap >= 50 % with waiting >= 40 %, and a cap of 1 or half of what "
        "it was; or batches of >= 4 that gain < 10 %",
        (
            "Raise SAFELIGHT_BATCH_LIMIT, or free the memory that keeps batches small.",
            "Where larger batches gain nothing, lower it: each caller then waits less.",
        ),
        "Set SAFELIGHT_BATCH_LIMIT to twice its value for five minutes and compare pictures a "
        "second.",
        ("the ladder of degradation made batches smaller (degradation_level)",),
        _AFTER,
    ),
    Check(
        "cold_compile",
        "Requests wait for torch.compile",
        _compiles,
        f">= {_COMPILES} calls that compiled within the window, >= {_COMPILING:.0%} of the calls",
        (
            "Warm up every size that callers send, or round sizes to a few.",
            "Compile with dynamic shapes, or not at all.",
        ),
        "Send two requests of the same new size: only the first may be slow.",
        ("the process was started just now",),
        _AFTER | {"slow_steps", "slow_early_steps", "device_starved"},
    ),
)
