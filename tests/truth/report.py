"""Tables of the truth test, and the targets that it misses."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from safelight.stories.history import SCRAPE_SECONDS
from tests.truth.trial import Verdict

FIRST, AMONG_THREE, LATE = 0.90, 0.98, 2.0


def table(name: str, verdicts: Sequence[Verdict]) -> str:
    faults = [v for v in verdicts if v.scene.cause]
    healthy = [v for v in verdicts if not v.scene.cause]
    rows = [f"\n## {name}: {len(faults)} faults, {len(healthy)} healthy services\n"]
    rows.append("| fault | cause | findings | visible after | found after |")
    rows.append("|---|---|---|---|---|")
    for v in faults:
        mark = "first" if v.first else "among three" if v.among_three else "MISSED"
        names = ", ".join(v.warnings[:4]) or "none"
        times = f"{_time(v.visible_seconds)} | {_time(v.found_seconds)}"
        rows.append(f"| {v.scene.name} | {v.scene.cause} | {mark}: {names} | {times} |")
    rows += ["", "| healthy | findings |", "|---|---|"]
    rows += [f"| {v.scene.name} | {', '.join(v.warnings) or 'none'} |" for v in healthy]
    return "\n".join([*rows, "", *summary(verdicts)])


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    faults = [v for v in verdicts if v.scene.cause]
    alarms = [v for v in verdicts if not v.scene.cause and v.warnings]
    late = [v.late_intervals for v in faults if v.late_intervals is not None]
    not_found = sum(1 for v in faults if v.visible_seconds is not None and v.found_seconds is None)
    first, three = sum(v.first for v in faults), sum(v.among_three for v in faults)
    return [
        f"found first {first} of {len(faults)} ({first / len(faults):.0%}), among three {three} "
        f"({three / len(faults):.0%}), missed {len(faults) - three}, false alarms {len(alarms)}, "
        f"latest {max(late, default=0):.0f} intervals after being visible "
        f"({not_found} later than 3)"
    ]


def complaints(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the missed targets."""
    faults = [v for v in verdicts if v.scene.cause]
    first = sum(v.first for v in faults) / len(faults)
    three = sum(v.among_three for v in faults) / len(faults)
    missed = []
    if first < FIRST:
        missed.append(f"right cause first in {first:.0%}, target {FIRST:.0%}")
    if three < AMONG_THREE:
        missed.append(f"among the first three in {three:.0%}, target {AMONG_THREE:.0%}")
    missed += [
        f"false alarm in {v.scene.name}: {', '.join(v.warnings)}"
        for v in verdicts
        if not v.scene.cause and v.warnings
    ]
    for v in faults:
        late = v.late_intervals
        if v.first and v.visible_seconds is not None and (late is None or late > LATE):
            missed.append(f"{v.scene.name} was found more than {LATE:g} intervals late")
    return missed


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


def record_of(sets: Mapping[int, Sequence[Verdict]]) -> dict[str, Any]:
    """Return the results of the sets of several seeds, in total and for each check."""
    verdicts = [verdict for each in sets.values() for verdict in each]
    faults, healthy = (
        [v for v in verdicts if bool(v.scene.cause) is faulty] for faulty in (True, False)
    )
    causes = sorted({v.scene.cause for v in faults})
    return {
        "seeds": list(sets),
        **_counts(faults),
        "healthy": len(healthy),
        "false_alarms": sum(bool(v.warnings) for v in healthy),
        "checks": {
            cause: _counts([v for v in faults if v.scene.cause == cause])
            | {
                "false_alarms": sum(cause in v.warnings for v in healthy),
                "example": _example(faults, cause),
            }
            for cause in causes
        },
    }


def _example(faults: Sequence[Verdict], cause: str) -> Sequence[str]:
    return next((v.words for v in faults if v.scene.cause == cause and v.first), ())


def _counts(faults: Sequence[Verdict]) -> dict[str, Any]:
    late = [v.late_intervals for v in faults if v.late_intervals is not None]
    visible = [v for v in faults if v.visible_seconds is not None]
    return {
        "faults": len(faults),
        "first": sum(v.first for v in faults),
        "among_three": sum(v.among_three for v in faults),
        "median_seconds_late": median(late) * SCRAPE_SECONDS if late else None,
        "within_two_scrapes": sum(
            v.late_intervals is not None and v.late_intervals <= LATE for v in visible
        ),
        "with_a_visible_moment": len(visible),
    }
