"""Money and energy (D7): the sums agree with the device time of a real service."""

from pathlib import Path

import httpx
import pytest

from safelight.diagnosis.cost import costs, price_of
from safelight.metrics.catalog import (
    DEVICE_HELD_SECONDS,
    DEVICE_SECONDS,
    GOOD_OUTPUTS,
    GPU_HOUR_PRICE,
    TYPE_DEVICE_SECONDS,
)
from safelight.metrics.metric import Metric
from safelight.records.database import open_database
from safelight.records.queries import read_requests
from safelight.records.rows import AssessedRequest
from safelight.stack.tools.samples import photo
from tests.serving.conftest import RealService, serving, until

PRICE = 3.6  # of an hour
NAMESPACE = "instructpix2pix"
ASKED = ("make him old", "make him old", "add a hat", "change the background to a beach")


def value(service: RealService, metric: Metric, **labels: str) -> float:
    return service.value(metric.full_name(NAMESPACE), **labels)


def stored(url: str, number: int) -> list[AssessedRequest]:
    """Return the requests in the records, once there are so many."""
    found: list[AssessedRequest] = []

    def are_there() -> bool:
        database = open_database(url)
        try:
            found[:] = read_requests(database)
        finally:
            database.close()
        return len(found) >= number

    assert until(are_there, 20), len(found)
    return found


def test_d7_the_cost_by_type_and_by_request_agrees_with_the_device_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with serving(tmp_path, gpu_hour_price=str(PRICE), records_url=url) as service:
        for instruction in ASKED:
            assert service.edit(instruction=instruction, steps=10).status_code == 200
        requests = stored(url, len(ASKED))
        spent, by_type = value(service, DEVICE_SECONDS), value(service, TYPE_DEVICE_SECONDS)

        assert value(service, GPU_HOUR_PRICE) == PRICE
        assert spent > 0
        assert value(service, DEVICE_SECONDS, use="useful") == spent
        assert by_type == pytest.approx(spent, rel=0.01)
        assert value(service, GOOD_OUTPUTS) == len(ASKED)
        assert value(service, GOOD_OUTPUTS, instruction_type="make_him_old") == 2
        assert value(service, DEVICE_HELD_SECONDS) > spent

        found = costs(requests, PRICE)
        assert {cost.name for cost in found} == {"make_him_old", "add_hat", "change_background"}
        assert sum(cost.device_seconds for cost in found) == pytest.approx(spent, rel=0.01)
        prices = sum((cost.price_per_good or 0.0) * cost.good for cost in found)
        assert prices == pytest.approx(price_of(spent, PRICE), rel=0.01)


def test_d7_the_device_time_of_a_late_request_is_wasted_and_counted_for_its_type(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, records_url="", step_limit="1000") as service:
        late = service.client.post(
            "/api/edit",
            params={"instruction": "add a hat", "steps": 1000},
            content=photo(64, 64),
            headers={"content-type": "image/jpeg", "x-request-timeout": "0.5"},
        )
        assert late.status_code == httpx.codes.GATEWAY_TIMEOUT
        assert until(lambda: value(service, DEVICE_SECONDS, use="deadline") > 0, 20)
        wasted = value(service, DEVICE_SECONDS)

        assert value(service, TYPE_DEVICE_SECONDS, instruction_type="add_hat") == wasted
        assert value(service, GOOD_OUTPUTS) == 0
        names = {name for name, _ in service.samples()}
        assert GPU_HOUR_PRICE.full_name(NAMESPACE) not in names  # it is unknown
