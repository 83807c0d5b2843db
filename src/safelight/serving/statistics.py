"""A running mean that is slow to fall, for costs that must not be underestimated."""

_RISE, _FALL = 0.3, 0.03


def conservative_mean(mean: float, value: float) -> float:
    """Return the mean after one more value: it rises fast and falls slowly.

    Exponential smoothing with weight 0.3 for a larger value and 0.03 for a smaller one.
    """
    return mean + (_RISE if value > mean else _FALL) * (value - mean)
