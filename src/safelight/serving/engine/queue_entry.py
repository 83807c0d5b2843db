"""A job's entry in the queue, from its arrival until its result."""

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Protocol

from safelight.serving.job import Job, Key, Outcome

Lane = tuple[Key, bool]
_LARGE_PIXELS, _LARGE_BYTES = 4_000_000, 1_000_000
_PNG, _PNG_SIZE = b"\x89PNG", struct.Struct(">16xII")  # width and height in the first chunk


class Holder(Protocol):
    """The worker that has a job."""

    def cancel(self, entry: "QueueEntry") -> None:
        """Drop the job, or stop it at its next step."""

    def follow(self, entry: "QueueEntry") -> None:
        """Report every step of the job."""


@dataclass(eq=False)
class QueueEntry:
    """One job in progress. `holder` is the worker that has it; None while it waits.

    `waits`: the holder's model has not begun with it, and its caller waits for it. `started`: the
    model has begun with it. `finished_at`: when the model was done with it, on the event loop's
    clock; so is `arrived_at`. `losses` counts workers that were lost while they had the job.
    `removed`: the entry is in the heap but does not wait any more.

    `key` is the batch key; a job that must run alone has its own. `lane` is the key, and whether
    decoding the image takes long: a worker has room for both, so small images never wait until
    large ones are decoded. Once they are, they share batches.
    """

    job: Job
    number: int
    result: "asyncio.Future[Outcome]"
    holder: Holder | None = None
    started: bool = False
    waits: bool = False
    finished_at: float | None = None
    losses: int = 0
    device_seconds: float = 0.0
    removed: bool = False
    arrived_at: float = 0.0
    urgency: tuple[int, float, int] = field(init=False)
    key: Key = field(init=False)
    lane: Lane = field(init=False)
    units: float = field(init=False)

    def __post_init__(self) -> None:
        self.rank()
        self.key = (*self.job.key, self.number) if self.job.alone else self.job.key
        self.lane = self.key, _is_large(self.job.image)
        self.units = self.job.units

    def rank(self) -> None:
        """Take the urgency from the job. An entry in a heap must not change."""
        self.urgency = (self.job.rank, self.job.deadline, self.number)

    def __lt__(self, other: "QueueEntry") -> bool:
        """Return whether this entry is more urgent."""
        return self.urgency < other.urgency


def _is_large(image: bytes) -> bool:
    """Return whether an image is large, from its first bytes if they tell, else from its length."""
    if image.startswith(_PNG) and len(image) >= _PNG_SIZE.size:
        width, height = _PNG_SIZE.unpack_from(image)
        return bool(width * height > _LARGE_PIXELS)
    return len(image) > _LARGE_BYTES
