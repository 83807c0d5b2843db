"""Checks of the stages outside the model: upload, decoding, encoding, transfer and download."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import (
    MIN_REQUESTS,
    events,
    factor_text,
    mean_latency,
    peak_device_busy,
    queue_share,
    refused_share,
    sleepers,
    usual_high,
)
from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Judge, Severity, Sign
from safelight.diagnosis.queries import FAST_EDGE, Statistic
from safelight.metrics.catalog import QUEUE_DEPTH, REQUEST_SECONDS, STAGE, STAGE_SECONDS
from safelight.units import duration, percent, share

_SHARE, _CERTAIN_SHARE = 0.4, 0.7  # of the latency
_GROWN_SHARE, _GROWN = 0.15, 3.0  # a smaller share is enough if the stage became slower
_MIN_SECONDS, _MIN_GROWN_SECONDS = 0.05, 0.01
_SLOW_REQUESTS, _SHORT_SECONDS = 0.2, 0.1  # one slow client is no fault of the service
_OUTSIDE, _CERTAINLY_OUTSIDE = 0.6, 0.9  # of the time of all stages
_IDLE, _STARVED_IDLE = 0.6, 0.5  # the device is busy at most this share of the time
_SLOWER, _MIN_LATENCY_SECONDS = 1.3, 0.1  # times the usual latency
_HELD, _CERTAINLY_HELD = 0.5, 0.9  # of the latency
_BURST, _MIN_QUEUE = 5, 1.0  # times the mean queue length; requests
_MODEL_STAGES = ("encode_prompt", "encode_image", "denoise", "decode_latents", "predict", "queue")


def _slow_stage(stage: str, action: str) -> Judge:
    """Return the judge of one stage; `action` names the stage's work in a verdict."""

    def judge(evidence: Evidence) -> Iterator[Sign]:
        now, latency, where = evidence.now, mean_latency(evidence.now), {STAGE: stage}
        mean = now.mean(STAGE_SECONDS, where=where)
        number = events(evidence, now.rate(STAGE_SECONDS, Statistic.COUNT, where=where))
        if mean is None or not latency or number < MIN_REQUESTS:
            return
        total = now.rate(REQUEST_SECONDS, Statistic.SUM)
        part = now.rate(STAGE_SECONDS, Statistic.SUM, where=where) / total
        usual = usual_high(evidence, lambda reading: reading.mean(STAGE_SECONDS, where=where))
        factor = mean / usual if usual else None
        large = part >= _SHARE and mean >= _MIN_SECONDS
        grown = part >= _GROWN_SHARE and (factor or 0) >= _GROWN and mean >= _MIN_GROWN_SECONDS
        if not (large or grown) or not _affects_many(evidence, stage, mean):
            return
        yield Sign(
            Severity.WARNING,
            max(
                confidence_of(part, _SHARE, _CERTAIN_SHARE),
                confidence_of(factor or 0, _GROWN, 3 * _GROWN),
            ),
            f"{action} takes {duration(mean)} of a request's {duration(latency)} ({share(part)})"
            f"{factor_text(factor)}",
            (
                Exhibit(
                    f"stage {stage}: {duration(mean)} per request, over {number:.0f} requests",
                    evidence.queries.mean(STAGE_SECONDS, (STAGE,)),
                ),
                *_device_exhibit(evidence),
            ),
        )

    return judge


def _affects_many(evidence: Evidence, stage: str, mean: float) -> bool:
    """Return True if the stage is slow in many requests, or if its mean is too short to judge."""
    if mean < _SHORT_SECONDS:
        return True
    count = evidence.now.rate(STAGE_SECONDS, Statistic.COUNT, where={STAGE: stage})
    fast = evidence.now.rate(STAGE_SECONDS, Statistic.FAST, where={STAGE: stage})
    return 1 - fast / count >= _SLOW_REQUESTS


