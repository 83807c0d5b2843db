"""What can be asked of the painted world."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import KINDS, EditKind, caption, pair, pair_of, wording_of
from safelight.quality.instructions import load_taxonomy

SEEDS = st.integers(0, 2**32 - 1)
OF_TYPE = {
    "old": "make_him_old",
    "young": "make_him_young",
    "sunglasses": "add_sunglasses",
    "glasses": "add_glasses",
    "no glasses": "remove_glasses",
    "beard": "add_beard",
    "no beard": "remove_beard",
    "hat": "add_hat",
    "smile": "make_smile",
    "black hair": "change_hair",
    "beach background": "change_background",
    "plain background": "remove_background",
}


@given(SEEDS)
def test_a_pair_is_the_same_for_the_same_seed_and_changes_something(seed: int) -> None:
    assert pair(seed) == pair(seed)
    assert pair(seed).before.tags != pair(seed).after.tags


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_only_asked_where_it_applies_and_done_it_applies_no_more(kind: EditKind) -> None:
    for seed in range(50):
        asked = pair_of(kind, seed)
        assert kind.applies(asked.before)
        assert not kind.applies(asked.after)
        assert asked.kind == kind.name
        assert asked.after.seed == asked.before.seed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_wording_is_a_finished_sentence(kind: EditKind) -> None:
    said = {wording_of(kind, random.Random(seed)) for seed in range(100)}
    assert len(said) >= 4
    assert not any("{" in sentence for sentence in said)


@pytest.mark.parametrize("name", OF_TYPE)
def test_the_taxonomy_knows_most_wordings_of_a_kind(name: str) -> None:
    """What it takes for another type is what people would, too: grey hair is about hair."""
    taxonomy = load_taxonomy()
    kind = next(kind for kind in KINDS if kind.name == name)
    said = [wording_of(kind, random.Random(seed)) for seed in range(100)]
    assert sum(taxonomy.classify(sentence) == OF_TYPE[name] for sentence in said) >= 60


@given(SEEDS)
def test_a_caption_tells_what_the_picture_shows(seed: int) -> None:
    person = draw(seed)
    said = caption(person, random.Random(seed))
    assert f"{person.hair_shown} hair" in said
    assert person.background in said
    assert ("hat" in said) == person.hat
    assert ("beard" in said) == person.beard
    assert ("smiling" in said) == person.smile
    assert (person.eyewear in said) == (person.eyewear != "none")
