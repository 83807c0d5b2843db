"""Alerts and diagnosis never contradict each other: each active alert is a symptom."""

import io
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter

import pytest
from rich.console import Console

from safelight.cli.diagnose import show
from safelight.diagnosis.active import ActiveAlert
from safelight.diagnosis.causes import ORIGINS
from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.comparison import Comparison, comparison
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans, gather
from safelight.diagnosis.finding import Finding, Severity, Sign
from safelight.diagnosis.page import page
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.queries import key
from safelight.diagnosis.report import Diagnosis, FindingData, as_data, each_machine_once
from safelight.diagnosis.template import rendered, unknown_placeholders
from safelight.metrics.catalog import REQUESTS
from safelight.rules.alerts import alerts
from safelight.rules.rule import Alert
from safelight.stories.history import Samples
from safelight.units import when
from tests.diagnosis.alarms import LOUD, STACK, State, alarms, begins_at, time_of
from tests.diagnosis.past import becomes_slow, healthy, samples_of
from tests.languages import untold
from tests.rules.promtool import NAMESPACE
from tests.truth.scene import NOW

Past = tuple[Prometheus, dict[str, list[State]]]
ALL = {alert.name: alert for alert in alerts(NAMESPACE)}
OF_ZIMAGE = {alert.name: alert for alert in alerts("zimage")}
NUMBERLESS = {"ServiceMissing", "BudgetsStale", "GpuMetricsMissing"}  # they report missing data
each_alert = pytest.mark.parametrize("alert", ALL.values(), ids=ALL)


def state(name: str, begin: int, /, alert: Alert | None = None, **labels: str) -> Samples:
    return State(alert or ALL[name], labels, begin).samples()


def on_host(samples: Samples, old: str, new: str) -> Samples:
    """Return the samples of a service that runs on another address."""
    return {
        block: {
            name: (kind, [line.replace(f'instance="{old}"', f'instance="{new}"') for line in lines])
            for name, (kind, lines) in families.items()
        }
        for block, families in samples.items()
    }


MORE = (
    samples_of("slow", becomes_slow),
    on_host(samples_of("neighbour", healthy), "neighbour-0:8000", "slow-0:8001"),
    samples_of("far", healthy),
    samples_of("quiet", healthy),
    state("RequestP95High", NOW - 600, job="slow"),
    state("HighP95Latency", NOW - 120, job="slow", handler="/api/edit"),
    state("WorkersRestarting", NOW - 600, OF_ZIMAGE["WorkersRestarting"], job="slow"),
    state("HostMemoryFull", NOW - 360, machine="slow-0"),
    *(state("WorkPilesUp", NOW - 600, job="far", instance=f"far-{n}:8000") for n in range(3)),
    state("GuidanceOverridden", NOW - 900, job="far", parameter="guidance_scale"),
)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with alarms(tmp_path_factory.mktemp("alarms"), *MORE) as started:
        yield started


def diagnosed(client: Prometheus, job: str, at: float = NOW) -> Diagnosis:
    evidence = gather(client, Service(NAMESPACE, job), at)
    return Diagnosis(evidence, judge(evidence))


def symptoms(client: Prometheus, job: str, at: float = NOW) -> Mapping[str, FindingData]:
    """Return the findings of a service that are alerts, without those of the monitoring itself."""
    findings = as_data(diagnosed(client, job, at), client)["findings"]
    return {f["check"]: f for f in findings if "alert" in f and f["check"] not in STACK}


@pytest.mark.parametrize("alert", LOUD, ids=lambda alert: alert.name)
def test_an_alert_that_fires_is_a_symptom_with_value_limit_carrier_and_beginning(
    past: Past, alert: Alert
) -> None:
    client, states = past
    report = as_data(diagnosed(client, alert.name, time_of(alert)), client)
    [finding] = [each for each in report["findings"] if each["check"] == alert.name]
    shown = finding["evidence"][0]["says"]

    assert finding["severity"] in ("critical", alert.severity)
    assert finding["alert"]["state"] == "firing"
    assert finding["alert"]["since"] == when(begins_at(alert))
    assert when(begins_at(alert)) in shown
    assert finding["alert"]["value"] in [each.values["value"] for each in states[alert.name]]
    assert (finding["alert"]["limit"] is None) == (alert.name in NUMBERLESS)
    assert ("limit is" in shown and "unknown" not in shown) or alert.name in NUMBERLESS
    carriers = {*states[alert.name][0].labels} - {"job"}
    assert all(states[alert.name][0].labels[name] in finding["subject"] for name in carriers)
    assert "{{" not in finding["title"] + finding["verdict"]
    assert "healthy" not in report["headline"]
    assert report["severity"] != "info"


