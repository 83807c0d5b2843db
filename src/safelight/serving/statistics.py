"""A mean for what must not be underestimated. Arithmetic only."""

_RISE, _FALL = 0.3, 0.03  # soon believed, slowly forgotten


def wary(mean: float, value: float) -> float:
    """Return the mean after one more value; it rises soon, and falls slowly."""
    return mean + (_RISE if value > mean else _FALL) * (value - mean)
