"""Checks of the outputs: failing instruction types, failing requests, and invalid images."""

from collections.abc import Iterator
from functools import partial

from safelight.diagnosis.checks.common import (
    CALLERS,
    ERROR_LIMIT,
    MAX_P_VALUE,
    MIN_REQUESTS,
    Counts,
    ended_with,
    error_limit,
    events,
    may_be_chance,
    usual_high,
    usual_low,
    usual_text,
)
from safelight.diagnosis.confidence import confidence_of, fisher_p_value, least_difference, wilson
from safelight.diagnosis.evidence import Evidence, Reading, Where
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.errors import Forbidden, Timeout, Unauthorized, Unavailable
from safelight.metrics.catalog import (
    ERROR,
    INSTRUCTION_TYPE,
    INVALIDITY,
    NO_INSTRUCTION,
    OUTPUT_INVALID,
    REQUESTS,
    SUCCESSES,
)
from safelight.reasons import NO_ERROR, reasons_of
from safelight.rules.thresholds import DEFAULTS
from safelight.units import percent, share

_WORSE, _CERTAINLY_WORSE = 0.1, 0.3
_WORSE_THAN_BEFORE, _TYPE_P_VALUE = 0.05, 0.02
_CERTAINLY_ERRORS = 0.3
_MORE_ERRORS, _RISE, _OUTAGE = 3.0, 0.15, 0.5
_CERTAINLY_INVALID, _MORE_INVALID = 0.1, 2.0
# Reasons that do not depend on the instruction.
_INDEPENDENT = {NO_ERROR} | reasons_of(Forbidden, Unauthorized, Unavailable) - reasons_of(Timeout)


def _failing_instruction(evidence: Evidence) -> Iterator[Sign]:
    now, limits = evidence.now, evidence.limits
    for kind in sorted(now.sums_by(INSTRUCTION_TYPE, REQUESTS)):
        counts, rest = (
            (events(evidence, good), events(evidence, tries)) for good, tries in _split(now, kind)
        )
        tries, lost = counts[1], counts[1] - counts[0]
        if tries < limits.least_requests or lost < limits.least_missed or kind == NO_INSTRUCTION:
            continue
        _, best = wilson(*counts)
        usual = usual_high(evidence, partial(_success, kind=kind))
        rest_is_small = rest[1] < MIN_REQUESTS
        difference = (usual or 0.0) - best if rest_is_small else least_difference(*rest, *counts)
        is_failing = best <= limits.instruction_success_ratio and difference >= _WORSE
        if not is_failing and not _only_this(evidence, kind, counts, rest):
            continue
        reason, part = _main_reason(evidence, kind)
        others = f"; other types succeed in {share(rest[0] / rest[1])}" if rest[1] else ""
        yield Sign(
            Severity.WARNING,
            confidence_of(difference, _WORSE, _CERTAINLY_WORSE),
            f"{kind} succeeds in {share(1 - lost / tries)} of {tries:.0f} requests{others}",
            (
                Exhibit(
                    f"{share(part)} of its failures have the reason {reason}",
                    evidence.queries.success_ratio(SUCCESSES, REQUESTS, (INSTRUCTION_TYPE,)),
                    limits.instruction_success_ratio,
                ),
                *([] if usual is None else [Exhibit(f"usually {share(usual)} succeed")]),
            ),
            subject=kind,
        )


def _only_this(evidence: Evidence, kind: str, counts: Counts, rest: Counts) -> bool:
    """Return True if a type fails significantly more than before and the others do not.

    Comparing with the other types and with the past finds a failing type from few failures.
    """
    if counts[0] > evidence.limits.success_ratio * counts[1]:
        return False
    past = [_split(reading, kind) for reading in (evidence.before, evidence.yesterday)]
    span = evidence.spans.before_seconds
    for then, others in past:
        if then[1] * span < MIN_REQUESTS:
            continue
        if least_difference(then[0] * span, then[1] * span, *counts) < _WORSE_THAN_BEFORE:
            return False
        if least_difference(others[0] * span, others[1] * span, *rest) > 0:
            return False
    has_past = any(then[1] * span >= MIN_REQUESTS for then, _ in past)
    p_value = fisher_p_value(counts[1] - counts[0], counts[1], rest[1] - rest[0], rest[1])
    return has_past and p_value <= _TYPE_P_VALUE


