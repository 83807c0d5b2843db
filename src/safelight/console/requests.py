"""The page Requests: the records as a table with filters, and everything about one request."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_query
from safelight.console.archive import Archive
from safelight.console.sessions import session_of
from safelight.diagnosis.cost import price_of
from safelight.errors import BadSetting, InvalidParameter, UnknownRequest
from safelight.reasons import REASONS
from safelight.records.rows import Row
from safelight.serving.http.scopes import OPERATE
from safelight.stack.tools.log_files import between
from safelight.stack.tools.log_lines import Choice, Reading
from safelight.units import when

if TYPE_CHECKING:  # SQLAlchemy is slow to import
    from safelight.records.database import Database
    from safelight.records.search import Cursor, Found, Wanted

_LATEST = 4_102_444_800.0  # the year 2100
_SHORT, _LONG = 40, 80
_MOST_LINES, _MOST_LOGS, _LOG_MARGIN_SECONDS = 50, 20, 3.0
_BESIDE = 4  # failed requests, and as many good ones
_TYPED = ("prompt",)  # what callers wrote: as their images, for operators only
_IMAGES, _NO_IMAGES = ("before", "after", "second"), (b"", b"", b"")
_STREAMS = ("stderr", "stdout")
_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the logs are, and what else says more of a request.

    `log_output` and `trace_url` are those of the settings, `gpu_hour_price` is None if unknown.
    """

    logs: Path
    log_output: str
    trace_url: str
    gpu_hour_price: float | None


class _Filter(BaseModel):
    """The filters as a page sends them; `after` is the `next` of the page above."""

    model_config = ConfigDict(extra="forbid")

    service: str = Field("", max_length=_SHORT)
    type: str = Field("", max_length=_SHORT)
    result: str = Field("", max_length=_SHORT)
    slower: float = Field(0.0, ge=0, le=1e9, allow_inf_nan=False)
    rating: Literal["", "rated", "1", "2", "3", "4", "5"] = ""
    warning: Literal["", "any", "degraded", "overridden", "truncated"] = ""
    seconds: float | None = Field(None, gt=0, le=_LATEST, allow_inf_nan=False)
    since: float | None = Field(None, ge=0, le=_LATEST, allow_inf_nan=False)
    until: float | None = Field(None, ge=0, le=_LATEST, allow_inf_nan=False)
    seed: int | None = None
    size: str = Field(
        "",
        pattern=r"^(|\d{1,6}x\d{1,6})$",
        description="Write a size as width and height in pixels, such as 512x512.",
    )
    after: str = Field(
        "",
        pattern=r"^(|-?\d+(\.\d+)?(e[+-]?\d+)?(~.{0,80})?)$",
        description="This address is of no page of the requests. Begin with the newest.",
    )

    def wanted(self, now: float) -> "Wanted":
        """Return the filters of a search. Raises InvalidParameter for a result that none has."""
        from safelight.records.search import FAILED, OK, Wanted

        if self.result not in ("", OK, FAILED, *REASONS):
            raise InvalidParameter("A result is ok, failed, or the reason of a failure.")
        width, _, height = self.size.partition("x")
        return Wanted(
            self.service,
            self.type,
            self.result,
            self.slower,
            self.rating,
            self.warning,
            self.since if self.seconds is None else now - self.seconds,
            self.until,
            self.seed,
            (int(width), int(height)) if self.size else None,
        )

    def cursor(self) -> "Cursor | None":
        from safelight.records.search import Cursor

        at, _, name = self.after.partition("~")
        return Cursor(float(at), name) if at else None


