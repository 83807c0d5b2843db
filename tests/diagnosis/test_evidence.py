"""Evidence out of a real Prometheus, and what is said where that evidence is odd."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Reading, Service, Spans, gather, only, services
from safelight.diagnosis.page import page
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import Diagnosis, as_data
from safelight.errors import MonitoringFailed
from safelight.metrics.catalog import REQUEST_SECONDS, REQUESTS, STAGE_SECONDS
from safelight.stories.conditions import Conditions
from safelight.stories.history import Samples
from tests.diagnosis.past import NAMESPACE, SINCE, SLOW, WELL, prometheus, said, seen, shown
from tests.diagnosis.past import turns_slow as slow
from tests.diagnosis.past import well as steady
from tests.truth.scene import NOW

WICKED = '<script>alert(1)</script> "&'
LONG_AGO = NOW - 30 * 86_400


def restarts(t: float) -> Conditions:
    """Return a service whose counters begin anew thrice within the window."""
    return replace(WELL, starts=t in (-240, -150, -60))


def few(_: float) -> Conditions:
    return replace(WELL, rate=0.01, failures={"*": ("model_error", 0.7)})


def odd(texts: Samples) -> Samples:
    """Return the texts with every third value of a gauge NaN or infinite."""
    return {
        block: {
            name: (kind, [_odd(line, place) for place, line in enumerate(lines)])
            if kind == "gauge" and name != "up"
            else (kind, lines)
            for name, (kind, lines) in families.items()
        }
        for block, families in texts.items()
    }


def _odd(line: str, place: int) -> str:
    if place % 3:
        return line
    return re.sub(r"} \S+ ", f"}} {('NaN', '+Inf', '-Inf')[place // 3 % 3]} ", line)


def named(texts: Samples, job: str) -> Samples:
    """Return the texts of the job `x` under a name that has to be escaped."""
    escaped = job.replace('"', r"\"")
    return {
        block: {
            name: (kind, [line.replace('job="x"', f'job="{escaped}"') for line in lines])
            for name, (kind, lines) in families.items()
        }
        for block, families in texts.items()
    }


def among_others(texts: Samples) -> Samples:
    """Return the texts with the durations that web servers of any kind show."""
    for families in texts.values():
        _, lines = families["up"]
        for prefix in ("http", "prometheus_http", "apiserver"):
            name = f"{prefix}_request_duration_seconds"
            shown = [line.replace("up{", f"{name}_count{{") for line in lines]
            families[name] = "histogram", shown
    return texts


def unasked(texts: Samples) -> Samples:
    """Return the texts of a service that nobody has sent a request to."""
    quiet = ("up", f"{NAMESPACE}_guidance_overridden")
    return {
        block: {name: family for name, family in families.items() if name.startswith(quiet)}
        for block, families in texts.items()
    }


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(
        tmp_path_factory.mktemp("past"),
        among_others(shown("well", steady)),
        unasked(shown("unasked", steady)),
        shown("slow", slow),
        shown("restarts", restarts),
        shown("few", few),
        shown("young", steady, past=480),
        shown("young-and-slow", lambda _: SLOW, past=480),
        shown("old-name", steady, until=SINCE),
        shown("new-name", steady, past=-SINCE),
        odd(shown("odd", slow)),
        named(shown("x", slow), WICKED),
    ) as client:
        yield client


def test_the_services_are_those_that_showed_our_metrics_lately(past: Prometheus) -> None:
    jobs = {service.job for service in services(past, NOW)}

    assert jobs == {
        "well",
        "slow",
        "restarts",
        "few",
        "young",
        "young-and-slow",
        "old-name",
        "new-name",
        "odd",
        "unasked",
        WICKED,
    }
    assert {service.namespace for service in services(past, NOW)} == {NAMESPACE}


def test_a_service_that_nobody_has_asked_yet_is_well(past: Prometheus) -> None:
    evidence = seen(past, "unasked")

    assert judge(evidence) == []
    assert "nobody asked anything" in Diagnosis(evidence, []).headline


def test_all_evidence_of_a_service_takes_four_questions(past: Prometheus) -> None:
    before = past.asked
    evidence = seen(past, "well")

    assert past.asked - before == 4
    assert evidence.requests == pytest.approx(300, rel=0.3)
    assert evidence.now.mean(REQUEST_SECONDS) == pytest.approx(0.8, rel=0.4)
    assert set(evidence.now.means("stage", STAGE_SECONDS)) >= {"decode", "denoise", "queue"}


def test_nothing_is_said_of_a_service_that_is_well(past: Prometheus) -> None:
    assert judge(seen(past, "well")) == []


def test_the_past_can_be_asked_for(past: Prometheus) -> None:
    assert said(past, "slow")[0] == "slow_decode"
    assert said(past, "slow", NOW + SINCE - 15) == []


def test_counters_that_begin_anew_are_no_fault(past: Prometheus) -> None:
    evidence = seen(past, "restarts")

    assert all(value >= 0 for _, value in evidence.now.found(REQUESTS))
    assert said(past, "restarts") == []


def test_a_few_requests_tell_nothing(past: Prometheus) -> None:
    assert 0 < seen(past, "few").requests < 20
    assert said(past, "few") == []


def test_a_service_without_a_past_is_held_to_fixed_limits_only(past: Prometheus) -> None:
    assert said(past, "young") == []
    assert said(past, "young-and-slow")[0] == "slow_decode"


def test_a_service_renamed_is_missed_by_its_old_name_and_well_by_its_new_one(
    past: Prometheus,
) -> None:
    assert said(past, "new-name") == []
    assert said(past, "old-name") == ["monitoring_gap"]


def test_samples_that_are_no_numbers_are_left_out_and_counted(past: Prometheus) -> None:
    before = past.unusable_samples
    evidence = seen(past, "odd")

    assert past.unusable_samples > before
    assert said(past, "odd")[0] == "slow_decode"
    assert {finding.check.name for finding in judge(evidence)} <= {
        "slow_decode",
        "input_output_bottleneck",
    }


def test_a_name_that_somebody_chose_is_escaped_on_the_page(past: Prometheus) -> None:
    evidence = gather(past, Service(NAMESPACE, WICKED), NOW)
    found = judge(evidence)
    text = page([as_data(Diagnosis(evidence, found), past)])

    assert found[0].check.name == "slow_decode"
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text


def test_an_unknown_service_is_told_with_those_there_are(past: Prometheus) -> None:
    with pytest.raises(MonitoringFailed, match=r"knows no service 'nobody'; it has .*young"):
        only(services(past, NOW), "nobody")


def test_a_service_is_known_by_its_job_and_by_its_namespace() -> None:
    known = [Service("zimage", "a"), Service("instructpix2pix", "b")]

    assert only(known, "b") == only(known, "instructpix2pix") == known[1:]
    assert only(known, None) == known


def test_an_empty_prometheus_is_told_as_such(past: Prometheus) -> None:
    assert services(past, LONG_AGO) == []
    with pytest.raises(MonitoringFailed, match="no service with metrics of Safelight"):
        only([], None)


def test_where_there_is_no_data_nothing_is_found(past: Prometheus) -> None:
    evidence = gather(past, Service(NAMESPACE, "well"), LONG_AGO, Spans())

    assert (evidence.now, evidence.before, evidence.curves) == (Reading({}), Reading({}), {})
    assert judge(evidence) == []
