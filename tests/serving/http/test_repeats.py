"""Requests that are sent again: joined, answered from memory, or refused; never done twice."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from fastapi import Request
from fastapi.responses import Response

from safelight.errors import IdempotencyConflict, ModelError, Timeout
from safelight.serving.http.naming import id_headers
from safelight.serving.http.repeats import KEPT_SECONDS, Answers, Call, Repeats, Run, digest_of
from safelight.telemetry.record import Exchange
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock
from tests.serving.running import client, edit, engine, eventually

NAME = ("ann", "key")


class Connection:
    """A caller's connection, which the test can break."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.broken.wait()
        return {"type": "http.disconnect"}

    def call(self, timeout_seconds: float = 60.0) -> Call:
        exchange = Exchange(Timeline(), id=uuid4().hex, name="key")
        started = asyncio.get_running_loop().time()
        return Call(Request({"type": "http"}, self.receive), exchange, started, timeout_seconds)


class Work:
    """Work that ends when the test ends it, and counts its runs."""

    def __init__(self) -> None:
        self.runs: list[Run | None] = []
        self.result: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    async def __call__(self, run: Run | None) -> Response:
        self.runs.append(run)
        assert run is not None
        headers = id_headers(run.exchange)
        response = await asyncio.shield(self.result)
        response.headers.update(headers)
        return response

    def end(self, body: bytes = b"image") -> None:
        self.result.set_result(Response(body))


async def begun(repeats: Repeats, work: Work, **more: Any) -> "asyncio.Task[Response]":
    """Send a request; return when it waits."""
    call = more.pop("call", None) or Connection().call()
    name, digest = more.pop("name", NAME), more.pop("digest", b"body")
    task = asyncio.create_task(repeats.answer(name, digest, call, work))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_a_repeat_joins_the_first_and_is_answered_from_memory_later() -> None:
    repeats, work = Repeats(), Work()
    tasks = [await begun(repeats, work) for _ in range(3)]
    work.end()
    answers = [await task for task in tasks]
    answers.append(await (await begun(repeats, work)))

    assert len(work.runs) == 1
    assert {answer.body for answer in answers} == {b"image"}
    assert {answer.headers["x-request-id"] for answer in answers} == {"key"}
    assert len({answer.headers["x-safelight-request-id"] for answer in answers}) == 4


@pytest.mark.parametrize("is_over", [False, True])
async def test_the_same_key_with_another_body_is_refused_and_touches_nothing_of_the_first(
    is_over: bool,
) -> None:
    repeats, work = Repeats(), Work()
    first = await begun(repeats, work)
    if is_over:
        work.end()
        await first
    with pytest.raises(IdempotencyConflict):
        await (await begun(repeats, work, digest=b"another"))
    if not is_over:
        work.end()
    assert (await first).body == b"image"
    assert (await (await begun(repeats, work))).body == b"image"
    assert len(work.runs) == 1


async def test_the_same_key_of_another_caller_is_another_request() -> None:
    repeats, work = Repeats(), Work()
    tasks = [await begun(repeats, work, name=(owner, "key")) for owner in ("ann", "bob")]
    await begun(repeats, work, name=("bob", "key"))
    work.end()
    await asyncio.gather(*tasks)
    assert len(work.runs) == 2


async def test_a_failure_is_shared_by_those_who_wait_and_not_kept() -> None:
    repeats, work = Repeats(), Work()
    tasks = [await begun(repeats, work) for _ in range(2)]
    work.result.set_exception(ModelError("ValueError"))
    for task in tasks:
        with pytest.raises(ModelError):
            await task

    better = Work()
    better.end()
    assert (await (await begun(repeats, better, digest=b"another"))).body == b"image"


async def test_the_work_goes_on_when_the_first_caller_leaves_and_another_waits() -> None:
    repeats, work, connection = Repeats(), Work(), Connection()
    first = await begun(repeats, work, call=connection.call())
    second = await begun(repeats, work)
    connection.broken.set()
    await asyncio.sleep(0.2)  # the connection is watched after a tenth of a second
    run = work.runs[0]
    assert run is not None
    assert run.waiting == 1
    first.cancel()
    work.end()
    assert (await second).body == b"image"


