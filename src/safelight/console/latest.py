"""The latest images on the page Now, where the service keeps some of each type."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer
from safelight.console.answers import Answers
from safelight.console.archive import Archive
from safelight.console.sessions import session_of
from safelight.errors import BadSetting, RecordsUnusable
from safelight.records.rows import Row
from safelight.serving.http.scopes import OPERATE

if TYPE_CHECKING:  # SQLAlchemy is slow to import
    from safelight.records.database import Database

_MOST = 40


class Latest:
    """The route of the latest images; `archive` has the records."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._answers: Answers[list[Row]] = Answers()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/data/latest", self._show)]

    async def _show(self, request: Request) -> Response:
        """Send the latest requests whose images are kept; none to viewers, or without records."""
        if OPERATE not in session_of(request).scopes:
            return answer([])
        try:
            return answer(await self._answers.of("latest", self._read))
        except (BadSetting, RecordsUnusable):
            return answer([])  # the page Requests says what is wrong

    def _read(self) -> list[Row]:
        def read(database: "Database") -> list[Row]:
            from safelight.records.search import latest_samples

            return latest_samples(database, _MOST)

        return self._archive.read(read)
