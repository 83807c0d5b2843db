"""Which failures are the service's fault, counted exactly: the one rule of all alerts on failures.

Callers' mistakes (4xx), rate limits and requests that the caller cancelled do not count. Refusals
because of overload do. Low-priority requests may wait and fail.
"""

from dataclasses import replace

from safelight.metrics.catalog import (
    ENDPOINT,
    ERROR,
    HANDLER,
    INSTRUCTION_TYPE,
    NO_INSTRUCTION,
    OUTCOMES,
    PRIORITY,
    PRIORITY_SECONDS,
    REQUESTS,
    RESULT,
)
from safelight.metrics.exact import ExactQueries
from safelight.metrics.promql import JOB, Matchers, Queries, copied
from safelight.reasons import NO_ERROR, OF_CALLERS
from safelight.rules.rule import Recording
from safelight.rules.thresholds import Thresholds

NOT_LOW: Matchers = {PRIORITY: "!low"}  # low-priority work may wait and fail
_BY_SERVICE: Matchers = {RESULT: "~server_error|overload", **NOT_LOW}
_JUDGED: Matchers = {RESULT: "!~caller_error|cancelled", **NOT_LOW}
_CALLERS = "|".join(sorted(OF_CALLERS))
# The same, for requests by instruction type and route, which have no outcome.
_FAILED_REASONS: Matchers = {ERROR: f"!~{NO_ERROR}|{_CALLERS}"}
_JUDGED_REASONS: Matchers = {ERROR: f"!~{_CALLERS}"}
_TYPED: Matchers = {INSTRUCTION_TYPE: f"!{NO_INSTRUCTION}"}
_BY_TYPE = (JOB, INSTRUCTION_TYPE)
_TYPE_WINDOW = "30m"
_SLOW_SHARE = 0.05  # above a P95


def failed(queries: Queries, window: str) -> str:
    """Return the name of each job's number of requests that failed by the service's fault."""
    return f"{queries.namespace}:request_failures:increase{window}"


def failed_share(queries: Queries, window: str) -> str:
    """Return the name of each job's share of requests that failed by the service's fault."""
    return f"{queries.namespace}:request_failures:ratio{window}"


def failed_share_of_type(queries: Queries) -> str:
    """Return the name of that share by instruction type, in half an hour."""
    return f"{queries.namespace}:instruction_failures:ratio{_TYPE_WINDOW}"


def judged_of_type(queries: Queries) -> str:
    """Return the name of the number of requests by instruction type, in half an hour."""
    return f"{queries.namespace}:instructions:increase{_TYPE_WINDOW}"


def out_of_memory(queries: Queries) -> str:
    """Return the name of each job's number of requests without enough GPU memory."""
    return f"{queries.namespace}:request_cuda_oom:increase5m"


def slow(queries: Queries) -> str:
    """Return the name of the number of requests above the limit of their P95, in half an hour.

    It has no value if they are fewer than 5 % of all. With little traffic, a few large images are
    5 % of five minutes.
    """
    return f"{queries.namespace}:slow_requests:increase{_TYPE_WINDOW}"


def slow_requests(queries: Queries, limits: Thresholds) -> Recording:
    """Return the recording of the slow requests."""
    longer = replace(queries, window=_TYPE_WINDOW)
    edge = f"{float(PRIORITY_SECONDS.edge(limits.request_p95_seconds))}"
    in_time = queries.select(PRIORITY_SECONDS, {**NOT_LOW, "le": edge}, "_bucket")
    total = longer.increase(PRIORITY_SECONDS, (JOB,), NOT_LOW)
    number = f"({total} - sum by (job) (increase({in_time}[{_TYPE_WINDOW}])))"
    return Recording(slow(queries), f"{number} > {_SLOW_SHARE:g} * {total}")


def slow_for_low_priority(queries: Queries) -> str:
    """Return the name of the model's routes that are slow for low-priority requests only."""
    return f"{queries.namespace}:slow_for_low_priority:routes"


