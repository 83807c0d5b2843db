"""The running requests by id, to follow and cancel them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from safelight.errors import Cancelled, InvalidParameter, SafelightError, Stopping, UnknownRequest
from safelight.serving.job import Job

_WAIT_SECONDS = 1.0


class Requests:
    """Every request that has jobs in the engine."""

    def __init__(self) -> None:
        self._jobs: dict[str, Sequence[Job]] = {}
        self.stopping = self.ended = False

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    @contextmanager
    def open(self, request_id: str, jobs: Sequence[Job]) -> Iterator[None]:
        """Register a request by its id until the block ends.

        Raises InvalidParameter if the id is in use, Stopping if the service has stopped.
        """
        if self.ended:
            raise Stopping
        if request_id in self._jobs:
            raise InvalidParameter("X-Request-Id is the id of a running request. Send another one.")
        self._jobs[request_id] = jobs
        try:
            yield
        finally:
            del self._jobs[request_id]

    def find(self, request_id: str, owner: str) -> Sequence[Job]:
        """Return a request's jobs. Raises UnknownRequest, also for another caller's request."""
        jobs = self._jobs.get(request_id, ())
        if not jobs or jobs[0].owner != owner:
            raise UnknownRequest
        return jobs

    async def expect(self, request_id: str, owner: str) -> Sequence[Job]:
        """Return a request's jobs; wait briefly for a request that is still being received.

        Raises UnknownRequest.
        """
        end = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while asyncio.get_running_loop().time() < end:
            with suppress(UnknownRequest):
                return self.find(request_id, owner)
            await asyncio.sleep(_WAIT_SECONDS / 50)
        return self.find(request_id, owner)

    def cancel(self, request_id: str, owner: str) -> None:
        """Stop a request at its next step. Raises UnknownRequest."""
        stop(self.find(request_id, owner), Cancelled())

    def drain(self) -> None:
        """Accept no more requests."""
        self.stopping = True

    def end(self) -> None:
        """Stop all running requests, and each later one when its upload is complete."""
        self.ended = True
        for jobs in list(self._jobs.values()):
            stop(jobs, Stopping())


def stop(jobs: Sequence[Job], error: SafelightError) -> None:
    """Stop jobs with an error."""
    for job in jobs:
        job.control.stop(error)
