"""Dashboard of the machines: GPUs and their memory, the host, and the service's processes."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    NVIDIA_GPU,
    SHARE,
    board,
    by,
    on_cards,
    row,
)
from safelight.dashboards.boards.hosts import host, processes
from safelight.metrics.catalog import (
    DEVICE,
    ECC,
    GPU,
    GPU_ECC_ERRORS,
    GPU_INFO,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    THROTTLE,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import DENOISING, ENGINE, GPUS
from safelight.units import duration

ON_GPU = f"{by(INSTANCE)} GPU {by(GPU)}"
_OF = f"{by(INSTANCE)} {by(DEVICE)}"
_HOURS = replace(NOW, window="2h")


def gpus(limits: Thresholds) -> Board:
    """Return the dashboard of the GPUs and hosts."""
    return board(
        GPUS,
        "GPUs and hosts",
        "Is a GPU busy, full, hot or broken? Does the host or the process lack something?",
        row("GPUs", DENOISING, *_use(limits)),
        row("Memory", ENGINE, *_memory(limits)),
        row("Health of the GPUs", DENOISING, *_health()),
        row("Host", ENGINE, *host(limits)),
        row("Process", ENGINE, *processes(limits)),
    )


def _gpu_panel(
    title: str, description: str, unit: str, *queries: Query, limit: float | None = None
) -> Panel:
    return Panel(title, description, Shape.LINES, unit, queries, limit, needs=NVIDIA_GPU)


def _use(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        _gpu_panel(
            "Is the GPU busy?",
            "Utilization: share of the time in which a kernel ran. The line is the limit of "
            "GpuUtilizationHigh. At 100 %, spare capacity is still possible.",
            SHARE,
            Query(on_cards(lambda q: q.select(GPU_UTILIZATION)), ON_GPU),
            limit=limits.gpu_busy_ratio,
        ),
        _gpu_panel(
            "Is the GPU's memory full?",
            "Share used by all processes. The line is the limit of GpuMemoryHigh.",
            SHARE,
            Query(on_cards(lambda q: q.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)), ON_GPU),
            limit=limits.gpu_memory_high_ratio,
        ),
        _gpu_panel(
            "Is the GPU too hot?",
            "The line is the limit of GpuTemperatureHigh.",
            GPU_TEMPERATURE.unit,
            Query(on_cards(lambda q: q.select(GPU_TEMPERATURE)), ON_GPU),
            limit=limits.gpu_celsius,
        ),
    )


def _memory(limits: Thresholds) -> tuple[Panel, ...]:
    used, reserved = NOW.select(VRAM_USED), NOW.select(VRAM_RESERVED)
    ahead = limits.forecast_seconds
    return (
        Panel(
            "Does PyTorch's memory grow?",
            "Memory that PyTorch has allocated, and its peak. Growth that never falls is a leak.",
            Shape.LINES,
            VRAM_USED.unit,
            (
                Query(used, f"{_OF} allocated"),
                Query(NOW.select(VRAM_PEAK), f"{_OF} peak"),
                Query(_HOURS.forecast(VRAM_USED, ahead), f"{_OF} in {duration(ahead)}"),
            ),
            needs=NVIDIA_GPU,
        ),
        Panel(
            "How fast does the memory grow per hour?",
            "Linear regression over the last two hours. The line is the limit of VramLeak.",
            Shape.LINES,
            VRAM_USED.unit,
            (Query(f"3600 * {_HOURS.trend(VRAM_USED)}", _OF),),
            limit=limits.vram_growth_bytes_per_hour,
            needs="a GPU, or metrics of PyTorch",
        ),
        _gpu_panel(
            "Is the memory fragmented, or used by others?",
            "Memory that PyTorch reserves but does not use: growth means fragmentation. Memory of "
            "other programs: all that is used without PyTorch's.",
            VRAM_USED.unit,
            Query(f"{reserved} - {used}", f"{_OF} reserved only"),
            Query(
                f"sum by (instance) ({NOW.select(GPU_MEMORY_USED)}) - "
                f"sum by (instance) ({reserved})",
                f"{by(INSTANCE)} other programs",
            ),
        ),
    )


def _health() -> tuple[Panel, ...]:
    return (
        Panel(
            "Why does the GPU lower its clock?",
            "Red while the GPU lowers its clock for this reason.",
            Shape.STATES,
            COUNT,
            (Query(on_cards(lambda q: q.select(GPU_THROTTLED)), f"{ON_GPU} {by(THROTTLE)}"),),
            needs=NVIDIA_GPU,
        ),
        _gpu_panel(
            "Does the GPU reach its power limit?",
            "Power draw and power limit.",
            GPU_POWER.unit,
            Query(on_cards(lambda q: q.select(GPU_POWER)), f"{ON_GPU} draw"),
            Query(on_cards(lambda q: q.select(GPU_POWER_LIMIT)), f"{ON_GPU} limit"),
        ),
        _gpu_panel(
            "Is the GPU's memory broken?",
            "Memory errors since the driver was loaded. An uncorrected error ends the process.",
            COUNT,
            Query(on_cards(lambda q: q.select(GPU_ECC_ERRORS)), f"{ON_GPU} {by(ECC)}"),
        ),
        Panel(
            "Which GPU is it?",
            "Product, driver and UUID of each GPU.",
            Shape.TABLE,
            COUNT,
            (Query(on_cards(lambda q: q.select(GPU_INFO)), ""),),
            needs=NVIDIA_GPU,
        ),
    )