class Requests:
    """The routes of the page."""

    def __init__(self, archive: Archive, place: Place) -> None:
        self._archive = archive
        self._place = place

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/data/requests", self._page),
            Route("/data/requests/choices", self._choices),
            Route("/data/requests/{id}", self._one),
            Route("/data/requests/{id}/beside", self._beside),
            Route("/data/requests/{id}/before", self._before),
            Route("/data/requests/{id}/after", self._after),
            Route("/data/requests/{id}/second", self._second),
        ]

    async def _page(self, request: Request) -> Response:
        chosen, now = read_query(request, _Filter), time()
        wanted, cursor = chosen.wanted(now), chosen.cursor()

        def find(database: "Database") -> "Found":
            from safelight.records.search import find_page

            return find_page(database, wanted, cursor)

        found = await self._archive.ask(find)
        after = f"{found.after.at!r}~{found.after.request_id}" if found.after else ""
        return answer(
            {
                "rows": list(map(_exact, found.rows)),
                "next": after,
                "looked_until": found.looked_until,
                "now": now,
            }
        )

    async def _choices(self, _: Request) -> Response:
        def names(database: "Database") -> tuple[list[str], list[str]]:
            from safelight.records.search import names_of

            return names_of(database)

        services, types = await self._archive.ask(names)
        return answer({"services": services, "types": types, "reasons": sorted(REASONS)})

    async def _one(self, request: Request) -> Response:
        name = str(request.path_params["id"])

        def read(database: "Database") -> dict[str, object]:
            from safelight.records import queries

            rows = queries.find_rows(database, name)
            if not rows:
                raise UnknownRequest
            row = rows[0]
            images = queries.sample_of(database, str(row["request_id"])) or _NO_IMAGES
            return {
                "record": _exact(row),
                "namesakes": len(rows) - 1,
                "usual": queries.usual_stages(database, row),
                "usual_step": queries.usual_step_seconds(database, row),
                "images": dict(zip(_IMAGES, map(bool, images), strict=True)),
            }

        found = await self._archive.ask(read)
        record = found["record"]
        assert isinstance(record, dict)
        if OPERATE not in session_of(request).scopes:
            found["record"] = {key: each for key, each in record.items() if key not in _TYPED}
        lines, complaint = await asyncio.to_thread(self._log_lines, record)
        return answer(
            {
                **found,
                "log": lines,
                "log_problem": complaint,
                "trace": self._trace(record),
                "price": price_of(record.get("device_seconds"), self._place.gpu_hour_price),
            }
        )

    def _trace(self, row: Row) -> str:
        """Return the address of a trace; empty if there is none, or no place where it is shown."""
        name, page = str(row.get("trace_id", "")), self._place.trace_url
        return page.replace("{trace_id}", name) if name and page else ""

    def _log_lines(self, row: Row) -> tuple[list[object], str]:
        """Return the log lines of a request, and what to say if there are none."""
        names = self._log_names()
        if not names:
            return [], "The log goes to a stream. SAFELIGHT_LOG_OUTPUT names a file instead."
        choice = Choice(ids=frozenset({str(row["request_id"])}))
        at, seconds = row["at"], row["seconds"]
        assert isinstance(at, int | float)
        assert isinstance(seconds, int | float)
        begin, end = at - seconds - _LOG_MARGIN_SECONDS, at + _LOG_MARGIN_SECONDS
        lines: list[object] = []
        try:
            for name in names:
                near = between(name, when(begin), when(end))
                for _, line in Reading().chosen(near, choice):
                    lines.append(line)
                    if len(lines) >= _MOST_LINES:
                        return lines, ""
        except BadSetting as error:
            return lines, str(error)
        return lines, "" if lines else "The log has no line of this request."

    def _log_names(self) -> Sequence[str]:
        """Return the log files: that of the settings, or those of `safelight up`."""
        if self._place.log_output not in _STREAMS:
            return (self._place.log_output,)
        return sorted(map(str, self._place.logs.glob("*.log")))[:_MOST_LOGS]

    async def _beside(self, request: Request) -> Response:
        name = str(request.path_params["id"])

        def compare(database: "Database") -> dict[str, list[Row]]:
            from safelight.records.queries import find_rows
            from safelight.records.search import alike

            rows = find_rows(database, name)
            if not rows:
                raise UnknownRequest
            failed, good = alike(database, rows[0], _BESIDE)
            return {"failed": list(map(_exact, failed)), "good": list(map(_exact, good))}

        return answer(await self._archive.ask(compare))

    async def _before(self, request: Request) -> Response:
        return await self._image(request, 0)

    async def _after(self, request: Request) -> Response:
        return await self._image(request, 1)

    async def _second(self, request: Request) -> Response:
        return await self._image(request, 2)

    async def _image(self, request: Request, place: int) -> Response:
        session_of(request).require(OPERATE)
        name = str(request.path_params["id"])

        def read(database: "Database") -> tuple[bytes, bytes, bytes] | None:
            from safelight.records.queries import sample_of
            from safelight.records.rows import check_text

            return sample_of(database, check_text("id", name))

        content = (await self._archive.ask(read) or _NO_IMAGES)[place]
        kind = _type_of(content)
        if not kind:
            raise UnknownRequest("image")
        return Response(content, media_type=kind, headers={"cache-control": "no-store"})


def _exact(row: Row) -> Row:
    """Return a row for browsers, whose numbers have 53 bits: a seed has 63."""
    return {**row, "seed": str(row["seed"])} if "seed" in row else row


def _type_of(content: bytes) -> str:
    """Return the type of an image by its first bytes; empty if it is none that browsers show."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _TYPES if content.startswith(start)), "")
