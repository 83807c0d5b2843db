"""Marks in time: on the host's clock, or on a CUDA stream without ever synchronising it."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol


class Timer(Protocol):
    """Takes marks, and tells the time between two once the device has passed the later one."""

    def mark(self) -> Any:
        """Take a mark here."""

    def passed(self, mark: Any) -> bool:
        """Tell whether the device has reached the mark."""

    def seconds(self, earlier: Any, later: Any) -> float:
        """Return the time from one mark to another; both must have been passed."""


class HostTimer:
    """Marks on the host's clock: right where the work is done by the time a call returns."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.mark = clock

    def passed(self, mark: float) -> bool:  # noqa: ARG002 - the host is always there
        """Tell that the mark has been reached."""
        return True

    def seconds(self, earlier: float, later: float) -> float:
        """Return the time between two marks."""
        return later - earlier


class CudaTimer:
    """Marks as `torch.cuda.Event`s on the device's current stream, read after the last step.

    Recording an event is asynchronous; `query` and `elapsed_time` of a reached event do not wait.
    """

    def __init__(self, cuda: Any, device: Any) -> None:
        self._cuda = cuda
        self._stream = cuda.current_stream(device)

    def mark(self) -> Any:
        """Record an event at the end of what is queued on the stream."""
        event = self._cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def passed(self, mark: Any) -> bool:
        """Tell whether the stream has reached the event."""
        return bool(mark.query())

    def seconds(self, earlier: Any, later: Any) -> float:
        """Return the device's time between two events (`elapsed_time` is in milliseconds)."""
        return float(earlier.elapsed_time(later)) / 1000
