from typing import Any

import httpx
import promql_parser
import pytest

from safelight.errors import ServiceFailed
from safelight.metrics.catalog import CATALOG
from safelight.stack.tools.check import Check, Checker, checks, verify

SERVICE, PROMETHEUS = "http://service", "http://prometheus"
NAMESPACE, JOB = "instructpix2pix", "safelight"


class Fakes:
    """A service that edits, and a Prometheus that returns `values` by query."""

    def __init__(self) -> None:
        self.edits: list[httpx.Request] = []
        self.edit_status = 200
        self.values: dict[str, list[str]] = {}
        self.default: list[str] = ["1"]
        self.rule_health = ["ok", "ok"]
        self.alertmanagers: list[str] = ["http://alertmanager"]
        self.exemplars = [{"exemplars": [{"value": "1"}, {"value": "2"}]}]
        self.prometheus_status = 200

    def respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "service":
            self.edits.append(request)
            return httpx.Response(self.edit_status)
        path = request.url.path.removeprefix("/api/v1/")
        data = self._query(request.url.params) if path == "query" else self._state()[path]
        return httpx.Response(self.prometheus_status, json={"status": "success", "data": data})

    def _query(self, params: httpx.QueryParams) -> Any:
        values = self.values.get(params["query"], self.default)
        return {"result": [{"metric": {}, "value": [0, value]} for value in values]}

    def _state(self) -> dict[str, Any]:
        return {
            "rules": {"groups": [{"rules": [{"health": health}]} for health in self.rule_health]},
            "alertmanagers": {"activeAlertmanagers": self.alertmanagers},
            "query_exemplars": self.exemplars,
        }

    def checker(self) -> Checker:
        client = httpx.Client(transport=httpx.MockTransport(self.respond))
        return Checker(SERVICE, PROMETHEUS, client)


def never(_seconds: float) -> bool:
    return False


@pytest.mark.parametrize("check", checks(NAMESPACE, JOB), ids=lambda check: check.title)
def test_every_check_is_valid_promql(check: Check) -> None:
    for query in filter(None, (check.query, check.optional)):
        promql_parser.parse(query)


def test_the_checks_cover_the_important_metrics() -> None:
    queries = " ".join(check.query for check in checks(NAMESPACE, JOB))
    for name in (
        "up{",
        "request_duration_seconds",
        "request_queued_duration_seconds",
        "step_latency_seconds",
        "vram_used_bytes",
        "http_requests_total",
        "host_",
    ):
        assert name in queries
    assert 'instruction_type=~"make.*old|age.*"' in queries


def test_the_checks_use_only_metrics_of_the_catalogue() -> None:
    names = {metric.full_name(NAMESPACE) for metric in CATALOG}
    for check in checks(NAMESPACE, JOB)[1:]:
        assert any(name in check.query for name in names), check.query


def test_a_result_is_the_first_value() -> None:
    fakes = Fakes()
    fakes.values["q"] = ["2.5", "9"]
    result = fakes.checker().run(Check("title", "q"))
    assert (result.value, result.passed) == (2.5, True)


@pytest.mark.parametrize("values", [[], ["NaN"]])
def test_no_sample_and_nan_are_no_value(values: list[str]) -> None:
    fakes = Fakes()
    fakes.values["q"] = values
    result = fakes.checker().run(Check("title", "q"))
    assert (result.value, result.passed) == (None, False)


def test_zero_is_a_value() -> None:
    fakes = Fakes()
    fakes.values["q"] = ["0"]
    assert fakes.checker().run(Check("title", "q")).passed


@pytest.mark.parametrize(("optional", "passed"), [(["1"], True), ([], False)])
def test_a_missing_value_passes_only_with_a_note(optional: list[str], passed: bool) -> None:
    fakes = Fakes()
    fakes.values = {"q": [], "optional": optional}
    result = fakes.checker().run(Check("VRAM", "q", optional="optional"))
    assert result.passed is passed
    assert ("CUDA" in result.note) is passed


@pytest.mark.parametrize("health", [["ok", "err"], ["unknown"], []])
def test_the_rules_pass_only_if_all_are_healthy(health: list[str]) -> None:
    fakes = Fakes()
    assert fakes.checker().rules_healthy().value == 2
    fakes.rule_health = health
    assert not fakes.checker().rules_healthy().passed


def test_a_missing_alertmanager_and_missing_exemplars_fail() -> None:
    fakes = Fakes()
    assert fakes.checker().alertmanagers().value == 1
    assert fakes.checker().exemplars(NAMESPACE).value == 2
    fakes.alertmanagers, fakes.exemplars = [], []
    assert not fakes.checker().alertmanagers().passed
    assert not fakes.checker().exemplars(NAMESPACE).passed


def test_an_edit_is_a_photo_with_an_instruction_and_a_sampled_trace() -> None:
    fakes = Fakes()
    checker = fakes.checker()
    for _ in range(3):
        checker.send()
    assert checker.sent == 3
    instructions = [request.url.params["instruction"] for request in fakes.edits]
    assert len(set(instructions)) == 3
    assert "make him old" in instructions  # for the query of row P2
    assert all(request.content.startswith(b"\xff\xd8") for request in fakes.edits)
    assert all(request.headers["traceparent"].endswith("-01") for request in fakes.edits)


def test_a_failing_edit_is_reported_in_one_line() -> None:
    fakes = Fakes()
    fakes.edit_status = 503
    with pytest.raises(ServiceFailed, match=r"A request to http://service failed: .* 503"):
        fakes.checker().send()


def test_a_failing_prometheus_is_reported_in_one_line() -> None:
    fakes = Fakes()
    fakes.prometheus_status = 500
    with pytest.raises(ServiceFailed, match=r"http://prometheus did not return rules: .* 500"):
        fakes.checker().rules_healthy()


def test_verify_ends_when_every_check_passes() -> None:
    fakes, reports = Fakes(), list[str]()
    checker = fakes.checker()
    results = verify(checker, NAMESPACE, JOB, wait=never, report=reports.append)
    assert checker.sent == 1
    assert all(result.passed for result in results)
    assert reports == [f"1 sent; {len(results)} of {len(results)} checks passed"]


def test_verify_continues_until_prometheus_has_the_values() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()

    def later(_seconds: float) -> bool:
        fakes.default = ["1"] if checker.sent == 4 else []
        return False

    results = verify(checker, NAMESPACE, JOB, wait=later)
    assert checker.sent == 5
    assert all(result.passed for result in results)


def test_verify_gives_up_after_its_rounds() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()
    results = verify(checker, NAMESPACE, JOB, wait=never, rounds=3)
    assert checker.sent == 3
    assert not any(result.passed for result in results if result.check.title == "target up")


def test_verify_stops_when_the_user_does() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()
    verify(checker, NAMESPACE, JOB, wait=lambda _seconds: True)
    assert checker.sent == 1
