"""Checks of the model itself: its golden outputs, and its speed without load."""

from collections.abc import Iterator

from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Statistic
from safelight.guard.golden import FLOOR_FACTOR, MARGIN, SLOW_DEVIATIONS, SLOW_FACTOR, SLOW_SECONDS
from safelight.guard.verdicts import STEP_FACTOR, STEP_FLOOR_SECONDS
from safelight.metrics.catalog import CANARY_DRIFT, CANARY_WORKERS, MODEL_STATE, READINESS_FORCED
from safelight.metrics.promql import INSTANCE
from safelight.units import counted, duration

_WORDS = {
    "wrong": "gives another output for a fixed input than when it was enrolled",
    "hung": "makes no step",
    "dead": "does not answer",
}


def _broken(evidence: Evidence) -> Iterator[Sign]:
    for state, words in _WORDS.items():
        for instance, number in _workers(evidence, state):
            drift = max(
                evidence.now.sums_by(INSTANCE, CANARY_DRIFT, Statistic.MAX).values(), default=0.0
            )
            exhibits = [
                Exhibit(
                    f"{counted(round(number), 'worker')} of {instance} in the state `{state}`",
                    evidence.queries.select(CANARY_WORKERS),
                )
            ]
            if state == "wrong" and drift > 1:
                text = f"the largest difference was {drift:.1f} times the limit"
                exhibits.append(Exhibit(text, evidence.queries.select(CANARY_DRIFT)))
            if evidence.now.sums_by(INSTANCE, READINESS_FORCED, Statistic.LAST).get(instance):
                text = "it serves all the same, because no other instance is ready"
                exhibits.append(Exhibit(text, evidence.queries.select(READINESS_FORCED)))
            yield Sign(
                Severity.CRITICAL,
                0.97,
                f"the model of {instance} {words}",
                tuple(exhibits),
                subject=instance,
            )


def _slower(evidence: Evidence) -> Iterator[Sign]:
    for instance, number in _workers(evidence, "slow"):
        exhibit = Exhibit(
            f"{counted(round(number), 'worker')} slow in three runs, each without a queue",
            evidence.queries.select(CANARY_WORKERS),
        )
        text = f"the model of {instance} is slower than when it was enrolled, also without load"
        yield Sign(Severity.WARNING, 0.8, text, (exhibit,), subject=instance)


def _workers(evidence: Evidence, state: str) -> list[tuple[str, float]]:
    """Return the instances that have workers in a state now, with their number."""
    rows = evidence.now.select(CANARY_WORKERS, Statistic.LAST, where={MODEL_STATE: state})
    return sorted((labels.get(INSTANCE.name, ""), value) for labels, value in rows if value > 0)


GOLDEN_CHECKS = (
    Check(
        "model_broken",
        "The model is broken",
        _broken,
        "the canary counts a worker as wrong (two of three golden outputs differ by more than "
        f"{FLOOR_FACTOR:g} times the noise floor of the enrolment, and by more than {MARGIN:g} of "
        "the levels' range), hung (no step for the time of "
        f"{STEP_FACTOR:g} usual ones, and {duration(STEP_FLOOR_SECONDS)}) or dead (three "
        "unanswered messages, or a lost run)",
        (
            "Run `safelight canary`: it says what differs, and since when.",
            "A change on purpose: `safelight canary --enrol`. Otherwise load the earlier model.",
            "Wrong again after a restart, with the same weights: replace the GPU.",
        ),
        "Run the same seed and prompt here and on another instance. Compare the images.",
        ("a library or a setting was changed on purpose, and nobody enrolled the model again",),
        frozenset({"invalid_outputs", "quality_drift", "errors_rise", "failing_instruction"}),
    ),
    Check(
        "model_slower",
        "The model is slower than when it was enrolled",
        _slower,
        f"the last three golden runs took more than {SLOW_FACTOR:g} times the enrolled time, and "
        f"more than {SLOW_DEVIATIONS:g} standard deviations and {duration(SLOW_SECONDS)} longer, "
        "without any other work",
        ("Compare clock, temperature and other processes of the GPU with the time of enrolment.",),
        "Run `safelight canary --run` on the idle service.",
        ("another process uses the device",),
        frozenset({"slow_steps"}),
    ),
)
