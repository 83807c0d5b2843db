"""The first hundred edits of a new service, with its own settings, are enough to compare them."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from safelight.diagnosis.radar import AXES, Radar, radar
from safelight.diagnosis.tradeoff import Tradeoff, tradeoff
from safelight.metrics.catalog import ASSESSMENTS, STRUCTURE
from safelight.records.database import open_database
from safelight.records.queries import read_requests
from safelight.rules.thresholds import LEAST_COUNT
from safelight.stack.tools.samples import photo
from tests.serving.conftest import RealService, serving, until

INSTRUCTIONS = {
    "make_him_old": "make him old",
    "make_him_young": "make her young",
    "add_glasses": "add glasses",
    "add_sunglasses": "add sunglasses",
    "add_beard": "add a beard",
    "add_hat": "add a hat",
    "make_smile": "make her smile",
    "change_background": "change the background to a beach",
    "change_hair": "make his hair red",
    "remove_glasses": "remove the glasses",
}
SETTINGS = tuple(product((6, 12), ((64, 64), (64, 40))))
EDITS = 100


def edit(service: RealService, number: int) -> None:
    """Send one of a mixture of edits: every type with every setting."""
    steps, (width, height) = SETTINGS[number // len(INSTRUCTIONS) % len(SETTINGS)]
    instruction = list(INSTRUCTIONS.values())[number % len(INSTRUCTIONS)]
    answer = service.edit(
        photo(width, height, number), instruction=instruction, steps=steps, seed=number
    )
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Radar, Tradeoff, dict[str, float]]:
    """Return radar and trade-off after the edits, and the mean structures in the metrics."""
    folder = tmp_path_factory.mktemp("first")
    records = f"sqlite:///{folder / 'records.db'}"
    with serving(folder, records_url=records) as service:
        with ThreadPoolExecutor(4) as callers:
            list(callers.map(lambda number: edit(service, number), range(EDITS)))
        name = ASSESSMENTS.full_name("instructpix2pix")
        assert until(lambda: service.value(name) >= EDITS, 30), "the first of each kind are chosen"
        mean = {kind: mean_structure(service, kind) for kind in INSTRUCTIONS}
    database = open_database(records)
    requests = read_requests(database, 0.0)
    database.close()
    return radar(requests), tradeoff(requests), mean


def mean_structure(service: RealService, kind: str) -> float:
    name = STRUCTURE.full_name("instructpix2pix")
    total, count = (
        service.value(name + part, instruction_type=kind) for part in ("_sum", "_count")
    )
    return total / count


def test_p15_the_radar_shows_every_type_after_a_hundred_edits(
    compared: tuple[Radar, Tradeoff, dict[str, float]],
) -> None:
    result, _, mean = compared
    assert {each.name for each in result.types} == set(INSTRUCTIONS)
    for each in result.types:
        shown = {axis: score for axis, score in each.axes.items() if score is not None}
        succeeded = each.success.value * each.success.count if each.success else 0
        speed = {"speed"} if succeeded < LEAST_COUNT else set()
        assert set(shown) >= set(AXES) - speed, each.name
        assert shown["structure"].value == pytest.approx(10 * mean[each.name]), "as in Prometheus"
        assert shown["stability"].high > shown["stability"].low


def test_z7_the_tradeoff_shows_every_setting_after_a_hundred_edits(
    compared: tuple[Radar, Tradeoff, dict[str, float]],
) -> None:
    _, result, _ = compared
    shown = {
        (each.setting.steps, (each.setting.width, each.setting.height)) for each in result.choices
    }
    assert shown == set(SETTINGS)
    assert result.front
