"""Which kinds of output are little known: this process has assessed only a few of them.

A kind is an instruction type, or a combination of steps and size. Their number is limited, so that
a flood of new sizes costs little.
"""

from collections import Counter

from safelight.models.backend import Edit, Generation
from safelight.serving.worker.choice import Prepared

ENOUGH = 12  # assessments of each kind, before the sampled share applies
_MOST_KINDS = 100
Kind = str | tuple[int, tuple[int, int]]


class Familiarity:
    """Counts assessments by kind; the caller locks."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._assessed: Counter[Kind] = Counter()

    def lacks(self, job: Prepared) -> bool:
        """Return True if an output of this job would tell something new."""
        return any(self._is_little_known(kind) for kind in _kinds(job))

    def add(self, job: Prepared) -> None:
        """Count an assessment."""
        for kind in _kinds(job):
            if self._is_little_known(kind):
                self._assessed[kind] += 1

    def _is_little_known(self, kind: Kind) -> bool:
        known = kind in self._assessed or len(self._assessed) < _MOST_KINDS
        return known and self._assessed[kind] < self._enough


def _kinds(job: Prepared) -> tuple[Kind, ...]:
    if not isinstance(job.work, Edit | Generation):
        return (job.instruction_type,)
    return job.instruction_type, (job.work.steps, job.size)
