"""Each caller's share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import RateLimited
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.policies.rates import _OWNER_LIMIT, Buckets
from tests.reading import FakeClock, value


def limited(per_minute: float, clock: FakeClock, meter: Meter | None = None) -> Buckets:
    return Buckets(per_minute, meter or Meter("tests"), clock)


def passes(buckets: Buckets, owner: str = "me") -> bool:
    try:
        buckets.take(owner)
    except RateLimited:
        return False
    return True


def refusal(buckets: Buckets) -> RateLimited:
    with pytest.raises(RateLimited) as refused:
        buckets.take("me")
    return refused.value


def test_ten_seconds_worth_may_come_at_once_and_no_more() -> None:
    meter = Meter("tests")
    buckets = limited(60, FakeClock(), meter)

    assert [passes(buckets) for _ in range(12)] == [True] * 10 + [False] * 2
    assert value(meter, REJECTED, reason="rate_limited") == 2


def test_a_small_limit_allows_at_least_one_request() -> None:
    buckets = limited(2, FakeClock())

    assert [passes(buckets) for _ in range(2)] == [True, False]


def test_a_share_comes_back_with_time_and_never_to_more_than_the_burst() -> None:
    clock = FakeClock()
    buckets = limited(60, clock)
    while passes(buckets):
        pass

    clock.now += 3
    assert [passes(buckets) for _ in range(4)] == [True, True, True, False]

    clock.now += 1e6
    assert [passes(buckets) for _ in range(11)] == [True] * 10 + [False]


def test_retry_after_is_when_the_next_token_is_due() -> None:
    clock = FakeClock()
    buckets = limited(2, clock)
    assert passes(buckets)
    clock.now += 12

    error = refusal(buckets)

    assert error.retry_after_seconds == pytest.approx(18)
    assert error.status == 429
    assert "2 requests per minute" in str(error)
    clock.now += 18
    assert passes(buckets)


def test_retry_after_is_at_least_a_second() -> None:
    clock = FakeClock()
    buckets = limited(6000, clock)
    while passes(buckets):
        pass

    assert refusal(buckets).retry_after_seconds == 1


def test_asking_again_and_again_does_not_put_the_next_one_off() -> None:
    clock = FakeClock()
    buckets = limited(60, clock)
    while passes(buckets):
        pass

    passed = []
    for _ in range(8):
        clock.now += 0.125
        passed.append(passes(buckets))

    assert passed == [False] * 7 + [True]


def test_one_callers_rush_takes_nothing_from_another() -> None:
    buckets = limited(60, FakeClock())
    while passes(buckets, "greedy"):
        pass

    assert [passes(buckets, "modest") for _ in range(10)] == [True] * 10
    assert not passes(buckets, "greedy")


def test_a_request_for_many_images_takes_as_many_tokens_and_may_leave_a_debt() -> None:
    buckets = limited(30, clock := FakeClock())  # a burst of five, one in two seconds
    assert passes(buckets)
    buckets.charge("me", 9)
    assert not passes(buckets)
    clock.now += 11
    assert not passes(buckets)
    clock.now += 1.1
    assert passes(buckets)
    buckets.charge("me", 0)
    assert passes(buckets, "another")


def test_without_a_limit_nothing_is_charged() -> None:
    buckets = limited(0, FakeClock())
    buckets.charge("me", 9)
    assert passes(buckets)


def test_without_a_limit_every_request_passes() -> None:
    buckets = limited(0, FakeClock())
    assert all(passes(buckets) for _ in range(100))


def test_of_very_many_callers_the_one_longest_away_is_forgotten() -> None:
    buckets = limited(6, FakeClock())
    for owner in ("first", "second", *map(str, range(_OWNER_LIMIT - 2))):
        assert passes(buckets, owner)
    assert not passes(buckets, "first")  # and so it is no longer the one longest away
    assert passes(buckets, "one more")
    assert not passes(buckets, "first")
    assert passes(buckets, "second")


@given(per_minute=st.floats(1, 600), pauses=st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_no_more_requests_pass_than_the_burst_and_the_rate_allow(
    per_minute: float, pauses: list[float]
) -> None:
    clock = FakeClock()
    buckets = limited(per_minute, clock)

    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += passes(buckets)

    assert passed <= max(1.0, per_minute / 6) + clock.now * per_minute / 60 + 1e-6
