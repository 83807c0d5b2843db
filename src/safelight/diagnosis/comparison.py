"""Find the limit of an alert in its expression: `p95 > 3 and count >= 5` has the limit `3`."""

import re
from dataclasses import dataclass

_OPENING, _CLOSING = "([{", ")]}"
_SET_OPERATOR = re.compile(r"\s(?:and|or|unless)\s")
_COMPARED = re.compile(r"==|!=|>=|<=|>|<")
_MATCHING = re.compile(
    r"\s*(?:bool\s+)?(?:(?:on|ignoring)\s*\([^)]*\)\s*)?(?:group_(?:left|right)\s*(?:\([^)]*\)\s*)?)?"
)
_IN_PARENTHESES = re.compile(r"\(_*\)")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first comparison of an expression. `limit` is a number or an expression.

    `measured` is the expression that is compared.
    """

    operator: str
    limit: str
    measured: str

    @property
    def number(self) -> float | None:
        """Return the limit, or None if it is an expression."""
        try:
            return float(self.limit)
        except ValueError:
            return None

    @property
    def is_from_above(self) -> bool:
        """Return True if the alert fires for small values."""
        return self.operator in ("<", "<=")


def comparison(expression: str) -> Comparison | None:
    """Return the comparison that decides whether an alert fires, or None if it has none.

    Of several conditions it is the first: the others only demand enough data.
    """
    text = _first_condition(expression.strip())
    masked = _masked(text)
    if _IN_PARENTHESES.fullmatch(masked):
        return comparison(text[1:-1])
    found = _COMPARED.search(masked)
    if found is None:
        return None
    limit = _MATCHING.sub("", text[found.end() :], count=1).strip()
    return Comparison(found[0], limit, text[: found.start()].strip())


def _first_condition(expression: str) -> str:
    found = _SET_OPERATOR.search(_masked(expression))
    return expression[: found.start()] if found else expression


def _masked(expression: str) -> str:
    """Return the text with `_` for everything in brackets and quotes, at the same length."""
    letters, depth, quote = [], 0, ""
    for letter in expression:
        closes = not quote and letter in _CLOSING
        depth -= closes
        hidden = depth > 0 or bool(quote)
        letters.append("_" if hidden else letter)
        depth += not quote and letter in _OPENING
        if letter in "\"'":
            quote = "" if quote == letter else quote or letter
    return "".join(letters)
