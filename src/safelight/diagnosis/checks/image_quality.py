"""What pictures look like: destroyed where they should have been kept, or worse than they were."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from safelight.diagnosis.checks.common import FEW, chance, ended, events
from safelight.diagnosis.confidence import seconds, share, surely, variance, wilson
from safelight.diagnosis.evidence import Evidence, Reading, key
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import BELOW, HALF, HALVES
from safelight.errors import StructureCorruption
from safelight.metrics.catalog import (
    BACKGROUND,
    BACKGROUNDS,
    INSTRUCTION_TYPE,
    QUALITY_SCORE,
    REQUESTS,
    USER_RATING,
)

_CORRUPTED = 0.05
_LEAST = 5
_WORSE, _CERTAIN = 0.05, 4.0  # of the score; standard errors
_SPREAD = 0.1  # of scores within a type, where the past tells of few: it weighs as ten of them
_FEW_SCORES = 10
_RATED_WORSE = 0.7  # of five


def _structure(evidence: Evidence) -> Iterator[Sign]:
    now, reason = evidence.now, StructureCorruption.reason
    counts = now.by("instruction_type", REQUESTS, error=reason)
    kind = max(counts, key=lambda each: counts[each], default="")
    lost = events(evidence, sum(counts.values()))
    tries = events(evidence, now.rate(REQUESTS))
    if lost < _LEAST or tries < FEW or lost / tries < _CORRUPTED:
        return
    if chance(evidence, (lost, tries), lambda r: ended(r, reason), _CORRUPTED):
        return
    calm, busy = (_success(evidence, which) for which in ("calm", "busy"))
    apart = calm and busy and busy[2] < calm[1]
    part = counts[kind] / sum(counts.values())
    where = " where the background is busy" if apart else ""
    told = [
        Exhibit(
            f"{lost:.0f} edits kept too little of their picture, {share(part)} of them {kind}",
            evidence.asking.queries.rate(REQUESTS, (INSTRUCTION_TYPE,), {"error": reason}),
        )
    ]
    if calm and busy:
        told.append(
            Exhibit(
                f"on calm backgrounds {share(calm[0])} of the edits succeed, on busy ones "
                f"{share(busy[0])}, in the last {seconds(_both(evidence))}",
                evidence.asking.queries.rate(BACKGROUNDS, (BACKGROUND,)),
            )
        )
    yield Sign(
        Severity.WARNING,
        surely(lost / tries, _CORRUPTED / 2, 0.2) if not apart else 0.93,
        f"edits destroy {share(lost / tries)} of the pictures{where}, {kind} most often: "
        f"{share(counts[kind] / now.rate(REQUESTS, instruction_type=kind))} of its pictures",
        tuple(told),
        subject=kind,
    )


def _success(evidence: Evidence, which: str) -> tuple[float, float, float] | None:
    """Return the share of edits that succeed on such backgrounds, with its interval.

    Of the window and of the time before it: calm and busy ones may come one after the other.
    """

    def number(**where: str) -> float:
        now, then = (r.rate(BACKGROUNDS, background=which, **where) for r in _readings(evidence))
        return now * evidence.spans.window_seconds + then * evidence.spans.before_seconds

    good, tries = number(outcome="succeeded"), number()
    return (good / tries, *wilson(good, tries)) if tries >= _LEAST else None


def _readings(evidence: Evidence) -> tuple[Reading, Reading]:
    return evidence.now, evidence.before


def _both(evidence: Evidence) -> float:
    return evidence.spans.window_seconds + evidence.spans.before_seconds


@dataclass(frozen=True, slots=True)
class _Fall:
    """By how much scores fell, by how many, and by how many standard errors."""

    by: float
    number: float
    certain: float


def _drift(evidence: Evidence) -> Iterator[Sign]:
    """Find that pictures look worse than before: over the window, or over its later half alone."""
    spread = _spread(evidence)
    falls = (_fall(evidence, part, parts, spread) for part, parts in (("", 1), (HALF, HALVES)))
    told = [fall for fall in falls if fall and fall.by >= _WORSE and fall.certain >= _CERTAIN]
    if not told:
        return
    fell = max(told, key=lambda fall: fall.certain)
    yield Sign(
        Severity.WARNING,
        surely(fell.by, _WORSE / 2, 0.15),
        f"pictures score {fell.by:.2f} less than they did, by {fell.number:.0f} looked at",
        (
            Exhibit(
                f"{fell.certain:.1f} standard errors, compared within each type of instruction",
                evidence.asking.queries.mean(QUALITY_SCORE, (INSTRUCTION_TYPE,)),
            ),
            *_rated(evidence),
        ),
    )


def _fall(evidence: Evidence, part: str, parts: int, spread: float) -> _Fall | None:
    """Return how far scores fell, type by type: another mixture is no drift. None of too few."""
    before, window = evidence.spans.before_seconds, evidence.spans.window_seconds / parts
    fell = error = weight = 0.0
    counts = evidence.now.by("instruction_type", QUALITY_SCORE, key("count", part))
    for kind, rate in counts.items():
        number = rate * window
        now = evidence.now.mean(QUALITY_SCORE, part, instruction_type=kind)
        past, seen = _past(evidence, kind)
        if now is None or past is None or number < 1 or seen * before < _FEW_SCORES:
            continue
        fell += number * (past - now)
        error += number**2 * (1 / number + 1 / (seen * before))
        weight += number
    if weight < _FEW_SCORES / parts:
        return None
    return _Fall(fell / weight, weight, fell / (spread * sqrt(error)))


def _spread(evidence: Evidence) -> float:
    """Return how far scores of a type lie off their mean, from their histograms before."""
    squares, number = _FEW_SCORES * _SPREAD**2, float(_FEW_SCORES)
    below: dict[str, dict[float, float]] = defaultdict(dict)
    for labels, count in evidence.before.found(QUALITY_SCORE, BELOW):
        below[labels["instruction_type"]][min(float(labels["le"]), 1.0)] = count
    for counts in below.values():
        squares += max(counts.values()) * variance(counts)
        number += max(counts.values())
    return sqrt(squares / number)


def _past(evidence: Evidence, kind: str) -> tuple[float | None, float]:
    """Return a type's mean score before, or else yesterday, and how many a second there were."""
    for reading in (evidence.before, evidence.yesterday):
        mean = reading.mean(QUALITY_SCORE, instruction_type=kind)
        if mean is not None:
            return mean, reading.rate(QUALITY_SCORE, "count", instruction_type=kind)
    return None, 0.0


