"""The firing case of each alert in a real Prometheus, with the alert's state as it stores it.

Each alert has a job and a host of its own, named like it, and one time at which all fire. The
recordings are computed by promtool. The state is written by hand: Prometheus evaluates no alert
over the past.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from safelight.diagnosis.prometheus import Prometheus
from safelight.metrics.catalog import BUILD_INFO, SERVICE_INFO
from safelight.rules.alerts import alert_groups, alerts
from safelight.rules.files import as_yaml
from safelight.rules.recording import KNOWN, recording_groups
from safelight.rules.rule import Alert, Group, Recording
from safelight.stories.history import Samples, write_blocks
from safelight.stories.replay import replay
from tests.rules.cases import CASES
from tests.rules.promtool import NAMESPACE, Series, run
from tests.truth.scene import NOW

DAY = 86_400
# These fire because data is missing that other cases have, so they fire on other days.
ALONE = {"ServiceMissing": NOW - 10 * DAY, "BudgetsStale": NOW - 20 * DAY}
STACK = {
    alert.name
    for group in alert_groups(NAMESPACE)
    if group.name.endswith("-monitoring")
    for alert in group.alerts
} - set(ALONE)
LOUD = tuple(alert for alert in alerts(NAMESPACE) if alert.severity != "info")
_BLOCK = 7200


@dataclass(frozen=True)
class State:
    """One series of an alert: the labels of its expression, and when its condition began."""

    alert: Alert
    labels: Mapping[str, str]
    begin: int
    until: int = NOW
    values: dict[str, float] = field(default_factory=dict)

    def samples(self) -> Samples:
        """Return the series that Prometheus stores, one sample per minute."""
        own = {"alertname": self.alert.name, **self.labels, **self.alert.labels}
        fires = self.begin + -(-self.alert.for_seconds // 60) * 60
        rows: list[tuple[str, dict[str, str], int, float]] = []
        for at in range(self.begin, self.until + 1, 60):
            state = "firing" if at >= fires else "pending"
            rows.append(("ALERTS", {**own, "alertstate": state}, at, 1.0))
            rows.append(("ALERTS_FOR_STATE", own, at, self.begin))
        return samples(rows)


def samples(rows: Iterable[tuple[str, Mapping[str, str], int, float]]) -> Samples:
    """Return series as samples to write: their names, labels, times and values."""
    out: Samples = {}
    for name, labels, at, value in rows:
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        family = out.setdefault(at // _BLOCK, {}).setdefault(name, ("gauge", []))
        family[1].append(f"{name}{{{inside}}} {value:.17g} {at}\n")
    return out


def time_of(alert: Alert) -> int:
    """Return the time at which the case of an alert is diagnosed."""
    return ALONE.get(alert.name, NOW)


def fires_at(alert: Alert) -> int:
    """Return the time of the first minute at which the case fires."""
    return time_of(alert) - 60


def begins_at(alert: Alert) -> int:
    """Return the time since when the condition of the case has held."""
    return fires_at(alert) - -(-alert.for_seconds // 60) * 60


def _of_case(alert: Alert) -> Samples:
    case = CASES[alert.name][0]
    begin = fires_at(alert) - 60 * case.at
    minutes = case.at + 2
    ready = [_renamed(alert, one) for one in (*case.fires, *_target(alert, case.fires))]
    rows = (
        (one.name, one.labels, begin + 60 * place, float(value))
        for one in ready
        for place, value in enumerate(one.numbers[:minutes])
        if value != "_"
    )
    before = (
        (one.name, one.labels, begin - 60 * minute, 1.0)
        for one in ready
        for minute in range(29, 0, -1)
        if one.name == "up" and alert.name not in ALONE
    )
    return samples((*before, *rows))


def _target(alert: Alert, given: Iterable[Series]) -> Iterator[Series]:
    """Yield what each target exposes besides, unless the case has it."""
    names = {one.name for one in given}
    labels = {"job": "safelight", "instance": "127.0.0.1:8000"}
    if "up" not in names and alert.name not in ALONE:
        yield Series("up", "1x900", labels)
    if SERVICE_INFO.name not in names and alert.name not in {*ALONE, *STACK}:
        yield Series(SERVICE_INFO.name, "1x900", {**labels, "namespace": NAMESPACE})
    if BUILD_INFO.name in names:  # it refers to itself, which promtool cannot compute
        yield Series(KNOWN, "1x900", {"job": "safelight"})


def _renamed(alert: Alert, one: Series) -> Series:
    labels = {**one.labels, "job": alert.name}
    if "instance" in labels:
        labels["instance"] = f"{alert.name.lower()}-{labels['instance']}"
    return replace(one, labels=labels)


def _recordings() -> tuple[list[Recording], list[Recording]]:
    """Return the recordings that alerts read: first those that read no other recording."""
    rows = [rule for group in recording_groups(NAMESPACE) for rule in group.recordings]
    rows = [rule for rule in rows if rule.record != KNOWN]

    def read_by(text: str) -> list[Recording]:
        return [rule for rule in rows if re.search(rf"{re.escape(rule.record)}\b", text)]

    direct = [rule for alert in LOUD for rule in read_by(alert.expr)]
    deep = [below for rule in direct for below in read_by(rule.expr)]
    needed = [rule for rule in rows if rule in (*direct, *deep)]
    first = [rule for rule in needed if not read_by(rule.expr)]
    return first, [rule for rule in needed if rule not in first]


def _record(folder: Path, rules: list[Recording]) -> None:
    file = folder / "rules.yml"
    file.write_text(as_yaml([Group("recordings", tuple(rules))]))
    minutes = max(CASES[alert.name][0].at for alert in LOUD) + 5
    with replay(folder) as client:
        times = (f"--start={NOW - 60 * minutes}", f"--end={NOW}", "--eval-interval=1m")
        out = f"--output-dir={folder / 'data'}"
        make = ("promtool", "tsdb", "create-blocks-from", "rules")
        run(*make, *times, out, f"--url={client.url}", str(file))


def states(client: Prometheus) -> dict[str, list[State]]:
    """Return the state of each alert, with the labels that its expression has at its time."""
    found: dict[str, list[State]] = defaultdict(list)
    for alert in LOUD:
        at = time_of(alert)
        for row in client.instant(alert.expr, at):
            labels = {k: v for k, v in row.labels.items() if k != "__name__"}
            if labels.get("job", alert.name) == alert.name:
                values = {"value": row.value}
                found[alert.name].append(State(alert, labels, begins_at(alert), at, values))
    return found


@contextmanager
def alarms(folder: Path, *more: Samples) -> Iterator[tuple[Prometheus, dict[str, list[State]]]]:
    """Start a Prometheus in which every alert of severity warning or above fires."""
    write_blocks((*(_of_case(alert) for alert in LOUD), *more), folder)
    for rules in _recordings():
        _record(folder, rules)
    with replay(folder) as client:
        found = states(client)
    write_blocks((each.samples() for group in found.values() for each in group), folder)
    with replay(folder) as client:
        yield client, found
