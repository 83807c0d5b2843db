"""Read numbers that callers pass as Python, NumPy or other numbers."""

from math import isfinite
from numbers import Real


def number(value: object) -> float | None:
    """Return a finite number, or a NumPy array of one number, as float; else None.

    A torch tensor is not read: on a GPU, that would wait for the device.
    """
    if isinstance(value, Real):
        return float(value) if isfinite(value) else None
    if hasattr(value, "__array_interface__") and getattr(value, "size", 0) == 1:
        return float(value.item())  # type: ignore[attr-defined]
    return None


def integer(value: object) -> int | None:
    """Return a whole number as int; else None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def given(value: object) -> bool:
    """Return True unless a parameter is missing or empty. Arrays count as given."""
    if value is None or isinstance(value, str | list | tuple):
        return bool(value)
    return True
