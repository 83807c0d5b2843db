"""Where each alert draws its line, once: rules, boards and texts read it here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of the alerts, in base units; how long each must be passed is said in its rule."""

    request_p95_seconds: float = 3.0
    http_p95_seconds: float = 15.0
    http_error_ratio: float = 0.02
    success_ratio: float = 0.95
    refused_ratio: float = 0.05
    worker_restarts: int = 2

    gpu_memory_full_ratio: float = 0.95
    gpu_memory_high_ratio: float = 0.90
    gpu_busy_ratio: float = 0.85
    gpu_celsius: float = 85.0
    vram_growth_bytes_per_hour: float = 200e6
    forecast_seconds: int = 3600

    host_ratio: float = 0.85

    exposition_seconds: float = 1.0
    exposition_lines: int = 5000
    probe_silent_seconds: float = 120.0


def percent(ratio: float) -> str:
    """Return a ratio as people read it: 0.95 as `95 %`."""
    return f"{100 * ratio:g} %"
