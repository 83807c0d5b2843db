"""The first outputs of each kind are assessed, but not those of a flood of kinds."""

from dataclasses import replace

from safelight.models.backend import Generation
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.familiarity import ENOUGH, Familiarity
from tests.serving.prepared import ready


def job(kind: str = "add_hat", steps: int = 4, side: int = 64) -> Prepared:
    work = Generation((side, side), "a hat", "", steps, 0.0, 0)
    return ready("job", work=work, instruction_type=kind, size=(side, side))


def assessed(familiarity: Familiarity, jobs: list[Prepared]) -> int:
    """Assess what is little known, and return how many that were."""
    count = 0
    for each in jobs:
        if familiarity.lacks(each):
            familiarity.add(each)
            count += 1
    return count


def test_each_type_is_little_known_until_it_has_enough() -> None:
    familiarity = Familiarity(ENOUGH)
    assert assessed(familiarity, [job()] * 100) == ENOUGH
    assert assessed(familiarity, [job("add_beard")] * 100) == ENOUGH


def test_each_setting_is_little_known_until_it_has_enough() -> None:
    familiarity = Familiarity(ENOUGH)
    assessed(familiarity, [job()] * ENOUGH)
    assert assessed(familiarity, [job(steps=20)] * 100) == ENOUGH
    assert assessed(familiarity, [job(side=128)] * 100) == ENOUGH


def test_a_flood_of_sizes_is_bounded() -> None:
    familiarity = Familiarity(ENOUGH)
    flood = [job(side=64 + number % 5000) for number in range(20_000)]
    assert assessed(familiarity, flood) <= 100 * ENOUGH


def test_a_model_without_steps_has_types_only() -> None:
    familiarity = Familiarity(2)
    plain = replace(job(), work=None)
    assert assessed(familiarity, [plain] * 10) == 2