def _split(reading: Reading, kind: str) -> tuple[Counts, Counts]:
    """Return the rates of successes and of requests: of a type, and of all other types."""
    requests, failures = reading.sums_by(INSTRUCTION_TYPE, REQUESTS), _failures(reading)
    tries, lost = requests.pop(kind, 0.0), failures.pop(kind, 0.0)
    others = sum(requests.values())
    return (tries - lost, tries), (others - sum(failures.values()), others)


def _errors_rise(evidence: Evidence) -> Iterator[Sign]:
    counts, tries = _reasons(evidence.now), events(evidence, evidence.now.rate(REQUESTS))
    rises = {reason: _rise(evidence, reason, rate, tries) for reason, rate in counts.items()}
    reason = max(rises, key=lambda each: rises[each], default="")
    if tries < MIN_REQUESTS or rises.get(reason, 0.0) <= 0:
        return
    lost, limit = events(evidence, counts[reason]), error_limit(evidence.limits, reason)
    usual = usual_low(evidence, partial(_part, reason=reason))
    side = "callers" if reason in CALLERS else "the service"
    outage = lost > _OUTAGE * tries and reason not in CALLERS
    yield Sign(
        Severity.CRITICAL if outage else Severity.WARNING,
        # A little less certain than a check that knows the cause.
        confidence_of(lost / tries, limit, _CERTAINLY_ERRORS) - 0.05,
        f"{share(lost / tries)} of the requests fail with {reason}, caused by {side}",
        (
            Exhibit(
                f"{lost:.0f} of {tries:.0f} requests in the window"
                + usual_text(None if usual is None else share(usual)),
                evidence.queries.rate(REQUESTS, where={ERROR: reason}),
            ),
        ),
        subject=reason,
    )


def _rise(evidence: Evidence, reason: str, rate: float, tries: float) -> float:
    """Return the rise of a reason's share of the requests, 0 if it is small, usual or chance.

    An outage counts in full for as long as it lasts, although the hour before then belongs to it.
    """
    lost, limit = events(evidence, rate), error_limit(evidence.limits, reason)
    if lost < evidence.limits.least_missed or lost < limit * tries:
        return 0.0
    if lost >= _OUTAGE * tries and reason not in CALLERS:
        return lost / tries
    usual = usual_low(evidence, partial(_part, reason=reason))
    is_higher = (
        usual is None or lost >= _MORE_ERRORS * usual * tries or lost / tries >= usual + _RISE
    )
    past = partial(ended_with, reason=reason)
    if not is_higher or may_be_chance(evidence, (lost, tries), past, limit):
        return 0.0
    return lost / tries - (usual or 0.0)


def _invalid_outputs(evidence: Evidence) -> Iterator[Sign]:
    now, limit = evidence.now, evidence.limits.output_invalid_ratio
    reasons = now.sums_by(INVALIDITY, OUTPUT_INVALID)
    reason = max(reasons, key=lambda each: reasons[each], default="")
    broken, requests = sum(reasons.values()), now.rate(REQUESTS)
    number = events(evidence, broken)
    if not requests or broken / requests < limit or number < evidence.limits.least_missed:
        return
    usual = usual_low(evidence, lambda reading: _ratio(_invalid_counts(reading)))
    counts = (number, events(evidence, requests))
    normal = usual is not None and broken / requests < _MORE_INVALID * usual
    normal = normal or may_be_chance(evidence, counts, _invalid_counts, limit)
    yield Sign(
        Severity.INFO if normal else Severity.WARNING,
        confidence_of(broken / requests, limit, _CERTAINLY_INVALID),
        f"{share(broken / requests)} of the images are invalid, most often {reason}",
        (
            Exhibit(
                f"{events(evidence, reasons[reason]):.0f} images in the window are {reason}",
                evidence.queries.rate(OUTPUT_INVALID),
            ),
        ),
        subject=reason,
    )


def _invalid_counts(reading: Reading) -> Counts:
    return reading.rate(OUTPUT_INVALID), reading.rate(REQUESTS)


def _failures(reading: Reading) -> dict[str, float]:
    """Return the rate of failures by type, without reasons that do not depend on the type."""
    lost: dict[str, float] = {}
    for labels, rate in reading.select(REQUESTS):
        if labels.get(ERROR.name) not in _INDEPENDENT:
            kind = labels.get(INSTRUCTION_TYPE.name, "")
            lost[kind] = lost.get(kind, 0.0) + rate
    return lost


