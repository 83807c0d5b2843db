"""Looks closer at a sample of what was made, once it was sent, on a thread that gives way to all.

Never at a request's cost: few wait here, while requests wait most are dropped, and what is dropped
is counted. Whatever goes wrong ends here.
"""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from random import Random
from time import monotonic, perf_counter
from typing import Any

from PIL import Image

from safelight.models.adherence import Judge
from safelight.models.backend import Edit, Generation, Work
from safelight.probes.guard import Guard
from safelight.quality.scores import score
from safelight.quality.structure import compare
from safelight.reasons import NO_ERROR
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.choice import Prepared
from safelight.telemetry.assessment import Assessment

_MOST_WAITING = 4
_LEAST_PRIORITY = 19  # nice's: of two cores' worth of work, this thread gets what nobody wants
_BUSY_REST = 100  # while requests wait, it rests a hundred times as long as it worked
_THUMBNAIL_SIDE = 128


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many are looked at, 0 to 1, whether thumbnails are kept, and who judges adherence."""

    ratio: float = 0.0
    thumbnails: bool = False
    judge: Judge | None = None


NO_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True)
class _Item:
    job: Prepared
    work: Work
    pixels: Any
    error: str
    drawn: bool
    """By chance: figures of others would tell of failures alone."""


class Appraisal:
    """One thread and the few outputs that wait for it. `busy` tells whether requests wait."""

    def __init__(
        self,
        channel: Channel,
        sampling: Sampling,
        busy: Callable[[], bool],
        failed: Callable[[str], None],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._channel = channel
        self._sampling = sampling
        self._busy = busy
        self._clock = clock
        self._chance = Random()
        self._items: queue.Queue[_Item | None] = queue.Queue(_MOST_WAITING)
        self._guard = Guard("assessment", failed)
        self._lock = threading.Lock()
        self._dropped = 0
        self._rests_until = 0.0
        self._thread: threading.Thread | None = None

    def offer(self, job: Prepared, pixels: Any, error: str = NO_ERROR) -> None:
        """Take an output for a closer look, by chance; one that failed for its thumbnails too.

        Returns at once, whatever comes of it.
        """
        ratio = self._sampling.ratio
        drawn = self._chance.random() < ratio
        wanted = drawn or (ratio > 0 and error != NO_ERROR and self._sampling.thumbnails)
        if not wanted or job.work is None:
            return
        if self._busy() and self._clock() < self._rests_until:
            self._drop()
            return
        try:
            self._items.put_nowait(_Item(job, job.work, pixels, error, drawn))
        except queue.Full:
            self._drop()
            return
        self._start()

    def dropped(self) -> int:
        """Return how many gave way since this was asked last."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Take no more; what waits is forgotten."""
        self._sampling = replace(self._sampling, ratio=0.0)
        while not self._items.empty():
            self._items.get_nowait()
        if self._thread is not None:
            self._items.put(None)

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="safelight-appraisal", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        give_way()
        while (item := self._items.get()) is not None:
            began = self._clock()
            message = Message(Kind.ASSESSED, {"failed": True})
            with self._guard:
                seen = assess(item.job, item.work, item.pixels, item.error, self._sampling)
                found = asdict(seen if item.drawn else unscored(seen))
                pictures = [found.pop("before"), found.pop("after")]
                message = Message(Kind.ASSESSED, found, pictures)
            with suppress(OSError):  # the parent is gone, and with it whoever wanted to know
                self._channel.send(message)
            now = self._clock()
            self._rests_until = now + _BUSY_REST * (now - began)


def give_way() -> None:
    """Let every other thread of the machine go before this one, where the system can (Linux)."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_PRIORITY)


def assess(job: Prepared, work: Work, pixels: Any, error: str, sampling: Sampling) -> Assessment:
    """Return what a closer look at one output finds."""
    began = perf_counter()
    looks = score(pixels)
    found = Assessment(
        job.about.request_id,
        job.about.instruction_type,
        error,
        looks.score,
        looks.sharpness,
        looks.exposure,
        looks.colourfulness,
        looks.cleanness,
    )
    if isinstance(work, Edit):
        kept = compare(work.image, pixels)
        found = replace(found, structure=kept.structure, edges=kept.edges, changed=kept.changed)
    if sampling.judge is not None and isinstance(work, Edit | Generation):
        found = replace(found, adherence=sampling.judge(work, pixels))
    if sampling.thumbnails:
        before = thumbnail(work.image) if isinstance(work, Edit) else b""
        found = replace(found, before=before, after=thumbnail(Image.fromarray(pixels)))
    return replace(found, seconds=perf_counter() - began)


def unscored(found: Assessment) -> Assessment:
    """Return an assessment without its figures: of an output that was not drawn by chance."""
    return Assessment(
        found.request_id,
        found.instruction_type,
        found.error,
        before=found.before,
        after=found.after,
        seconds=found.seconds,
    )


def thumbnail(picture: Image.Image) -> bytes:
    """Return a picture as a small JPEG, no side longer than 128 pixels."""
    small = picture.copy()
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
