"""Mutants of an alert: each limit looser or stricter, each duration changed."""

import re
from collections.abc import Iterator
from dataclasses import replace

from safelight.rules.rule import Alert

# A comparison of a rule, not of a selector: there is no space before a matcher's value.
_LITERAL = re.compile(r"(?<= )(?P<op>[<>=!]=?) (?P<number>-?\d[\d.e+]*)(?![\d.]*[smhd]\b)")
_SERIES = re.compile(r"(?<= )(?P<op>[<>]=?) (?=[a-z(])")
_AHEAD = re.compile(r", (?P<number>\d+)\)")
_FACTOR = 1.25
_COUNTS_BELOW = 10  # whole numbers below are counts: they change by 1
_OPPOSITE = {">": "<=", "<": ">=", ">=": "<", "<=": ">", "==": "!=", "!=": "=="}


def mutants(alert: Alert) -> Iterator[tuple[str, Alert]]:
    """Yield every mutant of an alert, with a description of its change."""
    for seconds in (alert.for_seconds + 60, alert.for_seconds - 60):
        if seconds >= 0:
            yield f"for {seconds} s", replace(alert, for_seconds=seconds)
    for expr in dict.fromkeys((*_other_limits(alert.expr), *_other_sides(alert.expr))):
        yield expr, replace(alert, expr=expr)


def _other_limits(expr: str) -> Iterator[str]:
    """Yield the expression with one limit or forecast time changed."""
    for number in dict.fromkeys(match["number"] for match in _LITERAL.finditer(expr)):
        if float(number) == 0:
            yield _LITERAL.sub(lambda match: _inverted(match, "0"), expr)
            continue
        for other in _neighbours(float(number)):
            yield _LITERAL.sub(lambda match, n=number, o=other: _replaced(match, n, o), expr)  # type: ignore[misc]
    for number in dict.fromkeys(match["number"] for match in _AHEAD.finditer(expr)):
        for factor in (_FACTOR, 1 / _FACTOR):
            yield expr.replace(f", {number})", f", {round(float(number) * factor)})")


def _other_sides(expr: str) -> Iterator[str]:
    """Yield the expression with the series that are limits larger or smaller."""
    for factor in (_FACTOR, 1 / _FACTOR):
        changed = _SERIES.sub(lambda match, f=factor: f"{match[0]}{f:g} * ", expr)  # type: ignore[misc]
        if changed != expr:
            yield changed


def _neighbours(number: float) -> tuple[float, float]:
    if 0.5 < number < 1:  # a high share: its difference to 1 changes
        return 1 - (1 - number) * 0.75, 1 - (1 - number) * _FACTOR
    if number < _COUNTS_BELOW and number.is_integer():
        return number + 1, number - 1
    return number * _FACTOR, number / _FACTOR


def _replaced(match: re.Match[str], number: str, other: float) -> str:
    return f"{match['op']} {other:g}" if match["number"] == number else match[0]


def _inverted(match: re.Match[str], number: str) -> str:
    return f"{_OPPOSITE[match['op']]} 0" if match["number"] == number else match[0]
