"""What `safelight doctor` says about the records of a service that runs."""

from collections.abc import Callable, Iterator

import pytest

from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.stack.tools.finding import Finding
from safelight.stack.tools.losses import lost_records
from safelight.stories.replay import free_port

Serve = Callable[[Meter], list[Finding]]


@pytest.fixture
def found() -> Iterator[Serve]:
    """Return what is found while the metrics are served."""
    ends: list[Callable[[], None]] = []

    def find(meter: Meter) -> list[Finding]:
        port = free_port()
        ends.append(meter.serve(port, "127.0.0.1"))
        return list(lost_records(load(port=port)))

    yield find
    for end in ends:
        end()


def test_lost_records_are_reported_and_stop_nothing(found: Serve) -> None:
    meter = Meter("pix")
    meter.add(RECORDS, "lost", amount=12)
    meter.add(RECORDS, "written", amount=500)
    meter.set(RECORDS_WAITING, value=3)
    [finding] = found(meter)
    assert (finding.found, finding.blocks) == (False, False)
    assert finding.detail == "12 lost, 3 waiting, 500 written"
    assert "records cannot be written" in finding.remedy


def test_a_service_that_lost_nothing_is_fine(found: Serve) -> None:
    meter = Meter("pix")
    meter.start_at_zero(RECORDS)
    [finding] = found(meter)
    assert finding.found


def test_without_a_service_or_records_nothing_is_said(found: Serve) -> None:
    assert found(Meter("pix")) == []
    assert list(lost_records(load(port=free_port()))) == []