def _device_exhibit(evidence: Evidence) -> Iterator[Exhibit]:
    busy = peak_device_busy(evidence)
    if busy is not None:
        text = f"the device is busy {share(busy)} of the time"
        yield Exhibit(text + (": it waits for its input" if busy < _IDLE else ""))


def _outside_model(evidence: Evidence) -> Iterator[Sign]:
    """Find requests that wait outside the model, although no single stage stands out."""
    latency, busy = mean_latency(evidence.now), peak_device_busy(evidence)
    if not latency or busy is None or busy > _IDLE or evidence.requests < MIN_REQUESTS:
        return
    parts = evidence.now.sums_by(STAGE, STAGE_SECONDS, Statistic.SUM)
    total = sum(parts.values())
    outside = {stage: value / total for stage, value in parts.items() if stage not in _MODEL_STAGES}
    part = sum(outside.values())
    usual = usual_high(evidence, mean_latency) or latency
    slower = evidence.before.rows and usual * _SLOWER <= latency
    if part < _OUTSIDE or latency * part < _MIN_LATENCY_SECONDS or not slower:
        return
    longest = sorted(outside, key=lambda stage: -outside[stage])[:3]
    names = ", ".join(f"{stage} {share(outside[stage])}" for stage in longest)
    yield Sign(
        Severity.WARNING,
        confidence_of(part, _OUTSIDE, _CERTAINLY_OUTSIDE),
        f"requests spend {share(part)} of their time outside the model, while the device is busy "
        f"only {share(busy)} of the time",
        (
            Exhibit(f"longest stages: {names}", evidence.queries.mean(STAGE_SECONDS)),
            Exhibit(f"the mean latency is {duration(latency)}"),
        ),
    )


def _device_starved(evidence: Evidence) -> Iterator[Sign]:
    """Find requests that wait for the model while it is idle."""
    part, busy = queue_share(evidence.now), peak_device_busy(evidence)
    latency = mean_latency(evidence.now)
    if part is None or busy is None or not latency or evidence.requests < MIN_REQUESTS:
        return
    short = latency < _MIN_LATENCY_SECONDS
    if part < _HELD or busy > _STARVED_IDLE or short or _is_bursty(evidence.now):
        return
    if sleepers(evidence):  # the first request waits until the model is loaded
        return
    yield Sign(
        Severity.WARNING,
        confidence_of(part, _HELD, _CERTAINLY_HELD),
        f"requests spend {share(part)} of their latency in the queue, although the device is busy "
        f"only {share(busy)} of the time",
        (
            Exhibit(f"queue time {duration(part * latency)} of {duration(latency)}"),
            *_device_exhibit(evidence),
        ),
    )


def _is_bursty(reading: Reading) -> bool:
    """Return True if requests queue because they come at once."""
    longest = reading.sum(QUEUE_DEPTH, Statistic.MAX) or 0.0
    mean = reading.sum(QUEUE_DEPTH) or 0.0
    return refused_share(reading) > 0 or longest > _BURST * max(mean, _MIN_QUEUE)


_EFFECTS = ("queue_saturated", "device_starved", "input_output_bottleneck")
_LIMITS = (
    f"takes >= {percent(_SHARE)} of the latency and >= {duration(_MIN_SECONDS)}; or "
    f">= {percent(_GROWN_SHARE)} of the latency, >= {_GROWN:g} times the usual time and "
    f">= {duration(_MIN_GROWN_SECONDS)}. If the mean is >= {duration(_SHORT_SECONDS)}, the stage "
    f"must take longer than {FAST_EDGE} s in >= {percent(_SLOW_REQUESTS)} of the requests. Needs "
    f">= {MIN_REQUESTS} requests"
)

