"""What the denoising loop tells: slow at its beginning, at its end, everywhere, or misled."""

from collections.abc import Iterator
from dataclasses import dataclass

from safelight.diagnosis.checks.common import FEW, events, usual, usually_most
from safelight.diagnosis.checks.load import SIZE, moved
from safelight.diagnosis.confidence import seconds, share, surely
from safelight.diagnosis.evidence import Evidence, Reading, key
from safelight.diagnosis.finding import Check, Exhibit, Judge, Severity, Sign
from safelight.diagnosis.queries import HALF, HALVES
from safelight.metrics.catalog import (
    BATCH_SIZE,
    GUIDANCE_OVERRIDDEN,
    INFERENCE_SECONDS,
    MODEL_INFO,
    PRECISION,
    STEP,
    STEP_PLACES,
    STEP_SECONDS,
)
from safelight.metrics.metric import Metric

_SLOWER, _SLOWER_IN_HALF, _SURELY_SLOWER = 1.3, 1.4, 2.5
_SLOWER_THAN_USUAL = 1.25
_OVERRIDDEN = 0.05
_RESIZED = 0.15  # of the pictures are of another size
_MIXED = 0.05
_EARLY, _LATE = STEP_PLACES[:1], STEP_PLACES[2:]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the window, and from how many times the usual on steps are slow in it."""

    name: str
    parts: int
    slower: float

    def count(self, evidence: Evidence, histogram: Metric) -> float:
        """Return how many observations there are within it."""
        return events(evidence, evidence.now.rate(histogram, key("count", self.name))) / self.parts


# A half holds half as many calls, and what chance adds weighs the square root of two more.
_PARTS = (_Part("", 1, _SLOWER), _Part(HALF, HALVES, _SLOWER_IN_HALF))


def _apart(places: tuple[str, ...], word: str) -> Judge:
    """Return the judge of the steps at these places, against the others."""

    def ratio(reading: Reading, part: str = "") -> float | None:
        means = reading.means("step", STEP_SECONDS, part)
        own = [means[place] for place in places if place in means]
        rest = [mean for place, mean in means.items() if place not in places]
        return max(own) / min(rest) if own and rest and min(rest) > 0 else None

    def judge(evidence: Evidence) -> Iterator[Sign]:
        past = usually_most(evidence, ratio)
        told = [
            (surely(now, part.slower, _SURELY_SLOWER), now, part)
            for part in _PARTS
            if (now := ratio(evidence.now, part.name)) is not None
            and now >= part.slower
            and (past is None or now >= _SLOWER_THAN_USUAL * past or now >= 2)
            and part.count(evidence, STEP_SECONDS) >= FEW
        ]
        if not told:
            return
        confidence, now, part = max(told, key=lambda each: each[0])
        means = evidence.now.means("step", STEP_SECONDS, part.name)
        seen = ", ".join(f"{place}: {seconds(mean)}" for place, mean in sorted(means.items()))
        was = f"; usually {past:.1f} times" if past else ""
        yield Sign(
            Severity.WARNING,
            confidence,
            f"the {word} steps take {now:.1f} times as long as the others{was}",
            (
                Exhibit(
                    f"mean by place of the step: {seen}",
                    evidence.asking.queries.mean(STEP_SECONDS, (STEP,)),
                ),
            ),
        )

    return judge


def _slow(evidence: Evidence) -> Iterator[Sign]:
    """Find that the model itself is slower than it was, wherever in its loop."""
    for metric, what in ((STEP_SECONDS, "a step"), (INFERENCE_SECONDS, "a call")):
        past = usually_most(evidence, lambda reading, m=metric: reading.mean(m))  # type: ignore[misc]
        if evidence.now.mean(metric) and past:
            signs = [
                sign for part in _PARTS for sign in _slower(evidence, part, past, (metric, what))
            ]
            yield from sorted(signs, key=lambda sign: (-sign.severity, -sign.confidence))[:1]
            return


def _slower(
    evidence: Evidence, part: _Part, past: float, measured: tuple[Metric, str]
) -> Iterator[Sign]:
    metric, what = measured
    now = evidence.now.mean(metric, part.name)
    calls = part.count(evidence, INFERENCE_SECONDS)
    if not now or calls < FEW / 2 or now / past < part.slower * _larger(evidence, part):
        return
    # Larger pictures take longer: that is no fault of the model's.
    grown = moved(evidence, SIZE, part.name) >= _RESIZED
    yield Sign(
        Severity.INFO if grown else Severity.WARNING,
        surely(now / past, part.slower, _SURELY_SLOWER),
        f"the model takes {now / past:.1f} times as long as it did: {seconds(now)} {what}"
        + (", and pictures are of other sizes" if grown else ""),
        (
            Exhibit(
                f"{seconds(now)} {what}, usually {seconds(past)}",
                evidence.asking.queries.mean(metric),
            ),
        ),
    )


def _larger(evidence: Evidence, part: _Part) -> float:
    """Return by how much larger batches alone may lengthen a call."""
    now = evidence.now.mean(BATCH_SIZE, part.name)
    past = usual(evidence, lambda r: r.mean(BATCH_SIZE))
    return max(1.0, now / past) if now and past else 1.0


def _guidance(evidence: Evidence) -> Iterator[Sign]:
    calls = evidence.now.rate(INFERENCE_SECONDS, "count")
    worst = evidence.now.by("parameter", GUIDANCE_OVERRIDDEN)
    name = max(worst, key=lambda each: worst[each], default="")
    if not name or not calls or events(evidence, worst[name]) < 3:
        return
    part = min(1.0, worst[name] / calls)
    if part < _OVERRIDDEN:
        return
    yield Sign(
        Severity.WARNING,
        surely(part, _OVERRIDDEN / 2, 0.3),
        f"{share(part)} of the calls ask for a {name} that the pipeline silently does not apply",
        (
            Exhibit(
                f"{events(evidence, worst[name]):.0f} calls within the window",
                evidence.asking.queries.rate(GUIDANCE_OVERRIDDEN),
            ),
        ),
    )


def _precisions(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    counts = now.by("precision", INFERENCE_SECONDS, "count")
    total = sum(counts.values())
    if total * evidence.spans.window_seconds < FEW / 2:
        return
    used = sorted(name for name, rate in counts.items() if rate / total >= _MIXED)
    odd = min(used, key=lambda name: counts[name])
    where = sorted(now.by("instance", INFERENCE_SECONDS, "count", precision=odd))
    everywhere = set(now.by("instance", INFERENCE_SECONDS, "count"))
    if len(used) > 1 and set(where) != everywhere:
        severity, confidence = Severity.WARNING, 0.9
        says = f"instances serve in different precisions: {', '.join(used)}"
    elif now.found(MODEL_INFO, precision="float32", device="cuda:0") and "float32" in used:
        fell = bool(evidence.before.by("precision", MODEL_INFO).keys() - {"float32"})
        severity, confidence = (Severity.WARNING, 0.8) if fell else (Severity.INFO, 0.6)
        says = "a model on a card is served in float32: twice the memory, half the speed"
    else:
        return
    means = now.means("precision", INFERENCE_SECONDS)
    told = ", ".join(f"{name} {seconds(means[name])}" for name in used)
    yield Sign(
        severity,
        confidence,
        says,
        (
            Exhibit(
                f"a call takes: {told}",
                evidence.asking.queries.mean(INFERENCE_SECONDS, (PRECISION,)),
            ),
            Exhibit(f"in {odd}: {', '.join(where)[:200]}"),
        ),
        subject=where[0],
    )


_AFTER = frozenset({"device_saturated", "queue_saturated", "slow_steps"})

STEP_CHECKS = (
    Check(
        "slow_early_steps",
        "The first steps are slow",
        _apart(_EARLY, "first"),
        f"mean of steps 1-5 over the least of the later places >= {_SLOWER:g} (of the window's "
        f"later half {_SLOWER_IN_HALF:g}), and >= {_SLOWER_THAN_USUAL:g} times the usual ratio "
        "(or >= 2)",
        (
            "Warm up the pipeline with the sizes that callers send (the first steps choose the "
            "kernels).",
            "Set torch.backends.cudnn.benchmark = False where sizes vary.",
        ),
        "Run two calls of the same size in a row: if the second's first steps are fast, it is the "
        "warm-up.",
        ("callers send many different sizes", "memory is fetched back from the host"),
        _AFTER,
    ),
    Check(
        "slow_late_steps",
        "The last steps are slow",
        _apart(_LATE, "last"),
        f"mean of steps 11 and later over the least of the earlier places >= {_SLOWER:g} (of the "
        f"window's later half {_SLOWER_IN_HALF:g}), and >= {_SLOWER_THAN_USUAL:g} times the usual "
        "ratio (or >= 2)",
        (
            "Look for a callback or preview that grows with the steps "
            "(SAFELIGHT_PREVIEW_EVERY_STEPS=0).",
            "Look for memory that is kept over the loop.",
        ),
        "Run one call with half the steps: if its last steps are fast, something grows.",
        ("the card throttles when it gets hot in a long call",),
        _AFTER,
    ),
    Check(
        "slow_steps",
        "The model is slower than it was",
        _slow,
        f"mean step (or call) >= {_SLOWER:g} times the most usual, or of the window's later half "
        f">= {_SLOWER_IN_HALF:g} times; times as many as batches are larger",
        (
            "Compare the last deployment's model, precision and libraries with the one before.",
            "Look at the card: clock, heat, who else uses it.",
        ),
        "Run `safelight traffic` with one fixed size on this instance and on another.",
        ("larger pictures or batches", "a card that throttles, or is shared"),
        frozenset({"device_saturated", "queue_saturated"}),
    ),
    Check(
        "silent_guidance",
        "Guidance that is asked for is not applied",
        _guidance,
        f"guidance_overridden_total over the pipeline's calls >= {_OVERRIDDEN:.0%}, at least 3 "
        "calls",
        (
            "Ask for guidance_scale > 1 and image_guidance_scale >= 1; below, diffusers switches "
            "guidance off.",
            "Refuse such requests at your own door, or tell their callers.",
        ),
        "Send the same request with image_guidance_scale 1.0 and 0.9 and compare the pictures.",
        ("a client with wrong defaults",),
        frozenset({"failing_instruction"}),
    ),
    Check(
        "precision_mixup",
        "The precision is not what it should be",
        _precisions,
        f">= 2 precisions with >= {_MIXED:.0%} of the calls each on different instances, or "
        "float32 on a card where it was not",
        ("Set SAFELIGHT_PRECISION alike on every instance (float16 or bfloat16 on a card).",),
        "Restart the odd instance with the others' precision; its calls must take what theirs do.",
        ("a deployment that is half done",),
        _AFTER | {"slow_node"},
    ),
)
