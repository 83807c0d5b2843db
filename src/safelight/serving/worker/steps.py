"""Tells the parent how far a batch is, and stops it once nobody waits for any of it.

A report now and then is the sign of life of the model thread; jobs that somebody follows are
reported step by step, with a preview if that was asked for.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from safelight.errors import Cancelled
from safelight.models.backend import OnStep
from safelight.probes.guard import Guard
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.preview import preview

_SIGN_OF_LIFE_SECONDS = 0.25


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
        self._followed: dict[str, int] = {}
        self._told = 0.0

    def follow(self, job_id: str, preview_every: int) -> None:
        """Report a job's every step from now on, with a preview every so many; 0 is none."""
        self._followed[job_id] = preview_every

    def forget(self, job_id: str) -> None:
        """Report a job no more."""
        self._followed.pop(job_id, None)

    def of(
        self,
        jobs: Sequence[Prepared],
        cancelled: Callable[[str], bool],
        late: tuple[float, Callable[[], None]] | None = None,
    ) -> OnStep:
        """Return what a batch's model calls after each step.

        `late` is called once, when the batch has taken so many seconds.
        """
        began = self._clock()

        def on_step(step: int, latents: Any) -> None:
            nonlocal late
            if late is not None and self._clock() - began > late[0]:
                late[1]()
                late = None
            if all(cancelled(job.id) for job in jobs):
                raise Cancelled
            followed = [(place, job) for place, job in enumerate(jobs) if job.id in self._followed]
            if followed or self._clock() - self._told >= _SIGN_OF_LIFE_SECONDS:
                self._tell(step, latents, followed)

        return on_step

    def _tell(self, step: int, latents: Any, followed: list[tuple[int, Prepared]]) -> None:
        self._told = self._clock()
        previews = [self._preview(latents, place, job, step) for place, job in followed]
        fields = {"ids": [job.id for _, job in followed], "step": step}
        self._channel.send(Message(Kind.STEP, fields, previews))

    def _preview(self, latents: Any, place: int, job: Prepared, step: int) -> bytes:
        """Return a preview, or nothing where none is due or none can be drawn."""
        picture = b""
        if latents is not None and self._due(job, step):
            with self._guard:
                picture = preview(latents[place])
        return picture

    def _due(self, job: Prepared, step: int) -> bool:
        every = self._followed.get(job.id, 0)
        return every > 0 and step % every == 0