STAGE_CHECKS = (
    Check(
        "slow_decode",
        "Decoding images is slow",
        _slow_stage("decode", "decoding the image"),
        f"the stage decode {_LIMITS}",
        (
            "Ask callers to send JPEG no larger than the model's input "
            "(SAFELIGHT_IMAGE_SIDE_PIXELS).",
            "Give the host more or faster cores.",
        ),
        "Send the same image as a JPEG of 512 x 512: `safelight traffic --size 512x512`. The "
        "decode stage must become shorter.",
        ("other programs use the host's cores", "images became larger"),
        frozenset({*_EFFECTS, "slow_encode"}),
    ),
    Check(
        "slow_upload",
        "Callers upload their images slowly",
        _slow_stage("receive", "receiving the body"),
        "the stage receive exceeds the limits of slow_decode",
        (
            "Check the callers' network. Buffer request bodies in the proxy in front.",
            "Ask callers to send smaller JPEGs: the model scales them to its own size.",
        ),
        "Send the same request from the service's own host: `safelight traffic`. If it is fast, "
        "the network is the cause.",
        ("callers send larger bodies", "a proxy that limits the bandwidth"),
        frozenset(_EFFECTS),
    ),
    Check(
        "slow_client",
        "Callers read responses slowly",
        _slow_stage("respond", "sending the response"),
        "the stage respond exceeds the limits of slow_decode",
        (
            "Put a proxy that buffers responses in front.",
            "Check whether callers read the response immediately.",
        ),
        "Request one image from the service's own host and compare its respond stage in the header "
        "Server-Timing.",
        ("a slow network to the caller",),
        frozenset(_EFFECTS),
    ),
    Check(
        "slow_encode",
        "Encoding images is slow",
        _slow_stage("encode", "encoding the image"),
        "the stage encode exceeds the limits of slow_decode",
        (
            "Give the host more cores: encoding runs beside the model.",
            "Offer smaller images to callers.",
        ),
        "Request an image with half the side length. The encode stage must take a quarter.",
        ("other programs use the host's cores",),
        frozenset({"device_starved", "input_output_bottleneck"}),
    ),
    Check(
        "slow_transfer",
        "Images reach the worker slowly",
        _slow_stage("transfer", "the transfer between the API and its worker"),
        "the stage transfer exceeds the limits of slow_decode",
        (
            "Check whether the host swaps, and whether all its cores are busy.",
            "Run fewer services on this host.",
        ),
        "Watch host_cpu_utilization_ratio while one request runs alone.",
        ("other programs use the host's cores",),
        frozenset({"device_starved", "input_output_bottleneck"}),
    ),
    Check(
        "input_output_bottleneck",
        "Requests wait for input and output, not for the model",
        _outside_model,
        f"stages outside the model and the queue take >= {percent(_OUTSIDE)} of the time and >= "
        f"{duration(_MIN_LATENCY_SECONDS)}, the device is busy <= {percent(_IDLE)} of the time, "
        f"and the mean latency is >= {_SLOWER:g} times the usual. Needs >= {MIN_REQUESTS} requests",
        ("Look at the named stages, the longest first.",),
        "Run `safelight top` while one request runs. The stage that stays is the cause.",
        ("other programs use the host's cores",),
    ),
    Check(
        "device_starved",
        "Requests wait although the device is idle",
        _device_starved,
        f"requests spend >= {percent(_HELD)} of their latency in the queue, the device is busy "
        f"<= {percent(_STARVED_IDLE)} of the time, the mean latency is "
        f">= {duration(_MIN_LATENCY_SECONDS)}, no request is refused, and the longest queue is "
        f"<= {_BURST} times the mean one (at least {_MIN_QUEUE:g}), and no model slept. Needs "
        f">= {MIN_REQUESTS} requests",
        (
            "Look for a worker that loads, hangs or died (workers_ready, worker_restarts_total).",
            "Check whether your own limit holds requests back (MAX_CONCURRENT_REQUESTS).",
        ),
        "Run `safelight top`. Check whether queue_depth stays high while the device is idle.",
        ("requests come in bursts that the mean hides",),
        frozenset({"queue_saturated"}),
    ),
)
