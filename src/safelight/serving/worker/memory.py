"""Remember which sizes fit, free device memory, and detect a lost device or a leak."""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from safelight.errors import HostOutOfMemory, OutOfMemory, SafelightError

# Parts of the error messages of a CUDA context that its process cannot use any more.
_POISON = (
    "CUDA error",
    "illegal memory access",
    "device-side assert",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)
_FAILURES = 2  # in a row, of jobs that used to fit: one can be bad luck
_GROWTH_BYTES, _GROWTH_RATIO = 64 * 1024**2, 0.05  # less is no leak: caches and fragments
_STATM, _PRIVATE_PAGES = Path("/proc/self/statm"), 5
log = structlog.get_logger("safelight")


class Sized(Protocol):
    """An object with a size (width, height) in pixels."""

    size: tuple[int, int]


class Memory:
    """Remembers what fitted, to explain what does not fit, and to tell a leak from a large job."""

    def __init__(self) -> None:
        self._largest = (0, 0)
        self._held: Callable[[], int] | None = None
        self._first_held = 0  # after the first job that fitted
        self._failed: list[int] = []  # pixels of jobs that used to fit, and did not

    def watch(self, held: Callable[[], int] | None = None) -> None:
        """Detect leaks from now on. `held` returns the memory that this process has."""
        self._held = held or held_bytes

    def fitted(self, jobs: Sequence[Sized]) -> None:
        """Record that these sizes fitted."""
        largest = max((job.size for job in jobs), key=_pixels)
        self._largest = max(self._largest, largest, key=_pixels)
        if self._held is not None and not self._first_held:
            self._first_held = self._held()
        # A smaller job that fits says nothing about a larger one.
        self._failed = [pixels for pixels in self._failed if pixels > _pixels(largest)]

    def leaks(self, job: Sized) -> bool:
        """Return whether memory leaked, after a job did not fit alone and all caches were freed.

        Only if jobs that used to fit fail again and again, and this process has grown. A job that
        never fitted says nothing, and if others fill the machine, a new process would not help.
        """
        if self._held is None or not 0 < _pixels(job.size) <= _pixels(self._largest):
            return False
        held, first = self._held(), self._first_held
        if held - first < max(_GROWTH_BYTES, first * _GROWTH_RATIO):
            return False
        self._failed.append(_pixels(job.size))
        if len(self._failed) < _FAILURES:
            return False
        log.warning(
            "memory leak: the worker is replaced",
            **{"safelight.held_bytes": held, "safelight.held_at_first_bytes": first},
        )
        return True

    def too_large(
        self, job: Sized, kind: type[SafelightError] = OutOfMemory
    ) -> OutOfMemory | HostOutOfMemory:
        """Return the error for a job that does not fit even alone; it says which size fits."""
        error = HostOutOfMemory if issubclass(kind, HostOutOfMemory) else OutOfMemory
        width, height = job.size
        if not 0 < _pixels(self._largest) < _pixels(job.size):
            return error(f"{width} x {height} did not fit now; retry, or send half that.")
        largest = "{} x {}".format(*self._largest)
        return error(f"{width} x {height} did not fit alone; {largest} has fitted before.")

    def free(self) -> None:
        """Release the memory that the allocator caches."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def held_bytes() -> int:
    """Return the private memory of this process, and its tensors on the device; else 0."""
    pages, tensors = 0, 0
    with suppress(OSError, IndexError):  # not Linux
        pages = int(_STATM.read_text().split()[_PRIVATE_PAGES])
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        tensors = torch.cuda.memory_allocated()
    return pages * os.sysconf("SC_PAGE_SIZE") + tensors


def is_poisoned(error: BaseException) -> bool:
    """Return whether the error leaves the device unusable for this process."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    return type(error).__name__ == "AcceleratorError" or any(text in str(error) for text in _POISON)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
