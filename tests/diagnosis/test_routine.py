"""The weekly check: changes, unsuitable limits, and missing series."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from safelight.diagnosis.evidence import Service
from safelight.diagnosis.queries import series_names
from safelight.diagnosis.routine import Change, Trends, trends
from safelight.metrics.catalog import QUEUED_SECONDS, REQUESTS, STEP_SECONDS, SUCCESSES
from safelight.rules.thresholds import Thresholds
from safelight.stories.conditions import Conditions
from safelight.stories.history import Samples, Simulation, named, scrapes, simulate
from tests.diagnosis.past import HEALTHY, NAMESPACE, prometheus
from tests.truth.scene import NOW

HOUR, WEEK, EVERY = 3600, 7 * 86_400, 300
THIS_WEEK = (NOW - 36 * HOUR, NOW + 1, EVERY)
GONE = "host_cpu_utilization_ratio"
JOB = 'the "weekly" one'
CONSTANT, RARE = "RequestP95High", "NoWorkerReady"


def conditions(_: int, at: float) -> Conditions:
    slower = 1 if at < NOW - WEEK else 3
    return replace(HEALTHY, rate=0.3, step_seconds=HEALTHY.step_seconds * slower)


def two_weeks() -> Samples:
    """Return parts of two weeks: the second is slower, and one gauge ends in it."""
    metrics = (REQUESTS, SUCCESSES, QUEUED_SECONDS, STEP_SECONDS)
    more = {m.full_name(NAMESPACE) + s for m in metrics for s in ("", "_sum", "_count", "_bucket")}
    buckets = f"{NAMESPACE}_request_duration_seconds_bucket"  # for the P95, which only trends query
    keep = named({*series_names(NAMESPACE), buckets, *more})
    job = JOB.replace('"', r"\"")
    service = Simulation(NAMESPACE, job, conditions)
    samples = simulate(
        service, scrapes((NOW - WEEK - 6 * HOUR, NOW - WEEK, EVERY), THIS_WEEK), keep
    )
    for families in samples.values():
        kind, lines = families[GONE]
        families[GONE] = kind, [line for line in lines if int(line.split()[-1]) < NOW - 28 * HOUR]
    for at in range(*THIS_WEEK):
        for alert in (CONSTANT, *([RARE] if at > NOW - 6 * HOUR else [])):
            family = samples[at // 7200].setdefault("ALERTS", ("gauge", []))
            inside = f'alertname="{alert}",alertstate="firing",job="{job}"'
            family[1].append(f"ALERTS{{{inside}}} 1 {at}\n")
    return samples


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trends]:
    with prometheus(tmp_path_factory.mktemp("weeks"), two_weeks()) as client:
        limits = Thresholds(request_p95_seconds=60.0)
        yield trends(client, Service(NAMESPACE, JOB), NOW, limits)


def test_z11_this_week_is_compared_with_last_week(result: Trends) -> None:
    changes = {change.what: change for change in result.changes}

    assert changes["mean step"].factor == pytest.approx(3.0, rel=0.1)
    assert changes["mean step"].notable
    assert not changes["requests per second"].notable
    assert changes["success"].this_week == pytest.approx(1.0, abs=0.05)


def test_z11_the_age_of_the_oldest_data_is_known(result: Trends) -> None:
    assert result.data_seconds == pytest.approx(WEEK + 6 * HOUR, abs=EVERY)
    assert (result.comparable, result.judged) == (True, True)


def test_z11_an_alert_that_always_fires_is_listed(result: Trends) -> None:
    assert [firing.alert for firing in result.firing] == [CONSTANT]
    assert result.firing[0].share > 0.95


def test_z11_a_better_limit_is_proposed_from_the_data(result: Trends) -> None:
    [proposal] = [each for each in result.proposals if each.threshold == "request_p95_seconds"]

    assert proposal.problem == "out of reach"
    assert proposal.usual < proposal.proposed < 10 < proposal.limit


def test_z11_a_series_that_ended_is_listed(result: Trends) -> None:
    assert result.missing == [GONE]


def test_a_change_is_unknown_if_a_week_has_no_data() -> None:
    assert Change("x", "", 1.0, None).factor is None
    assert Change("x", "", 1.0, 0.0).factor is None
    assert not Change("x", "", None, 1.0).notable
