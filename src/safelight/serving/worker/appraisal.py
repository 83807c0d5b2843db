"""Measure the quality of a sample of outputs after their response, on a low-priority thread.

Requests never wait for it. Few outputs are queued; while requests wait, most are dropped, and drops
are counted. The first outputs of each kind are all assessed. No failure leaves this module.
"""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from random import Random
from time import monotonic, perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safelight.models.adherence import Judge
from safelight.models.backend import Edit, Generation, Work
from safelight.probes.guard import Guard
from safelight.quality.scores import score
from safelight.quality.structure import compare
from safelight.reasons import NO_ERROR
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Assessed, AssessmentFailed
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.familiarity import ENOUGH, Familiarity
from safelight.telemetry.assessment import Assessment

_QUEUE_LIMIT = 4
_FIRST_QUEUE_LIMIT = 12  # for the first outputs of a kind, whose number is limited
_NICE = 19  # the lowest priority
_PAUSE_FACTOR = 100  # while requests wait, it pauses a hundred times as long as it worked
Pixels = NDArray[np.uint8]
_THUMBNAIL_SIDE = 128


@dataclass(frozen=True, slots=True)
class Sampling:
    """The share of outputs to assess (0 to 1), whether to keep thumbnails, the adherence judge.

    Unless the share is 0, the first outputs of each kind are assessed, until it has `enough`.
    """

    ratio: float = 0.0
    thumbnails: bool = False
    judge: Judge | None = None
    enough: int = ENOUGH


NO_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True)
class _Item:
    job: Prepared
    work: Work
    pixels: Pixels
    error: str
    sampled: bool
    """Drawn at random, or early. Scores of other outputs would describe failures only."""


class Appraisal:
    """One thread with a short queue. `busy` returns whether requests wait."""

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
        self._random = Random()
        self._items: queue.Queue[_Item | None] = queue.Queue()
        self._guard = Guard("assessment", failed)
        self._lock = threading.Lock()
        self._dropped = 0
        self._familiarity = Familiarity(sampling.enough)
        self._paused_until = 0.0
        self._thread: threading.Thread | None = None

    def offer(self, job: Prepared, pixels: Pixels, error: str = NO_ERROR) -> None:
        """Queue the first outputs of a kind, a random sample, and failed ones for their thumbnails.

        Returns at once in every case.
        """
        ratio = self._sampling.ratio
        if ratio <= 0 or job.work is None or job.probe:
            return
        with self._lock:
            first = self._familiarity.lacks(job)
        sampled = first or self._random.random() < ratio
        if not (sampled or (error != NO_ERROR and self._sampling.thumbnails)):
            return
        limit = _FIRST_QUEUE_LIMIT if first else _QUEUE_LIMIT
        resting = not first and self._busy() and self._clock() < self._paused_until
        with self._lock:
            if resting or self._items.qsize() >= limit:
                self._dropped += 1
                return
            self._items.put_nowait(_Item(job, job.work, pixels, error, sampled))
            if sampled:
                self._familiarity.add(job)
        self._start()

    def dropped(self) -> int:
        """Return how many outputs were dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Stop, and discard the queue."""
        self._sampling = replace(self._sampling, ratio=0.0)
        while not self._items.empty():
            self._items.get_nowait()
        if self._thread is not None:
            self._items.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="safelight-appraisal", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        lower_priority()
        while (item := self._items.get()) is not None:
            started_at = self._clock()
            message = Message(AssessmentFailed())
            with self._guard:
                scored = assess(item.job, item.work, item.pixels, item.error, self._sampling)
                assessment = scored if item.sampled else unscored(scored)
                thumbnails = (assessment.before, assessment.after)
                message = Message(Assessed(replace(assessment, before=b"", after=b"")), thumbnails)
            with suppress(OSError):  # the API process is gone
                self._channel.send(message)
            now = self._clock()
            self._paused_until = now + _PAUSE_FACTOR * (now - started_at)


def lower_priority() -> None:
    """Give this thread the lowest CPU priority, if the system can (Linux)."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def assess(job: Prepared, work: Work, pixels: Pixels, error: str, sampling: Sampling) -> Assessment:
    """Return the quality of one output; `pixels` is (height, width, 3)."""
    started = perf_counter()
    scores = score(pixels)
    assessment = Assessment(
        job.request_id,
        job.instruction_type,
        error,
        scores.score,
        scores.sharpness,
        scores.exposure,
        scores.colourfulness,
        scores.cleanness,
    )
    if isinstance(work, Edit):
        kept = compare(work.image, pixels)
        assessment = replace(
            assessment, structure=kept.structure, edges=kept.edges, changed=kept.changed
        )
    if sampling.judge is not None and isinstance(work, Edit | Generation):
        assessment = replace(assessment, adherence=sampling.judge(work, pixels))
    if sampling.thumbnails:
        before = thumbnail(work.image) if isinstance(work, Edit) else b""
        after = thumbnail(Image.fromarray(pixels))
        assessment = replace(assessment, before=before, after=after)
    return replace(assessment, seconds=perf_counter() - started)


def unscored(assessment: Assessment) -> Assessment:
    """Return an assessment without scores, for an output that was not drawn at random."""
    return Assessment(
        assessment.request_id,
        assessment.instruction_type,
        assessment.error,
        before=assessment.before,
        after=assessment.after,
        seconds=assessment.seconds,
    )


def thumbnail(image: Image.Image) -> bytes:
    """Return an image as a small JPEG, no side longer than 128 pixels."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
