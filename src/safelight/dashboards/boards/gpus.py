"""The board of the cards: torch's view beside the card's, heat and power, what is ahead."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import CARD, COUNT, NOW, SHARE, board, by, row
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

_ON = f"{by(INSTANCE)} card {by(GPU)}"
_OF = f"{by(INSTANCE)} {by(DEVICE)}"
# Torch's figures are the service's; the card's may be another job's (dcgm-exporter).
_TORCH = replace(NOW, matchers={})
_HOURS = replace(_TORCH, window="2h")


def cards(limits: Thresholds) -> Board:
    """Return the board of the cards, whoever measures them: Safelight or dcgm-exporter."""
    return board(
        "Cards and memory",
        "Are the cards busy, cool and sound, and how long will their memory last?",
        row("Use", *_use(limits)),
        row("What torch holds", *_torch()),
        row("Ahead", *_ahead(limits)),
        row("Heat and power", *_heat(limits)),
        row("Soundness", *_sound()),
        of=GPU_UTILIZATION,
    )


def _card(
    title: str, description: str, unit: str, *queries: Query, limit: float | None = None
) -> Panel:
    return Panel(title, description, Shape.LINES, unit, queries, limit, needs=CARD)


def _use(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        _card(
            "Utilisation",
            "Share of time in which a kernel ran; 100 % does not mean that all of it was used.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), _ON),
            limit=limits.gpu_busy_ratio,
        ),
        _card(
            "Memory in use",
            "By all processes on the card, beside what it has.",
            GPU_MEMORY_USED.unit,
            Query(NOW.select(GPU_MEMORY_USED), f"{_ON} used"),
            Query(NOW.select(GPU_MEMORY_TOTAL), f"{_ON} has"),
        ),
        _card(
            "Share of memory in use",
            "The line is where GpuMemoryHigh begins.",
            SHARE,
            Query(NOW.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL), _ON),
            limit=limits.gpu_memory_high_ratio,
        ),
        _card(
            "Memory at work",
            "Share of time in which the card's memory was read or written: high with low "
            "utilisation is a model bound by its memory.",
            SHARE,
            Query(NOW.select(GPU_MEMORY_BUSY), _ON),
        ),
    )


def _torch() -> tuple[Panel, ...]:
    used, held = _TORCH.select(VRAM_USED), _TORCH.select(VRAM_RESERVED)
    return (
        Panel(
            "Allocated, reserved, peak",
            "PyTorch's own count. Steps that never come down are a leak.",
            Shape.LINES,
            VRAM_USED.unit,
            (
                Query(used, f"{_OF} allocated"),
                Query(held, f"{_OF} reserved"),
                Query(_TORCH.select(VRAM_PEAK), f"{_OF} peak"),
            ),
            needs=CARD,
        ),
        Panel(
            "Weights",
            "Memory of the model itself; the rest is the requests'.",
            Shape.LINES,
            MODEL_WEIGHTS.unit,
            (Query(_TORCH.select(MODEL_WEIGHTS), by(INSTANCE)),),
        ),
        _card(
            "Reserved and not used",
            "What the allocator holds beyond what tensors need: fragmentation, where it grows.",
            VRAM_USED.unit,
            Query(f"{held} - {used}", _OF),
        ),
        _card(
            "Others on the card",
            "The card's count less torch's: other processes, the driver, other libraries.",
            VRAM_USED.unit,
            Query(f"sum({NOW.select(GPU_MEMORY_USED)}) - sum({held})", "others"),
        ),
    )


def _ahead(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = limits.forecast_seconds
    return (
        _card(
            "Forecast",
            f"Torch's memory in {ahead // 60} minutes by the last two hours, beside what the card "
            "has.",
            VRAM_USED.unit,
            Query(_HOURS.forecast(VRAM_USED, ahead), f"{_OF} ahead"),
            Query(NOW.select(GPU_MEMORY_TOTAL), f"{_ON} has"),
        ),
        Panel(
            "Growth an hour",
            "By a straight line through the last two hours; the line is where VramLeak begins.",
            Shape.LINES,
            VRAM_USED.unit,
            (Query(f"3600 * {_HOURS.trend(VRAM_USED)}", _OF),),
            limit=limits.vram_growth_bytes_per_hour,
            needs="a card, or figures of torch",
        ),
    )


def _heat(limits: Thresholds) -> tuple[Panel, ...]:
    joules = f"sum(rate({NOW.select(GPU_ENERGY)}[{NOW.window}]))"
    return (
        _card(
            "Temperature",
            "The line is where GpuTemperatureHigh begins.",
            GPU_TEMPERATURE.unit,
            Query(NOW.select(GPU_TEMPERATURE), _ON),
            limit=limits.gpu_celsius,
        ),
        _card(
            "Power",
            "Drawn, beside what the card may draw.",
            GPU_POWER.unit,
            Query(NOW.select(GPU_POWER), f"{_ON} draws"),
            Query(NOW.select(GPU_POWER_LIMIT), f"{_ON} may"),
        ),
        _card(
            "Energy an image",
            "Joules of all cards over the images made: what a picture costs to make.",
            GPU_ENERGY.unit,
            Query(f"{joules} / {_TORCH.rate(IMAGES)}", "an image"),
        ),
        _card(
            "Clocks",
            "Of the processors and of the memory: a clock that falls while the card is busy is "
            "heat or power.",
            GPU_CLOCK.unit,
            Query(NOW.select(GPU_CLOCK), f"{_ON} {by(CLOCK)}"),
        ),
    )


def _sound() -> tuple[Panel, ...]:
    return (
        Panel(
            "Held back",
            "Red while the card runs below its clock for this reason.",
            Shape.STATES,
            COUNT,
            (Query(NOW.select(GPU_THROTTLED), f"{_ON} {by(THROTTLE)}"),),
            needs=CARD,
        ),
        _card(
            "Memory errors",
            "Since the driver loaded; uncorrected ones end what runs.",
            COUNT,
            Query(NOW.select(GPU_ECC_ERRORS), f"{_ON} {by(ECC)}"),
        ),
        Panel(
            "Which cards",
            "Product, driver and identity of each.",
            Shape.TABLE,
            COUNT,
            (Query(NOW.select(GPU_INFO), ""),),
            needs=CARD,
        ),
    )
