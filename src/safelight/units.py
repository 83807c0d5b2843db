"""Format durations, bytes, shares, counts and times as text, the same everywhere."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

_DURATIONS = ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"))
_DAY = 86_400
_PARTS = re.compile(r"(\D*)(\d{0,15})")
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a duration as text: `38 ms`, `1.24 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for end, divisor, unit in _DURATIONS:
        if abs(seconds) < end:
            return f"{_rounded(seconds / divisor)} {unit}"
    return f"{_rounded(seconds / _DAY)} days"


def size(count: float) -> str:
    """Return a number of bytes as text, in IEC units: `215 MiB`, `11.8 GiB`."""
    exponent = _exponent(count)
    return f"{_rounded(count / 1024**exponent)} {_SIZES[exponent]}"


def sizes(counts: Sequence[float], separator: str = " of ") -> str:
    """Return several numbers of bytes with one unit, that of the largest: `12.6 of 16 GiB`."""
    exponent = max(_exponent(count) for count in counts)
    numbers = separator.join(_rounded(count / 1024**exponent) for count in counts)
    return f"{numbers} {_SIZES[exponent]}"


def percent(ratio: float) -> str:
    """Return a limit as an exact percentage: 0.95 as `95 %`, 0.995 as `99.5 %`."""
    return f"{100 * ratio:g} %"


def share(ratio: float) -> str:
    """Return a measured share, rounded: 0.714 as `71 %`, 0.004 as `0.4 %`."""
    return f"{100 * ratio:.0f} %" if abs(ratio) >= 0.1 or ratio == 0 else f"{100 * ratio:.1f} %"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, singular or plural: `1 request`, `12 requests`."""
    return f"{number:.0f} {noun}{'' if round(number) == 1 else 's'}"


def by_numbers(text: str) -> tuple[tuple[str, int], ...]:
    """Return a key that sorts texts by the numbers in them: 1-5, 6-10, 11-20."""
    parts = _PARTS.findall(text)
    return tuple((words, int(digits or 0)) for words, digits in parts)


def when(at: float) -> str:
    """Return a time in ISO 8601 format, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _exponent(count: float) -> int:
    """Return the power of 1024 that leaves fewer than 1000 units, so that 3 digits are enough."""
    exponent = 0
    while abs(count) / 1024**exponent >= 999.5 and exponent < len(_SIZES) - 1:
        exponent += 1
    return exponent


def _rounded(value: float) -> str:
    """Return a number with three digits, without an exponent."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
