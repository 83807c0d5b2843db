"""Proves a running stack: sends real edits, and asks Prometheus for what it should now know."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from safelight.errors import ServiceFailed
from safelight.metrics.catalog import (
    HOST_MEMORY_TOTAL,
    HTTP_REQUESTS,
    INSTRUCTION_TYPE,
    MODEL_INFO,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    STEP_SECONDS,
    SUCCESSES,
    VRAM_USED,
)
from safelight.metrics.promql import Matchers, Queries
from safelight.stack.programs import why
from safelight.stack.tools.samples import INSTRUCTIONS, sample

_OLD_OR_AGE = "~make.*old|age.*"
TIMEOUT_SECONDS = 60.0  # of one edit: the first on a busy machine takes its time


@dataclass(frozen=True, slots=True)
class Question:
    """Something Prometheus should be able to answer; `optional` says why it may know nothing."""

    title: str
    query: str
    unit: str = ""
    optional: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Prometheus said: a value, or nothing."""

    question: Question
    value: float | None
    note: str = ""

    @property
    def good(self) -> bool:
        """Tell whether the stack did what it should."""
        return self.value is not None or bool(self.note)


def questions(namespace: str, job: str, task: str = "edit") -> list[Question]:
    """Return what is asked of Prometheus about the service, which does `task`."""
    ask = Queries(namespace)
    hour = Queries(namespace, window="1h")
    by_place = ask.rate(STEP_SECONDS, by=STEP_SECONDS.labels)
    by_stage = ask.rate(STAGE_SECONDS, by=STAGE_SECONDS.labels)
    old: Matchers = {INSTRUCTION_TYPE: _OLD_OR_AGE}
    steps = (
        Question("P95 of a denoising step", ask.quantile(0.95, STEP_SECONDS), "s"),
        Question("steps, by place", f"count({by_place} > 0)"),
    )
    success = (
        Question(
            "success of make.*old|age.*",
            f"{hour.rate(SUCCESSES, where=old)} / {hour.rate(REQUESTS, where=old)}",
        ),
    )
    return [
        Question("target up", f'up{{job="{job}"}} == 1'),
        Question("requests", f"sum({ask.select(REQUESTS)})"),
        Question("HTTP requests", f"sum({ask.select(HTTP_REQUESTS)})"),
        Question("P95 of a request", ask.quantile(0.95, REQUEST_SECONDS), "s"),
        Question("P95 of waiting in the queue", ask.quantile(0.95, QUEUED_SECONDS), "s"),
        *(steps if task != "predict" else ()),
        Question("stages measured", f"count({by_stage} > 0)"),
        *(success if task == "edit" else ()),
        Question("memory of the machine", ask.select(HOST_MEMORY_TOTAL), "B"),
        Question(
            "VRAM that PyTorch uses",
            f"sum({ask.select(VRAM_USED)})",
            "B",
            optional=ask.select(MODEL_INFO, {"device": "~cpu|mps"}),
        ),
    ]


class Checker:
    """Sends requests to a service, for what it does, and questions to its Prometheus."""

    def __init__(
        self, service: str, prometheus: str, client: httpx.Client, task: str = "edit"
    ) -> None:
        self._service = service
        self._prometheus = prometheus
        self._client = client
        self.task = task
        self.sent = 0

    def send(self) -> None:
        """Send one request, the next of the samples. Raises ServiceFailed if it fails."""
        wanted = sample(
            self.task,
            instruction=INSTRUCTIONS[self.sent % 3] if self.task == "edit" else None,
            steps=12,
            seed=self.sent,
        )
        try:
            answer = self._client.post(
                f"{self._service}{wanted.path}",
                params=wanted.params,
                content=wanted.content,
                json=wanted.json,
                headers={**wanted.headers, "traceparent": _traceparent()},
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"A request sent to {self._service} failed: {why(error)}."
            ) from None
        self.sent += 1

    def ask(self, question: Question) -> Answer:
        """Return Prometheus' answer to one question, or why it may have none."""
        value = self._query(question.query)
        if value is None and question.optional and self._query(question.optional) is not None:
            return Answer(question, None, "absent: the model does not run on CUDA")
        return Answer(question, value)

    def rules_healthy(self) -> Answer:
        """Return how many rules Prometheus evaluates; none if one of them fails."""
        groups = self._get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        healthy = bool(rules) and all(rule["health"] == "ok" for rule in rules)
        return Answer(Question("rules evaluated", "/api/v1/rules"), len(rules) if healthy else None)

    def alertmanagers(self) -> Answer:
        """Return how many Alertmanagers Prometheus sends to."""
        active = len(self._get("alertmanagers")["activeAlertmanagers"])
        return Answer(Question("alertmanagers found", "/api/v1/alertmanagers"), active or None)

    def exemplars(self, namespace: str) -> Answer:
        """Return how many exemplars tie the request latency to traces."""
        name = f"{REQUEST_SECONDS.full_name(namespace)}_bucket"
        series = self._get("query_exemplars", query=name, start="0", end="9999999999")
        found = sum(len(one["exemplars"]) for one in series)
        return Answer(Question("exemplars kept", "/api/v1/query_exemplars"), found or None)

    def _query(self, query: str) -> float | None:
        result = self._get("query", query=query)["result"]
        values = [float(sample["value"][1]) for sample in result]
        return values[0] if values and values[0] == values[0] else None  # NaN is no answer

    def _get(self, path: str, **params: str) -> Any:
        try:
            answer = self._client.get(f"{self._prometheus}/api/v1/{path}", params=params)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"Prometheus at {self._prometheus} did not say {path}: {why(error)}."
            ) from None
        return answer.json()["data"]


def prove(
    checker: Checker,
    namespace: str,
    job: str,
    *,
    wait: Callable[[float], bool],
    rounds: int = 45,
    report: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> list[Answer]:
    """Send a request a second until Prometheus answers everything, or the rounds are used up."""
    answers: list[Answer] = []
    for _ in range(rounds):
        checker.send()
        answers = [checker.ask(question) for question in questions(namespace, job, checker.task)]
        answers += [checker.rules_healthy(), checker.alertmanagers(), checker.exemplars(namespace)]
        known = sum(answer.good for answer in answers)
        report(f"{checker.sent} sent; {known} of {len(answers)} answers are in")
        if known == len(answers) or wait(1.0):
            break
    return answers


def _traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