@pytest.mark.parametrize("alert", LOUD, ids=lambda alert: alert.name)
def test_the_alert_of_another_service_is_no_symptom(past: Past, alert: Alert) -> None:
    found = symptoms(past[0], alert.name, time_of(alert))

    assert set(found) == {alert.name} - STACK


def test_a_service_on_another_host_without_alerts_has_no_symptom_of_a_service(past: Past) -> None:
    assert symptoms(past[0], "quiet") == {}


def test_before_its_beginning_an_alert_is_no_symptom(past: Past) -> None:
    assert "RequestP95High" in symptoms(past[0], "slow", NOW - 540)
    assert "RequestP95High" not in symptoms(past[0], "slow", NOW - 660)


def test_a_known_cause_is_listed_above_its_symptom(past: Past) -> None:
    findings = as_data(diagnosed(past[0], "slow"), None)["findings"]
    names = [finding["check"] for finding in findings]
    symptom = findings[names.index("RequestP95High")]

    assert names.index("slow_decode") < names.index("RequestP95High")
    assert symptom["follows_from"] == symptom["alert"]["cause"] == "slow_decode"
    assert symptom["evidence"][1]["says"].startswith("longest stage: decode, ")


def test_an_unknown_cause_is_reported_as_unknown_with_where_to_look(past: Past) -> None:
    client, _ = past
    diagnosis = diagnosed(client, "far")
    symptom = symptoms(client, "far")["GuidanceOverridden"]
    out = io.StringIO()
    show([diagnosis], Console(file=out, width=200))

    assert (symptom["follows_from"], symptom["alert"]["cause"]) == (None, "unknown")
    assert symptom["next_experiment"] == ALL["GuidanceOverridden"].runbook.look
    assert symptom["docs"] == "docs/runbooks.md#guidanceoverridden"
    assert "Its cause is unknown." in out.getvalue()
    assert "GuidanceOverridden, alert firing" in out.getvalue()
    assert "its cause is unknown" in page([as_data(diagnosis, client)])


def test_a_pending_alert_is_a_symptom_too(past: Past) -> None:
    symptom = symptoms(past[0], "slow")["HighP95Latency"]

    assert symptom["alert"]["state"] == "pending"
    assert symptom["severity"] == "critical"
    assert symptom["subject"] == "/api/edit"
    assert f"pending since {when(NOW - 120)} (2 min); it fires after 10 min" in (
        symptom["evidence"][0]["says"].replace("120 s", "2 min").replace("600 s", "10 min")
    )


def test_an_alert_of_several_instances_is_one_symptom(past: Past) -> None:
    symptom = symptoms(past[0], "far")["WorkPilesUp"]

    assert symptom["verdict"].startswith("3 instances: far-0:8000, far-1:8000, far-2:8000.")
    assert len(symptom["evidence"]) >= 3


def test_a_condition_of_a_machine_is_reported_once(past: Past) -> None:
    both = each_machine_once([diagnosed(past[0], job) for job in ("slow", "neighbour")])
    first, second = (
        next(f for f in as_data(each, None)["findings"] if f["check"] == "HostMemoryFull")
        for each in both
    )
    out = io.StringIO()
    show(both, Console(file=out, width=200))

    assert "listed_under" not in first
    assert first["alert"]["since"] == when(NOW - 360)
    assert "instances" not in first["verdict"]
    assert second["listed_under"] == "slow"
    assert "Listed in full under slow." in out.getvalue()
    assert "healthy" not in both[1].headline
    assert "HostMemoryFull" not in symptoms(past[0], "far")


def test_the_alerts_take_one_request_and_a_second_one_if_one_is_active(past: Past) -> None:
    client, _ = past
    before = client.requests
    gather(client, Service(NAMESPACE, "slow"), NOW)

    assert client.requests - before == 6


@each_alert
def test_each_alert_has_a_row_in_the_table_of_causes(alert: Alert) -> None:
    assert alert.name in ORIGINS
    known = {*ALL, *(check.name for check in CHECKS)}
    assert known - {alert.name} >= ORIGINS[alert.name].causes


def test_the_table_of_causes_has_no_other_alerts_and_no_circle() -> None:
    assert set(ORIGINS) == set(ALL)
    TopologicalSorter({name: row.causes for name, row in ORIGINS.items()}).prepare()


@each_alert
def test_the_texts_of_each_alert_can_be_filled_in(alert: Alert) -> None:
    assert not list(unknown_placeholders(alert.summary + alert.description))
    assert "{{" not in rendered(alert.summary + alert.description, {}, 1.0)


