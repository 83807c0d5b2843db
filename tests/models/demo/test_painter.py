"""Portraits as they are painted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.models.demo.painter import SIDE, paint
from safelight.models.demo.portrait import BACKGROUNDS, EYEWEAR, HAIR_COLOURS, Portrait, draw


def pixels(portrait: Portrait) -> Any:
    return np.asarray(paint(portrait)).astype(int)


def differing(one: Portrait, other: Portrait) -> Any:
    """Return which pixels of two pictures differ visibly."""
    return np.abs(pixels(one) - pixels(other)).max(axis=2) > 24


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_portrait_is_painted_the_same_each_time(seed: int) -> None:
    assert (pixels(draw(seed)) == pixels(draw(seed))).all()
    assert paint(draw(seed)).size == (SIDE, SIDE)


@pytest.mark.parametrize(
    "change",
    [
        {"old": True},
        {"eyewear": "glasses"},
        {"eyewear": "sunglasses"},
        {"beard": True},
        {"hat": True},
        {"smile": True},
        {"long_hair": True},
        {"hair": "red"},
        *({"background": place} for place in BACKGROUNDS if place != "plain"),
    ],
    ids=str,
)
def test_each_attribute_is_seen_in_the_picture(change: dict[str, object]) -> None:
    plain = {
        "old": False,
        "eyewear": "none",
        "beard": False,
        "hat": False,
        "smile": False,
        "long_hair": False,
        "hair": "brown",
        "background": "plain",
    }
    for seed in range(20):
        person = draw(seed).with_(**plain)
        assert differing(person, person.with_(**change)).sum() >= 12, seed


@pytest.mark.parametrize("eyewear", EYEWEAR)
@pytest.mark.parametrize("hair", HAIR_COLOURS)
def test_what_is_on_the_face_leaves_the_background_alone(eyewear: str, hair: str) -> None:
    for seed in range(10):
        person = draw(seed).with_(hat=False, long_hair=False)
        changed = differing(person, person.with_(eyewear=eyewear, hair=hair, smile=True))
        assert not changed[:, :10].any()
        assert not changed[:, -10:].any()
