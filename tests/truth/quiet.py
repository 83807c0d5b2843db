"""Random healthy situations with changes: no check may warn about them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from safelight.stories.conditions import Conditions, Timeline
from tests.truth.draft import Draft
from tests.truth.scene import then

Draw = Callable[[Draft], dict[str, Any]]

_HOURS: dict[str, Any] = {"lasted": 3 * 3600, "hours": 4}
_STEP = 15  # seconds between two scrapes


def _always(d: Draft, **changes: Any) -> dict[str, Any]:
    changed = replace(d.base, **changes)
    return {"conditions": lambda _i, _t: changed}


def _burst(d: Draft) -> dict[str, Any]:
    duration, factor = d.between(30, 100), d.between(1.8, 2.6)

    def conditions(_: int, t: float) -> Conditions:
        return replace(d.base, rate=d.base.rate * (factor if 60 <= t < 60 + duration else 1))

    return {"conditions": conditions}


def _rolling(d: Draft) -> Timeline:
    def conditions(instance: int, t: float) -> Conditions:
        age = t - 100 * instance
        return replace(d.base, starts=0 <= age < _STEP, ready=0 if 0 <= age < 2 * _STEP else 1)

    return conditions


def _restart(d: Draft) -> Timeline:
    return lambda instance, t: replace(d.base, starts=instance == 0 and 0 <= t < _STEP)


def _plateau(d: Draft) -> Timeline:
    duration = d.between(1500, 3000)

    def conditions(_: int, t: float) -> Conditions:
        filled = 0.6 + 0.4 * min(1.0, max(0.0, t) / duration)
        return replace(d.base, vram_used=d.base.vram_used * filled, starts=0 <= t < 4 * _STEP)

    return conditions


def _sawtooth(d: Draft) -> Timeline:
    teeth = d.between(0.5e9, 1.5e9)
    return lambda _, t: replace(
        d.base, vram_reserved=d.base.vram_reserved + teeth * (t % 2700) / 2700
    )


def _rush(d: Draft) -> Timeline:
    return lambda _, t: replace(
        d.base, rate=d.base.rate * (0.6 + 0.8 * min(1.0, max(0.0, t) / 3000))
    )


def _missed(d: Draft) -> Timeline:
    gap = int(d.between(60, 500)) // _STEP * _STEP
    return lambda _, t: replace(d.base, up=not gap <= t < gap + _STEP)


def _unequal(d: Draft) -> Timeline:
    """Return two instances with unequal load: one has two workers, or both have idle time."""
    workers = d.random.choice((1, 2))
    more, less = d.between(1.4, 1.7), d.between(0.2, 0.5)
    return lambda instance, _: replace(
        d.base, rate=d.base.rate * (less if instance else more), ready=1 if instance else workers
    )


KINDS: tuple[tuple[str, Draw], ...] = (
    ("steady", _always),
    ("a burst", _burst),
    ("a rolling deployment", lambda d: {"conditions": _rolling(d), "instances": 3}),
    ("a restart", lambda d: {"conditions": _restart(d), "instances": 2}),
    ("night", lambda d: _always(d, rate=0.03)),
    ("a holiday", lambda d: {"conditions": then(d.base, rate=0.15 * d.base.rate)}),
    ("the morning rush", lambda d: {"conditions": _rush(d), "lasted": 3000}),
    ("memory fills to a plateau", lambda d: {"conditions": _plateau(d)} | _HOURS),
    ("a cache that is cleaned", lambda d: {"conditions": _sawtooth(d)} | _HOURS),
    (
        "a campaign",
        lambda d: {
            "conditions": then(d.base, types={"add_sunglasses": d.between(0.6, 0.9), "other": 0.1})
        },
    ),
    ("a missed scrape", lambda d: {"conditions": _missed(d)}),
    ("a backup", lambda d: {"conditions": then(d.base, cpu=0.8, disk_busy=0.6)}),
    (
        "a GPU at its power limit",
        lambda d: _always(
            d, throttled={"power_cap": d.between(0.4, 0.9)}, celsius=d.between(65, 72)
        ),
    ),
    ("unequal instances", lambda d: {"conditions": _unequal(d), "instances": 2}),
    ("a few bad files", lambda d: _always(d, failures={"*": ("not_an_image", 0.03)})),
)
