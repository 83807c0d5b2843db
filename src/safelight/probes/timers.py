"""Time marks: on the host's clock, or on a CUDA stream without synchronising it."""

from collections.abc import Callable
from time import perf_counter
from typing import Protocol, TypeVar

from safelight.libraries import Cuda, TimeMark

Mark = TypeVar("Mark")


class Timer(Protocol[Mark]):
    """Takes time marks, and returns the time between two that the device has passed."""

    def mark(self) -> Mark:
        """Take a mark now."""

    def passed(self, mark: Mark) -> bool:
        """Return True if the device has reached the mark."""

    def seconds(self, earlier: Mark, later: Mark) -> float:
        """Return the time between two passed marks."""


class HostTimer:
    """Marks on the host's clock; correct if the work is done when a call returns."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.mark = clock

    def passed(self, mark: float) -> bool:  # noqa: ARG002 - the host has passed every mark
        """Return True."""
        return True

    def seconds(self, earlier: float, later: float) -> float:
        """Return the time between two marks."""
        return later - earlier


class CudaTimer:
    """Marks as `torch.cuda.Event`s on the device's current stream, read after the last step.

    Recording an event is asynchronous. `query` never waits, and `elapsed_time` does not wait for
    a passed event.
    """

    def __init__(self, cuda: Cuda, device: object) -> None:
        self._cuda = cuda
        self._stream = cuda.current_stream(device)

    def mark(self) -> TimeMark:
        """Record an event at the end of the stream."""
        event = self._cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def passed(self, mark: TimeMark) -> bool:
        """Return True if the stream has reached the event."""
        return bool(mark.query())

    def seconds(self, earlier: TimeMark, later: TimeMark) -> float:
        """Return the device's time between two events (`elapsed_time` is in milliseconds)."""
        return float(earlier.elapsed_time(later)) / 1000
