"""Portraits of invented people, for those who try a model without a photo of their own."""

import asyncio

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import read_query

_PEOPLE = 64
_SIDE = 512  # pixels


class _Person(BaseModel):
    """Which portrait."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(0, ge=0, lt=_PEOPLE)


def routes() -> list[Route]:
    """Return the route of the portraits."""
    return [Route("/data/sample", _sample)]


async def _sample(request: Request) -> Response:
    """Send a portrait as a JPEG of 512 by 512 pixels. Raises InvalidParameter."""
    person = read_query(request, _Person)
    content = await asyncio.to_thread(_painted, person.number)
    return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store"})


def _painted(number: int) -> bytes:
    from safelight.stack.tools.samples import photo  # Pillow is slow to import

    return photo(_SIDE, _SIDE, number)
