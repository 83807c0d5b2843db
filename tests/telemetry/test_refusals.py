"""Refused requests fill neither the log nor the records."""

from dataclasses import replace

import pytest

from safelight.telemetry.record import Record
from safelight.telemetry.refusals import PER_SECOND, Refusals
from tests.reading import FakeClock
from tests.telemetry.making import RECORD


def refused(reason: str = "unauthorized") -> Record:
    facts = replace(RECORD.facts, queued=False)
    return replace(RECORD, facts=facts, error=reason, status_code=401)


def test_so_many_refused_requests_of_a_second_are_logged_and_no_more() -> None:
    clock = FakeClock()
    refusals = Refusals(clock)
    assert [refusals.admits(refused()) for _ in range(100)].count(True) == PER_SECOND
    clock.now += 1
    assert refusals.admits(refused())


def test_a_flood_of_one_reason_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(FakeClock())
    for _ in range(100):
        refusals.admits(refused())
    assert refusals.admits(refused("rate_limited"))


def test_all_requests_that_succeeded_are_logged() -> None:
    refusals = Refusals(FakeClock())
    assert RECORD.succeeded
    assert all(refusals.admits(RECORD) for _ in range(1000))
