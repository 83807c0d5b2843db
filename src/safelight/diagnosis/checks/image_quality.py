"""Checks of the images: edits that destroy the input, and a lower quality score than before."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from safelight.diagnosis.checks.common import (
    ERROR_LIMIT,
    MIN_REQUESTS,
    ended_with,
    error_limit,
    events,
    may_be_chance,
)
from safelight.diagnosis.confidence import bucket_variance, confidence_of, wilson
from safelight.diagnosis.evidence import Evidence, Where
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Statistic, Window
from safelight.errors import StructureCorruption
from safelight.metrics.catalog import (
    BACKGROUND,
    BACKGROUNDS,
    ERROR,
    INSTRUCTION_TYPE,
    OUTCOME,
    QUALITY_SCORE,
    REQUESTS,
    USER_RATING,
)
from safelight.rules.thresholds import DEFAULTS
from safelight.units import duration, percent, share

_CERTAINLY_CORRUPTED = 0.2  # of the requests
_MIN_EDITS = 5  # on a kind of background
_WORSE, _CERTAINLY_WORSE = 0.05, 0.15  # of the score, from 0 to 1
_STANDARD_ERRORS = 4.0
_PRIOR_DEVIATION = 0.1  # of scores within a type; weighs as much as _MIN_SCORES scores
_MIN_SCORES = 10
_RATED_WORSE = 0.7  # of five


def _structure(evidence: Evidence) -> Iterator[Sign]:
    now, reason = evidence.now, StructureCorruption.reason
    counts = now.sums_by(INSTRUCTION_TYPE, REQUESTS, where={ERROR: reason})
    kind = max(counts, key=lambda each: counts[each], default="")
    lost = events(evidence, sum(counts.values()))
    tries = events(evidence, now.rate(REQUESTS))
    limit = error_limit(evidence.limits, reason)
    if lost < evidence.limits.least_missed or tries < MIN_REQUESTS or lost / tries < limit:
        return
    if may_be_chance(evidence, (lost, tries), lambda r: ended_with(r, reason), limit):
        return
    calm, busy = (_success(evidence, background) for background in ("calm", "busy"))
    differ = calm is not None and busy is not None and busy.high < calm.low
    part = counts[kind] / sum(counts.values())
    exhibits = [
        Exhibit(
            f"{lost:.0f} edits kept too little of their input; {share(part)} of them are {kind}",
            evidence.queries.rate(REQUESTS, (INSTRUCTION_TYPE,), {ERROR: reason}),
        )
    ]
    if calm and busy:
        span = evidence.spans.window_seconds + evidence.spans.before_seconds
        exhibits.append(
            Exhibit(
                f"in the last {duration(span)}, {share(calm.ratio)} of the edits on calm "
                f"backgrounds succeeded and {share(busy.ratio)} on busy ones",
                evidence.queries.rate(BACKGROUNDS, (BACKGROUND,)),
            )
        )
    of_kind = counts[kind] / now.rate(REQUESTS, where={INSTRUCTION_TYPE: kind})
    background = " on busy backgrounds" if differ else ""
    yield Sign(
        Severity.WARNING,
        0.93 if differ else confidence_of(lost / tries, limit / 2, _CERTAINLY_CORRUPTED),
        f"edits destroy {share(lost / tries)} of the images, most often edits of type {kind}"
        f"{background}: {share(of_kind)} of this type",
        tuple(exhibits),
        subject=kind,
    )


@dataclass(frozen=True, slots=True)
class _Success:
    """A success ratio with its Wilson interval."""

    ratio: float
    low: float
    high: float


def _success(evidence: Evidence, background: str) -> _Success | None:
    """Return the success ratio on such backgrounds, over the window and the hour before it.

    Calm and busy backgrounds can come one after the other, so the window alone is too short.
    """

    def number(where: Where) -> float:
        now, then = (r.rate(BACKGROUNDS, where=where) for r in (evidence.now, evidence.before))
        return now * evidence.spans.window_seconds + then * evidence.spans.before_seconds

    where = {BACKGROUND: background}
    good, tries = number({**where, OUTCOME: "succeeded"}), number(where)
    return _Success(good / tries, *wilson(good, tries)) if tries >= _MIN_EDITS else None


@dataclass(frozen=True, slots=True)
class _Fall:
    """Fall of the mean score: its size, the number of scores, and its size in standard errors."""

    size: float
    number: float
    standard_errors: float


def _drift(evidence: Evidence) -> Iterator[Sign]:
    """Find lower scores than before, over the window or over its second half."""
    deviation = _deviation(evidence)
    windows = (Window.WHOLE, Window.SECOND_HALF)
    falls = [
        fall
        for window in windows
        if (fall := _fall(evidence, window, deviation)) is not None
        and fall.size >= _WORSE
        and fall.standard_errors >= _STANDARD_ERRORS
    ]
    if not falls:
        return
    fall = max(falls, key=lambda each: each.standard_errors)
    yield Sign(
        Severity.WARNING,
        confidence_of(fall.size, _WORSE / 2, _CERTAINLY_WORSE),
        f"the mean score of {fall.number:.0f} assessed images is {fall.size:.2f} lower than before",
        (
            Exhibit(
                f"{fall.standard_errors:.1f} standard errors, compared within each instruction "
                "type",
                evidence.queries.mean(QUALITY_SCORE, (INSTRUCTION_TYPE,)),
            ),
            *_ratings(evidence),
        ),
    )


def _fall(evidence: Evidence, window: Window, deviation: float) -> _Fall | None:
    """Return the fall of the score within types, or None if there are too few scores.

    Comparing type by type ignores a change of the mix of types.
    """
    before = evidence.spans.before_seconds
    span = evidence.spans.window_seconds / window.divisor
    fall = error = weight = 0.0
    counts = evidence.now.sums_by(INSTRUCTION_TYPE, QUALITY_SCORE, Statistic.COUNT, window)
    for kind, rate in counts.items():
        number = rate * span
        now = evidence.now.mean(QUALITY_SCORE, window, {INSTRUCTION_TYPE: kind})
        past, past_rate = _past_score(evidence, kind)
        if now is None or past is None or number < 1 or past_rate * before < _MIN_SCORES:
            continue
        fall += number * (past - now)
        error += number**2 * (1 / number + 1 / (past_rate * before))
        weight += number
    if weight < _MIN_SCORES / window.divisor:
        return None
    return _Fall(fall / weight, weight, fall / (deviation * sqrt(error)))


def _deviation(evidence: Evidence) -> float:
    """Return the standard deviation of scores within a type, from the histograms before."""
    squares, number = _MIN_SCORES * _PRIOR_DEVIATION**2, float(_MIN_SCORES)
    histograms: dict[str, dict[float, float]] = defaultdict(dict)
    for labels, count in evidence.before.select(QUALITY_SCORE, Statistic.BUCKETS):
        histograms[labels[INSTRUCTION_TYPE.name]][min(float(labels["le"]), 1.0)] = count
    for cumulative in histograms.values():
        squares += max(cumulative.values()) * bucket_variance(cumulative)
        number += max(cumulative.values())
    return sqrt(squares / number)


def _past_score(evidence: Evidence, kind: str) -> tuple[float | None, float]:
    """Return a type's mean score before, else yesterday, and the rate of its scores."""
    where = {INSTRUCTION_TYPE: kind}
    for reading in (evidence.before, evidence.yesterday):
        mean = reading.mean(QUALITY_SCORE, where=where)
        if mean is not None:
            return mean, reading.rate(QUALITY_SCORE, Statistic.COUNT, where=where)
    return None, 0.0


