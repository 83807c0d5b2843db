"""Checks of the denoising loop: slow steps, overridden guidance, and mixed precisions."""

from collections.abc import Iterator
from dataclasses import dataclass

from safelight.diagnosis.checks.common import SIZE_MIX, events, mix_change, usual_high, usual_low
from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence, Reading, Where
from safelight.diagnosis.finding import Check, Exhibit, Judge, Severity, Sign
from safelight.diagnosis.queries import Statistic, Window
from safelight.metrics.buckets import STEP_PLACES
from safelight.metrics.catalog import (
    BATCH_SIZE,
    DEVICE,
    GUIDANCE_OVERRIDDEN,
    INFERENCE_SECONDS,
    MODEL_INFO,
    PARAMETER,
    PRECISION,
    STEP,
    STEP_SECONDS,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import INSTANCE
from safelight.units import by_numbers, duration, percent, share

# A half window has half as many calls, so its noise is larger by the square root of two.
_SLOWER, _SLOWER_IN_HALF, _CERTAINLY_SLOWER = 1.3, 1.4, 2.5
_RATIO_GROWN, _LARGE_RATIO = 1.25, 2  # times the usual ratio of steps; the ratio itself
_MIN_CALLS = 10
_RESIZED = 0.15  # of the images
_OVERRIDDEN, _CERTAINLY_OVERRIDDEN, _MIN_OVERRIDDEN = 0.05, 0.3, 3
_MIXED, _PRECISIONS, _SINGLE = 0.05, 2, "float32"
_EARLY, _LATE = STEP_PLACES[:1], STEP_PLACES[2:]
_FIRST, _MIN_FIRST_STEPS = STEP_PLACES[0], 50  # of every call: one call alone proves nothing


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the window, and the factor from which steps are slow in it."""

    window: Window
    slower: float

    def count(self, evidence: Evidence, histogram: Metric, where: Where | None = None) -> float:
        """Return the number of observations in it."""
        rate = evidence.now.rate(histogram, Statistic.COUNT, self.window, where)
        return events(evidence, rate) / self.window.divisor


_PARTS = (_Part(Window.WHOLE, _SLOWER), _Part(Window.SECOND_HALF, _SLOWER_IN_HALF))


def _slow_places(places: tuple[str, ...], word: str) -> Judge:
    """Return the judge of the steps at these places against the other steps."""

    def ratio(reading: Reading, window: Window = Window.WHOLE) -> float | None:
        means = reading.means_by(STEP, STEP_SECONDS, window)
        selected = [means[place] for place in places if place in means]
        rest = [mean for place, mean in means.items() if place not in places]
        return max(selected) / min(rest) if selected and rest and min(rest) > 0 else None

    def judge(evidence: Evidence) -> Iterator[Sign]:
        usual = usual_high(evidence, ratio)
        slow = [
            (confidence_of(now, part.slower, _CERTAINLY_SLOWER), now, part)
            for part in _PARTS
            if (now := ratio(evidence.now, part.window)) is not None
            and now >= part.slower
            and (usual is None or now >= _RATIO_GROWN * usual or now >= _LARGE_RATIO)
            and part.count(evidence, STEP_SECONDS, {STEP: _FIRST}) >= _MIN_FIRST_STEPS
        ]
        if not slow:
            return
        confidence, now, part = max(slow, key=lambda each: each[0])
        means = evidence.now.means_by(STEP, STEP_SECONDS, part.window)
        order = sorted(means, key=by_numbers)
        texts = ", ".join(f"{place}: {duration(means[place])}" for place in order)
        past = f", usually {usual:.1f} times" if usual else ""
        yield Sign(
            Severity.WARNING,
            confidence,
            f"the {word} steps take {now:.1f} times as long as the others{past}",
            (
                Exhibit(
                    f"mean step time by place: {texts}",
                    evidence.queries.mean(STEP_SECONDS, (STEP,)),
                ),
            ),
        )

    return judge


def _slow_steps(evidence: Evidence) -> Iterator[Sign]:
    """Find a model that became slower in its whole loop."""
    for metric, unit in ((STEP_SECONDS, "step"), (INFERENCE_SECONDS, "call")):
        means = (reading.mean(metric) for reading in (evidence.before, evidence.yesterday))
        usual = max((mean for mean in means if mean is not None), default=None)
        if evidence.now.mean(metric) and usual:
            signs = [
                sign for part in _PARTS for sign in _slower(evidence, part, usual, (metric, unit))
            ]
            yield from sorted(signs, key=lambda sign: (-sign.severity, -sign.confidence))[:1]
            return


def _slower(
    evidence: Evidence, part: _Part, usual: float, measured: tuple[Metric, str]
) -> Iterator[Sign]:
    metric, unit = measured
    now = evidence.now.mean(metric, part.window)
    calls = part.count(evidence, INFERENCE_SECONDS)
    limit = part.slower * _batch_growth(evidence, part)
    if not now or calls < _MIN_CALLS or now / usual < limit:
        return
    # Larger images take longer, which is no fault of the model.
    resized = mix_change(evidence, SIZE_MIX, part.window) >= _RESIZED
    yield Sign(
        Severity.INFO if resized else Severity.WARNING,
        confidence_of(now / usual, part.slower, _CERTAINLY_SLOWER),
        f"the model takes {now / usual:.1f} times as long as before: {duration(now)} per {unit}"
        + (", and images have other sizes" if resized else ""),
        (
            Exhibit(
                f"{duration(now)} per {unit}, usually {duration(usual)}",
                evidence.queries.mean(metric),
            ),
        ),
    )


def _batch_growth(evidence: Evidence, part: _Part) -> float:
    """Return how many times larger batches are than usual, at least 1."""
    now = evidence.now.mean(BATCH_SIZE, part.window)
    usual = usual_low(evidence, lambda reading: reading.mean(BATCH_SIZE))
    return max(1.0, now / usual) if now and usual else 1.0


def _silent_guidance(evidence: Evidence) -> Iterator[Sign]:
    calls = evidence.now.rate(INFERENCE_SECONDS, Statistic.COUNT)
    counts = evidence.now.sums_by(PARAMETER, GUIDANCE_OVERRIDDEN)
    name = max(counts, key=lambda each: counts[each], default="")
    if not name or not calls or events(evidence, counts[name]) < _MIN_OVERRIDDEN:
        return
    part = min(1.0, counts[name] / calls)
    if part < _OVERRIDDEN:
        return
    yield Sign(
        Severity.WARNING,
        confidence_of(part, _OVERRIDDEN / 2, _CERTAINLY_OVERRIDDEN),
        f"{share(part)} of the calls set a {name} that the pipeline ignores without an error",
        (
            Exhibit(
                f"{events(evidence, counts[name]):.0f} calls in the window",
                evidence.queries.rate(GUIDANCE_OVERRIDDEN),
            ),
        ),
    )


def _precision_mixup(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    counts = now.sums_by(PRECISION, INFERENCE_SECONDS, Statistic.COUNT)
    total = sum(counts.values())
    if events(evidence, total) < _MIN_CALLS:
        return
    used = sorted(name for name, rate in counts.items() if rate / total >= _MIXED)
    rarest = min(used, key=lambda name: counts[name])
    instances = sorted(
        now.sums_by(INSTANCE, INFERENCE_SECONDS, Statistic.COUNT, where={PRECISION: rarest})
    )
    everywhere = set(now.sums_by(INSTANCE, INFERENCE_SECONDS, Statistic.COUNT))
    on_gpu = {PRECISION: _SINGLE, DEVICE: "cuda:0"}
    if len(used) >= _PRECISIONS and set(instances) != everywhere:
        severity, confidence = Severity.WARNING, 0.9
        verdict = f"instances use different precisions: {', '.join(used)}"
    elif now.select(MODEL_INFO, where=on_gpu) and _SINGLE in used:
        changed = bool(evidence.before.sums_by(PRECISION, MODEL_INFO).keys() - {_SINGLE})
        severity, confidence = (Severity.WARNING, 0.8) if changed else (Severity.INFO, 0.6)
        verdict = f"a model on a GPU runs in {_SINGLE}: twice the memory, half the speed"
    else:
        return
    means = now.means_by(PRECISION, INFERENCE_SECONDS)
    texts = ", ".join(f"{name} {duration(means[name])}" for name in used)
    yield Sign(
        severity,
        confidence,
        verdict,
        (
            Exhibit(
                f"mean call time: {texts}", evidence.queries.mean(INFERENCE_SECONDS, (PRECISION,))
            ),
            Exhibit(f"instances with {rarest}: {', '.join(instances)[:200]}"),
        ),
        subject=instances[0],
    )


_EFFECTS = frozenset({"device_saturated", "queue_saturated", "slow_steps"})
_PLACE_LIMITS = (
    f"is >= {_SLOWER:g} over the window or >= {_SLOWER_IN_HALF:g} over its second half, and "
    f">= {_RATIO_GROWN:g} times the usual ratio (or >= {_LARGE_RATIO}). Needs "
    f">= {_MIN_FIRST_STEPS} steps at the places {_FIRST}, those of ten calls"
)

STEP_CHECKS = (
    Check(
        "slow_early_steps",
        "The first steps are slow",
        _slow_places(_EARLY, "first"),
        f"the mean time of steps {', '.join(_EARLY)}, divided by the shortest mean of the other "
        f"places, {_PLACE_LIMITS}",
        (
            "Warm up the pipeline with the sizes that callers send: the first steps select the "
            "kernels.",
            "On a GPU by NVIDIA, set torch.backends.cudnn.benchmark = False if sizes vary.",
        ),
        "Run two calls of the same size. If the second call's first steps are fast, warm-up is the "
        "cause.",
        ("callers send many different sizes", "memory returns from the host to the GPU"),
        _EFFECTS,
    ),
    Check(
        "slow_late_steps",
        "The last steps are slow",
        _slow_places(_LATE, "last"),
        f"the longest mean time of steps {', '.join(_LATE)}, divided by the shortest mean of the "
        f"other places, {_PLACE_LIMITS}",
        (
            "Look for a callback or a preview whose cost grows with the steps "
            "(SAFELIGHT_PREVIEW_EVERY_STEPS=0).",
            "Look for memory that is kept during the loop.",
        ),
        "Run one call with half the steps. If its last steps are fast, a cost grows per step.",
        ("the GPU throttles because a long call heats it",),
        _EFFECTS,
    ),
    Check(
        "slow_steps",
        "The model is slower than before",
        _slow_steps,
        f"the mean step time (or call time, without steps) is >= {_SLOWER:g} times the usual over "
        f"the window or >= {_SLOWER_IN_HALF:g} times over its second half, multiplied by the "
        f"growth of batches, with >= {_MIN_CALLS} calls; only information if >= "
        f"{percent(_RESIZED)} of the images have another size than usual",
        (
            "Compare model, precision and libraries with the previous deployment.",
            "Check the GPU: clock, temperature, other programs.",
        ),
        "Run `safelight traffic` with one fixed size on this instance and on another.",
        ("larger images or batches", "a GPU that throttles or is shared"),
        frozenset({"device_saturated", "queue_saturated"}),
    ),
    Check(
        "silent_guidance",
        "The pipeline ignores guidance",
        _silent_guidance,
        f"guidance_overridden_total is >= {percent(_OVERRIDDEN)} of the pipeline's calls and "
        f">= {_MIN_OVERRIDDEN} in the window",
        (
            "Use guidance_scale > 1 and image_guidance_scale >= 1. Below, diffusers turns guidance "
            "off.",
            "Reject such requests in your API, or inform the callers.",
        ),
        "Send the same request with image_guidance_scale 1.0 and 0.9 and compare the images.",
        ("a client with wrong defaults",),
        frozenset({"failing_instruction"}),
    ),
    Check(
        "precision_mixup",
        "Instances run in a wrong precision",
        _precision_mixup,
        f">= {_PRECISIONS} precisions have >= {percent(_MIXED)} of the calls each, on different "
        f"instances; or a model on a GPU runs in {_SINGLE}, which is a warning if it was another "
        f"precision before. Needs >= {_MIN_CALLS} calls",
        ("Set the same SAFELIGHT_PRECISION on every instance (float16 or bfloat16 on a GPU).",),
        "Restart the odd instance with the others' precision. Its calls must take the same time.",
        ("an unfinished deployment",),
        _EFFECTS | {"slow_node"},
    ),
)
