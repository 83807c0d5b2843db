"""Decode the images of jobs that arrive, and put the jobs on the stage."""

from contextlib import suppress
from functools import partial

from safelight.errors import Cancelled
from safelight.probes.guard import Guard
from safelight.quality.entropy import background_entropy
from safelight.quality.images import Larger
from safelight.serving.wire import schema
from safelight.serving.worker.choice import Prepared, prepared
from safelight.serving.worker.images import as_work
from safelight.serving.worker.lanes import Lanes
from safelight.serving.worker.reporter import Call, Reporter
from safelight.serving.worker.results import as_failure
from safelight.serving.worker.stage import Stage

# A smaller image is decoded faster than it is passed to another thread.
_SMALL_BYTES, _SMALL_PIXELS = 48 * 1024, 1_000_000


class Intake:
    """Decodes images; those of jobs that fail or were withdrawn never reach the stage."""

    def __init__(self, stage: Stage, reporter: Reporter, call: Call, limit_pixels: int) -> None:
        self._stage = stage
        self._reporter = reporter
        self._limit_pixels = limit_pixels
        self._lanes = Lanes()
        self._number = 0
        self._entropy = Guard("entropy", call.failed)

    def close(self) -> None:
        """Decode nothing more."""
        self._lanes.close()

    def prepare(self, jobs: list[tuple[schema.JobOrder, bytes]], *, by_reader: bool) -> None:
        """Decode the images of jobs that arrived; small ones in this thread."""
        small: list[Prepared] = []
        for order, image in jobs:
            self._number += 1
            job = prepared(order, self._number, self._stage.clock)
            self._stage.expect(job.id)
            if self._is_decoded(job, order, image):
                small.append(job)
        if small:
            self._stage.put(small, by_reader=by_reader)

    def _is_decoded(self, job: Prepared, order: schema.JobOrder, image: bytes) -> bool:
        """Decode a small image; give a larger one to other threads and return False."""
        if len(image) < _SMALL_BYTES:
            with suppress(Larger):
                return self._decode(job, order, image, _SMALL_PIXELS)
        self._stage.prepare()
        self._lanes.submit(job, partial(self._decode_in_lane, job, order, image))
        return False

    def _decode_in_lane(
        self, job: Prepared, order: schema.JobOrder, image: bytes, at_most: float
    ) -> None:
        is_decoded = self._decode(job, order, image, at_most)
        with self._stage.preparing():
            if is_decoded:
                self._stage.put([job])

    def withdraw(self, job_id: str) -> Prepared | None:
        """Remove and return a job that waits to be decoded."""
        job = self._lanes.withdraw(job_id)
        if job is not None:
            with self._stage.preparing():
                job.timeline.mark("queue")
        return job

    def _decode(self, job: Prepared, order: schema.JobOrder, image: bytes, at_most: float) -> bool:
        """Decode a job's image; return False if the job failed. Raises Larger."""
        job.timeline.mark("queue")
        try:
            if self._stage.cancelled(job.id):
                raise Cancelled  # noqa: TRY301 - one place reports every failure
            job.work, sample = as_work(order, image, self._limit_pixels, at_most)
            if sample is not None:
                with self._entropy:
                    job.entropy_bits = background_entropy(sample)
        except Larger:
            raise
        except Exception as error:  # noqa: BLE001 - every failure must reach the API process
            self._reporter.fail([job], as_failure(error))
            return False
        finally:
            job.timeline.mark("decode")
        return True
