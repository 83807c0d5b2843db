"""What a soak found: problems in sentences, and a table of slopes with their intervals."""

from collections.abc import Iterator

from tests.soak.judge import LEAST_PER_HOUR, SHORTEST_SECONDS, hours_to_see, judge, steady
from tests.soak.soaked import Curve, Soaked

LEAK_BYTES_PER_HOUR = 1e6
# More than before the traffic, in a service that rests again.
_MORE = {"descriptors": 4.0, "threads": 8.0}
_MORE_OF_MEMORY = 60e6  # in a short soak, which has no slope


def problems(soaked: Soaked) -> Iterator[str]:
    """Yield what was wrong with a service, in sentences."""
    name, traffic = soaked.model, soaked.traffic
    for fault, times in sorted(traffic.faults.items()):
        yield f"{name}: {times} requests had another answer: {fault}."
    if traffic.answered != traffic.sent:
        yield f"{name}: of {dict(traffic.sent)} only {dict(traffic.answered)} were answered."
    if not traffic.arrived <= soaked.ended <= traffic.arrived + traffic.unsure:
        yield (
            f"{name}: {soaked.ended:.0f} requests are counted; {traffic.arrived} arrived, "
            f"and maybe {traffic.unsure} more, whose callers left while they sent the headers."
        )
    if soaked.in_flight:
        yield f"{name}: {soaked.in_flight:.0f} requests are still in flight."
    if soaked.restarts:
        yield f"{name}: {soaked.restarts} workers were replaced."
    for (role, resource), curve in soaked.curves.items():
        yield from _growth(soaked, role, resource, curve)


def _growth(soaked: Soaked, role: str, resource: str, curve: Curve) -> Iterator[str]:
    name = f"{soaked.model}: {resource} of the {role}"
    before = soaked.before.get((role, resource), 0)
    after = soaked.after.get((role, resource), 0)
    short = curve[-1][0] < SHORTEST_SECONDS * 0.9
    most = _MORE.get(resource, _MORE_OF_MEMORY if short else float("inf"))
    if after > before + most:
        yield f"{name} grew from {before:.0f} to {after:.0f}."
    verdict = judge(steady(curve), LEAST_PER_HOUR[resource])
    if verdict is not None and verdict.rises:
        yield f"{name} rises by {verdict.per_hour:.3g} an hour."


def text(soaked: Soaked) -> str:
    """Return the counts of a service, and the slopes of its curves with their 95 % intervals."""
    sent = ", ".join(f"{count} {kind}" for kind, count in soaked.traffic.sent.items())
    lines = [f"{soaked.model}: {sent}; {soaked.ended:.0f} counted"]
    lines.append(f"{'':<20}{'before':>12}{'after':>12}{'per hour':>12}  95 % interval")
    for (role, resource), curve in soaked.curves.items():
        before = soaked.before.get((role, resource), 0)
        after = soaked.after.get((role, resource), 0)
        row = f"{role} {resource}"
        lines.append(f"{row:<20}{_shown(before):>12}{_shown(after):>12}{_slope(curve, resource)}")
    return "\n".join((*lines, *_sight(soaked)))


def _slope(curve: Curve, resource: str) -> str:
    verdict = judge(steady(curve), LEAST_PER_HOUR[resource])
    if verdict is None or verdict.rises is None:
        return f"{'-':>12}  too short: a slope needs {SHORTEST_SECONDS / 60:.0f} minutes"
    interval = f"{_shown(verdict.low)} to {_shown(verdict.high)}"
    return f"{_shown(verdict.per_hour):>12}  {interval}{', RISES' if verdict.rises else ''}"


def _sight(soaked: Soaked) -> Iterator[str]:
    """Yield how long a soak must be that shows a leak, by the noise of this one."""
    for (role, resource), curve in soaked.curves.items():
        verdict = judge(steady(curve), LEAST_PER_HOUR[resource])
        if resource != "memory" or verdict is None or verdict.rises is None:
            continue
        hours = hours_to_see(steady(curve), LEAK_BYTES_PER_HOUR)
        needs = f"a soak of {hours * 60:.0f} minutes" if hours else "more than 16 hours"
        yield f"A leak of {_shown(LEAK_BYTES_PER_HOUR)} an hour in the {role} needs {needs}."


def _shown(value: float) -> str:
    return f"{value / 1e6:.2f} MB" if abs(value) > 1e5 else f"{value:.3g}"
