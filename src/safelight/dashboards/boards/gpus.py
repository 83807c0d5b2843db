"""Dashboard of the GPUs: utilization, memory, forecasts, temperature, power and errors."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import COUNT, NOW, NVIDIA_GPU, SHARE, board, by, row
from safelight.metrics.catalog import (
    CLOCK,
    DEVICE,
    ECC,
    GPU,
    GPU_CLOCK,
    GPU_ECC_ERRORS,
    GPU_ENERGY,
    GPU_INFO,
    GPU_MEMORY_BUSY,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    IMAGES,
    MODEL_WEIGHTS,
    THROTTLE,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_ON = f"{by(INSTANCE)} GPU {by(GPU)}"
_OF = f"{by(INSTANCE)} {by(DEVICE)}"
# PyTorch's metrics come from the service, those of the GPU possibly from dcgm-exporter.
_TORCH = replace(NOW, matchers={})
_HOURS = replace(_TORCH, window="2h")


def gpus(limits: Thresholds) -> Board:
    """Return the dashboard of the GPUs, measured by Safelight or by dcgm-exporter."""
    return board(
        "GPUs and memory",
        "Are the GPUs busy, cool and free of errors, and how long will their memory last?",
        row("Use", *_use(limits)),
        row("PyTorch's memory", *_torch()),
        row("Forecast", *_ahead(limits)),
        row("Temperature and power", *_heat(limits)),
        row("Errors", *_errors()),
        of=GPU_UTILIZATION,
        slug="cards-and-memory",
    )


def _gpu_panel(
    title: str, description: str, unit: str, *queries: Query, limit: float | None = None
) -> Panel:
    return Panel(title, description, Shape.LINES, unit, queries, limit, needs=NVIDIA_GPU)


def _use(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        _gpu_panel(
            "Utilization",
            "Share of the time in which a kernel ran. At 100 %, spare capacity is possible.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), _ON),
            limit=limits.gpu_busy_ratio,
        ),
        _gpu_panel(
            "Used memory",
            "Memory used by all processes, and the size of the memory.",
            GPU_MEMORY_USED.unit,
            Query(NOW.select(GPU_MEMORY_USED), f"{_ON} used"),
            Query(NOW.select(GPU_MEMORY_TOTAL), f"{_ON} total"),
        ),
        _gpu_panel(
            "Share of used memory",
            "The line is the limit of GpuMemoryHigh.",
            SHARE,
            Query(NOW.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL), _ON),
            limit=limits.gpu_memory_high_ratio,
        ),
        _gpu_panel(
            "Memory activity",
            "Share of the time in which memory was read or written. If it is high and utilization "
            "is low, the memory bandwidth limits the model.",
            SHARE,
            Query(NOW.select(GPU_MEMORY_BUSY), _ON),
        ),
    )


def _torch() -> tuple[Panel, ...]:
    used, reserved = _TORCH.select(VRAM_USED), _TORCH.select(VRAM_RESERVED)
    return (
        Panel(
            "Allocated, reserved, peak",
            "Memory as counted by PyTorch. Growth that never falls is a leak.",
            Shape.LINES,
            VRAM_USED.unit,
            (
                Query(used, f"{_OF} allocated"),
                Query(reserved, f"{_OF} reserved"),
                Query(_TORCH.select(VRAM_PEAK), f"{_OF} peak"),
            ),
            needs=NVIDIA_GPU,
        ),
        Panel(
            "Weights",
            "Memory of the model's weights. The rest belongs to requests.",
            Shape.LINES,
            MODEL_WEIGHTS.unit,
            (Query(_TORCH.select(MODEL_WEIGHTS), by(INSTANCE)),),
        ),
        _gpu_panel(
            "Reserved but not allocated",
            "Memory that the allocator keeps in reserve. Growth means fragmentation.",
            VRAM_USED.unit,
            Query(f"{reserved} - {used}", _OF),
        ),
        _gpu_panel(
            "Other programs",
            "Used memory without PyTorch's: other processes, the driver, other libraries.",
            VRAM_USED.unit,
            Query(f"sum({NOW.select(GPU_MEMORY_USED)}) - sum({reserved})", "other programs"),
        ),
    )


def _ahead(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = limits.forecast_seconds
    return (
        _gpu_panel(
            "Forecast",
            f"PyTorch's memory in {duration(ahead)} by the last two hours, and the GPU's memory.",
            VRAM_USED.unit,
            Query(_HOURS.forecast(VRAM_USED, ahead), f"{_OF} forecast"),
            Query(NOW.select(GPU_MEMORY_TOTAL), f"{_ON} total"),
        ),
        Panel(
            "Growth per hour",
            "Linear regression over the last two hours. The line is the limit of VramLeak.",
            Shape.LINES,
            VRAM_USED.unit,
            (Query(f"3600 * {_HOURS.trend(VRAM_USED)}", _OF),),
            limit=limits.vram_growth_bytes_per_hour,
            needs="a GPU, or metrics of PyTorch",
        ),
    )


def _heat(limits: Thresholds) -> tuple[Panel, ...]:
    joules = f"sum(increase({NOW.select(GPU_ENERGY)}[{NOW.window}]))"
    return (
        _gpu_panel(
            "Temperature",
            "The line is the limit of GpuTemperatureHigh.",
            GPU_TEMPERATURE.unit,
            Query(NOW.select(GPU_TEMPERATURE), _ON),
            limit=limits.gpu_celsius,
        ),
        _gpu_panel(
            "Power",
            "Power draw and power limit.",
            GPU_POWER.unit,
            Query(NOW.select(GPU_POWER), f"{_ON} draw"),
            Query(NOW.select(GPU_POWER_LIMIT), f"{_ON} limit"),
        ),
        _gpu_panel(
            "Energy per image",
            "Energy of all GPUs divided by the number of output images.",
            GPU_ENERGY.unit,
            Query(f"{joules} / {_TORCH.increase(IMAGES)}", "per image"),
        ),
        _gpu_panel(
            "Clocks",
            "Clocks of processors and memory. If a clock falls while the GPU is busy, the GPU is "
            "throttled.",
            GPU_CLOCK.unit,
            Query(NOW.select(GPU_CLOCK), f"{_ON} {by(CLOCK)}"),
        ),
    )


def _errors() -> tuple[Panel, ...]:
    return (
        Panel(
            "Throttling",
            "Red while the GPU lowers its clock for this reason.",
            Shape.STATES,
            COUNT,
            (Query(NOW.select(GPU_THROTTLED), f"{_ON} {by(THROTTLE)}"),),
            needs=NVIDIA_GPU,
        ),
        _gpu_panel(
            "Memory errors",
            "Errors since the driver was loaded. An uncorrected error ends the process.",
            COUNT,
            Query(NOW.select(GPU_ECC_ERRORS), f"{_ON} {by(ECC)}"),
        ),
        Panel(
            "GPU models",
            "Product, driver and UUID of each GPU.",
            Shape.TABLE,
            COUNT,
            (Query(NOW.select(GPU_INFO), ""),),
            needs=NVIDIA_GPU,
        ),
    )
