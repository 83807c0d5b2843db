"""What sentences ask of the painted world."""

import random

import pytest

from safelight.models.demo.expectations import of_caption, of_instruction
from safelight.models.demo.portrait import TAGS, draw
from safelight.models.demo.wording import KINDS, PEOPLE, EditKind, caption, pair_of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_an_instruction_wants_is_true_of_every_portrait_after_it(kind: EditKind) -> None:
    for wording in kind.wordings:
        for they, them, their in PEOPLE:
            wanted = of_instruction(wording.format(they=they, them=them, their=their))
            assert wanted
            for seed in range(20):
                after = pair_of(kind, 66_000_000 + seed).after.tags
                assert all((tag in after) == shown for tag, shown in wanted.items())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_an_instruction_wants_is_never_true_before_it(kind: EditKind) -> None:
    for seed in range(20):
        pair = pair_of(kind, 67_000_000 + seed)
        wanted = of_instruction(pair.instruction)
        assert any((tag in pair.before.tags) != shown for tag, shown in wanted.items())


def test_case_and_stops_do_not_matter_and_strange_wishes_want_nothing_known() -> None:
    assert of_instruction("  Add SUNGLASSES. ") == of_instruction("add sunglasses")
    assert of_instruction("make it look like a watercolour painting") == {}


def test_what_a_caption_tells_is_true_of_its_portrait() -> None:
    expected: set[str] = set()
    for seed in range(200):
        person = draw(seed)
        wanted = of_caption(caption(person, random.Random(seed)))
        assert all((tag in person.tags) == shown for tag, shown in wanted.items())
        assert {tag for tag in person.tags if wanted.get(tag)} >= person.tags - {"long hair"}
        expected |= set(wanted)
    assert expected >= set(TAGS) - {"long hair"}
