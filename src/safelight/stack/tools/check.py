"""Check a running stack: send requests, and query Prometheus for the metrics that they produce."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

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
from safelight.stack.programs import error_text
from safelight.stack.tools.samples import INSTRUCTIONS, sample

_OLD_OR_AGE = "~make.*old|age.*"
TIMEOUT_SECONDS = 60.0  # of one edit: the first one on a busy machine is slow
T = TypeVar("T")


class _Sample(BaseModel):
    value: tuple[float, str]


class _QueryResult(BaseModel):
    result: list[_Sample]


class _Rule(BaseModel):
    health: str


class _RuleGroup(BaseModel):
    rules: list[_Rule]


class _Rules(BaseModel):
    groups: list[_RuleGroup]


class _Alertmanagers(BaseModel):
    active: list[object] = Field(validation_alias="activeAlertmanagers")


class _Exemplars(BaseModel):
    exemplars: list[object]


@dataclass(frozen=True, slots=True)
class Check:
    """A query that should return a value, unless the query `optional` returns one."""

    title: str
    query: str
    unit: str = ""
    optional: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The value that Prometheus returned for a check, if any."""

    check: Check
    value: float | None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Return True if there is a value, or a note why there is none."""
        return self.value is not None or bool(self.note)


def checks(namespace: str, job: str, task: str = "edit") -> list[Check]:
    """Return the checks of a service with this task."""
    queries = Queries(namespace)
    hour = Queries(namespace, window="1h")
    by_place = queries.rate(STEP_SECONDS, by=STEP_SECONDS.labels)
    by_stage = queries.rate(STAGE_SECONDS, by=STAGE_SECONDS.labels)
    old: Matchers = {INSTRUCTION_TYPE: _OLD_OR_AGE}
    steps = (
        Check("P95 of a denoising step", queries.quantile(0.95, STEP_SECONDS), "s"),
        Check("step positions measured", f"count({by_place} > 0)"),
    )
    success = (
        Check(
            "success rate of make.*old|age.*",
            f"{hour.rate(SUCCESSES, where=old)} / {hour.rate(REQUESTS, where=old)}",
        ),
    )
    return [
        Check("target up", f'up{{job="{job}"}} == 1'),
        Check("requests", f"sum({queries.select(REQUESTS)})"),
        Check("HTTP requests", f"sum({queries.select(HTTP_REQUESTS)})"),
        Check("P95 of a request", queries.quantile(0.95, REQUEST_SECONDS), "s"),
        Check("P95 of the queue wait", queries.quantile(0.95, QUEUED_SECONDS), "s"),
        *(steps if task != "predict" else ()),
        Check("stages measured", f"count({by_stage} > 0)"),
        *(success if task == "edit" else ()),
        Check("memory of the machine", queries.select(HOST_MEMORY_TOTAL), "B"),
        Check(
            "VRAM used by PyTorch",
            f"sum({queries.select(VRAM_USED)})",
            "B",
            optional=queries.select(MODEL_INFO, {"device": "~cpu|mps"}),
        ),
    ]


class Checker:
    """Sends requests to a service, and queries to its Prometheus."""

    def __init__(
        self, service: str, prometheus: str, client: httpx.Client, task: str = "edit"
    ) -> None:
        self._service = service
        self._prometheus = prometheus
        self._client = client
        self.task = task
        self.sent = 0

    def send(self) -> None:
        """Send the next sample request. Raises ServiceFailed if it fails."""
        request = sample(
            self.task,
            instruction=INSTRUCTIONS[self.sent % 3] if self.task == "edit" else None,
            steps=12,
            seed=self.sent,
        )
        try:
            response = self._client.post(
                f"{self._service}{request.path}",
                params=request.params,
                content=request.content,
                json=request.json,
                headers={**request.headers, "traceparent": _traceparent()},
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"A request to {self._service} failed: {error_text(error)}."
            ) from None
        self.sent += 1

    def run(self, check: Check) -> Result:
        """Return the value of a check's query, or a note why it has none."""
        value = self._query(check.query)
        if value is None and check.optional and self._query(check.optional) is not None:
            return Result(check, None, "absent: the model does not run on CUDA")
        return Result(check, value)

    def rules_healthy(self) -> Result:
        """Return the number of rules that Prometheus evaluates, or None if a rule fails."""
        groups = self._get("rules", _Rules).groups
        rules = [rule for group in groups for rule in group.rules]
        healthy = bool(rules) and all(rule.health == "ok" for rule in rules)
        return Result(Check("rules evaluated", "/api/v1/rules"), len(rules) if healthy else None)

    def alertmanagers(self) -> Result:
        """Return the number of Alertmanagers that Prometheus sends alerts to."""
        active = len(self._get("alertmanagers", _Alertmanagers).active)
        return Result(Check("Alertmanagers found", "/api/v1/alertmanagers"), active or None)

    def exemplars(self, namespace: str) -> Result:
        """Return the number of exemplars that link request latencies to traces."""
        name = f"{REQUEST_SECONDS.full_name(namespace)}_bucket"
        interval = {"start": "0", "end": "9999999999"}
        series = self._get("query_exemplars", list[_Exemplars], query=name, **interval)
        number = sum(len(one.exemplars) for one in series)
        return Result(Check("exemplars stored", "/api/v1/query_exemplars"), number or None)

    def _query(self, query: str) -> float | None:
        result = self._get("query", _QueryResult, query=query).result
        values = [float(sample.value[1]) for sample in result]
        return values[0] if values and values[0] == values[0] else None  # no value if it is NaN

    def _get(self, path: str, shape: type[T], **params: str) -> T:
        """Return the data of a response in that shape. Raises ServiceFailed."""
        try:
            response = self._client.get(f"{self._prometheus}/api/v1/{path}", params=params)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise self._failure(path, error_text(error)) from None
        try:
            return TypeAdapter(shape).validate_python(response.json()["data"])
        except (ValidationError, ValueError, LookupError, TypeError):
            raise self._failure(path, "the response has an unknown format") from None

    def _failure(self, path: str, reason: str) -> ServiceFailed:
        return ServiceFailed(f"Prometheus at {self._prometheus} did not return {path}: {reason}.")


def verify(
    checker: Checker,
    namespace: str,
    job: str,
    *,
    wait: Callable[[float], bool],
    rounds: int = 45,
    report: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> list[Result]:
    """Send one request per second until every check passes, at most `rounds` times."""
    results: list[Result] = []
    for _ in range(rounds):
        checker.send()
        results = [checker.run(check) for check in checks(namespace, job, checker.task)]
        results += [checker.rules_healthy(), checker.alertmanagers(), checker.exemplars(namespace)]
        passed = sum(result.passed for result in results)
        report(f"{checker.sent} sent; {passed} of {len(results)} checks passed")
        if passed == len(results) or wait(1.0):
            break
    return results


def _traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
