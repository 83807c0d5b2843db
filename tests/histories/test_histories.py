"""A sample of the histories; `make monitoring-check` runs more, and YEAR=1 a year."""

import re
from functools import cache

from safelight.metrics.catalog import CATALOG, OUTCOMES, REJECTED, WORKER_RESTARTS
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import Kind
from safelight.rules.alerts import alerts
from safelight.rules.files import groups
from tests.histories.breaking import BREAKING, SILENCING
from tests.histories.events import EVENTS
from tests.histories.healthy import TOGETHER, Healthy, healthy
from tests.histories.incidents import INCIDENTS, incident_history, packs
from tests.histories.judge import judge
from tests.histories.report import complaints, figures, incident_table
from tests.histories.trial import WEEK_HOURS, judge_healthy, numbers_until, reported
from tests.histories.worlds import FIRST

SEED = 16
_SUFFIXES = ("", "_bucket", "_sum", "_count")
_LABEL = re.compile(r'(\w+)="')
# Rules read these, but a service without the cause does not expose them.
_ABSENT = {"safelight_series_folded_total"}


@cache
def sample() -> Healthy:
    return healthy(SEED, 0, 2)


def names_by_family() -> dict[str, tuple[str, ...]]:
    """Return the labels of each series of the catalogue, by its full name."""
    return {
        metric.full_name(FIRST) + suffix: metric.label_names
        for metric in CATALOG
        for suffix in (_SUFFIXES[1:] if metric.kind is Kind.HISTOGRAM else _SUFFIXES[:1])
    }


def test_every_metric_that_a_rule_reads_is_in_the_histories() -> None:
    text = " ".join(rule.expr for group in groups(FIRST) for rule in group.rules)
    read = set(re.findall(r"[a-zA-Z_][\w]*", text)) & ({*names_by_family(), *FOREIGN} - _ABSENT)
    present = {name for number in range(3) for name in healthy(SEED, number, 1).history.names}
    assert len(read) > 60
    assert not read - present


def test_series_have_the_labels_of_the_catalogue() -> None:
    known = names_by_family()
    for key in sample().history.rows:
        name, _, inside = key.partition("{")
        if name in known and "dcgm" not in inside:
            labels = [label for label in _LABEL.findall(inside) if label != "le"]
            assert sorted(labels) == sorted(("job", "instance", *known[name])), key


def test_counters_with_closed_labels_begin_with_the_process() -> None:
    history = healthy(SEED, 1, 1).history
    rows = {key: text for key, text in history.rows.items() if f'job="{FIRST}-' in key}
    for metric in (REJECTED, OUTCOMES, WORKER_RESTARTS):
        own = [text for key, text in rows.items() if key.startswith(metric.full_name(FIRST))]
        combinations = 1
        for label in metric.labels:
            combinations *= len(label.values or ())
        instances = {key for key in rows if key.startswith("up{")}
        assert len(own) == combinations * len(instances)


def test_a_seed_gives_the_same_history_again() -> None:
    assert healthy(SEED, 2, 1).history.rows == healthy(SEED, 2, 1).history.rows
    assert healthy(SEED, 2, 1).history.rows != healthy(SEED + 1, 2, 1).history.rows


def test_the_histories_of_a_week_contain_every_event() -> None:
    assert TOGETHER * len(list(numbers_until(WEEK_HOURS))) >= len(EVENTS)


def test_every_incident_breaks_something_and_names_an_alert_that_exists() -> None:
    exist = {alert.name: alert for alert in alerts(FIRST)}
    assert {incident.name for incident in INCIDENTS} == {*BREAKING, *SILENCING}
    assert len(INCIDENTS) >= 25
    assert sum(len(pack) for pack in packs()) == len(INCIDENTS)
    for incident in INCIDENTS:
        for name in incident.alerts:
            assert exist[name].severity in ("critical", "warning")


def test_healthy_services_are_quiet() -> None:
    assert not complaints(judge_healthy(sample()), [])


def test_incidents_alert_in_time_and_nothing_fires_before() -> None:
    pack = next(each for each in packs() if len(each) > 1)[:6]
    together = incident_history(pack, SEED)
    fired = judge(together.history)
    assert all(each.first_seconds >= pack[0].begin_minute * 60 for each in fired)
    reports = reported(together, fired)
    assert not complaints([], reports), "\n".join(incident_table(reports))
    assert any("incidents alerted in time" in row for row in figures([], reports))
