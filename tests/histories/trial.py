"""Run histories, and say which healthy ones were not quiet and which incidents not reported."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from safelight.rules.alerts import alerts
from tests.histories.healthy import TOGETHER, Healthy, Told, length_hours
from tests.histories.incidents import Incident, Together, incident_history
from tests.histories.judge import Fired, judge
from tests.histories.worlds import FIRST

T = TypeVar("T")
WEEK_HOURS = 168
_SCRAPES = 2
_DELAYS = {alert.name: alert.for_seconds for alert in alerts(FIRST)}


@dataclass(frozen=True, slots=True)
class Quiet:
    """The verdict on one healthy service, or on the monitoring beside it."""

    told: Told
    hours: float
    gaps: str
    fired: tuple[Fired, ...]

    def number(self, severity: str) -> int:
        """Return the messages of this severity: alerts of one name at once are one."""
        names = {each["alertname"] for each in self.fired if each["severity"] == severity}
        return sum(
            max(each.episodes for each in self.fired if each["alertname"] == name) for name in names
        )


@dataclass(frozen=True, slots=True)
class Reported:
    """The verdict on one incident: the seconds from its begin to its alert, None without one."""

    incident: Incident
    alert: str
    seconds: float | None
    limit_seconds: float

    @property
    def in_time(self) -> bool:
        return self.seconds is not None and 0 <= self.seconds <= self.limit_seconds


def numbers_until(hours: float) -> Iterator[int]:
    """Yield the numbers of histories until they contain these hours of services together."""
    total, number = 0.0, 0
    while total < hours:
        yield number
        total += TOGETHER * length_hours(number)
        number += 1


def judge_healthy(one: Healthy) -> list[Quiet]:
    """Return the verdict on each service of a history, and on its monitoring."""
    left, hours, verdicts = judge(one.history), one.history.hours, []
    for number, told in enumerate(one.told):
        own = tuple(each for each in left if each.belongs_to(number, told.jobs))
        left = [each for each in left if each not in own]
        verdicts.append(Quiet(told, hours, one.gaps, own))
    around = Told(f"{one.told[0].name.split(':')[0]}: monitoring", (), ())
    return [*verdicts, Quiet(around, 0.0, one.gaps, tuple(left))]


def judge_incidents(incidents: tuple[Incident, ...], seed: int) -> list[Reported]:
    """Return the verdict on each incident of a history."""
    together = incident_history(incidents, seed)
    return reported(together, judge(together.history))


def reported(together: Together, fired: Sequence[Fired]) -> list[Reported]:
    """Return the verdicts by what fired."""
    return [_reported(together, number, fired) for number in range(len(together.incidents))]


def _reported(together: Together, number: int, fired: Iterable[Fired]) -> Reported:
    incident = together.incidents[number]
    others = [(k, jobs) for k, jobs in enumerate(together.jobs) if k != number]
    begin = incident.begin_minute * 60
    found = []
    for name in incident.alerts:
        limit = incident.visible_seconds + _DELAYS[name] + _SCRAPES * incident.step_seconds
        own = (
            each.first_seconds - begin
            for each in fired
            if each["alertname"] == name and not any(each.belongs_to(*one) for one in others)
        )
        found.append(Reported(incident, name, min(own, default=None), limit))
    return max(found, key=lambda each: (each.in_time, -(each.seconds or 1e9)))


def run_all(work: Iterable[Callable[[], list[T]]], at_once: int) -> Iterator[list[T]]:
    """Yield the results in order; some promtools run at once."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda each: each(), work)