def _ratings(evidence: Evidence) -> Iterator[Exhibit]:
    now, then = evidence.now.mean(USER_RATING), evidence.before.mean(USER_RATING)
    if now is not None and then is not None and now < then - _RATED_WORSE:
        text = f"users rate {now:.1f} of 5, before {then:.1f}"
        yield Exhibit(text, evidence.queries.mean(USER_RATING))


QUALITY_CHECKS = (
    Check(
        "structure_corruption",
        "Edits destroy parts that they should keep",
        _structure,
        f'request_total{{error="{StructureCorruption.reason}"}} is >= '
        f"{percent(ERROR_LIMIT)} of the requests and "
        f">= {DEFAULTS.least_missed:g} in the window, with >= {MIN_REQUESTS} requests, and it "
        "is significant as described for errors_rise. Busy backgrounds are named if the Wilson "
        "intervals of the success on busy and on calm backgrounds do not overlap",
        (
            "If images with busy backgrounds fail, ask callers to remove the background first. "
            "The response header X-Safelight-Advice says so.",
            "Raise image_guidance_scale to keep more of the input.",
            "Compare failed with good samples of this type (SAFELIGHT_SAMPLES=true keeps them).",
        ),
        "Send ten failed images again after `remove background`. Count the successes.",
        ("unusual images of one caller", "a new version of the model"),
        frozenset({"failing_instruction", "errors_rise", "quality_drift"}),
        ("success_ratio", "least_missed"),
    ),
    Check(
        "quality_drift",
        "Images score lower than before",
        _drift,
        f"the mean image_quality_score within instruction types is >= {_WORSE:g} and "
        f">= {_STANDARD_ERRORS:g} standard errors lower than before, over the window or its second "
        f"half, with >= {_MIN_SCORES} scores before and in the window (half in its half). The "
        "standard deviation comes from the histogram before (Sheppard's correction)",
        (
            "Compare model, scheduler, steps and precision of the last two deployments.",
            "Check whether the degradation ladder reduced steps or size (degradation_level).",
        ),
        "Run one fixed seed and prompt on the earlier version and on this one. Compare the images.",
        ("callers send images of lower quality than before",),
        frozenset(),
    ),
)
