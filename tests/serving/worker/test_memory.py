"""What a worker knows of its device's memory."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from safelight.errors import HostOutOfMemory, OutOfMemory
from safelight.serving.worker.memory import Memory, held_bytes, is_poisoned
from tests.serving.models import AcceleratorError, OutOfMemoryError


def sized(*sizes: tuple[int, int]) -> list[Any]:
    return [SimpleNamespace(size=size) for size in sizes]


def said(memory: Memory, size: tuple[int, int]) -> str:
    [job] = sized(size)
    failure = memory.too_large(job)
    assert isinstance(failure, OutOfMemory)
    return str(failure)


def test_before_anything_fitted_half_is_advised() -> None:
    message = said(Memory(), (512, 256))

    assert "512 x 256 did not fit now; retry, or send half that." in message


def test_the_error_names_the_largest_size_that_fitted() -> None:
    memory = Memory()
    memory.fitted(sized((64, 64), (512, 256), (128, 128)))
    memory.fitted(sized((256, 256)))

    assert "1024 x 512 did not fit alone; 512 x 256 has fitted before." in said(memory, (1024, 512))


def test_the_largest_size_has_the_most_pixels() -> None:
    memory = Memory()
    memory.fitted(sized((1000, 10)))
    memory.fitted(sized((200, 200)))

    assert "200 x 200 has fitted" in said(memory, (999, 999))


@pytest.mark.parametrize("size", [(512, 512), (256, 1024), (64, 64)])
def test_a_job_not_larger_than_the_largest_is_asked_to_retry(size: tuple[int, int]) -> None:
    memory = Memory()
    memory.fitted(sized((512, 512)))

    assert "did not fit now; retry" in said(memory, size)


@pytest.mark.parametrize(
    ("error", "poisoned"),
    [
        (AcceleratorError("whatever it says"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `create`"), True),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (OutOfMemoryError("CUDA error: out of memory"), False),
        (RuntimeError("shapes (2, 3) and (4, 5) cannot be multiplied"), False),
        (ValueError("a prompt"), False),
        (KeyError(), False),
    ],
    ids=repr,
)
def test_only_errors_that_lose_the_device_are_poison(error: BaseException, poisoned: bool) -> None:
    assert is_poisoned(error) is poisoned


@pytest.mark.parametrize(("initialized", "emptied"), [(True, 1), (False, 0)])
def test_freeing_releases_the_cache_and_never_initialises_cuda(
    initialized: bool, emptied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    cuda = SimpleNamespace(
        is_initialized=lambda: initialized, empty_cache=lambda: calls.append("empty_cache")
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    Memory().free()

    assert len(calls) == emptied


def test_freeing_loads_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    Memory().free()

    assert "torch" not in sys.modules


def test_the_error_says_whose_memory_is_full() -> None:
    [job] = sized((64, 64))
    assert isinstance(Memory().too_large(job, HostOutOfMemory), HostOutOfMemory)
    assert isinstance(Memory().too_large(job, OutOfMemory), OutOfMemory)


# ── A leak ───────────────────────────────────────────────────────────────────────────────────────

MIB = 1024**2


class Process:
    """A process that holds some memory, and what was run in it."""

    def __init__(self, first: int = 1000) -> None:
        self.held, self.memory = first * MIB, Memory()
        self.memory.watch(lambda: self.held)

    def fits(self, *sizes: tuple[int, int]) -> None:
        self.memory.fitted(sized(*sizes))

    def leaks(self, size: tuple[int, int]) -> bool:
        [job] = sized(size)
        return self.memory.leaks(job)


def test_jobs_that_used_to_fit_and_fail_twice_in_a_grown_process_show_a_leak() -> None:
    process = Process()
    process.fits((512, 512))
    process.held += 500 * MIB
    assert not process.leaks((512, 512)), "once can be bad luck"
    assert process.leaks((256, 256))


def test_a_job_that_never_fitted_shows_no_leak() -> None:
    process = Process()
    assert not any(process.leaks((512, 512)) for _ in range(9)), "nothing has fitted yet"
    process.fits((512, 512))
    process.held += 500 * MIB
    assert not any(process.leaks((1024, 512)) for _ in range(9))


@pytest.mark.parametrize("grown", [-100, 0, 49])
def test_a_process_that_did_not_grow_has_no_leak_although_the_machine_is_full(grown: int) -> None:
    process = Process()
    process.fits((512, 512))
    process.held += grown * MIB
    assert not any(process.leaks((512, 512)) for _ in range(9))


def test_a_job_that_fits_in_between_ends_the_suspicion() -> None:
    process = Process()
    process.fits((512, 512))
    process.held += 500 * MIB
    for _ in range(9):
        assert not process.leaks((512, 512))
        process.fits((512, 512))


def test_a_smaller_job_that_fits_does_not_hide_that_larger_ones_fail() -> None:
    process = Process()
    process.fits((512, 512))
    process.held += 500 * MIB
    assert not process.leaks((512, 512))
    process.fits((64, 64))
    assert process.leaks((512, 512))


def test_a_thread_is_not_replaced_because_the_next_one_has_the_same_memory() -> None:
    memory = Memory()
    memory.fitted(sized((512, 512)))
    assert not any(memory.leaks(sized((512, 512))[0]) for _ in range(9))


def test_memory_that_is_held_is_measured_also_if_it_was_not_touched() -> None:
    before = held_bytes()
    hoard = [bytearray(100 * MIB), b"x" * (100 * MIB)]
    grown = held_bytes() - before
    assert grown >= 190 * MIB
    del hoard
    assert held_bytes() - before < grown / 2
