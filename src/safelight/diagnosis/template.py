"""Fill in the placeholders of an alert's texts, as Prometheus does, but with readable numbers."""

import re
from collections.abc import Callable, Iterator, Mapping

from safelight.units import duration, size

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_LABEL = re.compile(r"\$labels\.(\w+)")
_VALUE = re.compile(r"\$value(?:\s*\|\s*(\w+))?")
_PRINTED = re.compile(r'printf "(%\.?\d*[fg])" \$value|\$value\s*\|\s*printf "(%\.?\d*[fg])"')
_MEASURED = re.compile(r"\{\{\s*([^{}]*\$value[^{}]*?)\s*\}\}(B| °C)?")
_UNKNOWN = "?"
Format = Callable[[float], str]


def number(value: float) -> str:
    """Return a number with at most three digits after the first that counts."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


_FORMATS: dict[str | None, Format] = {
    None: number,
    "humanize": number,
    "humanizeDuration": duration,
    "humanizePercentage": lambda value: f"{number(100 * value)} %",
    "humanize1024": lambda value: size(value).removesuffix("B"),  # the text after it is `B`
}


def rendered(text: str, labels: Mapping[str, str], value: float | None) -> str:
    """Return the text with the labels and the value of an alert."""
    return _PLACEHOLDER.sub(lambda match: _filled(match[1], labels, value), text)


def value_format(*texts: str) -> Format:
    """Return how these texts of an alert write its value; a plain number if none contains it."""
    for text in texts:
        for match in _MEASURED.finditer(text):
            if (write := _format(match[1])) is not None:
                unit = match[2] or ""
                return lambda value, write=write, unit=unit: write(value) + unit  # type: ignore[misc]
    return number


def unknown_placeholders(text: str) -> Iterator[str]:
    """Yield the placeholders that `rendered` does not know, for a law over all alerts."""
    for match in _PLACEHOLDER.finditer(text):
        if not _LABEL.fullmatch(match[1]) and _format(match[1]) is None:
            yield match[1]


def _filled(inner: str, labels: Mapping[str, str], value: float | None) -> str:
    if label := _LABEL.fullmatch(inner):
        return labels.get(label[1], "")
    return _UNKNOWN if value is None else (_format(inner) or number)(value)


def _format(inner: str) -> Format | None:
    if printed := _PRINTED.fullmatch(inner):
        pattern = printed[1] or printed[2]
        return lambda value: pattern % value
    plain = _VALUE.fullmatch(inner)
    return _FORMATS.get(plain[1]) if plain else None