def _success(reading: Reading, kind: str) -> float | None:
    requests = reading.sum(REQUESTS, where={INSTRUCTION_TYPE: kind})
    return 1 - _failures(reading).get(kind, 0.0) / requests if requests else None


def _main_reason(evidence: Evidence, kind: str) -> tuple[str, float]:
    """Return the reason that rose most for a type, and its share of the type's failures."""
    where = {INSTRUCTION_TYPE: kind}
    counts, then = _reasons(evidence.now, where), _reasons(evidence.before, where)
    worst = max(counts, key=lambda each: counts[each] - then.get(each, 0.0))
    return worst, counts[worst] / sum(counts.values())


def _reasons(reading: Reading, where: Where | None = None) -> dict[str, float]:
    counts = reading.sums_by(ERROR, REQUESTS, where=where)
    return {reason: rate for reason, rate in counts.items() if reason != NO_ERROR and rate > 0}


def _part(reading: Reading, reason: str) -> float | None:
    return _ratio(ended_with(reading, reason))


def _ratio(counts: Counts) -> float | None:
    return counts[0] / counts[1] if counts[1] else None


OUTPUT_CHECKS = (
    Check(
        "failing_instruction",
        "One instruction type fails",
        _failing_instruction,
        f"a type has >= {DEFAULTS.least_requests:g} requests and >= {DEFAULTS.least_missed:g} "
        "failures, and one of two conditions holds. (a) The Wilson interval of its success ratio "
        f"is <= {percent(DEFAULTS.instruction_success_ratio)}, and its success ratio is lower "
        f"than that of the other types by >= {percent(_WORSE)} (lower bound of Newcombe's "
        f"interval), or, if the others have < {MIN_REQUESTS} requests, than usual. (b) Its "
        f"success ratio is <= {percent(DEFAULTS.success_ratio)} and lower than in the past by >= "
        f"{percent(_WORSE_THAN_BEFORE)} (Newcombe), the other types are not worse than in the "
        "past, and its failures are significant against the other types (Fisher's exact test, p "
        f"<= {_TYPE_P_VALUE:g})",
        (
            "Compare failed with good samples of this type (SAFELIGHT_SAMPLES=true keeps them).",
            "Look up the reason that most failures have.",
        ),
        "Send twenty requests of this type with one image that works: "
        "`safelight traffic --instruction`.",
        ("one caller sends requests that cannot succeed",),
        frozenset({"errors_rise"}),
        ("instruction_success_ratio", "success_ratio", "least_requests", "least_missed"),
    ),
    Check(
        "invalid_outputs",
        "Images are invalid",
        _invalid_outputs,
        f"output_invalid_total is >= {percent(DEFAULTS.output_invalid_ratio)} of the requests and "
        f">= {DEFAULTS.least_missed:g} in the window; only information if it is < "
        f"{_MORE_INVALID:g} times the usual share, or not significant as described for errors_rise",
        (
            "not_finite: use bfloat16, or float32 for the VAE.",
            "black or flat: check for a safety filter or an empty prompt.",
            "noise: too few steps, or a wrong scheduler.",
        ),
        "Run one such request with SAFELIGHT_PRECISION=float32. If it is good, the precision is "
        "the cause.",
        ("a broken download of the weights",),
        frozenset({"errors_rise", "failing_instruction"}),
        ("output_invalid_ratio", "least_missed"),
    ),
    Check(
        "errors_rise",
        "More requests fail than usual",
        _errors_rise,
        f"one reason ends >= {percent(ERROR_LIMIT)} of the requests (timeout: "
        f"{percent(DEFAULTS.timeout_ratio)}; refusals: {percent(DEFAULTS.refused_ratio)}) and >= "
        f"{DEFAULTS.least_missed:g} requests, with >= {MIN_REQUESTS} requests. It is >= "
        f"{_MORE_ERRORS:g} times the usual share or >= {percent(_RISE)} of the requests more; or "
        f"it is a fault of the service and ends >= {percent(_OUTAGE)} of the requests, however "
        "long it lasts. If the hour before was healthy (its Wilson interval is below the limit), "
        "the rise must be significant against that hour or yesterday (Fisher's exact test, p <= "
        f"{MAX_P_VALUE:g})",
        ("Look up the reason in the documentation of errors: it says what to do.",),
        "Find one such request by its reason in the log, and send it again.",
        ("a new client", "a new version of the model"),
        limits=("success_ratio", "timeout_ratio", "refused_ratio", "least_missed"),
    ),
)
