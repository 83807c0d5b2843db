"""Limits of alerts, diagnosis and dashboards, in one table."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from safelight.metrics.catalog import HTTP_SECONDS, REQUEST_SECONDS, STEP_SECONDS
from safelight.rules.rule import Alert, Severity

# Open bounds: an objective of 100 % leaves no budget, and a limit of 0 % always alerts.
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# With a lower target a budget cannot burn 14.4 times too fast, so ErrorBudgetBurnFast cannot fire.
Target = Annotated[float, Field(gt=1 - 1 / 14.4, lt=1)]


class Change(BaseModel):
    """An operator's change of one alert, except its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    for_seconds: int | None = Field(None, ge=0, le=604_800)
    severity: Severity | None = None

    def apply(self, alert: Alert) -> Alert:
        """Return the changed alert."""
        duration = alert.for_seconds if self.for_seconds is None else self.for_seconds
        return replace(alert, for_seconds=duration, severity=self.severity or alert.severity)


class Thresholds(BaseModel):
    """Limits in base units. `alerts` changes the duration and severity of alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_p95_seconds: Positive = Field(
        3.0,
        lt=REQUEST_SECONDS.buckets[-1],
        description="P95 of a request, and the limit of the latency objective.",
    )
    http_p95_seconds: Positive = Field(
        15.0, lt=HTTP_SECONDS.buckets[-1], description="P95 of any HTTP route."
    )
    http_error_ratio: Share = Field(0.02, description="HTTP responses with a 5xx status.")
    success_ratio: Share = Field(0.95, description="Requests to the model that must succeed.")
    refused_ratio: Share = Field(0.05, description="Requests refused before they reach the model.")
    failure_burst: Positive = Field(
        10, description="Requests that fail within ten minutes by the service's fault."
    )
    outage_ratio: Share = Field(0.5, description="Requests that fail in an outage.")
    queue_wait_seconds: Positive = Field(
        0.5, description="A mean queue wait below this is not judged."
    )
    least_replicas: int = Field(1, ge=1, description="Replicas that must respond.")
    canary_overdue_seconds: Positive = Field(
        3600.0, description="Age of the canary's last good run, above which it is overdue."
    )
    traffic_per_second: Positive = Field(
        0.1, description="Requests per second for four hours whose sudden end is reported."
    )
    worker_restarts: Count = Field(2, description="Workers replaced in 15 minutes.")

    availability_ratio: Target = Field(
        0.99, description="Availability objective: responses without a 5xx status."
    )
    latency_ratio: Target = Field(
        0.95, description="Latency objective: responses faster than request_p95_seconds."
    )
    validity_ratio: Target = Field(0.99, description="Validity objective: images that are valid.")
    least_requests: Positive = Field(
        20, description="With fewer requests, an instruction type or the queue is not judged."
    )
    least_missed: Positive = Field(
        5, description="With fewer failures, a ratio of failures is not judged."
    )
    budget_forecast_seconds: int = Field(
        86_400, ge=3600, le=2_592_000, description="Time ahead of the error budget forecast."
    )

    timeout_ratio: Share = Field(0.05, description="Requests that end with a timeout.")
    queued_work_seconds: Positive = Field(
        60.0, description="Estimated time of all queued and running requests."
    )
    wasted_ratio: Share = Field(0.2, description="Device time that leads to no response.")
    wasted_seconds: Positive = Field(
        10.0, description="Less wasted device time in 15 minutes is not judged."
    )
    step_p95_seconds: Positive = Field(
        1.0, lt=STEP_SECONDS.buckets[-1], description="P95 of a denoising step."
    )
    warm_ups: Positive = Field(10, description="Calls that compiled, in 30 minutes.")
    output_invalid_ratio: Share = Field(0.02, description="Images that are invalid.")
    instruction_success_ratio: Share = Field(
        0.7, description="Requests of one instruction type that must succeed."
    )
    overridden_ratio: Share = Field(0.05, description="Calls whose guidance the pipeline ignored.")
    truncated_ratio: Share = Field(0.1, description="Images whose prompt was truncated.")

    gpu_memory_full_ratio: Share = Field(0.95, description="GPU memory used: critical.")
    gpu_memory_high_ratio: Share = Field(0.90, description="GPU memory used: warning.")
    gpu_busy_ratio: Share = Field(0.9, description="Time in which the GPU is busy.")
    gpu_uneven_ratio: Share = Field(
        0.5, description="Difference in use between two GPUs of a machine."
    )
    gpu_celsius: Positive = Field(85.0, lt=150, description="Temperature of a GPU.")
    vram_growth_bytes_per_hour: Positive = Field(
        100.0 * 2**20, description="Growth of PyTorch's GPU memory that is a leak."
    )
    forecast_seconds: int = Field(
        3600, ge=300, le=86_400, description="Time ahead of the GPU memory forecast."
    )

    host_forecast_seconds: int = Field(
        14_400, ge=300, le=86_400, description="Time ahead of the host memory forecast."
    )
    host_memory_full_ratio: Share = Field(0.95, description="Use of the host's memory: warning.")
    host_ratio: Share = Field(
        0.85, description="Use of the host's CPU, memory, disk time and file systems."
    )
    event_loop_blocked_ratio: Share = Field(
        0.2, description="Time in which handlers block the event loop."
    )
    descriptors_ratio: Share = Field(0.8, description="File descriptors used.")
    service_restarts: Count = Field(2, description="Starts of the service in 30 minutes.")
    container_memory_ratio: Share = Field(
        0.9, description="Memory of a container, compared with its limit."
    )
    process_growth_bytes_per_hour: Positive = Field(
        50.0 * 2**20, description="Growth of the API process that is a leak."
    )
    disk_forecast_seconds: int = Field(
        14_400, ge=300, le=604_800, description="Time ahead of the file system forecast."
    )

    exposition_seconds: Positive = Field(1.0, description="Time to write /metrics.")
    exposition_lines: int = Field(5000, ge=100, description="Lines of /metrics.")
    probe_silent_seconds: Positive = Field(
        120.0, description="Time since the last success of a probe."
    )

    alerts: dict[str, Change] = Field({}, description="Changes of single alerts, by their names.")

    def overridden_by(self, other: Self) -> Self:
        """Return these limits, with the explicitly set limits of another table instead."""
        changes = {name: getattr(other, name) for name in other.model_fields_set}
        return self.model_copy(update={**changes, "alerts": {**self.alerts, **other.alerts}})


# The first limit of each pair must be lower: its alert warns before that of the second.
_ORDERED = (
    ("gpu_memory_high_ratio", "gpu_memory_full_ratio"),
    ("host_ratio", "host_memory_full_ratio"),
    ("request_p95_seconds", "http_p95_seconds"),
)
DEFAULTS = Thresholds()
LEAST_COUNT = 5  # observations from which a value is estimated; fewer give none
UNSTABLE_DEVIATION = 0.25  # of a score from 0 to 1; uniformly distributed scores have 0.29
# Defaults of a model family that differ: Z-Image-Turbo makes an image in about a second.
FAMILIES = {"zimage": Thresholds(request_p95_seconds=1.5)}

# Limits that a service cannot have for itself, because its alerts judge the whole host or process.
OF_MACHINES = frozenset(
    {
        "gpu_memory_full_ratio",
        "gpu_memory_high_ratio",
        "gpu_busy_ratio",
        "gpu_celsius",
        "host_memory_full_ratio",
        "host_ratio",
        "host_forecast_seconds",
        "event_loop_blocked_ratio",
        "descriptors_ratio",
        "service_restarts",
        "container_memory_ratio",
        "gpu_uneven_ratio",
        "process_growth_bytes_per_hour",
        "disk_forecast_seconds",
        "exposition_seconds",
        "exposition_lines",
        "probe_silent_seconds",
    }
)


def contradictions(limits: Thresholds) -> Iterator[str]:
    """Yield the limits that contradict each other, in words."""
    for lower, higher in _ORDERED:
        first, second = getattr(limits, lower), getattr(limits, higher)
        if first >= second:
            yield f"{lower} ({first:g}) must be below {higher} ({second:g})"


def default_limits(namespace: str) -> Thresholds:
    """Return the default limits of a service: those of its model family, if it has its own."""
    return FAMILIES.get(namespace, DEFAULTS)
