"""The running requests by id, to follow and cancel them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from safelight.errors import Cancelled, SafelightError, Stopping, UnknownRequest
from safelight.serving.job import Job

_WAIT_SECONDS = 1.0


class Requests:
    """Every request that has jobs in the engine."""

    def __init__(self) -> None:
        self._jobs: dict[str, Sequence[Job]] = {}
        self._by_key: dict[tuple[str, str], str] = {}  # the owner and the owner's key: the id
        self.stopping = self.ended = False

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    @contextmanager
    def open(self, request_id: str, jobs: Sequence[Job], key: str = "") -> Iterator[None]:
        """Register a request by its id and its caller's key until the block ends.

        Raises Stopping if the service has stopped.
        """
        if self.ended:
            raise Stopping
        name = (jobs[0].owner, key)
        self._jobs[request_id] = jobs
        if key:
            self._by_key[name] = request_id
        try:
            yield
        finally:
            del self._jobs[request_id]
            if self._by_key.get(name) == request_id:
                del self._by_key[name]

    def find(self, name: str, owner: str) -> Sequence[Job]:
        """Return the jobs of a request, by its id or the owner's key.

        Raises UnknownRequest, also for another caller's request.
        """
        jobs = self._jobs.get(self._by_key.get((owner, name), name), ())
        if not jobs or jobs[0].owner != owner:
            raise UnknownRequest
        return jobs

    async def expect(self, name: str, owner: str) -> Sequence[Job]:
        """Return a request's jobs; wait briefly for a request that is still being received.

        Raises UnknownRequest.
        """
        end = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while asyncio.get_running_loop().time() < end:
            with suppress(UnknownRequest):
                return self.find(name, owner)
            await asyncio.sleep(_WAIT_SECONDS / 50)
        return self.find(name, owner)

    def cancel(self, name: str, owner: str) -> None:
        """Stop a request at its next step. Raises UnknownRequest."""
        stop(self.find(name, owner), Cancelled())

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
