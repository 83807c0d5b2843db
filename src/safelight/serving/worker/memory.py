"""Remember which batch sizes fit, free device memory, and detect a lost device."""

import gc
import sys
from collections.abc import Sequence
from typing import Protocol

from safelight.errors import OutOfMemory

# Parts of the error messages of a CUDA context that its process cannot use any more.
_POISON = (
    "CUDA error",
    "illegal memory access",
    "device-side assert",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)


class Sized(Protocol):
    """An object with a size (width, height) in pixels."""

    size: tuple[int, int]


class Memory:
    """Remembers the largest size that fitted, to report it when a larger one does not fit."""

    def __init__(self) -> None:
        self._largest = (0, 0)

    def fitted(self, jobs: Sequence[Sized]) -> None:
        """Record that these sizes fitted."""
        self._largest = max((self._largest, *(job.size for job in jobs)), key=_pixels)

    def too_large(self, job: Sized) -> OutOfMemory:
        """Return the error for a job that does not fit even alone; it says which size fits."""
        width, height = job.size
        if not 0 < _pixels(self._largest) < _pixels(job.size):
            return OutOfMemory(f"{width} x {height} did not fit now; retry, or send half that.")
        largest = "{} x {}".format(*self._largest)
        return OutOfMemory(f"{width} x {height} did not fit alone; {largest} has fitted before.")

    def free(self) -> None:
        """Release the memory that the allocator caches."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def is_poisoned(error: BaseException) -> bool:
    """Return whether the error leaves the device unusable for this process."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    return type(error).__name__ == "AcceleratorError" or any(text in str(error) for text in _POISON)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
