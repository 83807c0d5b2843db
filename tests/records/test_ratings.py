"""Who can rate which requests, for how long, and how ratings are counted."""

import pytest

from safelight.errors import UnknownRequest
from safelight.metrics.catalog import RATINGS_CHANGED, USER_RATING, USER_RATINGS
from safelight.metrics.registry import Meter, parse, where
from safelight.records.ratings import Ratings
from tests.records.making import NOW, OWNER, FakeClock, a_record

DAY = 86_400.0


def made(capacity: int = 100) -> tuple[Ratings, Meter, FakeClock]:
    meter, clock = Meter("tests"), FakeClock()
    return Ratings(meter, kept_seconds=DAY, capacity=capacity, clock=clock), meter, clock


def value(meter: Meter, name: str, **labels: str) -> float:
    return sum(found for _, found in where(parse(meter.expose().body.decode()), name, **labels))


def test_a_request_is_rated_once_and_the_rating_can_be_changed() -> None:
    ratings, meter, _ = made()
    ratings.add_record(a_record())

    first, changed = ratings.rate("one", OWNER, 2, "artefacts")
    assert (first.rating, first.instruction_type, changed) == (2, "make_him_old", False)
    again, changed = ratings.rate("one", OWNER, 5, "none")
    assert (again.rating, changed) == (5, True)

    name = USER_RATING.full_name("tests")
    kind = {"instruction_type": "make_him_old"}
    assert value(meter, f"{name}_count", **kind) == 1
    assert value(meter, f"{name}_sum", **kind) == 2
    assert value(meter, USER_RATINGS.full_name("tests"), reason="artefacts") == 1
    assert value(meter, USER_RATINGS.full_name("tests")) == 1
    assert value(meter, RATINGS_CHANGED.full_name("tests")) == 1


@pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
def test_every_rating_has_its_own_bucket(rating: int) -> None:
    assert USER_RATING.edge(rating) == rating
    assert len(USER_RATING.buckets) == 5
    assert USER_RATING.series <= 20


@pytest.mark.parametrize(("request_id", "owner"), [("two", OWNER), ("one", "bob"), ("one", "")])
def test_unknown_and_foreign_requests_have_the_same_error(request_id: str, owner: str) -> None:
    ratings, meter, _ = made()
    ratings.add_record(a_record())
    with pytest.raises(UnknownRequest) as refused:
        ratings.rate(request_id, owner, 5)
    assert str(refused.value) == str(UnknownRequest())
    assert not ratings.can_rate(request_id, owner)
    assert value(meter, USER_RATINGS.full_name("tests")) == 0


def test_a_request_can_be_rated_until_it_expires() -> None:
    ratings, _, clock = made()
    ratings.add_record(a_record())
    clock.now += DAY - 1
    ratings.rate("one", OWNER, 4)
    clock.now += 1
    with pytest.raises(UnknownRequest):
        ratings.rate("one", OWNER, 4)
    ratings.add_record(a_record("next"))
    assert "one" not in ratings


def test_a_failed_request_cannot_be_rated() -> None:
    ratings, _, _ = made()
    ratings.add_record(a_record("failed", error="cuda_oom", status_code=503))
    with pytest.raises(UnknownRequest):
        ratings.rate("failed", OWNER, 1)


def test_an_id_belongs_to_its_first_owner() -> None:
    ratings, _, _ = made()
    ratings.add_record(a_record())
    ratings.add_record(a_record(owner="thief"))
    ratings.rate("one", OWNER, 4)
    with pytest.raises(UnknownRequest):
        ratings.rate("one", "thief", 1)


def test_a_key_finds_the_newest_request_of_its_owner_alone() -> None:
    ratings, _, _ = made()
    for request_id, owner in (("one", "ann"), ("two", "bob"), ("three", "bob")):
        ratings.add_record(a_record(request_id, owner=owner, key="key"))

    assert ratings.rate("key", "ann", 4)[0].request_id == "one"
    assert ratings.rate("key", "bob", 4)[0].request_id == "three"
    assert ratings.ids("key", "bob") == ["two", "three"]
    with pytest.raises(UnknownRequest):
        ratings.rate("key", "cid", 4)


def test_a_key_that_is_anothers_id_rates_nothing_of_that_caller() -> None:
    ratings, _, _ = made()
    ratings.add_record(a_record("one", owner="ann"))
    ratings.add_record(a_record("two", owner="bob", key="one"))

    assert ratings.rate("one", "bob", 1)[0].request_id == "two"
    assert not ratings.rate("one", "ann", 5)[1]


def test_keys_are_forgotten_with_their_requests() -> None:
    ratings, _, _ = made(capacity=50)
    for number in range(1000):
        ratings.add_record(a_record(str(number), key=f"key {number % 70}"))
    assert sum(map(len, ratings._by_key.values())) == len(ratings) == 50
    for number in range(950, 1000):
        ratings.forget(str(number))
    assert ratings._by_key == {}


def test_the_number_of_rateable_requests_is_bounded() -> None:
    ratings, _, _ = made(capacity=50)
    for number in range(1000):
        ratings.add_record(a_record(str(number)))
    assert len(ratings) == 50
    assert ratings.rate("999", OWNER, 5)
    with pytest.raises(UnknownRequest):
        ratings.rate("949", OWNER, 5)


def test_a_caller_with_many_requests_pushes_out_its_own_and_not_those_of_others() -> None:
    ratings, _, _ = made(capacity=50)
    ratings.add_record(a_record("of another", owner="another"))
    for number in range(1000):
        ratings.add_record(a_record(str(number)))
    assert len(ratings) == 50
    assert ratings.rate("of another", "another", 5)
    assert ratings.rate("999", OWNER, 5)
    for number in range(1000):
        ratings.forget(str(number))
    ratings.forget("of another")
    assert ratings._by_owner == {}


def test_a_request_from_the_records_keeps_its_rating() -> None:
    ratings, meter, clock = made()
    ratings.add("old", OWNER, "add_hat", NOW - DAY / 2, rating=3)
    assert ratings.rate("old", OWNER, 4)[1]
    assert value(meter, f"{USER_RATING.full_name('tests')}_count") == 0
    clock.now += DAY / 2
    with pytest.raises(UnknownRequest):
        ratings.rate("old", OWNER, 4)


def test_a_forgotten_request_cannot_be_rated() -> None:
    ratings, _, _ = made()
    ratings.add_record(a_record())
    ratings.forget("one")
    ratings.forget("unknown")
    with pytest.raises(UnknownRequest):
        ratings.rate("one", OWNER, 4)
