"""Recording rules: values that dashboards query often, and metric names used by other tools.

Panels that query `gpu_utilization_percent` or `gpu_memory_used` work with these names. Articles
draw memory as a share: `gpu_memory_used` and `zimage_gpu_mem_usage` are from 0 to 1.
"""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    BUILD_INFO,
    CLOCK,
    DEVICE,
    GPU,
    GPU_CLOCK,
    GPU_ENERGY,
    GPU_INFO,
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
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STATUS,
    STEP,
    STEP_SECONDS,
    SUCCESSES,
    VRAM_RESERVED,
    VRAM_USED,
)
from safelight.metrics.exact import ExactQueries
from safelight.metrics.merge import RENAMED
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries, copied
from safelight.rules.failures import failures
from safelight.rules.machines import with_machine
from safelight.rules.objectives import INTERVAL_SECONDS, burns
from safelight.rules.rule import Group, Recording
from safelight.rules.thresholds import Thresholds

HTTP_P95 = "job_handler:http_request_duration_seconds:p95_rate5m"
HTTP_ERRORS = "job_handler:http_requests_errors:ratio_rate5m"
HTTP_FAILED = "job_handler:http_requests_errors:increase15m"
TORCH_CACHE = "gpu:torch_cache:bytes"  # of all services, by machine and GPU
KNOWN = "job:safelight_targets:known"
NO_PROBES = "!~/(healthz|readyz|metrics)"  # while a model loads, /readyz returns 503
_DASHBOARD_SECONDS = 15  # interval of recordings that need not be newer
_TARGET = (JOB, INSTANCE)


def recording_groups(namespace: str, limits: Thresholds | None = None) -> tuple[Group, ...]:
    """Return the recordings of a service with this namespace."""
    queries = Queries(namespace)
    return (
        Group(f"{namespace}-budgets", burns(queries, limits or Thresholds()), INTERVAL_SECONDS),
        Group(f"{namespace}-routes", _routes(queries)),
        Group(
            f"{namespace}-failures", failures(queries, limits or Thresholds()), _DASHBOARD_SECONDS
        ),
        Group(f"{namespace}-levels", _levels(queries), _DASHBOARD_SECONDS),
        Group(f"{namespace}-dcgm", _dcgm_names(queries)),
        Group(f"{namespace}-old-names", usual_names(namespace), _DASHBOARD_SECONDS),
    )


def usual_names(namespace: str) -> tuple[Recording, ...]:
    """Return the recordings with the names that other tools and articles use."""
    queries = Queries(namespace)
    return (*_gpu_names(queries), *_service_names(queries))


def _routes(queries: Queries) -> tuple[Recording, ...]:
    """Return the recordings of HTTP routes, whose metrics have no namespace."""
    routes = ExactQueries(queries.namespace, "5m", {HANDLER: NO_PROBES}, resets=True)
    longer, by = replace(routes, window="15m"), (JOB, HANDLER)
    errors: Matchers = {STATUS: "~5.."}
    rows = {
        HTTP_P95: _preferred(routes, lambda q: q.quantile(0.95, HTTP_SECONDS, by)),
        HTTP_ERRORS: _preferred(routes, lambda q: q.share(HTTP_REQUESTS, errors, by)),
        HTTP_FAILED: _preferred(longer, lambda q: q.increase(HTTP_REQUESTS, by, errors)),
    }
    exposed = f"count by (job) ({queries.select(BUILD_INFO)})"
    # Refers to itself, so that a job stays known when none of its targets responds.
    known = Recording(KNOWN, f"{exposed} or {KNOWN}")
    return (*(Recording(name, expr) for name, expr in rows.items()), known)


def _preferred(queries: Queries, expression: Callable[[Queries], str]) -> str:
    """Return an expression over Safelight's HTTP metrics, or over those with their usual names.

    A service that already had metrics of these names exposes Safelight's with a prefix.
    """
    own = replace(queries, prefix=RENAMED)
    usual = expression(queries)
    return f"({expression(own)}) or (({usual}) unless on (job) {own.select(HTTP_REQUESTS)})"


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
    cache = f"({queries.select(VRAM_RESERVED)} - {queries.select(VRAM_USED)})"
    cache = with_machine(copied(cache, DEVICE, GPU.name, "cuda:(.+)"))
    return (
        *(Recording(f"{queries.namespace}:{name}", expr) for name, expr in rows),
        Recording(TORCH_CACHE, cache),
    )


def _gpu_names(queries: Queries) -> tuple[Recording, ...]:
    percent = f"100 * {queries.select(GPU_UTILIZATION)}"
    return (
        Recording("gpu_utilization_percent", percent),
        Recording("gpu_utilization", percent),
        Recording("gpu_memory_used", queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)),
        Recording("gpu_memory_total", queries.select(GPU_MEMORY_TOTAL)),
        Recording("gpu_temperature", queries.select(GPU_TEMPERATURE)),
    )


def _dcgm_names(queries: Queries) -> tuple[Recording, ...]:
    """Return the metrics of NVIDIA's dcgm-exporter under Safelight's names, in base units."""
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
    used, free, reserved = (
        _by_gpu(queries, f"DCGM_FI_DEV_FB_{part}") for part in ("USED", "FREE", "RESERVED")
    )
    total = f"({used} + {free} + ({reserved} or 0 * {used})) * {mib}"
    return (
        *(
            Recording(metric.name, f"{_by_gpu(queries, name)} {factor}".strip(), labels)
            for metric, name, factor, labels in rows
        ),
        Recording(GPU_MEMORY_TOTAL.name, total),
    )


def _by_gpu(queries: Queries, name: str) -> str:
    """Return a metric of DCGM by GPU, without those that Safelight measures itself.

    DCGM exposes unknown values as 9.2e18.
    """
    ours = copied(queries.select(GPU_INFO), Label("uuid", ""), "UUID")
    read = f"{queries.foreign(name)} < 1e18 unless on (UUID) {ours}"
    return f"max by (job, instance, node, {GPU.name}) ({read})"


def _service_names(queries: Queries) -> tuple[Recording, ...]:
    """Return names that articles give to a service's values, such as `zimage_gpu_mem_usage`."""
    used = queries.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)
    latency = queries.mean(INFERENCE_SECONDS, _TARGET)
    return (
        Recording(f"{queries.namespace}_gpu_mem_usage", used),
        Recording(f"{queries.namespace}_inference_latency", latency),
    )