async def test_the_work_stops_when_the_last_caller_leaves_and_who_comes_then_begins_anew() -> None:
    repeats, work = Repeats(), Work()
    both = Connection(), Connection()
    tasks = [await begun(repeats, work, call=each.call()) for each in both]
    for connection in both:
        connection.broken.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    again = await begun(repeats, work)
    work.end()
    assert (await again).body == b"image"
    assert len(work.runs) == 2


async def test_a_repeat_waits_no_longer_than_its_own_deadline() -> None:
    repeats, work = Repeats(), Work()
    first = await begun(repeats, work)
    hasty = await begun(repeats, work, call=Connection().call(timeout_seconds=0.05))
    with pytest.raises(Timeout):
        await hasty
    work.end()
    assert (await first).body == b"image"


# ── What is kept ─────────────────────────────────────────────────────────────────────────────────


def kept(answers: Answers, owner: str, key: str, size: int = 0) -> None:
    run = Run(b"body", Exchange(Timeline(), id=f"id of {key}"))
    answers.put((owner, key), run, Response(b"x" * size))


def test_answers_are_kept_for_a_limited_time() -> None:
    clock = FakeClock()
    answers = Answers(clock=clock)
    kept(answers, "ann", "one")
    clock.now = KEPT_SECONDS - 1
    assert answers.get(("ann", "one")) is not None
    clock.now += 1
    assert answers.get(("ann", "one")) is None
    kept(answers, "bob", "two")
    assert answers.number == 1


def test_answers_are_bounded_in_number_and_bytes_and_the_greediest_caller_loses_first() -> None:
    answers = Answers(limit_bytes=100_000, limit_number=20, clock=FakeClock())
    kept(answers, "ann", "mine", 1000)
    for number in range(500):
        kept(answers, "mallory", str(number), 10_000)
        assert answers.bytes <= 100_000
    for number in range(500):
        kept(answers, "mallory", str(number))
        assert answers.number <= 20
    kept(answers, "mallory", "too large", 100_001)

    assert answers.get(("ann", "mine")) is not None
    assert answers.get(("mallory", "too large")) is None
    assert answers.get(("mallory", "499")) is not None


@pytest.mark.parametrize("name", ["one", "id of one"])
def test_what_a_caller_deletes_is_no_longer_kept(name: str) -> None:
    answers = Answers(clock=FakeClock())
    for owner in ("ann", "bob"):
        kept(answers, owner, "one")
    answers.forget("ann", name)
    assert answers.get(("ann", "one")) is None
    assert answers.get(("bob", "one")) is not None
    assert answers.number == 1


async def digest(
    body: bytes, *, path: str = "/api/edit", query: bytes = b"", **heads: str
) -> bytes:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in heads.items()]
    scope = {
        "type": "http",
        "path": path,
        "query_string": query,
        "headers": headers,
        "server": ("test", 80),
    }
    return await digest_of(Request(scope), body)


async def test_all_that_decides_an_answer_is_in_the_digest_and_the_forms_boundary_is_not() -> None:
    plain = await digest(b"image", content_type="image/png")
    others = [
        await digest(b"other", content_type="image/png"),
        await digest(b"image", content_type="image/jpeg"),
        await digest(b"image", content_type="image/png", accept="application/json"),
        await digest(b"image", content_type="image/png", query=b"steps=2"),
        await digest(b"image", content_type="image/png", path="/predict"),
    ]
    assert len({plain, *others}) == 6
    assert plain == await digest(b"image", content_type="image/png", user_agent="another attempt")
    forms = [
        await digest(
            b"--%s\r\nname\r\n--%s--" % (mark, mark) + b"x" * 100_000,
            content_type=f"multipart/form-data; boundary={mark.decode()}",
        )
        for mark in (b"one", b"another")
    ]
    assert forms[0] == forms[1]


@pytest.mark.anyio
async def test_the_repeats_of_one_caller_that_wait_are_bounded() -> None:
    async with engine() as service, client(service) as speaking:
        headers = {"x-request-id": "0af76519-16cd-43dd-8448-eb211c80319c"}
        first = asyncio.create_task(edit(speaking, "slowly", steps=20, headers=headers))
        await eventually(lambda: bool(service.front.repeats._runs))
        repeats = [edit(speaking, "slowly", steps=20, headers=headers) for _ in range(80)]
        answers = await asyncio.gather(first, *repeats)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 65, 503: 16}
