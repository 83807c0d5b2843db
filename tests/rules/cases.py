"""For every alert the series that make it fire and those that leave it quiet."""

from dataclasses import dataclass

from safelight.metrics.catalog import (
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    GPU_ECC_ERRORS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    GUIDANCE_OVERRIDDEN,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    INFERENCE_SECONDS,
    PROBE_FAILURES,
    PROBE_TIMESTAMP,
    QUEUED_SECONDS,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
    SERIES_FOLDED,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.spec import Metric
from tests.rules.promtool import Series, histogram, series


@dataclass(frozen=True, slots=True)
class Case:
    """What makes an alert fire by a time, and what does not."""

    fires: tuple[Series, ...]
    quiet: tuple[Series, ...]
    at: str = "20m"


def _http(status: str, values: str) -> Series:
    return series(HTTP_REQUESTS, values, handler="/api/edit", method="POST", status=status)


def _request(error: str, values: str) -> Series:
    status = "200" if error == "none" else "503"
    labels = {"endpoint": "/api/edit", "status_code": status, "instruction_type": "other"}
    return series(REQUESTS, values, error=error, **labels)


def _gauge(metric: Metric, fires: str, quiet: str, /, **labels: str) -> Case:
    return Case((series(metric, fires, **labels),), (series(metric, quiet, **labels),))


def _of(part: Metric, whole: Metric, fires: str, quiet: str, **labels: str) -> Case:
    all_of_it = series(whole, "100x300", **labels)
    return Case(
        (series(part, fires, **labels), all_of_it), (series(part, quiet, **labels), all_of_it)
    )


def _vram(values: str) -> tuple[Series, ...]:
    return (
        series(VRAM_USED, values, device="cuda:0"),
        series(GPU_MEMORY_TOTAL, "12e9x300", gpu="0"),
    )


_EDIT = {"endpoint": "/api/edit", "status_code": "200", "instruction_type": "other"}
_ROUTE = {"handler": "/api/edit", "method": "POST"}
_RISING, _FLAT = "0x5 0+1x300", "4x300"

CASES: dict[str, Case] = {
    "RequestP95High": Case(
        histogram(REQUEST_SECONDS, 4.0, **_EDIT), histogram(REQUEST_SECONDS, 3.0, **_EDIT)
    ),
    "HighP95Latency": Case(
        histogram(HTTP_SECONDS, 16.0, **_ROUTE), histogram(HTTP_SECONDS, 15.0, **_ROUTE)
    ),
    "HighAPIErrorRate": Case(
        (_http("200", "0+97x300"), _http("503", "0+3x300")),
        (_http("200", "0+99x300"), _http("503", "0+1x300"), _http("422", "0+50x300")),
    ),
    "SuccessRatioLow": Case(
        (_request("timeout", "0+10x300"),),  # not one success, so no such series either
        (_request("none", "0+97x300"), _request("not_an_image", "0+3x300")),
    ),
    "RequestsRefused": Case(
        (series(REJECTED, "0+6x300", reason="overloaded"), _request("none", "0+94x300")),
        (series(REJECTED, "0+4x300", reason="overloaded"), _request("none", "0+96x300")),
    ),
    "QueueLongerThanInference": Case(
        (
            *histogram(QUEUED_SECONDS, 3.0),
            *histogram(INFERENCE_SECONDS, 2.0, precision="float16"),
        ),
        (
            *histogram(QUEUED_SECONDS, 1.0),
            *histogram(INFERENCE_SECONDS, 2.0, precision="float16"),
        ),
    ),
    "NoWorkerReady": _gauge(WORKERS_READY, "1x5 0x300", "1x300"),
    "WorkersRestarting": _gauge(WORKER_RESTARTS, "0+1x300", "0 1x300", reason="died"),
    "CudaOutOfMemory": Case((_request("cuda_oom", _RISING),), (_request("timeout", _RISING),)),
    "GuidanceOverridden": _gauge(
        GUIDANCE_OVERRIDDEN, _RISING, _FLAT, parameter="image_guidance_scale"
    ),
    "VramNearlyFull": _of(GPU_MEMORY_USED, GPU_MEMORY_TOTAL, "96x300", "95x300", gpu="0"),
    "GpuMemoryHigh": _of(GPU_MEMORY_USED, GPU_MEMORY_TOTAL, "91x300", "90x300", gpu="0"),
    # 5 MB a minute is 300 MB an hour; the quiet one jumps as a model loads, and stays.
    "VramLeak": Case(_vram("4e9+5e6x300"), _vram("0x3 4e9x300"), at="200m"),
    # Two hours at 50 MB a minute are 6 GB of 12: another hour crosses at the third.
    "VramExhaustionAhead": Case(_vram("2e9+5e7x300"), _vram("2e9+1e7x300"), at="180m"),
    "GpuUtilizationHigh": _gauge(GPU_UTILIZATION, "0.9x300", "0.85x300", gpu="0"),
    "GpuTemperatureHigh": _gauge(GPU_TEMPERATURE, "86x300", "85x300", gpu="0"),
    "GpuThrottled": Case(
        (series(GPU_THROTTLED, "1x300", gpu="0", reason="hardware_thermal"),),
        (series(GPU_THROTTLED, "1x300", gpu="0", reason="power_cap"),),  # as it is meant to be
    ),
    "GpuMemoryErrors": Case(
        (series(GPU_ECC_ERRORS, _RISING, gpu="0", kind="uncorrected"),),
        (series(GPU_ECC_ERRORS, _RISING, gpu="0", kind="corrected"),),
    ),
    "HostCpuBusy": _gauge(HOST_CPU, "0.9x300", "0.85x300"),
    "HostMemoryHigh": _of(HOST_MEMORY_USED, HOST_MEMORY_TOTAL, "90x300", "80x300"),
    "HostDiskBusy": _gauge(
        HOST_DISK_BUSY, "0+54x300", "0+50x300", disk="nvme0n1"
    ),  # seconds a minute
    "HostFilesystemFull": _of(
        HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, "90x300", "80x300", mountpoint="/"
    ),
    "TargetDown": Case((series("up", "1x5 0x300"),), (series("up", "1x300"),)),
    "ProbeFailing": _gauge(PROBE_FAILURES, _RISING, _FLAT, probe="nvml"),
    "ProbeSilent": _gauge(PROBE_TIMESTAMP, "0x300", "0+60x300", probe="nvml"),
    "ExpositionSlow": _gauge(EXPOSITION_SECONDS, "1.5x300", "0.02x300"),
    "ExpositionLarge": _gauge(EXPOSITION_LINES, "5001x300", "5000x300"),
    "SeriesFolded": _gauge(SERIES_FOLDED, _RISING, _FLAT, metric="request_total"),
}
