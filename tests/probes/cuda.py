"""Fakes of torch.cuda: a device that works late, and an allocator."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class FakeEvent:
    """An event that is reached when the device has processed it."""

    cuda: "FakeCuda"
    recorded_at: int = 0

    def record(self, stream: Any) -> None:
        assert stream == self.cuda.stream
        self.cuda.queued += 1
        self.recorded_at = self.cuda.queued

    def query(self) -> bool:
        reached = self.cuda.reached >= self.recorded_at
        if self.cuda.catches_up_when_asked:
            self.cuda.catch_up()
        return reached

    def elapsed_time(self, later: "FakeEvent") -> float:
        assert self.query(), "read before the device reached it, which raises in torch"
        assert later.query(), "read before the device reached it, which raises in torch"
        return 10.0 * (later.recorded_at - self.recorded_at)

    def synchronize(self) -> None:
        raise AssertionError("a probe must never wait for the device")


@dataclass
class FakeCuda:
    """A device that processes its queue only in `catch_up`; events are 10 ms apart."""

    stream: str = "the current stream"
    queued: int = 0
    reached: int = 0
    catches_up_when_asked: bool = False
    asked_for: list[Any] = field(default_factory=list)

    def current_stream(self, device: Any) -> str:
        self.asked_for.append(device)
        return self.stream

    def Event(self, *, enable_timing: bool) -> FakeEvent:  # noqa: N802 - torch's name
        assert enable_timing
        return FakeEvent(self)

    def synchronize(self, *_: Any) -> None:
        raise AssertionError("a probe must never wait for the device")

    def catch_up(self) -> None:
        self.reached = self.queued


@dataclass
class FakeMemory:
    """The allocators of torch.cuda: bytes per device."""

    used: list[int]
    initialized: bool = True
    peak: list[int] | None = None
    total: int = 80 * 10**9

    def is_initialized(self) -> bool:
        return self.initialized

    def device_count(self) -> int:
        assert self.initialized, "asking makes a context"
        return len(self.used)

    def memory_allocated(self, index: int) -> int:
        return self.used[index]

    def memory_reserved(self, index: int) -> int:
        return self.used[index] + 2**20

    def max_memory_allocated(self, index: int) -> int:
        return (self.peak or self.used)[index]

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(total_memory=self.total)
