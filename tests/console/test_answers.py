"""Viewers share answers: a question is asked once, and memory stays bounded."""

import asyncio
from threading import Event

import pytest

from safelight.console.answers import Answers
from safelight.errors import MonitoringFailed, Overloaded


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


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_takes_longer_than_an_answer_is_kept_is_still_asked_once() -> None:
    now, goes_on = 0.0, Event()
    answers: Answers[bool] = Answers(clock=lambda: now)
    first = asyncio.create_task(answers.of("x", lambda: goes_on.wait(30)))
    await settle()
    now = 60.0
    second = asyncio.create_task(answers.of("x", lambda: False))
    await settle()
    goes_on.set()
    assert all(await asyncio.gather(first, second))
    assert await answers.of("x", lambda: False)  # it is fresh from its end on
    now = 65.1
    assert not await answers.of("x", lambda: False)
    assert answers.asked == 2


async def test_a_question_that_all_viewers_have_left_is_not_asked() -> None:
    answers: Answers[bool] = Answers()
    goes_on = Event()
    running = [
        asyncio.create_task(answers.of(number, lambda: goes_on.wait(30))) for number in range(4)
    ]
    await settle()
    gone = [asyncio.create_task(answers.of("gone", lambda: True)) for _ in range(2)]
    stays = asyncio.create_task(answers.of("stays", lambda: True))
    await settle()
    assert answers.waiting == 2
    for each in gone:
        each.cancel()
    await settle()
    assert answers.waiting == 1
    goes_on.set()
    assert await stays
    await asyncio.gather(*running)
    assert answers.asked == 5
    assert not await answers.of("gone", lambda: False)
    assert answers.waiting == 0


async def test_more_questions_than_can_wait_are_refused_at_once() -> None:
    answers: Answers[bool] = Answers()
    goes_on = Event()
    asked = []
    for number in range(104):
        asked.append(asyncio.create_task(answers.of(number, lambda: goes_on.wait(30))))
        await settle()
    with pytest.raises(Overloaded, match="Too many questions wait"):
        await answers.of("one more", lambda: True)
    shared = asyncio.create_task(answers.of(3, lambda: False))  # this one is asked already
    await settle()
    goes_on.set()
    assert all(await asyncio.gather(*asked, shared))
    assert await answers.of("one more", lambda: True)
