"""The figures of the histories as tables, and what is wrong."""

from collections.abc import Sequence
from statistics import median

from tests.histories.trial import WEEK_HOURS, Quiet, Reported

_WARNINGS_A_WEEK = 1.0


def incident_table(reports: Sequence[Reported]) -> list[str]:
    """Return the table of the incidents."""
    rows = ["| incident | alert | after | limit | visible after |", "|---|---|---|---|---|"]
    for each in reports:
        after = "never" if each.seconds is None else f"{each.seconds:.0f} s"
        mark = "" if each.in_time else " **wrong**"
        visible = f"{each.incident.visible_seconds:.0f} s: {each.incident.why}"
        rows.append(
            f"| {each.incident.name} | {each.alert} | {after}{mark} | {each.limit_seconds:.0f} s "
            f"| {visible} |"
        )
    return rows


def figures(quiet: Sequence[Quiet], reports: Sequence[Reported]) -> list[str]:
    """Return the table of all figures with their targets."""
    rows = ["| figure | measured | target |", "|---|---|---|"]
    if quiet:
        services = [each for each in quiet if each.hours]
        still = sum(not each.fired for each in services)
        weeks = _weeks(quiet)
        rows += [
            f"| services watched | {len(services)}, {weeks:.1f} weeks together | |",
            f"| of them quiet | {still} | |",
            f"| pages without cause | {_number(quiet, 'critical')} | 0 |",
            f"| warnings without cause a week | {_number(quiet, 'warning') / weeks:.2f} "
            f"| ≤ {_WARNINGS_A_WEEK:g} |",
        ]
    if reports:
        seconds = [each.seconds for each in reports if each.seconds is not None] or [0.0]
        late = [
            each.seconds - each.limit_seconds for each in reports if each.seconds is not None
        ] or [0.0]
        rows += [
            f"| incidents alerted in time | {sum(each.in_time for each in reports)} of "
            f"{len(reports)} | all |",
            f"| seconds from incident to alert, median | {median(seconds):.0f} | |",
            f"| seconds from incident to alert, longest | {max(seconds):.0f} | |",
            f"| seconds after the limit of its alert, largest | {max(late):.0f} | ≤ 0 |",
        ]
    return rows


def complaints(quiet: Sequence[Quiet], reports: Sequence[Reported]) -> list[str]:
    """Return what misses a target, with the names of histories and alerts."""
    wrong = [
        f"incident without its alert in time: {each.incident.name}, {each.alert} after "
        f"{each.seconds} s instead of {each.limit_seconds:.0f} s"
        for each in reports
        if not each.in_time
    ]
    wrong += _lines(quiet, "critical")
    if quiet and _number(quiet, "warning") > _WARNINGS_A_WEEK * _weeks(quiet):
        wrong += _lines(quiet, "warning")
    return wrong


def details(quiet: Sequence[Quiet]) -> list[str]:
    """Return each service that was not quiet, what happened to it, and what fired."""
    rows = []
    for each in quiet:
        if each.fired:
            words = (*each.told.words, *([each.gaps] if each.gaps else []))
            rows.append(f"{each.told.name} ({each.hours:g} h): {' | '.join(words)}")
            rows += [f"    {fired}" for fired in each.fired]
    return rows


def _lines(quiet: Sequence[Quiet], severity: str) -> list[str]:
    return [
        f"without cause in {each.told.name}: {fired}"
        for each in quiet
        for fired in each.fired
        if fired["severity"] == severity
    ]


def _number(quiet: Sequence[Quiet], severity: str) -> int:
    return sum(each.number(severity) for each in quiet)


def _weeks(quiet: Sequence[Quiet]) -> float:
    return sum(each.hours for each in quiet) / WEEK_HOURS
