"""Read PyTorch's CUDA memory and the number of compiled graphs."""

import sys

from safelight.libraries import Cuda
from safelight.metrics.catalog import VRAM_PEAK, VRAM_RESERVED, VRAM_USED
from safelight.metrics.registry import Meter
from safelight.telemetry.vram import Vram


def read_vram(cuda: Cuda = None) -> list[Vram]:
    """Return a reading for each CUDA device that this process uses.

    Reads the allocator's counters: it does not synchronise, and creates no context on a device.
    """
    if cuda is None:
        cuda = getattr(sys.modules.get("torch"), "cuda", None)
        if cuda is None:  # torch is not loaded, or another thread is just importing it
            return []
    if not cuda.is_initialized():
        return []
    return [vram for index in range(cuda.device_count()) if (vram := _read(cuda, index)).peak_bytes]


def compilations() -> int:
    """Return how many graphs torch.compile has compiled in this process."""
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", None)
    return int(counters["stats"]["unique_graphs"]) if counters is not None else 0


def write_vram(meter: Meter, readings: list[Vram]) -> None:
    """Write readings to the metrics."""
    for vram in readings:
        meter.set(VRAM_USED, vram.device, value=vram.used_bytes)
        meter.set(VRAM_RESERVED, vram.device, value=vram.reserved_bytes)
        meter.set(VRAM_PEAK, vram.device, value=vram.peak_bytes)


class TorchProbe:
    """Reads this process's allocators into a meter."""

    def __init__(self, meter: Meter, *, cuda: Cuda = None) -> None:
        self._meter = meter
        self._cuda = cuda

    def read(self) -> bool:
        """Read every device once. Return True if there is one."""
        readings = read_vram(self._cuda)
        write_vram(self._meter, readings)
        return bool(readings)


def _read(cuda: Cuda, index: int) -> Vram:
    return Vram(
        device=f"cuda:{index}",
        used_bytes=cuda.memory_allocated(index),
        reserved_bytes=cuda.memory_reserved(index),
        peak_bytes=cuda.max_memory_allocated(index),
        total_bytes=cuda.get_device_properties(index).total_memory,
    )
