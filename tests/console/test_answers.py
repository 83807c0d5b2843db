"""Viewers share answers: a question is asked once, and memory stays bounded."""

import asyncio
from threading import Event

import pytest

from safelight.console.answers import Answers
from safelight.errors import MonitoringFailed


async def test_many_viewers_ask_one_question_once() -> None:
    answers: Answers[int] = Answers()
    found = await asyncio.gather(*(answers.of("same", lambda: 7) for _ in range(24)))
    assert found == [7] * 24
    assert answers.asked == 1


async def test_an_answer_is_asked_for_again_when_it_is_old() -> None:
    now = 0.0
    answers: Answers[float] = Answers(clock=lambda: now)
    assert await answers.of("key", lambda: now) == 0.0
    now = 5.0
    assert await answers.of("key", lambda: now) == 0.0
    now = 5.1
    assert await answers.of("key", lambda: now) == 5.1


async def test_a_failure_reaches_every_viewer() -> None:
    answers: Answers[int] = Answers()

    def fail() -> int:
        raise MonitoringFailed("gone")

    found = await asyncio.gather(*(answers.of("x", fail) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in found] == ["gone"] * 3


async def test_a_viewer_who_leaves_does_not_end_the_question_of_another() -> None:
    answers: Answers[int] = Answers()
    goes_on = Event()

    def slow() -> int:
        assert goes_on.wait(30)
        return 1

    first = asyncio.create_task(answers.of("x", slow))
    second = asyncio.create_task(answers.of("x", slow))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    goes_on.set()
    assert await second == 1


async def test_a_flood_of_different_questions_is_forgotten() -> None:
    answers: Answers[int] = Answers()
    for number in range(600):
        await answers.of(number, lambda: 0)
    assert len(answers._kept) == 500
