"""The requests under way, by id: where they are followed and cancelled from outside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from safelight.errors import (
    Cancelled,
    InvalidParameter,
    SafelightError,
    Stopping,
    UnknownRequest,
)
from safelight.serving.job import Job


class Requests:
    """Every request that has jobs with the engine."""

    def __init__(self) -> None:
        self._jobs: dict[str, Sequence[Job]] = {}
        self.stopping = False

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    @contextmanager
    def open(self, request_id: str, jobs: Sequence[Job]) -> Iterator[None]:
        """Know a request by its id until the block ends. Raises InvalidParameter for one in use."""
        if request_id in self._jobs:
            raise InvalidParameter("X-Request-Id is that of a request under way. Send another.")
        self._jobs[request_id] = jobs
        try:
            yield
        finally:
            del self._jobs[request_id]

    def find(self, request_id: str, owner: str) -> Sequence[Job]:
        """Return a request's jobs. Raises UnknownRequest, for somebody else's too."""
        jobs = self._jobs.get(request_id, ())
        if not jobs or jobs[0].owner != owner:
            raise UnknownRequest
        return jobs

    def cancel(self, request_id: str, owner: str) -> None:
        """Stop a request at its next step. Raises UnknownRequest."""
        stop(self.find(request_id, owner), Cancelled())

    def drain(self) -> None:
        """Take no more requests."""
        self.stopping = True

    def end(self) -> None:
        """Stop all that are left."""
        for jobs in list(self._jobs.values()):
            stop(jobs, Stopping())


def stop(jobs: Sequence[Job], error: SafelightError) -> None:
    """Stop jobs with an error."""
    for job in jobs:
        job.control.stop(error)
