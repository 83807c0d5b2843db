"""Decode images in threads, in lanes by size: small images never wait behind large ones.

The lane of the largest images has one thread, which bounds the memory that decoding takes.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from threading import Lock

from safelight.quality.images import Larger
from safelight.serving.worker.choice import Prepared

# Pixels of an image, times the scans of its file; threads.
_LANES = ((4_000_000, 2), (16_000_000, 2), (inf, 1))

Decode = Callable[[float], None]
"""Decodes a job's image. Raises Larger, before that, if it has more pixels than the argument."""


class Lanes:
    """The threads that decode. All threads may submit and withdraw."""

    def __init__(self) -> None:
        self._pools = [
            ThreadPoolExecutor(threads, f"safelight-decode-{place}")
            for place, (_, threads) in enumerate(_LANES)
        ]
        self._lock = Lock()
        self._waiting: dict[str, tuple[Prepared, Future[None]]] = {}

    def submit(self, job: Prepared, decode: Decode, place: int = 0) -> None:
        """Decode a job's image in a lane, or in that of larger images if it is larger."""

        def run() -> None:
            with self._lock:
                self._waiting.pop(job.id, None)
            try:
                decode(_LANES[place][0])
            except Larger as image:
                self.submit(job, decode, _place_of(image.pixels))

        with self._lock:
            self._waiting[job.id] = job, self._pools[place].submit(run)

    def withdraw(self, job_id: str) -> Prepared | None:
        """Remove and return a job that waits to be decoded; None if it does not wait."""
        with self._lock:
            job, future = self._waiting.pop(job_id, (None, None))
        return job if future is not None and future.cancel() else None

    def close(self) -> None:
        """Cancel what waits."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _place_of(pixels: int) -> int:
    """Return the place of the first lane that takes an image of so many pixels."""
    return next(place for place, (limit, _) in enumerate(_LANES) if pixels <= limit)
