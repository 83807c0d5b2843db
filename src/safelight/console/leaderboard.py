"""The page Instructions: how good each instruction type is, for whom, and what it costs in time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from functools import partial
from time import time
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_query
from safelight.console.answers import Answers
from safelight.console.archive import Archive
from safelight.diagnosis.disagreement import disagreements, distribution
from safelight.diagnosis.radar import radar
from safelight.diagnosis.tradeoff import tradeoff
from safelight.records.rows import AssessedRequest

if TYPE_CHECKING:  # SQLAlchemy is slow to import
    from safelight.records.database import Database

MOST_REQUESTS = 20_000  # the newest; they are read in about half a second
_MOST_TYPES, _MOST_WORST = 40, 4
_DAY = 86_400.0
_LONGEST = 3650 * _DAY
_KEPT_SECONDS = 60.0


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str = Field("", max_length=40)
    seconds: float = Field(7 * _DAY, gt=0, le=_LONGEST, allow_inf_nan=False)
    by: Literal["score", "adherence", "structure", "rating"] = "score"


class Leaderboard:
    """The routes of the page. `gpu_hour_price` is None if unknown."""

    def __init__(self, archive: Archive, gpu_hour_price: float | None) -> None:
        self._archive = archive
        self._price = gpu_hour_price
        self._answers: Answers[dict[str, object]] = Answers(fresh_seconds=_KEPT_SECONDS)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/data/instructions", self._show)]

    async def _show(self, request: Request) -> Response:
        choice = read_query(request, _Choice)
        key = (choice.service, choice.seconds, choice.by)
        return answer(await self._answers.of(key, partial(self.read, *key)))

    def read(self, service: str, seconds: float, by: str) -> dict[str, object]:
        """Return what the page shows of one service, the first if none is chosen.

        Different models cannot be compared. Raises what `Archive.ask` raises.
        """
        now = time()

        def read(database: "Database") -> tuple[list[AssessedRequest], Set[str], list[str]]:
            from safelight.records.queries import read_requests
            from safelight.records.search import names_of, sampled

            since, known = now - seconds, names_of(database)[0]
            chosen = service or (known[0] if known else None)
            found = read_requests(database, since, chosen, MOST_REQUESTS)
            return found, sampled(database, since), known

        requests, kept, services = self._archive.read(read)
        scores = radar(requests, gpu_hour_price=self._price).as_dict()
        types = scores["types"]
        assert isinstance(types, list)
        return {
            **scores,
            "types": types[:_MOST_TYPES],
            "left_out": max(0, len(types) - _MOST_TYPES),
            "tradeoff": tradeoff(requests, by).as_dict(),
            "ratings": dict(list(distribution(requests).items())[:_MOST_TYPES]),
            "disagreements": disagreements(requests),
            "worst": _worst(requests, kept),
            "service": service or (services[0] if services else ""),
            "services": services,
            "since": requests[-1].at if len(requests) == MOST_REQUESTS else now - seconds,
            "is_limited": len(requests) == MOST_REQUESTS,
            "now": now,
        }


def _worst(requests: Iterable[AssessedRequest], kept: Set[str]) -> dict[str, Sequence[object]]:
    """Return the worst requests of each type whose images are kept: failed ones come first."""
    by_type: dict[str, list[AssessedRequest]] = defaultdict(list)
    for each in requests:
        if each.request_id in kept:
            by_type[each.instruction_type].append(each)
    found: dict[str, Sequence[object]] = {}
    for name, own in sorted(by_type.items())[:_MOST_TYPES]:
        own.sort(key=_badness)
        found[name] = [_shown(each) for each in own[:_MOST_WORST]]
    return found


def _badness(request: AssessedRequest) -> tuple[bool, float, float, float]:
    """Return a key that puts the worst first."""
    rating = 6.0 if request.rating is None else float(request.rating)
    score = 1.0 if request.score is None else request.score
    return request.succeeded, rating, score, -request.at


def _shown(request: AssessedRequest) -> dict[str, object]:
    names = ("request_id", "at", "error", "status_code", "found_error", "score", "rating")
    values = {name: getattr(request, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