def _rated(evidence: Evidence) -> Iterator[Exhibit]:
    now, then = evidence.now.mean(USER_RATING), _rating(evidence.before)
    if now is not None and then is not None and now < then - _RATED_WORSE:
        says = f"callers rate {now:.1f} of 5, before {then:.1f}"
        yield Exhibit(says, evidence.asking.queries.mean(USER_RATING))


def _rating(reading: Reading) -> float | None:
    return reading.mean(USER_RATING)


LOOK_CHECKS = (
    Check(
        "structure_corruption",
        "Edits destroy what they should have kept",
        _structure,
        f'request_total{{error="{StructureCorruption.reason}"}} >= {_CORRUPTED:.0%}, and no '
        "chance, as with errors_rise; busy and calm backgrounds are held apart by the Wilson "
        "intervals of their success",
        (
            "If images with busy backgrounds fail, ask callers to remove the background first. "
            "The response header X-Safelight-Advice says so.",
            "Raise image_guidance_scale: more of the input is kept.",
            "Compare failed with good samples of this type (SAFELIGHT_SAMPLES=true keeps them).",
        ),
        "Send ten failed pictures again after `remove background`; count how many succeed.",
        ("one caller's kind of picture", "a new version of the model"),
        frozenset({"failing_instruction", "errors_rise", "quality_drift"}),
    ),
    Check(
        "quality_drift",
        "Pictures look worse than they did",
        _drift,
        f"mean image_quality_score, type by type, >= {_WORSE:g} below the hour before and "
        f">= {_CERTAIN:g} standard errors, over the window or its later half; the spread of scores "
        "is that of their histogram before, by buckets' middles with Sheppard's correction",
        (
            "Compare model, scheduler, steps and precision of the last two deployments.",
            "See whether the ladder of degradation took steps or size (degradation_level).",
        ),
        "Run one fixed seed and prompt on the version before and on this one, and look.",
        ("callers send worse pictures than before",),
        frozenset(),
    ),
)
