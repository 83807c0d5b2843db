"""One reading of a device's memory, as PyTorch's allocator reports it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vram:
    """The memory of one device, in bytes, as the allocator of one process reports it.

    `total_bytes` is the size of the device's memory; 0 if unknown.
    """

    device: str
    used_bytes: int
    reserved_bytes: int
    peak_bytes: int
    total_bytes: int = 0

    @property
    def used_ratio(self) -> float:
        """Return the reserved share of the device's memory; 0 if its size is unknown."""
        return self.reserved_bytes / self.total_bytes if self.total_bytes else 0.0
