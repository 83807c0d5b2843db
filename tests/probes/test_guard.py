import logging

import pytest

from safelight.probes.guard import Guard


@pytest.fixture
def counted() -> list[str]:
    return []


@pytest.fixture
def guard(counted: list[str]) -> Guard:
    return Guard("nvml", counted.append)


def fail(guard: Guard, error: BaseException) -> None:
    with guard:
        raise error


def test_a_failure_is_suppressed_and_counted(guard: Guard, counted: list[str]) -> None:
    fail(guard, ValueError("no"))
    assert counted == ["nvml"]


def test_a_block_without_a_failure_counts_nothing(guard: Guard, counted: list[str]) -> None:
    with guard:
        pass
    assert counted == []


def test_every_failure_is_counted_and_only_the_first_is_logged(
    guard: Guard, counted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            fail(guard, ValueError("no"))
    assert counted == ["nvml"] * 3
    assert [record.message for record in caplog.records] == [
        "The nvml probe failed; the request continues."
    ]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_exceptions_that_end_a_program_are_raised(
    error: BaseException, guard: Guard, counted: list[str]
) -> None:
    with pytest.raises(type(error)):
        fail(guard, error)
    assert counted == []


def test_a_caught_exception_can_be_reported(guard: Guard, counted: list[str]) -> None:
    guard.report(ValueError("no"))
    assert counted == ["nvml"]


def test_a_function_that_fails_does_not_keep_the_others_from_their_call(
    guard: Guard, counted: list[str]
) -> None:
    called = list[int]()
    guard.call_each([called.append, lambda number: 1 / (number - 1), called.append], 1)
    assert called == [1, 1]
    assert counted == ["nvml"]
