"""Evidence from a real Prometheus, and findings if that evidence is unusual."""

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
from safelight.metrics.catalog import REQUEST_SECONDS, REQUESTS, STAGE, STAGE_SECONDS
from safelight.stories.conditions import Conditions
from safelight.stories.history import Samples
from tests.diagnosis.past import (
    FAULT_BEGIN,
    HEALTHY,
    NAMESPACE,
    SLOW,
    becomes_slow,
    evidence_of,
    healthy,
    prometheus,
    samples_of,
    warning_names,
)
from tests.truth.scene import NOW

MALICIOUS = '<script>alert(1)</script> "&'
LONG_AGO = NOW - 30 * 86_400


def restarts(t: float) -> Conditions:
    """Restart three times in the window."""
    return replace(HEALTHY, starts=t in (-240, -150, -60))


def becomes_busy(t: float) -> Conditions:
    """Send five times as many requests in the window, to a service that becomes slow too."""
    return replace(SLOW, rate=5.0) if t >= -300 else HEALTHY


def few(_: float) -> Conditions:
    return replace(HEALTHY, rate=0.01, failures={"*": ("model_error", 0.7)})


def invalid(samples: Samples) -> Samples:
    """Return the samples with every third value of a gauge NaN or infinite."""
    return {
        block: {
            name: (kind, [_invalid(line, place) for place, line in enumerate(lines)])
            if kind == "gauge" and name != "up"
            else (kind, lines)
            for name, (kind, lines) in families.items()
        }
        for block, families in samples.items()
    }


def _invalid(line: str, place: int) -> str:
    if place % 3:
        return line
    return re.sub(r"} \S+ ", f"}} {('NaN', '+Inf', '-Inf')[place // 3 % 3]} ", line)


def named(samples: Samples, job: str) -> Samples:
    """Return the samples of the job `x` with a job name that needs escaping."""
    escaped = job.replace('"', r"\"")
    return {
        block: {
            name: (kind, [line.replace('job="x"', f'job="{escaped}"') for line in lines])
            for name, (kind, lines) in families.items()
        }
        for block, families in samples.items()
    }


def with_other_servers(samples: Samples) -> Samples:
    """Return the samples, with duration histograms of other web servers."""
    for families in samples.values():
        _, lines = families["up"]
        for prefix in ("http", "prometheus_http", "apiserver"):
            name = f"{prefix}_request_duration_seconds"
            counts = [line.replace("up{", f"{name}_count{{") for line in lines]
            families[name] = "histogram", counts
    return samples


def without_requests(samples: Samples) -> Samples:
    """Return the samples of a service that got no request yet."""
    prefixes = ("up", "safelight_service_info")
    return {
        block: {name: family for name, family in families.items() if name.startswith(prefixes)}
        for block, families in samples.items()
    }


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(
        tmp_path_factory.mktemp("past"),
        with_other_servers(samples_of("healthy", healthy)),
        without_requests(samples_of("idle", healthy)),
        samples_of("slow", becomes_slow),
        samples_of("restarts", restarts),
        samples_of("few", few),
        samples_of("young", healthy, past=480),
        samples_of("young-and-slow", lambda _: SLOW, past=480),
        samples_of("busy", becomes_busy),
        samples_of("young-and-busy", becomes_busy, past=1500),
        samples_of("old-name", healthy, until=FAULT_BEGIN),
        samples_of("new-name", healthy, past=-FAULT_BEGIN),
        invalid(samples_of("invalid", becomes_slow)),
        named(samples_of("x", becomes_slow), MALICIOUS),
    ) as client:
        yield client


def test_services_are_found_by_their_recent_metrics(past: Prometheus) -> None:
    jobs = {service.job for service in services(past, NOW)}

    assert jobs == {
        "healthy",
        "slow",
        "restarts",
        "few",
        "young",
        "young-and-slow",
        "busy",
        "young-and-busy",
        "old-name",
        "new-name",
        "invalid",
        "idle",
        MALICIOUS,
    }
    assert {service.namespace for service in services(past, NOW)} == {NAMESPACE}


