"""Where people and the quality score disagree: requests whose places in the two orders differ."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safelight.diagnosis.estimates import ranks
from safelight.records.rows import AssessedRequest

STARS = (1, 2, 3, 4, 5)
_LEAST_GAP = 0.5
_LEAST_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A request that people and the score judge differently.

    `gap` is its place by rating minus its place by score, both from 0 (worst) to 1 (best): positive
    if people liked it more than the score does.
    """

    request_id: str
    at: float
    instruction_type: str
    rating: int
    score: float
    gap: float


def disagreements(requests: Iterable[AssessedRequest], most: int = 12) -> list[Disagreement]:
    """Return the requests with a gap of at least 0.5, the largest first, at most `most`."""
    both = [
        (each, each.rating, each.score)
        for each in requests
        if each.rating is not None and each.score is not None
    ]
    if len(both) < _LEAST_PAIRS:
        return []
    by_rating = _places([float(rating) for _, rating, _ in both])
    by_score = _places([score for _, _, score in both])
    found = [
        Disagreement(each.request_id, each.at, each.instruction_type, rating, score, left - right)
        for (each, rating, score), left, right in zip(both, by_rating, by_score, strict=True)
        if abs(left - right) >= _LEAST_GAP
    ]
    found.sort(key=lambda each: (-abs(each.gap), -each.at))
    return found[:most]


def distribution(requests: Iterable[AssessedRequest]) -> dict[str, tuple[int, ...]]:
    """Return how many requests of each type have one star, two, … five; rated types only."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for each in requests:
        if each.rating is not None:
            counts[each.instruction_type][each.rating] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    return {name: tuple(own[stars] for stars in STARS) for name, own in ordered}


def _places(values: Sequence[float]) -> list[float]:
    return [(rank - 0.5) / len(values) for rank in ranks(values)]
