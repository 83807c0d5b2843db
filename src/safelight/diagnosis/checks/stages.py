"""Where a request's time goes when it is not the model's: upload, decoding, a slow reader."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import (
    FEW,
    at_most_busy,
    events,
    latency,
    refused,
    times,
    usually_most,
    waiting,
)
from safelight.diagnosis.confidence import seconds, share, surely
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Judge, Severity, Sign
from safelight.diagnosis.queries import QUICK
from safelight.metrics.catalog import QUEUE_DEPTH, REQUEST_SECONDS, STAGE, STAGE_SECONDS

_SHARE, _SURE_SHARE = 0.4, 0.7  # of a request's time: too much for anything but the model
_GROWN_SHARE, _GROWN = 0.15, 3.0  # less is enough where it is so many times the usual
_LEAST_SECONDS = 0.05
_GROWN_SECONDS = 0.01
_SLOW_ONES = 0.2  # of the requests: a single slow client is nobody's fault
_IDLE = 0.6  # of the device's time
_SLOWER = 1.3  # times the usual time of a request
_HELD = 0.5  # of a request's time, by a device that is free
_BURST = 5  # times the mean queue: they came at once
_MODEL = ("encode_prompt", "encode_image", "denoise", "decode_latents", "predict", "queue")


def _slow_stage(stage: str, does: str) -> Judge:
    """Return the judge of one stage."""

    def judge(evidence: Evidence) -> Iterator[Sign]:
        now, whole = evidence.now, latency(evidence.now)
        mean = now.mean(STAGE_SECONDS, stage=stage)
        number = events(evidence, now.rate(STAGE_SECONDS, "count", stage=stage))
        if mean is None or not whole or number < FEW:
            return
        part = now.rate(STAGE_SECONDS, "sum", stage=stage) / now.rate(REQUEST_SECONDS, "sum")
        past = usually_most(evidence, lambda reading: reading.mean(STAGE_SECONDS, stage=stage))
        factor = mean / past if past else None
        large = part >= _SHARE and mean >= _LEAST_SECONDS
        rose = part >= _GROWN_SHARE and (factor or 0) >= _GROWN and mean >= _GROWN_SECONDS
        if not (large or rose) or not _many(evidence, stage, mean):
            return
        asking = evidence.asking.queries
        yield Sign(
            Severity.WARNING,
            max(surely(part, _SHARE, _SURE_SHARE), surely(factor or 0, _GROWN, 3 * _GROWN)),
            f"{does} takes {seconds(mean)} of a request's {seconds(whole)} ({share(part)})"
            f"{times(factor)}",
            (
                Exhibit(
                    f"stage {stage}: {seconds(mean)} a request, over {number:.0f} requests",
                    asking.mean(STAGE_SECONDS, (STAGE,)),
                ),
                *_idle(evidence),
            ),
        )

    return judge


def _many(evidence: Evidence, stage: str, mean: float) -> bool:
    """Tell whether more than a few requests are slow there; short stages are all alike."""
    if mean < _LEAST_SECONDS * 2:
        return True
    count = evidence.now.rate(STAGE_SECONDS, "count", stage=stage)
    quick = evidence.now.rate(STAGE_SECONDS, QUICK, stage=stage)
    return 1 - quick / count >= _SLOW_ONES


def _idle(evidence: Evidence) -> Iterator[Exhibit]:
    at_work = at_most_busy(evidence)
    if at_work is not None:
        says = f"the device is at work {share(at_work)} of the time"
        yield Exhibit(says + (": it waits for its input" if at_work < _IDLE else ""))


def _outside(evidence: Evidence) -> Iterator[Sign]:
    """Find that requests wait on everything but the model, though no one stage stands out."""
    now, whole = evidence.now, latency(evidence.now)
    at_work = at_most_busy(evidence)
    if not whole or at_work is None or at_work > _IDLE or evidence.requests < FEW:
        return
    parts = now.by("stage", STAGE_SECONDS, "sum")
    total = sum(parts.values())
    outside = {stage: value / total for stage, value in parts.items() if stage not in _MODEL}
    part, mean = sum(outside.values()), whole
    rose = evidence.before.rows and (usually_most(evidence, latency) or mean) * _SLOWER <= mean
    if part < 0.6 or mean * part < 2 * _LEAST_SECONDS or not rose:
        return
    worst = sorted(outside, key=lambda stage: -outside[stage])[:3]
    named = ", ".join(f"{stage} {share(outside[stage])}" for stage in worst)
    yield Sign(
        Severity.WARNING,
        surely(part, 0.6, 0.9),
        f"requests spend {share(part)} of their time outside the model, "
        f"while the device is at work {share(at_work)} of the time",
        (
            Exhibit(f"the most of it: {named}", evidence.asking.queries.mean(STAGE_SECONDS)),
            Exhibit(f"a request takes {seconds(mean)} in the mean"),
        ),
    )


def _unserved(evidence: Evidence) -> Iterator[Sign]:
    """Find that requests wait for the model while it idles."""
    part, at_work = waiting(evidence.now), at_most_busy(evidence)
    whole = latency(evidence.now)
    if part is None or at_work is None or not whole or evidence.requests < FEW:
        return
    if part < _HELD or at_work > 0.5 or whole < 2 * _LEAST_SECONDS or _bursts(evidence.now):
        return
    yield Sign(
        Severity.WARNING,
        surely(part, _HELD, 0.9),
        f"requests wait {share(part)} of their time, though the device is at work only "
        f"{share(at_work)} of the time",
        (
            Exhibit(f"waiting for the model: {seconds(part * whole)} of {seconds(whole)}"),
            *_idle(evidence),
        ),
    )


def _bursts(reading: Reading) -> bool:
    """Tell whether requests wait because they come at once: the device idles before and after."""
    longest, mean = reading.sum(QUEUE_DEPTH, "max") or 0.0, reading.sum(QUEUE_DEPTH) or 0.0
    return refused(reading) > 0 or longest > _BURST * max(mean, 1.0)


_INPUT = ("queue_saturated", "device_starved", "input_output_bottleneck")

STAGE_CHECKS = (
    Check(
        "slow_decode",
        "Decoding pictures is slow",
        _slow_stage("decode", "decoding the picture"),
        f"mean of stage decode; share of a request's time >= {_SHARE:.0%}, or >= {_GROWN:g} times "
        f"the usual and >= {_GROWN_SHARE:.0%}; in >= {_SLOW_ONES:.0%} of the requests",
        (
            "Have callers send JPEG no larger than the model works at (SAFELIGHT_IMAGE_SIDE_PIXELS "
            "tells its side).",
            "Give the host more or faster cores.",
        ),
        "Send the same picture as a JPEG of 512 x 512: `safelight traffic --size 512x512`; the "
        "decode stage must fall.",
        ("the host's cores are busy with something else", "pictures became larger"),
        frozenset({*_INPUT, "slow_encode"}),
    ),
    Check(
        "slow_upload",
        "Callers send their pictures slowly",
        _slow_stage("receive", "receiving the body"),
        "mean of stage receive, by the same limits as slow_decode",
        (
            "Look at the callers' network and at the proxy in front (buffer request bodies there).",
            "Have callers send smaller JPEGs: the model works at its own size.",
        ),
        "Send the same request from the service's own host: `safelight traffic`; if it is fast, it "
        "is the way to the service.",
        ("callers send larger bodies", "a proxy that throttles"),
        frozenset(_INPUT),
    ),
    Check(
        "slow_client",
        "Callers read their answers slowly",
        _slow_stage("respond", "sending the answer"),
        "mean of stage respond, by the same limits as slow_decode",
        ("Put a proxy that buffers answers in front.", "Ask callers whether they read at once."),
        "Fetch one answer from the service's own host and compare its respond stage "
        "(Server-Timing tells).",
        ("a slow network back to the caller",),
        frozenset(_INPUT),
    ),
    Check(
        "slow_encode",
        "Encoding answers is slow",
        _slow_stage("encode", "encoding the answer"),
        "mean of stage encode, by the same limits as slow_decode",
        (
            "Give the host more cores: answers are encoded beside the model.",
            "Let callers ask for smaller pictures.",
        ),
        "Ask for a picture of half the side; the encode stage must fall to a quarter.",
        ("the host's cores are busy with something else",),
        frozenset({"device_starved", "input_output_bottleneck"}),
    ),
    Check(
        "slow_transfer",
        "Pictures reach the worker slowly",
        _slow_stage("transfer", "the way between the API and its worker"),
        "mean of stage transfer, by the same limits as slow_decode",
        (
            "See whether the host swaps or its cores are all busy.",
            "Run fewer services on this host.",
        ),
        "Watch host_cpu_utilization_ratio while one request runs alone.",
        ("the host's cores are busy with something else",),
        frozenset({"device_starved", "input_output_bottleneck"}),
    ),
    Check(
        "input_output_bottleneck",
        "Requests wait on input and output, not on the model",
        _outside,
        "stages outside the model >= 60 % of the time, device at work <= 60 %, the mean request >= "
        f"{_SLOWER:g} times the usual",
        ("Look at the stages named, the largest first.",),
        "`safelight top` while one request runs: the stage that stays is it.",
        ("the host's cores are busy with something else",),
    ),
    Check(
        "device_starved",
        "Requests wait though the device idles",
        _unserved,
        f"share of waiting >= {_HELD:.0%} with the device at work <= 50 %, none refused, and the "
        f"longest queue <= {_BURST} times the mean one",
        (
            "Look for a loading, hung or lost worker (workers_ready, worker_restarts_total).",
            "Check whether one of your own limits holds requests back (MAX_CONCURRENT_REQUESTS).",
        ),
        "`safelight top`: does queue_depth stand while the device is idle?",
        ("requests come in bursts, and the mean hides it",),
        frozenset({"queue_saturated"}),
    ),
)