class Scraped(Prometheus):
    """A Prometheus that returns these labels for every selector."""

    def __init__(self, *labels: dict[str, str]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.labels = list(labels)

    def series(self, match: str, begin: float, end: float) -> list[dict[str, str]]:
        return self.labels


def test_the_namespace_of_a_cluster_does_not_hide_that_of_the_service() -> None:
    target = {"job": "edit", "namespace": "ml-team", "exported_namespace": "zimage"}

    assert services(Scraped(target), NOW) == [Service("zimage", "edit")]


@pytest.mark.parametrize("namespace", ["ml-team", "", "/api/edit", 'a"} or b{c="'])
def test_a_namespace_that_is_no_prefix_is_not_queried(namespace: str) -> None:
    foreign = {"job": "edit", "namespace": namespace}

    assert services(Scraped(foreign, {"job": "b", "namespace": "ok"}), NOW) == [Service("ok", "b")]


def test_a_service_without_requests_has_no_findings(past: Prometheus) -> None:
    evidence = evidence_of(past, "idle")

    assert judge(evidence) == []
    assert "no requests in the window" in Diagnosis(evidence, []).headline


def test_the_evidence_of_a_service_without_alerts_takes_five_requests(past: Prometheus) -> None:
    before = past.requests
    evidence = evidence_of(past, "healthy")

    assert past.requests - before == 5
    assert evidence.requests == pytest.approx(300, rel=0.3)
    assert evidence.now.mean(REQUEST_SECONDS) == pytest.approx(0.8, rel=0.4)
    assert set(evidence.now.means_by(STAGE, STAGE_SECONDS)) >= {"decode", "denoise", "queue"}


def test_a_healthy_service_has_no_findings(past: Prometheus) -> None:
    assert judge(evidence_of(past, "healthy")) == []


def test_a_past_time_can_be_diagnosed(past: Prometheus) -> None:
    assert warning_names(past, "slow")[0] == "slow_decode"
    assert warning_names(past, "slow", NOW + FAULT_BEGIN - 15) == []


def test_counters_that_restart_are_no_fault(past: Prometheus) -> None:
    evidence = evidence_of(past, "restarts")

    assert all(value >= 0 for _, value in evidence.now.select(REQUESTS))
    assert warning_names(past, "restarts") == []


def test_a_few_requests_give_no_finding(past: Prometheus) -> None:
    assert 0 < evidence_of(past, "few").requests < 20
    assert warning_names(past, "few") == []


def test_a_service_without_past_data_has_fixed_limits_only(past: Prometheus) -> None:
    assert warning_names(past, "young") == []
    assert warning_names(past, "young-and-slow")[0] == "slow_decode"


def test_more_traffic_is_reported_only_if_the_service_is_as_old_as_the_compared_hour(
    past: Prometheus,
) -> None:
    assert "traffic_shift" in warning_names(past, "busy")
    assert "traffic_shift" not in [f.check.name for f in judge(evidence_of(past, "young-and-busy"))]


def test_a_renamed_service_is_healthy_and_its_old_name_has_a_gap(past: Prometheus) -> None:
    assert warning_names(past, "new-name") == []
    assert warning_names(past, "old-name") == ["monitoring_gap"]


def test_invalid_samples_are_dropped_and_counted(past: Prometheus) -> None:
    before = past.unusable_samples
    evidence = evidence_of(past, "invalid")

    assert past.unusable_samples > before
    assert warning_names(past, "invalid")[0] == "slow_decode"
    assert {finding.check.name for finding in judge(evidence)} <= {
        "slow_decode",
        "input_output_bottleneck",
    }


def test_the_page_escapes_the_name_of_a_service(past: Prometheus) -> None:
    evidence = gather(past, Service(NAMESPACE, MALICIOUS), NOW)
    findings = judge(evidence)
    text = page([as_data(Diagnosis(evidence, findings), past)])

    assert findings[0].check.name == "slow_decode"
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text


def test_the_error_for_an_unknown_service_lists_the_known_ones(past: Prometheus) -> None:
    with pytest.raises(MonitoringFailed, match=r"has no service 'unknown'; it has .*young"):
        only(services(past, NOW), "unknown")


def test_a_service_is_selected_by_its_job_or_its_namespace() -> None:
    known = [Service("zimage", "a"), Service("instructpix2pix", "b")]

    assert only(known, "b") == only(known, "instructpix2pix") == known[1:]
    assert only(known, None) == known


def test_an_empty_prometheus_is_an_error(past: Prometheus) -> None:
    assert services(past, LONG_AGO) == []
    with pytest.raises(MonitoringFailed, match="has no Safelight metrics"):
        only([], None)


def test_without_data_there_are_no_findings(past: Prometheus) -> None:
    evidence = gather(past, Service(NAMESPACE, "healthy"), LONG_AGO, Spans())

    assert (evidence.now, evidence.before, evidence.curves) == (Reading({}), Reading({}), {})
    assert judge(evidence) == []
