"""What the runs of a canary are, and what an error says of a model."""

from dataclasses import dataclass, field
from typing import Protocol

from safelight.errors import InvalidOutput, SafelightError
from safelight.guard.golden import Run
from safelight.guard.verdicts import Deep, State
from safelight.serving.engine.worker_handle import WorkerHandle
from safelight.serving.job import Job, Outcome

OVERTAKEN = "overtaken"  # a request came: the run says nothing
REFUSED = "refused"  # the model does not run the golden input, and nothing was enrolled


class Engine(Protocol):
    """Runs a job on one worker."""

    async def probe(self, worker: WorkerHandle, job: Job) -> Outcome:
        """Run the canary's job. Raises Cancelled if requests need the worker."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One run, for the metrics and the operator. `drift` is a share of the limit, if known."""

    depth: str
    verdict: str
    seconds: float | None = None
    drift: float | None = None


@dataclass(slots=True)
class Learning:
    """The runs of an enrolment that has begun, by the names of their inputs."""

    runs: dict[str, list[Run]] = field(default_factory=dict)

    def number(self) -> int:
        """Return how many runs are done."""
        return sum(map(len, self.runs.values()))


def failure(error: SafelightError) -> Deep:
    """Return the result of a run that ended with an error."""
    what = str(error) if isinstance(error, InvalidOutput) else f"it failed: {error.reason}"
    return Deep(State.WRONG, what)
