"""Where each alert draws its line, once: rules, boards and texts read it here."""

from dataclasses import replace
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from safelight.metrics.catalog import HTTP_SECONDS, REQUEST_SECONDS, STEP_SECONDS
from safelight.rules.rule import Alert, Severity

# Open bounds: an objective of 100 % leaves no budget, and a share of 0 alerts for ever.
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Below it an error budget cannot burn 14.4 times too fast: the most urgent alert would never fire.
Promise = Annotated[float, Field(gt=1 - 1 / 14.4, lt=1)]


class Change(BaseModel):
    """What an operator wants otherwise of one alert, beside its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    for_seconds: int | None = Field(None, ge=0, le=604_800)
    severity: Severity | None = None

    def apply(self, alert: Alert) -> Alert:
        """Return the alert as it is wanted."""
        wait = alert.for_seconds if self.for_seconds is None else self.for_seconds
        return replace(alert, for_seconds=wait, severity=self.severity or alert.severity)


class Thresholds(BaseModel):
    """Limits of the alerts, in base units; `alerts` changes how long, how urgently, or whether."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_p95_seconds: Positive = Field(
        3.0, lt=REQUEST_SECONDS.buckets[-1], description="P95 of a request; the objective's too."
    )
    http_p95_seconds: Positive = Field(
        15.0, lt=HTTP_SECONDS.buckets[-1], description="P95 of any route."
    )
    http_error_ratio: Share = Field(0.02, description="Answers with a 5xx status.")
    success_ratio: Share = Field(0.95, description="Requests that must succeed.")
    refused_ratio: Share = Field(0.05, description="Requests refused before they cost anything.")
    worker_restarts: Count = Field(2, description="Workers replaced in 15 minutes.")

    availability_ratio: Promise = Field(0.99, description="Objective: answers that are no 5xx.")
    latency_ratio: Promise = Field(0.95, description="Objective: answers within the P95's limit.")
    validity_ratio: Promise = Field(
        0.99, description="Objective: pictures that are fit to be sent."
    )
    least_requests: Positive = Field(
        20, description="Fewer requests of a type judge no instruction."
    )
    least_missed: Positive = Field(
        5, description="Fewer failures than these are no trend, whatever their share."
    )
    budget_forecast_seconds: int = Field(
        86_400, ge=3600, le=2_592_000, description="How far ahead an error budget is forecast."
    )

    timeout_ratio: Share = Field(0.05, description="Requests that ended at their deadline.")
    queued_work_seconds: Positive = Field(60.0, description="Work that waits or runs.")
    wasted_ratio: Share = Field(0.2, description="Devices' time that gave no answer.")
    step_p95_seconds: Positive = Field(
        1.0, lt=STEP_SECONDS.buckets[-1], description="P95 of a denoising step."
    )
    warm_ups: Positive = Field(10, description="Calls that compiled, in 30 minutes.")
    output_invalid_ratio: Share = Field(0.02, description="Pictures that are broken.")
    instruction_success_ratio: Share = Field(
        0.5, description="Requests of one type of instruction that must succeed."
    )
    truncated_ratio: Share = Field(0.1, description="Pictures whose prompt was cut off.")

    gpu_memory_full_ratio: Share = Field(0.95, description="Card's memory in use: critical.")
    gpu_memory_high_ratio: Share = Field(0.90, description="Card's memory in use: warning.")
    gpu_busy_ratio: Share = Field(0.85, description="Card's time in which a kernel ran.")
    gpu_celsius: Positive = Field(85.0, lt=150, description="Temperature of a card.")
    vram_growth_bytes_per_hour: Positive = Field(200e6, description="Growth that is a leak.")
    forecast_seconds: int = Field(
        3600, ge=300, le=86_400, description="How far ahead a card's memory is forecast."
    )

    host_forecast_seconds: int = Field(
        3600, ge=300, le=86_400, description="How far ahead the machine's memory is forecast."
    )
    host_ratio: Share = Field(0.85, description="Machine's processor, memory, disk, file system.")
    descriptors_ratio: Share = Field(0.8, description="File descriptors in use.")
    service_restarts: Count = Field(2, description="Starts of the service in 30 minutes.")
    process_growth_bytes_per_hour: Positive = Field(100e6, description="Service's own growth.")
    disk_forecast_seconds: int = Field(
        14_400, ge=300, le=604_800, description="How far ahead a file system is forecast."
    )

    exposition_seconds: Positive = Field(1.0, description="Time to write an answer to a scrape.")
    exposition_lines: int = Field(5000, ge=100, description="Lines of an answer to a scrape.")
    probe_silent_seconds: Positive = Field(120.0, description="Age of a probe's last reading.")

    alerts: dict[str, Change] = Field({}, description="Changes of single alerts, by their names.")

    def with_own(self, own: Self) -> Self:
        """Return these limits, but for those that one service has of its own."""
        said = {name: getattr(own, name) for name in own.model_fields_set}
        return self.model_copy(update={**said, "alerts": {**self.alerts, **own.alerts}})


# What people expect of a family, where nobody says otherwise: Z-Image-Turbo is to take a moment.
FAMILIES = {"zimage": Thresholds(request_p95_seconds=1.5)}

# One machine has one card and one disk, whoever else is on it: no service has these of its own.
OF_MACHINES = frozenset(
    {
        "gpu_memory_full_ratio",
        "gpu_memory_high_ratio",
        "gpu_busy_ratio",
        "gpu_celsius",
        "host_ratio",
        "host_forecast_seconds",
        "descriptors_ratio",
        "service_restarts",
        "process_growth_bytes_per_hour",
        "disk_forecast_seconds",
        "exposition_seconds",
        "exposition_lines",
        "probe_silent_seconds",
    }
)


def percent(ratio: float) -> str:
    """Return a ratio as people read it: 0.95 as `95 %`."""
    return f"{100 * ratio:g} %"


def minutes(seconds: float) -> str:
    """Return a time ahead as people read it: 5400 as `90 minutes`, 86 400 as `24 hours`."""
    if seconds >= 7200 and seconds % 3600 == 0:
        return f"{seconds / 3600:g} hours"
    return f"{seconds / 60:g} minutes"
