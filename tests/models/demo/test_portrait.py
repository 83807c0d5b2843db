"""The people of the painted world."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from safelight.models.demo.portrait import BACKGROUNDS, TAGS, draw

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS)
def test_the_same_seed_draws_the_same_person(seed: int) -> None:
    assert draw(seed) == draw(seed)


@given(SEEDS)
def test_what_a_picture_shows_is_told_by_known_tags(seed: int) -> None:
    tags = draw(seed).tags
    assert tags <= set(TAGS)
    assert sum(tag.endswith(" background") for tag in tags) == 1
    assert sum(tag.endswith(" hair") and tag != "long hair" for tag in tags) == 1
    assert not {"glasses", "sunglasses"} <= tags


@given(SEEDS)
def test_the_hair_of_the_old_is_grey_whatever_it_was(seed: int) -> None:
    person = draw(seed).with_(old=True)
    assert "grey hair" in person.tags
    assert f"{person.hair} hair" not in person.tags


def test_every_attribute_is_met_often() -> None:
    seen = Counter(tag for seed in range(1000) for tag in draw(seed).tags)
    assert set(seen) == set(TAGS)
    assert min(seen.values()) > 100
    assert {draw(seed).background for seed in range(50)} == set(BACKGROUNDS)
