"""Recording rules: what is drawn often, and the names of the articles that break conventions.

Old panels that ask for `gpu_utilization_percent` or `model_latency_seconds` keep working.
"""

from dataclasses import replace

from safelight.metrics.catalog import (
    BUILD_INFO,
    CLOCK,
    GPU,
    GPU_CLOCK,
    GPU_ENERGY,
    GPU_MEMORY_BUSY,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    HANDLER,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    INFERENCE_SECONDS,
    MODEL_INFO,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STATUS,
    STATUS_CODE,
    STEP,
    STEP_SECONDS,
    SUCCESSES,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries, copied
from safelight.rules.objectives import INTERVAL_SECONDS, burns
from safelight.rules.rule import Group, Recording
from safelight.rules.thresholds import Thresholds

HTTP_P95 = "job_handler:http_request_duration_seconds:p95_rate5m"
HTTP_ERRORS = "job:http_requests_errors:ratio_rate5m"
HTTP_FAILED = "job:http_requests_errors:increase15m"
KNOWN = "job:safelight_targets:known"
NO_PROBES = "!~/(healthz|readyz|metrics)"  # a model that loads answers its probes with 503
_DRAWN_SECONDS = 15  # for what is only looked at
_TARGET = (JOB, INSTANCE)
_MODEL = next(label for label in MODEL_INFO.labels if label.name == "model")
MODEL_NAME = "model_name"
MODEL_REQUESTS, MODEL_LATENCY = "model_request_total", "model_latency_seconds"


def recording_groups(namespace: str, limits: Thresholds | None = None) -> tuple[Group, ...]:
    """Return the recordings for a service of that namespace."""
    queries = Queries(namespace)
    burned = burns(queries, limits or Thresholds())
    return (
        Group(f"{namespace}-budgets", burned, INTERVAL_SECONDS),
        Group(f"{namespace}-routes", _routes(queries)),
        Group(f"{namespace}-levels", _levels(queries), _DRAWN_SECONDS),
        Group(f"{namespace}-dcgm", _dcgm_names(queries)),
        Group(
            f"{namespace}-old-names",
            (*_card_names(queries), *_model_names(queries)),
            _DRAWN_SECONDS,
        ),
    )


def _routes(queries: Queries) -> tuple[Recording, ...]:
    """Keep once what the alerts of every service ask of the routes, which have no namespace."""
    asked = replace(queries, matchers={HANDLER: NO_PROBES})
    patient = replace(asked, window="15m")
    ours: Matchers = {STATUS: "~5.."}
    rows = {
        HTTP_P95: asked.quantile(0.95, HTTP_SECONDS, (JOB, HANDLER)),
        HTTP_ERRORS: asked.share(HTTP_REQUESTS, ours, (JOB,)),
        HTTP_FAILED: patient.increase(HTTP_REQUESTS, (JOB,), ours),
    }
    shown = f"count by (job) ({queries.select(BUILD_INFO)})"
    # Once known, always known: also when no target of the job answers any more.
    known = Recording(KNOWN, f"{shown} or {KNOWN}")
    return (*(Recording(name, expr) for name, expr in rows.items()), known)


def _levels(queries: Queries) -> tuple[Recording, ...]:
    rate = f"rate{queries.window}"
    quantiles = (
        (f"{metric.name}:p{100 * q:g}_{rate}", queries.quantile(q, metric, (JOB,)))
        for metric in (REQUEST_SECONDS, QUEUED_SECONDS, INFERENCE_SECONDS)
        for q in (0.5, 0.95, 0.99)
    )
    rows = (
        (f"request:{rate}", queries.rate(REQUESTS, (JOB,))),
        (f"request_success:ratio_{rate}", queries.success_ratio(SUCCESSES, REQUESTS, (JOB,))),
        *quantiles,
        (f"{STEP_SECONDS.name}:p95_{rate}", queries.quantile(0.95, STEP_SECONDS, (JOB, STEP))),
        (
            f"request_waiting:ratio_{rate}",
            f"{queries.seconds_per_second(QUEUED_SECONDS, (JOB,))}"
            f" / {queries.seconds_per_second(REQUEST_SECONDS, (JOB,))}",
        ),
    )
    return tuple(Recording(f"{queries.namespace}:{name}", expr) for name, expr in rows)


def _card_names(queries: Queries) -> tuple[Recording, ...]:
    percent = f"100 * {queries.select(GPU_UTILIZATION)}"
    return (
        Recording("gpu_utilization_percent", percent),
        Recording("gpu_utilization", percent),
        Recording("gpu_memory_used", queries.select(GPU_MEMORY_USED)),
        Recording("gpu_memory_total", queries.select(GPU_MEMORY_TOTAL)),
        Recording("gpu_temperature", queries.select(GPU_TEMPERATURE)),
    )


def _dcgm_names(queries: Queries) -> tuple[Recording, ...]:
    """Give the readings of NVIDIA's dcgm-exporter our names and base units."""
    mib, megahertz = 1_048_576, 1_000_000
    rows: tuple[tuple[Metric, str, str, dict[str, str]], ...] = (
        (GPU_UTILIZATION, "DCGM_FI_DEV_GPU_UTIL", "/ 100", {}),
        (GPU_MEMORY_BUSY, "DCGM_FI_DEV_MEM_COPY_UTIL", "/ 100", {}),
        (GPU_MEMORY_USED, "DCGM_FI_DEV_FB_USED", f"* {mib}", {}),
        (GPU_TEMPERATURE, "DCGM_FI_DEV_GPU_TEMP", "", {}),
        (GPU_POWER, "DCGM_FI_DEV_POWER_USAGE", "", {}),
        (GPU_ENERGY, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "/ 1000", {}),
        (GPU_CLOCK, "DCGM_FI_DEV_SM_CLOCK", f"* {megahertz}", {CLOCK.name: "sm"}),
        (GPU_CLOCK, "DCGM_FI_DEV_MEM_CLOCK", f"* {megahertz}", {CLOCK.name: "memory"}),
    )
    used, free, kept = (
        _card(queries, f"DCGM_FI_DEV_FB_{part}") for part in ("USED", "FREE", "RESERVED")
    )
    whole = f"({used} + {free} + ({kept} or 0 * {used})) * {mib}"
    return (
        *(
            Recording(metric.name, f"{_card(queries, name)} {factor}".strip(), labels)
            for metric, name, factor, labels in rows
        ),
        Recording(GPU_MEMORY_TOTAL.name, whole),
    )


def _card(queries: Queries, name: str) -> str:
    """Return a reading by card; DCGM writes what it does not know as about 9.2e18."""
    return f"max by (job, instance, {GPU.name}) ({queries.foreign(name)} < 1e18)"


def _model_names(queries: Queries) -> tuple[Recording, ...]:
    counted = copied(queries.select(REQUESTS), STATUS_CODE, "status")
    latency = tuple(
        Recording(f"{MODEL_LATENCY}{suffix}", _by_model(queries, _series(queries, suffix), extra))
        for suffix, extra in (("_bucket", ("le",)), ("_sum", ()), ("_count", ()))
    )
    return (
        Recording(
            f"{queries.namespace}_inference_latency", queries.mean(INFERENCE_SECONDS, _TARGET)
        ),
        Recording(MODEL_REQUESTS, _by_model(queries, counted, ("status",))),
        *latency,
    )


def _series(queries: Queries, suffix: str, metric: Metric = REQUEST_SECONDS) -> str:
    return queries.select(metric, suffix=suffix)


def _by_model(queries: Queries, expression: str, labels: tuple[str, ...]) -> str:
    """Sum by the labels and by the model's name, which only model_info knows; 1 for each target."""
    target = ", ".join(label.name for label in _TARGET)
    named = copied(queries.select(MODEL_INFO), _MODEL, MODEL_NAME)
    one = f"topk by ({target}) (1, max by ({target}, {MODEL_NAME}) ({named}))"
    kept = ", ".join((target, MODEL_NAME, *labels))
    return f"sum by ({kept}) ({expression} * on ({target}) group_left ({MODEL_NAME}) {one})"
