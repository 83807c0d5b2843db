"""What somebody might do to an alert: each limit looser or stricter, each wait changed."""

import re
from collections.abc import Iterator
from dataclasses import replace

from safelight.rules.rule import Alert

# A comparison of a rule, not of a selector: there is no space before a matcher's value.
_LITERAL = re.compile(r"(?<= )(?P<op>[<>=!]=?) (?P<number>-?\d[\d.e+]*)(?![\d.]*[smhd]\b)")
_SERIES = re.compile(r"(?<= )(?P<op>[<>]=?) (?=[a-z(])")
_AHEAD = re.compile(r", (?P<number>\d+)\)")
_FACTOR = 1.25
_SLIGHTLY = 10  # whole numbers below it are counts: one more is the least that can go wrong
_OPPOSITE = {">": "<=", "<": ">=", ">=": "<", "<=": ">", "==": "!=", "!=": "=="}


def mutants(alert: Alert) -> Iterator[tuple[str, Alert]]:
    """Yield every mutant of an alert, and what was done to it."""
    for wait in (alert.for_seconds + 60, alert.for_seconds - 60):
        if wait >= 0:
            yield f"for {wait} s", replace(alert, for_seconds=wait)
    for expr in dict.fromkeys((*_other_limits(alert.expr), *_other_sides(alert.expr))):
        yield expr, replace(alert, expr=expr)


def _other_limits(expr: str) -> Iterator[str]:
    """Yield the expression with one number changed, wherever it stands as a limit or a horizon."""
    for number in dict.fromkeys(found["number"] for found in _LITERAL.finditer(expr)):
        if float(number) == 0:
            yield _LITERAL.sub(lambda found: _turned(found, "0"), expr)
            continue
        for other in _neighbours(float(number)):
            yield _LITERAL.sub(lambda found, n=number, o=other: _put(found, n, o), expr)  # type: ignore[misc]
    for number in dict.fromkeys(found["number"] for found in _AHEAD.finditer(expr)):
        for factor in (_FACTOR, 1 / _FACTOR):
            yield expr.replace(f", {number})", f", {round(float(number) * factor)})")


def _other_sides(expr: str) -> Iterator[str]:
    """Yield the expression with the series that are limits made larger, or smaller."""
    for factor in (_FACTOR, 1 / _FACTOR):
        changed = _SERIES.sub(lambda found, f=factor: f"{found[0]}{f:g} * ", expr)  # type: ignore[misc]
        if changed != expr:
            yield changed


def _neighbours(number: float) -> tuple[float, float]:
    if 0.5 < number < 1:  # a share that is nearly all: what is left of it changes
        return 1 - (1 - number) * 0.75, 1 - (1 - number) * _FACTOR
    if number < _SLIGHTLY and number.is_integer():
        return number + 1, number - 1
    return number * _FACTOR, number / _FACTOR


def _put(found: re.Match[str], number: str, other: float) -> str:
    return f"{found['op']} {other:g}" if found["number"] == number else found[0]


def _turned(found: re.Match[str], number: str) -> str:
    return f"{_OPPOSITE[found['op']]} 0" if found["number"] == number else found[0]
