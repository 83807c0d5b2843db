"""Questions to a worker about two outputs: each has an answer or none, and nothing is kept."""

import asyncio

import pytest

from safelight.guard.pairs import Qualities
from safelight.serving.engine.comparing import Answer, Comparing
from safelight.serving.wire.schema import Compared

pytestmark = pytest.mark.anyio
ANSWER = Compared("1", Qualities(0.5), Qualities(0.4), 0.1)


async def asked(comparing: Comparing, seconds: float = 30.0) -> "asyncio.Task[Answer | None]":
    task = asyncio.create_task(comparing.answer("1", seconds))
    await asyncio.sleep(0)
    return task


async def test_an_answer_goes_to_its_question() -> None:
    comparing = Comparing()
    question = await asked(comparing)
    comparing.receive(Compared("2", Qualities(), Qualities(), None), b"other")
    comparing.receive(ANSWER, b"small")
    comparing.receive(ANSWER, b"twice")
    assert await question == (ANSWER, b"small")
    comparing.receive(ANSWER, b"small")  # late: nobody asks any more


async def test_a_lost_worker_answers_nothing() -> None:
    comparing = Comparing()
    question = await asked(comparing)
    comparing.lost()
    assert await question is None
    comparing.lost()


async def test_a_worker_that_takes_too_long_answers_nothing() -> None:
    assert await (await asked(Comparing(), 0.0)) is None
