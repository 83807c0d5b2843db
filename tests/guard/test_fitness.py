import itertools

import pytest

from safelight.guard.fitness import Other, decide, may_leave

HEALTHY, BROKEN, LOADING = (True, False), (True, True), (False, False)


def test_a_broken_worker_is_out_while_another_serves() -> None:
    decision = decide([HEALTHY, BROKEN])
    assert decision.out == {1}
    assert not decision.must_leave


@pytest.mark.parametrize("workers", [[BROKEN], [BROKEN, BROKEN], [BROKEN, LOADING]])
def test_without_a_healthy_worker_the_instance_must_leave_and_no_worker_is_out(
    workers: list[tuple[bool, bool]],
) -> None:
    decision = decide(workers)
    assert decision.out == frozenset()
    assert decision.must_leave


def test_workers_that_load_are_no_reason_to_leave() -> None:
    assert not decide([LOADING]).must_leave
    assert not decide([HEALTHY]).must_leave


def test_the_only_instance_never_leaves() -> None:
    assert not may_leave("a", [])


def test_an_instance_leaves_if_a_healthy_one_stays() -> None:
    assert may_leave("a", [Other("b", leaving=False)])


@pytest.mark.parametrize("number", [2, 3, 5])
def test_of_instances_that_want_to_leave_at_once_exactly_one_stays(number: int) -> None:
    names = [f"{place:02}" for place in range(number)]
    for order in itertools.islice(itertools.permutations(names), 24):
        stays = [
            own
            for own in order
            if not may_leave(own, [Other(name, leaving=True) for name in order if name != own])
        ]
        assert stays == ["00"]