def low_priority_routes(queries: Queries, limits: Thresholds) -> Recording:
    """Return the recording of the routes that are slow, but fast for normal priority."""
    fast = queries.quantile(0.95, PRIORITY_SECONDS, (JOB,), NOT_LOW)
    low = queries.increase(PRIORITY_SECONDS, (JOB,), {PRIORITY: "low"})
    waiting = f"{fast} > {limits.http_p95_seconds:g}"  # no value without such requests
    expr = f"{_endpoints(queries)} and on (job) {low} > 0 unless on (job) {waiting}"
    return Recording(slow_for_low_priority(queries), expr)


def failed_for_low_priority(queries: Queries) -> str:
    """Return the name of the model's routes that fail for low-priority requests only."""
    return f"{queries.namespace}:failed_for_low_priority:routes"


def low_priority_failures(queries: Queries, limits: Thresholds) -> Recording:
    """Return the recording of the routes that fail, but not for normal priority."""
    failing = f"{number_failed(queries, '15m')} >= {limits.least_missed:g}"
    low = _exact(queries, "15m").increase(
        OUTCOMES, (JOB,), {RESULT: "~server_error|overload", PRIORITY: "low"}
    )
    expr = f"{_endpoints(queries)} and on (job) {low} > 0 unless on (job) {failing}"
    return Recording(failed_for_low_priority(queries), expr)


def _endpoints(queries: Queries) -> str:
    """Return the model's routes, with the label `handler` of the HTTP metrics."""
    endpoints = f"group by (job, endpoint) ({queries.select(REQUESTS)})"
    return copied(endpoints, ENDPOINT, HANDLER.name)


def failures(queries: Queries, limits: Thresholds) -> tuple[Recording, ...]:
    """Return the recordings of failures, which several alerts read."""
    in_half_hour = _exact(queries, _TYPE_WINDOW)
    of_type = in_half_hour.increase(REQUESTS, _BY_TYPE, {**_JUDGED_REASONS, **_TYPED})
    failed_of_type = in_half_hour.increase(REQUESTS, _BY_TYPE, {**_FAILED_REASONS, **_TYPED})
    no_memory = _exact(queries, "5m").increase(REQUESTS, (JOB,), {ERROR: "cuda_oom"})
    rows = {
        **{
            failed(queries, window): number_failed(queries, window)
            for window in ("10m", "15m", "30m")
        },
        **{failed_share(queries, window): _share(queries, window) for window in ("5m", "10m")},
        judged_of_type(queries): of_type,
        failed_share_of_type(queries): f"({failed_of_type} or 0 * {of_type}) / {of_type}",
        out_of_memory(queries): no_memory,
    }
    recorded = (Recording(name, expr) for name, expr in rows.items())
    return (
        *recorded,
        slow_requests(queries, limits),
        low_priority_routes(queries, limits),
        low_priority_failures(queries, limits),
    )


def number_failed(queries: Queries, window: str) -> str:
    """Return the number of requests of each job that failed by the service's fault."""
    return _of_outcomes(queries, window, _BY_SERVICE, _FAILED_REASONS)


def number_judged(queries: Queries, window: str) -> str:
    """Return the number of requests of each job that could fail by the service's fault."""
    return _of_outcomes(queries, window, _JUDGED, _JUDGED_REASONS)


def _share(queries: Queries, window: str) -> str:
    total = number_judged(queries, window)
    return f"({number_failed(queries, window)} or 0 * {total}) / {total}"


def _of_outcomes(queries: Queries, window: str, outcomes: Matchers, requests: Matchers) -> str:
    """Return counts by outcome, or by reason for a service that does not expose outcomes."""
    counts = _exact(queries, window)
    by_reason = counts.increase(REQUESTS, (JOB,), requests)
    return f"({counts.increase(OUTCOMES, (JOB,), outcomes)} or {by_reason})"


def _exact(queries: Queries, window: str) -> ExactQueries:
    """Return queries whose counts contain the first event of a series."""
    return ExactQueries(queries.namespace, window, queries.matchers, queries.prefix, resets=True)
