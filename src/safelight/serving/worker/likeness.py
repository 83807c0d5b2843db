"""Measure two outputs for the same job, on a low-priority thread: their quality and distance."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image

from safelight.guard.pairs import Qualities
from safelight.models.adherence import Judge
from safelight.models.backend import Edit, Generation, Pixels, Work
from safelight.quality.scores import at_size, reduced, score
from safelight.quality.structure import compare
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Compared, JobOrder
from safelight.serving.worker.appraisal import Sampling, lower_priority, thumbnail
from safelight.serving.worker.images import as_work

_SIDE = 256  # the longest side at which images are subtracted


class Likeness:
    """One thread, which starts with the first comparison.

    `sampling` has the judge of prompt adherence, and says whether to keep thumbnails.
    """

    def __init__(self, channel: Channel, sampling: Sampling, limit_pixels: int) -> None:
        self._channel = channel
        self._judge = sampling.judge
        self._thumbnails = sampling.thumbnails
        self._limit_pixels = limit_pixels
        self._thread = ThreadPoolExecutor(1, "safelight-likeness", lower_priority)

    def offer(self, order: JobOrder, payloads: Sequence[bytes]) -> None:
        """Measure two outputs later, and send the result."""
        with suppress(RuntimeError):  # closed
            self._thread.submit(self._send, order, payloads)

    def close(self) -> None:
        """Stop, and discard what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _send(self, order: JobOrder, payloads: Sequence[bytes]) -> None:
        try:
            result, image = self._compared(order, payloads)
        except Exception:  # noqa: BLE001 - an unknown distance is an answer, no answer is none
            result, image = Compared(order.id, Qualities(), Qualities(), None), b""
        with suppress(OSError):  # the API process is gone
            self._channel.send(Message(result, (image,)))

    def _compared(self, order: JobOrder, payloads: Sequence[bytes]) -> tuple[Compared, bytes]:
        image, *outputs = payloads
        work, _ = as_work(order, image, self._limit_pixels)
        first, second = (_pixels(output) for output in outputs)
        compared = Compared(
            order.id,
            qualities_of(work, first, self._judge),
            qualities_of(work, second, self._judge),
            distance(first, second),
        )
        return compared, thumbnail(Image.fromarray(second)) if self._thumbnails else b""


def qualities_of(work: Work, pixels: Pixels, judge: Judge | None) -> Qualities:
    """Return the quality of one output."""
    structure = compare(work.image, pixels).structure if isinstance(work, Edit) else None
    adherence = None
    if judge is not None and isinstance(work, Edit | Generation):
        adherence = judge(work, pixels)
    return Qualities(score(pixels).score, structure, adherence)


def distance(first: Pixels, second: Pixels) -> float:
    """Return the mean difference of two images' colours, 0 (equal) to 1, at 256 pixels."""
    small = reduced(first, _SIDE)
    height, width = small.shape[:2]
    other = at_size(Image.fromarray(second), (width, height))
    return float(np.abs(small.astype(np.int16) - other).mean() / 255)


def _pixels(output: bytes) -> Pixels:
    with Image.open(BytesIO(output)) as image:
        return np.asarray(image.convert("RGB"))
