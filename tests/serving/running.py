"""A whole engine in one process, with the model that does what it is told, for one test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from safelight.serving.app import Service
from safelight.settings import load
from tests.serving.jobs import PICTURE

PAINTER = "tests.serving.models:painter"
READY_SECONDS = 120.0


def with_engine(
    scenario: Callable[[Service], Awaitable[None]], *, seconds: float = 60, **settings: Any
) -> None:
    """Run a scenario on an engine that is stopped whatever happens."""

    async def running() -> None:
        async with engine(**settings) as service:
            await scenario(service)

    asyncio.run(asyncio.wait_for(running(), seconds))


@asynccontextmanager
async def engine(**settings: Any) -> AsyncIterator[Service]:
    """Start an engine, its workers in threads unless told otherwise."""
    chosen: dict[str, Any] = {"model": PAINTER, "isolation": "thread", "namespace": "tests"}
    chosen |= {"structure_floor": 0.0, **settings}  # the painter keeps nothing of what it is sent
    service = Service(load(**chosen))
    async with service._lifespan():
        await eventually(lambda: service.pool.ready)
        yield service


async def eventually(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a state that only its owner could signal
            await asyncio.sleep(0.005)


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Speak HTTP to a service without a network between."""
    transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as speaking:
        yield speaking


async def edit(speaking: httpx.AsyncClient, instruction: str = "make him old", **more: Any) -> Any:
    """Send an edit of a `picture`; `headers` go into the head, the rest into the query."""
    headers = {"content-type": "image/jpeg", **more.pop("headers", {})}
    picture = more.pop("picture", PICTURE)
    params = {"instruction": instruction, "steps": 2, **more}
    return await speaking.post("/api/edit", params=params, content=picture, headers=headers)
