"""What comes out: which requests fail, of which type, and whether pictures are what they were."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import (
    BY_CHANCE,
    FEW,
    Counted,
    chance,
    ended,
    events,
    usual,
    usually_most,
)
from safelight.diagnosis.confidence import apart, by_chance, share, surely, wilson
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.metrics.catalog import INSTRUCTION_TYPE, OUTPUT_INVALID, REQUESTS, SUCCESSES
from safelight.reasons import NO_ERROR

_FAILS, _WORSE = 0.9, 0.1
_SHARED = 0.02  # that failures which all types share fall upon one of them
_ERRORS, _MORE_ERRORS = 0.05, 3.0
_LEAST_ERRORS = 5
_FEW_OF_A_TYPE = 10  # fewer may well be one caller's
_OUTAGE, _RISE = 0.5, 0.15
_INVALID, _GREW = 0.02, 2.0
# Whom a reason points at; all others are the service's own.
_CALLERS = frozenset(
    {
        "bad_request",
        "unsupported_media_type",
        "body_too_large",
        "not_an_image",
        "image_damaged",
        "image_too_large",
        "invalid_parameter",
        "unsupported_task",
        "not_found",
        "unauthorized",
        "rate_limited",
        "cancelled",
    }
)
# Ends that have nothing to do with what was asked for.
_OF_NO_TYPE = frozenset(
    {
        NO_ERROR,
        "overloaded",
        "not_ready",
        "stopping",
        "rate_limited",
        "circuit_open",
        "worker_lost",
        "unauthorized",
        "cancelled",
    }
)


def _failing(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    for kind in sorted(now.by("instruction_type", REQUESTS)):
        mine, rest = (
            (events(evidence, good), events(evidence, tries)) for good, tries in _split(now, kind)
        )
        tries, lost = mine[1], mine[1] - mine[0]
        if tries < _FEW_OF_A_TYPE or lost < _LEAST_ERRORS or kind == "none":
            continue
        _, best = wilson(*mine)
        then = usually_most(evidence, lambda r, k=kind: _success(r, k))  # type: ignore[misc]
        worse = (then or 0.0) - best if rest[1] < FEW else apart(*rest, *mine)
        if (best > _FAILS or worse < _WORSE) and not _alone(evidence, kind, mine, rest):
            continue
        ratio = 1 - lost / tries
        reason, part = _reason(evidence, kind)
        compared = (
            f"the others succeed in {share(rest[0] / rest[1])}" if rest[1] else "there is no other"
        )
        yield Sign(
            Severity.WARNING,
            surely(worse, _WORSE, 0.3),
            f"{kind} succeeds in {share(ratio)} of {tries:.0f} requests; {compared}",
            (
                Exhibit(
                    f"{share(part)} of its failures are {reason}",
                    evidence.asking.queries.success_ratio(SUCCESSES, REQUESTS, (INSTRUCTION_TYPE,)),
                ),
                *([Exhibit(f"usually {share(then)} of them succeed")] if then is not None else []),
            ),
            subject=kind,
        )


def _alone(evidence: Evidence, kind: str, mine: Counted, rest: Counted) -> bool:
    """Tell whether a type fails more than it did for certain, and the others do not.

    That tells it early: what the others and the past show makes up for few failures.
    """
    if mine[0] > _FAILS * mine[1]:
        return False
    past = [_split(reading, kind) for reading in (evidence.before, evidence.yesterday)]
    span = evidence.spans.before_seconds
    for then, others in past:
        if then[1] * span < FEW:
            continue
        if apart(then[0] * span, then[1] * span, *mine) < _WORSE / 2:
            return False
        if apart(others[0] * span, others[1] * span, *rest) > 0:
            return False
    known = any(then[1] * span >= FEW for then, _ in past)
    return known and by_chance(mine[1] - mine[0], mine[1], rest[1] - rest[0], rest[1]) <= _SHARED


def _split(reading: Reading, kind: str) -> tuple[Counted, Counted]:
    """Return what went well, of how many, a second: of a type, and of all others."""
    asked, failed = reading.by("instruction_type", REQUESTS), _failures(reading)
    mine, lost = asked.pop(kind, 0.0), failed.pop(kind, 0.0)
    others = sum(asked.values())
    return (mine - lost, mine), (others - sum(failed.values()), others)


def _errors(evidence: Evidence) -> Iterator[Sign]:
    counts, tries = _reasons(evidence.now), events(evidence, evidence.now.rate(REQUESTS))
    rose = {reason: _rose(evidence, reason, rate, tries) for reason, rate in counts.items()}
    reason = max(rose, key=lambda each: rose[each], default="")
    if tries < FEW or rose.get(reason, 0.0) <= 0:
        return
    lost = events(evidence, counts[reason])
    past = usual(evidence, lambda r: _part(r, reason))
    whose = "their callers'" if reason in _CALLERS else "the service's"
    yield Sign(
        Severity.CRITICAL if lost > 0.5 * tries and reason not in _CALLERS else Severity.WARNING,
        surely(lost / tries, _ERRORS, 0.3) - 0.05,
        f"{share(lost / tries)} of the requests end with {reason}, a fault of {whose}",
        (
            Exhibit(
                f"{lost:.0f} of {tries:.0f} within the window"
                + ("" if past is None else f"; usually {share(past)}"),
                evidence.asking.queries.rate(REQUESTS, where={"error": reason}),
            ),
        ),
        subject=reason,
    )


def _rose(evidence: Evidence, reason: str, rate: float, tries: float) -> float:
    """Return by how much a reason's share rose; 0 where it is few, or as ever.

    What ends half of the requests is said however long it lasts, unless it is the callers' doing:
    an outage of an hour is its own past. What may be chance is as ever too.
    """
    lost = events(evidence, rate)
    if lost < _LEAST_ERRORS or lost < _ERRORS * tries:
        return 0.0
    if lost >= _OUTAGE * tries and reason not in _CALLERS:
        return lost / tries
    past = usual(evidence, lambda r: _part(r, reason))
    grew = past is None or lost >= _MORE_ERRORS * past * tries or lost / tries >= past + _RISE
    if not grew or chance(evidence, (lost, tries), lambda r: ended(r, reason), _ERRORS):
        return 0.0
    return lost / tries - (past or 0.0)


def _invalid(evidence: Evidence) -> Iterator[Sign]:
    now = evidence.now
    reasons = now.by("reason", OUTPUT_INVALID)
    reason = max(reasons, key=lambda each: reasons[each], default="")
    broken, asked = sum(reasons.values()), now.rate(REQUESTS)
    if not asked or broken / asked < _INVALID or events(evidence, broken) < _LEAST_ERRORS:
        return
    past = usual(evidence, _broken)
    counted = (events(evidence, broken), events(evidence, asked))
    as_ever = past is not None and broken / asked < _GREW * past
    as_ever = as_ever or chance(evidence, counted, _unfit, _INVALID)
    yield Sign(
        Severity.INFO if as_ever else Severity.WARNING,
        surely(broken / asked, _INVALID, 0.1),
        f"{share(broken / asked)} of the pictures are not fit to be sent, most of them {reason}",
        (
            Exhibit(
                f"{events(evidence, reasons[reason]):.0f} were {reason} within the window",
                evidence.asking.queries.rate(OUTPUT_INVALID),
            ),
        ),
        subject=reason,
    )


def _broken(reading: Reading) -> float | None:
    broken, asked = _unfit(reading)
    return broken / asked if asked else None


def _unfit(reading: Reading) -> Counted:
    return reading.rate(OUTPUT_INVALID), reading.rate(REQUESTS)


def _failures(reading: Reading) -> dict[str, float]:
    """Return failures by type of instruction, as far as what was asked for can be the cause."""
    lost: dict[str, float] = {}
    for labels, rate in reading.found(REQUESTS):
        if labels.get("error") not in _OF_NO_TYPE:
            kind = labels.get("instruction_type", "")
            lost[kind] = lost.get(kind, 0.0) + rate
    return lost


def _success(reading: Reading, kind: str) -> float | None:
    asked = reading.sum(REQUESTS, instruction_type=kind)
    return 1 - _failures(reading).get(kind, 0.0) / asked if asked else None


def _reason(evidence: Evidence, kind: str) -> tuple[str, float]:
    """Return the reason whose failures of a type rose most, and their share of its failures."""
    counts = _reasons(evidence.now, instruction_type=kind)
    then = _reasons(evidence.before, instruction_type=kind)
    worst = max(counts, key=lambda each: counts[each] - then.get(each, 0.0))
    return worst, counts[worst] / sum(counts.values())


def _reasons(reading: Reading, **where: str) -> dict[str, float]:
    counts = reading.by("error", REQUESTS, **where)
    return {reason: rate for reason, rate in counts.items() if reason != NO_ERROR and rate > 0}


def _part(reading: Reading, reason: str) -> float | None:
    many, asked = ended(reading, reason)
    return many / asked if asked else None


OUTPUT_CHECKS = (
    Check(
        "failing_instruction",
        "One type of instruction fails",
        _failing,
        f"the Wilson interval of a type's success lies below {_FAILS:.0%}, and its success "
        f"{_WORSE:.0%} below the others' by Newcombe's interval of the difference; where these are "
        f"few, below its own usual. Or it fails >= {_WORSE / 2:.0%} more than it did by "
        "Newcombe's, the others do not, and by Fisher's exact test so many failures would be "
        f"its own in <= {_SHARED:.0%} of cases, did all types fail alike",
        (
            "Compare failed with good samples of this type (SAFELIGHT_SAMPLES=true keeps them).",
            "Look at the reason that most failures have.",
        ),
        "Send twenty requests of this type with one known good picture: "
        "`safelight traffic --instruction`.",
        ("one caller who sends what cannot work",),
        frozenset({"errors_rise"}),
    ),
    Check(
        "invalid_outputs",
        "Pictures are broken",
        _invalid,
        f"output_invalid_total over requests >= {_INVALID:.0%}; to know only where it is less than "
        f"{_GREW:g} times the usual, or may be chance as with errors_rise",
        (
            "not_finite: use bfloat16, or float32 for the VAE.",
            "black or flat: look for a safety filter, or an empty prompt.",
            "noise: too few steps, or a wrong scheduler.",
        ),
        "Run one such request with SAFELIGHT_PRECISION=float32: if it is good, that was it.",
        ("a broken download of the weights",),
        frozenset({"errors_rise", "failing_instruction"}),
    ),
    Check(
        "errors_rise",
        "More requests fail than usual",
        _errors,
        f"one reason ends >= {_ERRORS:.0%} of the requests, >= {_MORE_ERRORS:g} times the usual or "
        f"{_RISE:.0%} more; or >= {_OUTAGE:.0%} of them and no caller's fault, however long. Where "
        "the hour before was well for certain, by Wilson's interval, it must be chance in <= "
        f"{BY_CHANCE:.2%} of cases by Fisher's exact test, against that hour or yesterday",
        ("The page of errors says what each reason means and what to do.",),
        "Find one such request by its reason in the log, and send it again.",
        ("a new client", "a new version of the model"),
    ),
)
