"""Where the devices' time went."""

import asyncio
from collections.abc import Iterator

import pytest

from safelight.errors import (
    Cancelled,
    InvalidOutput,
    ModelError,
    OutOfMemory,
    SafelightError,
    Stopping,
    Timeout,
)
from safelight.metrics.catalog import (
    DEVICE_HELD_SECONDS,
    DEVICE_SECONDS,
    GOOD_OUTPUTS,
    TYPE_DEVICE_SECONDS,
    USE,
)
from safelight.metrics.registry import Meter
from safelight.serving.engine.ledger import Ledger, use_of
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import Outcome
from tests.reading import series, value
from tests.serving.jobs import a_job, an_outcome

ENDS: list[tuple[Outcome | SafelightError, str]] = [
    (an_outcome(), "useful"),
    (InvalidOutput("black"), "invalid"),
    (ModelError("ValueError"), "failed"),
    (OutOfMemory(), "failed"),
    (Cancelled(), "failed"),  # the worker's word alone: nobody here stopped it
]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def entry(loop: asyncio.AbstractEventLoop) -> QueueEntry:
    return QueueEntry(a_job(), 1, loop.create_future())


@pytest.mark.parametrize("use", USE.values or ())
def test_every_use_is_shown_from_the_start(use: str) -> None:
    meter = Meter("tests")
    Ledger(meter)

    assert value(meter, DEVICE_SECONDS, use=use) == 0


@pytest.mark.parametrize(("outcome", "use"), ENDS)
def test_time_goes_where_the_outcome_says(
    outcome: Outcome | SafelightError, use: str, entry: QueueEntry
) -> None:
    meter = Meter("tests")
    entry.device_seconds = 2.5

    Ledger(meter).settle(entry, outcome)

    assert value(meter, DEVICE_SECONDS, use=use) == value(meter, DEVICE_SECONDS) == 2.5


@pytest.mark.parametrize(("outcome", "_use"), ENDS)
@pytest.mark.parametrize(
    ("why", "use"),
    [(Timeout(1), "deadline"), (Cancelled(), "cancelled"), (Stopping(), "cancelled")],
)
def test_the_device_time_of_a_stopped_job_counts_as_cancelled_or_deadline(
    outcome: Outcome | SafelightError, _use: str, why: SafelightError, use: str, entry: QueueEntry
) -> None:
    entry.job.control.stop(why)

    assert use_of(entry, outcome) == use


@pytest.mark.parametrize(("outcome", "_use"), ENDS)
def test_the_device_time_of_a_disconnected_caller_counts_as_cancelled(
    outcome: Outcome | SafelightError, _use: str, entry: QueueEntry
) -> None:
    entry.result.cancel()

    assert use_of(entry, outcome) == "cancelled"


def test_every_second_is_entered_once(entry: QueueEntry) -> None:
    meter = Meter("tests")
    ledger = Ledger(meter)
    entry.device_seconds = 2.0

    ledger.settle(entry, an_outcome())
    ledger.settle(entry, an_outcome())

    assert value(meter, DEVICE_SECONDS) == 2
    assert entry.device_seconds == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_no_entry(seconds: float, entry: QueueEntry) -> None:
    meter = Meter("tests")

    Ledger(meter).add("retry", entry, seconds)

    assert value(meter, DEVICE_SECONDS) == 0


def test_seconds_add_up_under_their_use_and_no_name_is_made_up(entry: QueueEntry) -> None:
    meter = Meter("tests")
    ledger = Ledger(meter)
    ledger.add("retry", entry, 1.5)
    ledger.add("retry", entry, 2.0)

    assert value(meter, DEVICE_SECONDS, use="retry") == 3.5
    assert {labels["use"] for labels in series(meter, DEVICE_SECONDS)} == set(USE.values or ())


def test_seconds_count_for_their_type_and_for_their_request(entry: QueueEntry) -> None:
    meter = Meter("tests")
    ledger = Ledger(meter)
    entry.job.exchange.instruction_type = "add_hat"
    ledger.add("retry", entry, 1.5)
    entry.device_seconds = 2.0
    ledger.settle(entry, an_outcome())

    assert value(meter, TYPE_DEVICE_SECONDS, instruction_type="add_hat") == 3.5
    assert entry.job.exchange.facts().device_seconds == 3.5


@pytest.mark.parametrize(("outcome", "use"), ENDS)
def test_an_output_is_good_if_its_device_time_was_useful(
    outcome: Outcome | SafelightError, use: str, entry: QueueEntry
) -> None:
    meter = Meter("tests")
    ledger = Ledger(meter)
    entry.device_seconds = 2.0

    ledger.settle(entry, outcome)
    ledger.settle(entry, outcome)

    assert len(series(meter, GOOD_OUTPUTS)) == (1 if use == "useful" else 0)
    assert use != "useful" or value(meter, GOOD_OUTPUTS) == 1


def test_every_device_costs_time_while_it_is_idle_too() -> None:
    meter, now = Meter("tests"), [100.0]
    Ledger(meter, 3, clock=lambda: now[0])
    assert value(meter, DEVICE_HELD_SECONDS) == 0

    now[0] += 10

    assert value(meter, DEVICE_HELD_SECONDS) == value(meter, DEVICE_HELD_SECONDS) == 30
