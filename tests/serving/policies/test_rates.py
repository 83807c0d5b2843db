"""Each caller's share."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import RateLimited
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.policies.rates import _OWNER_LIMIT, rates
from tests.reading import FakeClock, value
from tests.serving.jobs import a_job, an_outcome, run


async def serve(job: Job) -> Outcome:
    return an_outcome()


def limited(per_minute: float, clock: FakeClock, meter: Meter | None = None) -> Handler:
    return rates(serve, per_minute=per_minute, meter=meter or Meter("tests"), clock=clock)


def passes(handle: Handler, owner: str = "me") -> bool:
    try:
        run(handle, a_job(owner=owner))
    except RateLimited:
        return False
    return True


def refusal(handle: Handler) -> RateLimited:
    with pytest.raises(RateLimited) as refused:
        run(handle, a_job(owner="me"))
    return refused.value


def test_ten_seconds_worth_may_come_at_once_and_no_more() -> None:
    meter = Meter("tests")
    handle = limited(60, FakeClock(), meter)

    assert [passes(handle) for _ in range(12)] == [True] * 10 + [False] * 2
    assert value(meter, REJECTED, reason="rate_limited") == 2


def test_a_small_limit_allows_at_least_one_request() -> None:
    handle = limited(2, FakeClock())

    assert [passes(handle) for _ in range(2)] == [True, False]


def test_a_share_comes_back_with_time_and_never_to_more_than_the_burst() -> None:
    clock = FakeClock()
    handle = limited(60, clock)
    while passes(handle):
        pass

    clock.now += 3
    assert [passes(handle) for _ in range(4)] == [True, True, True, False]

    clock.now += 1e6
    assert [passes(handle) for _ in range(11)] == [True] * 10 + [False]


def test_retry_after_is_when_the_next_token_is_due() -> None:
    clock = FakeClock()
    handle = limited(2, clock)
    assert passes(handle)
    clock.now += 12

    error = refusal(handle)

    assert error.retry_after_seconds == pytest.approx(18)
    assert error.status == 429
    assert "2 requests per minute" in str(error)
    clock.now += 18
    assert passes(handle)


def test_retry_after_is_at_least_a_second() -> None:
    clock = FakeClock()
    handle = limited(6000, clock)
    while passes(handle):
        pass

    assert refusal(handle).retry_after_seconds == 1


def test_asking_again_and_again_does_not_put_the_next_one_off() -> None:
    clock = FakeClock()
    handle = limited(60, clock)
    while passes(handle):
        pass

    passed = []
    for _ in range(8):
        clock.now += 0.125
        passed.append(passes(handle))

    assert passed == [False] * 7 + [True]


def test_one_callers_rush_takes_nothing_from_another() -> None:
    handle = limited(60, FakeClock())
    while passes(handle, "greedy"):
        pass

    assert [passes(handle, "modest") for _ in range(10)] == [True] * 10
    assert not passes(handle, "greedy")


def test_a_refused_job_costs_the_model_nothing() -> None:
    served = []

    async def count(job: Job) -> Outcome:
        served.append(job)
        return an_outcome()

    handle = rates(count, per_minute=6, meter=Meter("tests"), clock=FakeClock())

    assert [passes(handle) for _ in range(3)] == [True, False, False]
    assert len(served) == 1


def test_without_a_limit_the_handler_is_unchanged() -> None:
    assert limited(0, FakeClock()) is serve


def test_of_very_many_callers_the_one_longest_away_is_forgotten() -> None:
    handle = limited(6, FakeClock())

    async def crowd() -> None:
        await handle(a_job(owner="first"))
        await handle(a_job(owner="second"))
        for number in range(_OWNER_LIMIT - 2):
            await handle(a_job(owner=f"{number}"))
        with pytest.raises(RateLimited):  # and so it is no longer the one longest away
            await handle(a_job(owner="first"))
        await handle(a_job(owner="one more"))
        with pytest.raises(RateLimited):
            await handle(a_job(owner="first"))
        await handle(a_job(owner="second"))

    asyncio.run(crowd())


@given(per_minute=st.floats(1, 600), pauses=st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_no_more_requests_pass_than_the_burst_and_the_rate_allow(
    per_minute: float, pauses: list[float]
) -> None:
    clock = FakeClock()
    handle = limited(per_minute, clock)

    async def asking() -> int:
        passed = 0
        for pause in pauses:
            clock.now += pause
            try:
                await handle(a_job(owner="me"))
                passed += 1
            except RateLimited:
                pass
        return passed

    passed = asyncio.run(asking())

    assert passed <= max(1.0, per_minute / 6) + clock.now * per_minute / 60 + 1e-6


def test_a_request_for_several_images_is_one_request() -> None:
    handle = limited(6, FakeClock(0.0))
    run(handle, a_job(owner="me"))
    for place in range(1, 10):
        run(handle, a_job(owner="me", place=place))
    assert not passes(handle)