@each_alert
def test_the_finished_texts_of_each_alert_are_told_in_chinese(alert: Alert) -> None:
    for labels in ({}, {"job": "edit", "instance": "h:8000", "machine": "h", "gpu": "0"}):
        texts = [rendered(text, labels, 12.5) for text in (alert.summary, alert.description)]
        assert untold([*texts, alert.runbook.look, alert.runbook.do]) == []


@pytest.mark.parametrize("alert", LOUD, ids=lambda alert: alert.name)
def test_the_symptom_of_each_alert_is_told_in_chinese(past: Past, alert: Alert) -> None:
    for finding in diagnosed(past[0], alert.name, time_of(alert)).findings:
        check, sign = finding.check, finding.sign
        shown = (check.title, sign.verdict, *(exhibit.says for exhibit in sign.exhibits))
        assert untold([*shown, *check.remedy, check.experiment]) == []


def test_a_text_that_nobody_translated_is_found() -> None:
    assert untold(["the moon is full", "decode"]) == ["the moon is full"]


@each_alert
def test_each_alert_with_a_limit_has_a_comparison(alert: Alert) -> None:
    assert (comparison(alert.expr) is None) == (alert.name in NUMBERLESS)


def test_a_finding_of_a_check_on_a_host_is_reported_once_too() -> None:
    [check] = [check for check in CHECKS if check.name == "host_cpu"]

    def busy(job: str, severity: Severity, instance: str) -> Diagnosis:
        evidence = Evidence(Service(NAMESPACE, job), NOW, Spans(), Reading())
        return Diagnosis(evidence, [Finding(check, Sign(severity, 0.9, "", (), instance))])

    reports = each_machine_once(
        [
            busy("one", Severity.WARNING, "a:1"),
            busy("two", Severity.WARNING, "a:2"),
            busy("three", Severity.WARNING, "b:1"),
            busy("four", Severity.CRITICAL, "a:4"),
        ]
    )

    assert [each.findings[0].listed_under for each in reports] == ["", "one", "", ""]


@pytest.mark.parametrize(
    ("expression", "operator", "limit", "measured"),
    [
        ("p95 > 3", ">", "3", "p95"),
        (
            'sum by (job) (up{a=">"}) == 0 and on (job) (b > 1)',
            "==",
            "0",
            'sum by (job) (up{a=">"})',
        ),
        (
            "(a / on (job) group_left () b >= 0.05 and c > 1)",
            ">=",
            "0.05",
            "a / on (job) group_left () b",
        ),
        ("x > on (job, gpu) total", ">", "total", "x"),
        ("x > bool ignoring (le) group_right (a) y * 2", ">", "y * 2", "x"),
        ("a != -1e3 unless b > 2", "!=", "-1e3", "a"),
    ],
)
def test_the_limit_of_an_expression_is_that_of_its_first_comparison(
    expression: str, operator: str, limit: str, measured: str
) -> None:
    assert comparison(expression) == Comparison(operator, limit, measured)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ $labels.job }}: {{ $value | humanizeDuration }}", "a: 90 s"),
        ("{{ $value | humanizePercentage }} of all", "9000 % of all"),
        ("{{ $value | humanize1024 }}B", "90 B"),
        ('{{ printf "%.1f" $value }}', "90.0"),
        ('{{ $value | printf "%.0f" }}', "90"),
        ("{{ $value }} of {{ $labels.missing }}.", "90 of ."),
    ],
)
def test_placeholders_are_filled_in(text: str, filled: str) -> None:
    assert rendered(text, {"job": "a"}, 90.0) == filled


def test_a_new_kind_of_placeholder_is_found() -> None:
    assert list(unknown_placeholders("{{ $value | toDate }} {{ $labels.a }}")) == [
        "$value | toDate"
    ]


def test_a_symptom_of_a_whole_service_names_the_reason_and_the_instance_of_most_failures() -> None:
    rates = {("a:1", "none"): 9.0, ("a:1", "timeout"): 1.0, ("b:1", "worker_lost"): 3.0}
    rows = [({"instance": name, "error": error}, rate) for (name, error), rate in rates.items()]
    labels = {"job": "edit"}
    active = ActiveAlert(ALL["SuccessRatioLow"], labels, "warning", True, NOW - 60, 0.31, 0.05)
    now = Reading({key(REQUESTS): rows})
    [finding] = judge(Evidence(Service(NAMESPACE, "edit"), NOW, Spans(), now, alerts=(active,)), ())
    texts = [exhibit.says for exhibit in finding.sign.exhibits]

    assert "most frequent error: worker_lost, 75 % of them; 75 % on b:1" in texts
    assert finding.sign.verdict.startswith("31 % of the requests to the model of edit fail")
