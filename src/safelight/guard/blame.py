"""How surely failures are the fault of model B and not of its owners' inputs. Arithmetic only.

Each request of B has an expected failure rate: what its owner's own record says, of either model.
The evidence is the likelihood of a bad model, relative to that (Wald's sequential test; it starts
again when the evidence falls to zero: Page 1954).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, lgamma, log

from safelight.guard.sequential import Moments

_HARD_RATE, _HARD_FAILURES = 0.1, 2  # of an owner with hard inputs
_UNKNOWN = 10  # before any owner is known, one in so many is assumed to have hard inputs
_HIGHEST = 0.5  # an input that B fails and A does not, both times by chance: at most half
_BAD_RATES = (0.3, 0.95)  # of failures of a bad model: some, and nearly all
_PROOF = log(2000)  # times as likely
LEAST_FAILURES = 3  # without them no evidence is enough


def hard_share(records: Iterable[Moments]) -> float:
    """Return how likely an unknown owner is one whose inputs may fail at any rate."""
    known = list(records)
    hard = sum(
        each.mean > _HARD_RATE and each.mean * each.n > _HARD_FAILURES - 0.5 for each in known
    )
    return (hard + 1) / (len(known) + _UNKNOWN)


def expected(record: Moments, usual: float, hard_ratio: float) -> float:
    """Return the probability that an owner's next request fails, given its record.

    An owner is one of the usual, or one of the `hard_ratio` with hard inputs.
    """
    n, failures = record.n, record.mean * record.n
    passed = n - failures
    hard = log(hard_ratio) + lgamma(failures + 1) + lgamma(passed + 1) - lgamma(n + 2)
    easy = log(1 - hard_ratio) + failures * log(usual) + passed * log(1 - usual)
    share = 1 / (1 + exp(min(easy - hard, 700.0)))
    return min(_HIGHEST, share * (failures + 1) / (n + 2) + (1 - share) * usual)


@dataclass(slots=True)
class Blame:
    """The evidence against B, as logarithms: that it fails some requests, or nearly all."""

    some: float = 0.0
    all: float = 0.0

    def add(self, *, ok: bool, rate: float) -> None:
        """Add a request of B whose owner's failure rate is expected to be `rate`."""
        self.some = _next(self.some, _BAD_RATES[0], rate, ok=ok)
        self.all = _next(self.all, _BAD_RATES[1], rate, ok=ok)

    @property
    def proven(self) -> bool:
        """Return whether the failures are surely B's fault."""
        return max(self.some, self.all) > _PROOF


def _next(evidence: float, bad: float, rate: float, *, ok: bool) -> float:
    if rate >= bad:
        return evidence
    step = log((1 - bad) / (1 - rate)) if ok else log(bad / rate)
    return max(0.0, evidence + step)
