"""The console's web application: pages, what dashboards and Now show, and one live stream.

No page needs another host: the console asks Prometheus, Alertmanager and the services for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from safelight.console.answering import Streamed, answer, failed
from safelight.console.answers import Answers
from safelight.console.attended import Attended
from safelight.console.broadcast import Broadcast
from safelight.console.choices import Span, chosen
from safelight.console.overview import Limits, Reader
from safelight.console.pages import PAGES
from safelight.console.panels import board_spec, curves, dots, is_instant
from safelight.console.scrapes import count_query, scrape_seconds
from safelight.console.sessions import Guarded, Sessions, lasting, session_of
from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.diagnosis.evidence import Service, services
from safelight.diagnosis.prometheus import Exemplar, Prometheus, Series
from safelight.errors import InvalidParameter, MonitoringFailed, SafelightError, UnknownRequest
from safelight.rules.uids import LIVE
from safelight.translation import LANGUAGES, phrases_of

STATIC = Path(__file__).parent / "static"
_EVERY_SECONDS = 5.0
_NOT_FOUND, _LEFT = 404, 499
_NO_PAGES = ("/data/", "/service/", "/static/", "/words/")


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses for the browser: the services, and Grafana if there is one.

    The console forwards bodies of at most `body_limit_bytes` to the services.
    """

    services: Sequence[str]
    body_limit_bytes: int
    grafana: str = ""


class Console:
    """Now and Dashboards: what Prometheus knows.

    `limits` returns the alerts' limits of a namespace; `places` has the addresses that pages need.
    """

    def __init__(
        self, prometheus: Prometheus, limits: Limits, namespace: str, places: Places
    ) -> None:
        self._prometheus = prometheus
        self._places = places
        self._limits, self._namespace = limits, namespace
        self.renew()
        self._series: Answers[list[Series]] = Answers()
        self._exemplars: Answers[list[Exemplar]] = Answers()
        self._services: Answers[list[Service]] = Answers()
        self._reader = Reader(prometheus, limits, judged=self._hurry)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.live = Broadcast(self._overview, _EVERY_SECONDS)

    def renew(self) -> None:
        """Draw the dashboards with the limits of now."""
        self._boards = {board.uid: board for board in boards(self._limits(self._namespace))}

    def _hurry(self) -> None:
        """Show the first diagnosis of a service as soon as it is there."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.live.hurry)

    async def _overview(self) -> bytes:
        self._loop = asyncio.get_running_loop()
        return orjson.dumps(await asyncio.to_thread(self._reader.read))

    def routes(self) -> list[Route]:
        """Return the routes of the data."""
        return [
            Route("/data/start", self.start),
            Route("/data/services", self.services),
            Route("/data/instances", self.instances),
            Route("/data/panel", self.panel),
            Route("/data/live", self.stream),
        ]

    async def start(self, request: Request) -> Response:
        """Send what every page needs: pages, dashboards, services, who looks, the version."""
        session = session_of(request)
        return answer(
            {
                "pages": PAGES,
                "boards": [board_spec(board) for board in self._boards.values()],
                "services": self._places.services,
                "body_limit_bytes": self._places.body_limit_bytes,
                "grafana": self._places.grafana,
                "viewer": {"name": session.name, "scopes": sorted(session.scopes)},
                "version": version("safelight"),
            }
        )

    async def services(self, _: Request) -> Response:
        """Send the services that Prometheus knows."""
        return answer(await self._services.of("services", self._known))

    def _known(self) -> list[Service]:
        return services(self._prometheus, self._prometheus.now())

    async def instances(self, request: Request) -> Response:
        """Send the instances of a job."""
        board = self._board(LIVE)
        span = Span.of(*await self._range(request))
        job = chosen(board, request.query_params, span).job
        query = f'group by (instance) (up{{job=~"{job}"}})'
        found = await self._ask(query, span, instant=True)
        return answer(sorted(series.labels.get("instance", "") for series in found))

    async def panel(self, request: Request) -> Response:
        """Send the series of one panel of a dashboard."""
        board = self._board(request.query_params.get("board", ""))
        panel = dict(zip(map(str, range(len(board.panels))), board.panels, strict=True)).get(
            request.query_params.get("panel", "")
        )
        if panel is None:
            raise UnknownRequest("panel")
        span = Span.of(*await self._range(request))
        job = chosen(board, request.query_params, span).job
        counts = await self._ask(count_query(job), span, instant=True)
        span = span.scraped(scrape_seconds(counts))
        filled = chosen(board, request.query_params, span)
        instant = is_instant(panel)
        results = [
            await self._ask(filled.fill(query.expr), span, instant=instant)
            for query in panel.queries
        ]
        found, left_out = curves(panel, results)
        marked = [filled.fill(query.expr) for query in panel.queries if query.exemplars]
        events = await self._events_of(marked[0], span) if marked else []
        return answer(
            {
                "curves": found,
                "dots": dots(events),
                "left_out": left_out,
                "begin": span.begin,
                "end": span.end,
                "step": span.step,
                "queries": [filled.fill(query.expr) for query in panel.queries],
            }
        )

    async def _events_of(self, query: str, span: Span) -> list[Exemplar]:
        """Return the exemplars of an expression; none if Prometheus cannot say."""

        def ask() -> list[Exemplar]:
            try:
                return self._prometheus.exemplars(query, span.begin, span.end)
            except MonitoringFailed:
                return []

        return await self._exemplars.of((query, span), ask)

    async def stream(self, request: Request) -> Response:
        """Send the overview again and again, as server-sent events, while the session lasts."""
        headers = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
        async with AsyncExitStack() as held:
            held.enter_context(self.live.seat())
            return Streamed(self._events(lasting(request)), 200, headers, held.pop_all())

    async def _events(self, lasts: Callable[[], bool]) -> AsyncIterator[bytes]:
        yield b"retry: 3000\n\n"
        async for content in self.live.listen():
            if not lasts():
                return
            yield b"data: " + content + b"\n\n"

    def _board(self, uid: str) -> Board:
        try:
            return self._boards[uid]
        except KeyError:
            raise UnknownRequest("dashboard") from None

    async def _range(self, request: Request) -> tuple[float, float]:
        """Return the chosen time range; its end is the time of Prometheus' clock by default."""
        values = request.query_params
        try:
            length = float(values.get("seconds", "1800"))
            end = float(values["end"]) if "end" in values else await self._now()
        except ValueError:
            raise InvalidParameter("Write times as seconds since 1970.") from None
        return end - length, end

    async def _now(self) -> float:
        series = await self._series.of("now", self._clock)
        return series[0].value

    def _clock(self) -> list[Series]:
        now = self._prometheus.now()
        return [Series({}, ((now, now),))]

    async def _ask(self, query: str, span: Span, *, instant: bool) -> list[Series]:
        def ask() -> list[Series]:
            if instant:
                return self._prometheus.instant(query, span.end)
            return self._prometheus.curve(query, span.begin, span.end, span.step)

        return await self._series.of((query, span, instant), ask)


