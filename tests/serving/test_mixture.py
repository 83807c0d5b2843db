"""Requests of different sizes, steps and guidance, mixed: none waits behind all of another kind."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import httpx

from safelight.metrics.catalog import BATCH_SIZE
from safelight.stack.tools.samples import photo
from tests.serving.running import client, edit, engine, eventually

KINDS: tuple[dict[str, Any], ...] = (
    {"steps": 4},
    {"steps": 4, "picture": photo(96, 64)},
    {"steps": 8},
    {"steps": 4, "guidance_scale": 3},
    {"steps": 4, "image_guidance_scale": 2},
)


async def test_mixed_requests_are_served_in_separate_batches_per_key() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            asked = [edit(speaking, "slowly", **kind) for _ in range(3) for kind in KINDS]
            answers = await asyncio.gather(*asked)
            text = (await speaking.get("/metrics")).text
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        name = f"{BATCH_SIZE.full_name('tests')}_count"
        batches = sum(float(line.split()[-1]) for line in text.splitlines() if name in line[:40])
        assert len(KINDS) <= batches < len(answers)


async def test_one_in_a_hurry_overtakes_long_ones_of_other_kinds() -> None:
    async with engine() as service:
        order: list[str] = []

        async def noted(name: str, asked: Awaitable[httpx.Response]) -> Any:
            answer = await asked
            order.append(name)
            return answer

        async with client(service) as speaking:
            longs = [
                asyncio.create_task(
                    noted("long", edit(speaking, "slowly", steps=20, guidance_scale=2 + number))
                )
                for number in range(5)
            ]
            await eventually(lambda: service.engine.in_progress >= 5)
            soon = {"x-request-timeout": "20"}
            quick = await noted("quick", edit(speaking, "slowly", steps=2, headers=soon))
            assert quick.status_code == 200
            await asyncio.gather(*longs)
        # It waits for the batch at work, and for one that the worker may have taken already.
        assert order.index("quick") <= 2
