"""What a worker knows of its device's memory: what fitted, how to free it, when it is lost."""

import gc
import sys
from collections.abc import Sequence
from typing import Protocol

from safelight.errors import OutOfMemory

# What a CUDA context says once it is of no more use to its process.
_POISON = (
    "CUDA error",
    "illegal memory access",
    "device-side assert",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)


class Sized(Protocol):
    """Whatever has a width and a height."""

    size: tuple[int, int]


class Memory:
    """Remembers the largest image that was made, so that one too large can be told so."""

    def __init__(self) -> None:
        self._largest = (0, 0)

    def fitted(self, jobs: Sequence[Sized]) -> None:
        """Remember that these sizes fitted."""
        self._largest = max((self._largest, *(job.size for job in jobs)), key=_pixels)

    def too_large(self, job: Sized) -> OutOfMemory:
        """Return the failure of a job that does not fit alone, saying what would."""
        width, height = job.size
        if not 0 < _pixels(self._largest) < _pixels(job.size):
            return OutOfMemory(f"{width} x {height} did not fit now; retry, or send half that.")
        known = "{} x {}".format(*self._largest)
        return OutOfMemory(f"{width} x {height} did not fit alone; {known} has fitted before.")

    def free(self) -> None:
        """Give back what the allocator holds without need."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def is_poisoned(error: BaseException) -> bool:
    """Tell whether the error leaves the device unusable for this process."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    return type(error).__name__ == "AcceleratorError" or any(sign in str(error) for sign in _POISON)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
