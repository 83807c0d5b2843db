"""Run a whole service in the test's process, with a model that obeys its instruction."""

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


@asynccontextmanager
async def engine(*, seconds: float = 60, **settings: Any) -> AsyncIterator[Service]:
    """Start a service and stop it at the end. By default its workers are threads, with no canary.

    Raises TimeoutError after `seconds`.
    """
    chosen: dict[str, Any] = {"model": PAINTER, "isolation": "thread", "namespace": "tests"}
    # The painter keeps nothing of its input.
    chosen |= {"structure_floor": 0.0, "canary_seconds": 0.0, **settings}
    service = Service(load(**chosen))
    async with asyncio.timeout(seconds), service._lifespan():
        await eventually(lambda: service.pool.ready)
        yield service


def with_engine(scenario: Callable[[Service], Awaitable[None]], **settings: Any) -> None:
    """Run a scenario on a service, for tests that run several of them one after another."""

    async def running() -> None:
        async with engine(**settings) as service:
            await scenario(service)

    asyncio.run(running())


async def eventually(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the state has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Return an HTTP client of a service, without a network."""
    transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as speaking:
        yield speaking


async def edit(speaking: httpx.AsyncClient, instruction: str = "make him old", **more: Any) -> Any:
    """Send an edit of `picture`; `headers` are HTTP headers, the rest is the query."""
    headers = {"content-type": "image/jpeg", **more.pop("headers", {})}
    picture = more.pop("picture", PICTURE)
    params = {"instruction": instruction, "steps": 2, **more}
    return await speaking.post("/api/edit", params=params, content=picture, headers=headers)
