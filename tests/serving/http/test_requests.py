"""The requests under way."""

import asyncio

import pytest

from safelight.errors import Cancelled, SafelightError, Stopping, UnknownRequest
from safelight.serving.http.requests import Requests, stop
from safelight.serving.job import Job
from tests.serving.jobs import a_job


class Running:
    """A job in progress, which keeps the errors that it is stopped with."""

    def __init__(self, errors: list[SafelightError]) -> None:
        self._errors = errors

    def stop(self, error: SafelightError) -> None:
        self._errors.append(error)

    def follow(self) -> None:
        raise NotImplementedError

    def position(self) -> int:
        raise NotImplementedError


def jobs(*ids: str, owner: str = "me") -> list[Job]:
    return [a_job(job_id, owner=owner) for job_id in ids]


def stopped(asked: list[Job]) -> list[type[SafelightError] | None]:
    reasons = [job.control.stopped for job in asked]
    return [None if reason is None else type(reason) for reason in reasons]


def test_a_request_is_known_until_its_block_ends() -> None:
    requests, mine = Requests(), jobs("a", "a-1")

    with requests.open("a", mine):
        assert "a" in requests
        assert len(requests) == 1
        assert requests.find("a", "me") == mine

    assert "a" not in requests
    assert len(requests) == 0


def test_a_request_that_fails_is_forgotten_too() -> None:
    requests = Requests()

    with pytest.raises(ZeroDivisionError), requests.open("a", jobs("a")):
        raise ZeroDivisionError

    assert "a" not in requests


@pytest.mark.parametrize(
    ("request_id", "owner"), [("b", "me"), ("a", "you"), ("a", ""), ("", "me")]
)
def test_an_unknown_request_and_another_callers_request_give_the_same_error(
    request_id: str, owner: str
) -> None:
    requests, mine = Requests(), jobs("a")

    with requests.open("a", mine):
        with pytest.raises(UnknownRequest) as found:
            requests.find(request_id, owner)
        with pytest.raises(UnknownRequest) as cancelled:
            requests.cancel(request_id, owner)

    assert str(found.value) == str(cancelled.value) == str(UnknownRequest())
    assert stopped(mine) == [None]


def test_a_request_that_is_over_can_no_longer_be_cancelled() -> None:
    requests, mine = Requests(), jobs("a")
    with requests.open("a", mine):
        pass

    with pytest.raises(UnknownRequest):
        requests.cancel("a", "me")
    assert stopped(mine) == [None]


def test_cancelling_a_request_stops_all_its_jobs_and_no_others() -> None:
    requests, mine, others = Requests(), jobs("a", "a-1"), jobs("b")

    with requests.open("a", mine), requests.open("b", others):
        requests.cancel("a", "me")

    assert stopped(mine) == [Cancelled, Cancelled]
    assert stopped(others) == [None]


def test_draining_refuses_new_requests_and_keeps_running_ones() -> None:
    requests, mine = Requests(), jobs("a")
    assert not requests.stopping

    with requests.open("a", mine):
        requests.drain()

    assert requests.stopping
    assert stopped(mine) == [None]


def test_the_end_stops_all_that_are_left() -> None:
    requests, mine, yours = Requests(), jobs("a", "a-1"), jobs("b", owner="you")
    mine[0].control.execution = Running([])

    with requests.open("a", mine), requests.open("b", yours):
        requests.end()

    assert stopped(mine + yours) == [Stopping] * 3


def test_a_job_is_stopped_once_with_the_first_reason() -> None:
    mine, errors = jobs("a"), list[SafelightError]()
    mine[0].control.execution = Running(errors)

    stop(mine, Cancelled())
    stop(mine, Stopping())

    assert stopped(mine) == [Cancelled]
    assert [type(error) for error in errors] == [Cancelled]


def test_a_request_is_found_by_the_key_of_its_owner_alone() -> None:
    requests, mine, yours = Requests(), jobs("a"), jobs("b", owner="you")
    with requests.open("a", mine, "key"), requests.open("b", yours, "key"):
        assert requests.find("key", "me") == mine
        assert requests.find("key", "you") == yours
        with pytest.raises(UnknownRequest):
            requests.find("key", "another")

    with pytest.raises(UnknownRequest):
        requests.find("key", "me")


def test_a_key_that_is_anothers_id_finds_nothing_of_that_caller() -> None:
    requests, mine, yours = Requests(), jobs("a"), jobs("b", owner="you")
    with requests.open("a", mine), requests.open("b", yours, "a"):
        requests.cancel("a", "you")

    assert stopped(mine) == [None]
    assert stopped(yours) == [Cancelled]


def test_an_older_request_with_the_same_key_does_not_hide_a_newer_one_when_it_ends() -> None:
    requests, old, new = Requests(), jobs("a"), jobs("b")
    first = requests.open("a", old, "key")
    first.__enter__()
    with requests.open("b", new, "key"):
        first.__exit__(None, None, None)
        assert requests.find("key", "me") == new


def test_once_all_are_stopped_nothing_that_was_still_on_its_way_begins() -> None:
    requests = Requests()
    requests.end()

    with pytest.raises(Stopping), requests.open("a", jobs("a")):
        pytest.fail("it began")


def test_a_request_that_is_still_on_its_way_is_waited_for() -> None:
    requests, mine = Requests(), jobs("a")

    async def scenario() -> None:
        asked = asyncio.create_task(requests.expect("a", "me"))
        await asyncio.sleep(0)
        with requests.open("a", mine):
            assert await asked == mine
        with pytest.raises(UnknownRequest):
            await requests.expect("never", "me")

    asyncio.run(scenario())
