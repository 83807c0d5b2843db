"""Panels of the dashboard Engine: money and energy. docs/engine.md has the formulas."""

from safelight.dashboards.board import Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CARDS,
    COUNT,
    NOW,
    NVIDIA_GPU,
    SERVED,
    by,
    lines,
    panel,
)
from safelight.metrics.catalog import (
    DEVICE_HELD_SECONDS,
    DEVICE_SECONDS,
    GOOD_OUTPUTS,
    GPU_ENERGY,
    GPU_HOUR_PRICE,
    INSTRUCTION_TYPE,
    TYPE_DEVICE_SECONDS,
    USE,
    WASTED_USE,
)
from safelight.metrics.exact import ExactQueries
from safelight.metrics.promql import Queries

_PRICED = "SAFELIGHT_GPU_HOUR_PRICE"
_HOUR = "3600"
_TYPE = (INSTRUCTION_TYPE,)
_PRICE = f"max({NOW.select(GPU_HOUR_PRICE)})"
_GOOD = NOW.increase(GOOD_OUTPUTS)


def costs() -> tuple[Panel, ...]:
    """Return the panels."""
    return (*_of_an_image(), _of_an_hour(), _energy_of_an_image())


def _of_an_image() -> tuple[Panel, ...]:
    busy, held = NOW.increase(DEVICE_SECONDS), NOW.increase(DEVICE_HELD_SECONDS)
    of_type = NOW.part(NOW.increase(TYPE_DEVICE_SECONDS, _TYPE), NOW.increase(GOOD_OUTPUTS, _TYPE))
    wasted = NOW.increase(DEVICE_SECONDS, where={USE: WASTED_USE})
    return (
        lines(
            "What does a good image cost?",
            "Price of the device time per valid image that a caller received: with idle time, "
            "without it, and the part that led to no image.",
            COUNT,
            Query(f"{_PRICE} * {NOW.part(held, _GOOD)} / {_HOUR}", "with idle time"),
            Query(f"{_PRICE} * {NOW.part(busy, _GOOD)} / {_HOUR}", "without idle time"),
            Query(f"{_PRICE} * {NOW.part(wasted, _GOOD)} / {_HOUR}", "wasted"),
            needs=_PRICED,
        ),
        lines(
            "Which instructions are expensive?",
            "Price per good image of each type, with failed attempts and without idle time.",
            COUNT,
            Query(f"{of_type} * on () group_left () {_PRICE} / {_HOUR}", by(INSTRUCTION_TYPE)),
            needs=_PRICED,
        ),
    )


def _of_an_hour() -> Panel:
    idle = f"clamp_min({NOW.rate(DEVICE_HELD_SECONDS)} - {NOW.rate(DEVICE_SECONDS)}, 0)"
    return panel(
        Shape.STACK,
        "Where does the money go?",
        "Price per hour by the use of the device time. Together it is the price of all devices.",
        COUNT,
        Query(f"{NOW.rate(DEVICE_SECONDS, (USE,))} * on () group_left () {_PRICE}", by(USE)),
        Query(f"{idle} * {_PRICE}", "idle"),
        needs=f"{SERVED}, and {_PRICED}",
    )


def _energy_of_an_image() -> Panel:
    energy = f"({_energy(NOW)} or on () {_energy(CARDS)})"
    return lines(
        "How much energy does a good image take?",
        "Energy of all GPUs of the machine, also while idle, per valid image that a caller "
        "received.",
        GPU_ENERGY.unit,
        Query(f"{energy} / ({_GOOD} > 0)", "per image"),
        needs=NVIDIA_GPU,
    )


def _energy(queries: ExactQueries) -> str:
    """Return the joules within the window; the counter began when the driver was loaded.

    So its first value is no increase: Prometheus' own `increase` ignores it.
    """
    return Queries(queries.namespace, queries.window, queries.matchers).increase(GPU_ENERGY)