def application(routes: Sequence[Route], sessions: Sessions) -> ASGIApp:
    """Return the application with the routes of its parts, and login."""
    shells = [Route(page.path, _shell) for page in PAGES if page.path != "/dashboards"]
    app = Starlette(
        routes=[
            *shells,
            Route("/dashboards", _first_dashboard),
            Route("/dashboards/{uid}", _shell),
            Route("/requests/{id:path}", _shell),
            *sessions.routes(),
            *routes,
            Route("/words/{language}", _words),
            Route("/healthz", _healthy),
            Mount("/static", _Scripts(directory=STATIC)),
        ],
        exception_handlers={
            SafelightError: _failed,
            ClientDisconnect: _left,
            HTTPException: _unknown,
        },
    )
    return Guarded(Attended(app), sessions)


async def _shell(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-store"})


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer people who came to no page with the console, which says so."""
    assert isinstance(error, HTTPException)
    is_read = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")
    if error.status_code == _NOT_FOUND and is_read and not request.url.path.startswith(_NO_PAGES):
        return FileResponse(STATIC / "index.html", _NOT_FOUND, {"cache-control": "no-store"})
    return Response(error.detail, error.status_code, error.headers, "text/plain")


async def _first_dashboard(_: Request) -> Response:
    return RedirectResponse(f"/dashboards/{LIVE}")


async def _words(request: Request) -> Response:
    """Send the texts of a language; the login needs them too."""
    language = next((each for each in LANGUAGES if each == request.path_params["language"]), None)
    if language is None:
        raise UnknownRequest("language")
    phrases = await asyncio.to_thread(phrases_of, language)
    return answer(phrases._asdict())


async def _healthy(_: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=_LEFT)  # a viewer left in the middle of a body: nobody reads this


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, SafelightError)
    return failed(error)


class _Scripts(StaticFiles):
    """Files that browsers keep, and ask for again: those of two versions must not meet."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, or that the browser's is still right."""
        found = await super().get_response(path, scope)
        found.headers["cache-control"] = "no-cache"
        return found
