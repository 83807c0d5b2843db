"""Report the progress of a batch, and stop it when no caller waits for any of its jobs.

A report from time to time shows that the model thread makes progress. Followed jobs are reported
step by step, with previews if the caller asked for them.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from safelight.errors import Cancelled
from safelight.models.backend import Latents, OnStep
from safelight.probes.guard import Guard
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Step
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.preview import preview

_REPORT_SECONDS = 0.25


class Steps:
    """Reports over a channel; one for all batches."""

    def __init__(
        self,
        channel: Channel,
        failed: Callable[[str], None],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._channel = channel
        self._guard = Guard("diffusers", failed)
        self._clock = clock
        self._preview_intervals: dict[str, int] = {}
        self._last_report_at = 0.0

    def follow(self, job_id: str, preview_every: int) -> None:
        """Report every step of a job, with a preview every `preview_every` steps (0: none)."""
        self._preview_intervals[job_id] = preview_every

    def forget(self, job_id: str) -> None:
        """Stop reporting a job."""
        self._preview_intervals.pop(job_id, None)

    def of(
        self,
        jobs: Sequence[Prepared],
        cancelled: Callable[[str], bool],
        slow: tuple[float, Callable[[], None]] | None = None,
    ) -> OnStep:
        """Return the callback that the model calls after each step of a batch.

        `slow` is (seconds, callback): the callback runs once if the batch takes longer than that.
        """
        started_at = self._clock()

        def on_step(step: int, latents: Latents) -> None:
            nonlocal slow
            if slow is not None and self._clock() - started_at > slow[0]:
                slow[1]()
                slow = None
            if all(cancelled(job.id) for job in jobs):
                raise Cancelled
            followed = [
                (place, job) for place, job in enumerate(jobs) if job.id in self._preview_intervals
            ]
            if followed or self._clock() - self._last_report_at >= _REPORT_SECONDS:
                self._report(step, latents, followed)

        return on_step

    def _report(self, step: int, latents: Latents, followed: list[tuple[int, Prepared]]) -> None:
        self._last_report_at = self._clock()
        previews = [self._preview(latents, place, job, step) for place, job in followed]
        self._channel.send(Message(Step([job.id for _, job in followed], step), previews))

    def _preview(self, latents: Latents, place: int, job: Prepared, step: int) -> bytes:
        """Return a preview; empty if none is due or none can be drawn."""
        image = b""
        if latents is not None and self._due(job, step):
            with self._guard:
                image = preview(latents[place])
        return image

    def _due(self, job: Prepared, step: int) -> bool:
        interval = self._preview_intervals.get(job.id, 0)
        return interval > 0 and step % interval == 0
