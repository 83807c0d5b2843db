from typing import Any

import httpx
import promql_parser
import pytest

from safelight.errors import ServiceFailed
from safelight.metrics.catalog import CATALOG
from safelight.stack.tools.check import Checker, Question, prove, questions

SERVICE, PROMETHEUS = "http://service", "http://prometheus"
NAMESPACE, JOB = "instructpix2pix", "safelight"


class Fakes:
    """A service that edits and a Prometheus that knows what `values` says, by query."""

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


@pytest.mark.parametrize("question", questions(NAMESPACE, JOB), ids=lambda asked: asked.title)
def test_every_question_is_promql(question: Question) -> None:
    for query in filter(None, (question.query, question.optional)):
        promql_parser.parse(query)


def test_the_questions_cover_what_the_issue_names() -> None:
    queries = " ".join(question.query for question in questions(NAMESPACE, JOB))
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


def test_the_questions_name_only_metrics_of_the_catalogue() -> None:
    known = {metric.full_name(NAMESPACE) for metric in CATALOG}
    for question in questions(NAMESPACE, JOB)[1:]:
        assert any(name in question.query for name in known), question.query


def test_an_answer_is_the_first_value() -> None:
    fakes = Fakes()
    fakes.values["q"] = ["2.5", "9"]
    answer = fakes.checker().ask(Question("title", "q"))
    assert (answer.value, answer.good) == (2.5, True)


@pytest.mark.parametrize("values", [[], ["NaN"]])
def test_nothing_and_nan_are_no_answer(values: list[str]) -> None:
    fakes = Fakes()
    fakes.values["q"] = values
    answer = fakes.checker().ask(Question("title", "q"))
    assert (answer.value, answer.good) == (None, False)


def test_zero_is_an_answer() -> None:
    fakes = Fakes()
    fakes.values["q"] = ["0"]
    assert fakes.checker().ask(Question("title", "q")).good


@pytest.mark.parametrize(("excuse", "good"), [(["1"], True), ([], False)])
def test_a_missing_answer_is_good_only_with_an_excuse(excuse: list[str], good: bool) -> None:
    fakes = Fakes()
    fakes.values = {"q": [], "excuse": excuse}
    answer = fakes.checker().ask(Question("VRAM", "q", optional="excuse"))
    assert answer.good is good
    assert ("CUDA" in answer.note) is good


@pytest.mark.parametrize("health", [["ok", "err"], ["unknown"], []])
def test_rules_are_good_only_when_all_are(health: list[str]) -> None:
    fakes = Fakes()
    assert fakes.checker().rules_healthy().value == 2
    fakes.rule_health = health
    assert not fakes.checker().rules_healthy().good


def test_no_alertmanager_and_no_exemplar_are_told() -> None:
    fakes = Fakes()
    assert fakes.checker().alertmanagers().value == 1
    assert fakes.checker().exemplars(NAMESPACE).value == 2
    fakes.alertmanagers, fakes.exemplars = [], []
    assert not fakes.checker().alertmanagers().good
    assert not fakes.checker().exemplars(NAMESPACE).good


def test_an_edit_is_a_photo_with_an_instruction_and_a_sampled_trace() -> None:
    fakes = Fakes()
    checker = fakes.checker()
    for _ in range(3):
        checker.send()
    assert checker.sent == 3
    instructions = [request.url.params["instruction"] for request in fakes.edits]
    assert len(set(instructions)) == 3
    assert "make him old" in instructions  # so that the query of row P2 has something to say
    assert all(request.content.startswith(b"\xff\xd8") for request in fakes.edits)
    assert all(request.headers["traceparent"].endswith("-01") for request in fakes.edits)


def test_a_failing_edit_is_one_line() -> None:
    fakes = Fakes()
    fakes.edit_status = 503
    with pytest.raises(ServiceFailed, match=r"A request sent to http://service failed: .* 503"):
        fakes.checker().send()


def test_a_prometheus_that_does_not_answer_is_one_line() -> None:
    fakes = Fakes()
    fakes.prometheus_status = 500
    with pytest.raises(ServiceFailed, match=r"http://prometheus did not say rules: .* 500"):
        fakes.checker().rules_healthy()


def test_prove_ends_as_soon_as_everything_is_known() -> None:
    fakes, told = Fakes(), list[str]()
    checker = fakes.checker()
    answers = prove(checker, NAMESPACE, JOB, wait=never, report=told.append)
    assert checker.sent == 1
    assert all(answer.good for answer in answers)
    assert told == [f"1 sent; {len(answers)} of {len(answers)} answers are in"]


def test_prove_goes_on_sending_until_prometheus_knows() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()

    def later(_seconds: float) -> bool:
        fakes.default = ["1"] if checker.sent == 4 else []
        return False

    answers = prove(checker, NAMESPACE, JOB, wait=later)
    assert checker.sent == 5
    assert all(answer.good for answer in answers)


def test_prove_gives_up_after_its_rounds() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()
    answers = prove(checker, NAMESPACE, JOB, wait=never, rounds=3)
    assert checker.sent == 3
    assert not any(answer.good for answer in answers if answer.question.title == "target up")


def test_prove_stops_when_the_user_does() -> None:
    fakes = Fakes()
    fakes.default = []
    checker = fakes.checker()
    prove(checker, NAMESPACE, JOB, wait=lambda _seconds: True)
    assert checker.sent == 1
