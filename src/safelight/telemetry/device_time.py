"""Count device time by its use and its instruction type, and the good outputs that it made.

docs/engine.md says how costs follow from these counters.
"""

from safelight.metrics.catalog import DEVICE_SECONDS, GOOD_OUTPUTS, TYPE_DEVICE_SECONDS
from safelight.metrics.registry import Meter


def count_device_time(meter: Meter, use: str, instruction_type: str, seconds: float) -> None:
    """Count seconds of a device once by their use (a value of catalog.USE), once by the type."""
    if seconds > 0:
        meter.add(DEVICE_SECONDS, use, amount=seconds)
        meter.add(TYPE_DEVICE_SECONDS, instruction_type, amount=seconds)


def count_good_outputs(meter: Meter, instruction_type: str, number: int = 1) -> None:
    """Count outputs that were valid, for a caller who waited for them."""
    meter.add(GOOD_OUTPUTS, instruction_type, amount=number)
