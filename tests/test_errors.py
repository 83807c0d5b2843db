import asyncio
import re
from collections.abc import Iterator

import pytest
from PIL import Image, UnidentifiedImageError

from safelight import errors
from safelight.errors import (
    BadInput,
    BadSetting,
    BodyTooLarge,
    ImageTooLarge,
    MissingExtra,
    MissingProgram,
    ModelFailure,
    Overloaded,
    PortTaken,
    SafelightError,
    StructureCorruption,
    Timeout,
    Unavailable,
    Unusable,
)
from safelight.reasons import (
    NO_ERROR,
    REASONS,
    error_from_reason,
    reason_of_exception,
    reason_of_status,
)

BRANCH = re.compile(r"([│ ]*)[├└]── (\w+)(?: +(.*))?")


def descend(parent: type[SafelightError]) -> Iterator[tuple[str, type[SafelightError]]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield parent.__name__, child
            yield from descend(child)


CLASSES = [child for _, child in descend(SafelightError)]


def drawn() -> Iterator[tuple[str, str, str]]:
    """Yield parent, name and rest of every line of the tree in the docstring."""
    path = ["SafelightError"]
    for line in (errors.__doc__ or "").splitlines():
        found = BRANCH.fullmatch(line)
        if found:
            depth = len(found[1]) // 4
            path[depth + 1 :] = [found[2]]
            yield path[depth], found[2], found[3] or ""


def test_the_tree_in_the_docstring_is_the_class_tree() -> None:
    assert {(parent, name) for parent, name, _ in drawn()} == {
        (parent, child.__name__) for parent, child in descend(SafelightError)
    }


def test_the_reasons_and_statuses_in_the_docstring_are_those_of_the_classes() -> None:
    documented = {
        name: (match[1], int(match[2]))
        for _, name, rest in drawn()
        if (match := re.fullmatch(r"(\w+) +(\d{3})", rest))
    }
    leaves = [error for error in CLASSES if not error.__subclasses__()]
    to_callers = [error for error in leaves if not issubclass(error, Unusable)]
    assert documented == {error.__name__: (error.reason, error.status) for error in to_callers}


def test_every_reason_has_an_error_or_a_status() -> None:
    used = {error.reason for error in CLASSES} | {SafelightError.reason}
    used |= {reason_of_status(status) for status in range(400, 600)}
    assert used == set(REASONS)


def test_reasons_are_unique_and_do_not_contain_none() -> None:
    assert len(set(REASONS)) == len(REASONS)
    assert NO_ERROR not in REASONS


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_has_a_status_that_fits_its_branch(error: type[SafelightError]) -> None:
    if issubclass(error, BadInput):
        assert 400 <= error.status < 500
    if issubclass(error, Unavailable):
        assert error.status in {429, 499, 503, 504}
    if issubclass(error, StructureCorruption):
        assert error.status == 200, "the image is still sent"
    elif issubclass(error, ModelFailure):
        assert error.status in {500, 502, 503}
    if issubclass(error, Unusable):
        assert error.exit_code > 0


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (BodyTooLarge(1024), "SAFELIGHT_BODY_LIMIT_BYTES"),
        (ImageTooLarge(20_000, 20_000, 40_000_000), "40000000 pixels"),
        (Overloaded("64 requests are waiting", 3.0), "64 requests are waiting"),
        (Timeout(120), "120 seconds"),
        (
            MissingExtra("models", "diffusers"),
            "needs diffusers. Run: pip install 'safelight[models]'",
        ),
        (MissingExtra("models", "torch", "diffusers"), "This needs torch and diffusers. Run"),
        (MissingExtra("models", "a", "b", "c"), "This needs a, b and c. Run"),
        (MissingProgram("promtool", "prometheus"), "apt-get install prometheus"),
        (PortTaken("Prometheus", "127.0.0.1", 9090), "9090"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, SafelightError) else "",
)
def test_an_error_names_its_limit_in_one_line(error: SafelightError, part: str) -> None:
    assert part in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "reason",
    [
        "not_an_image",
        "image_damaged",
        "image_too_large",
        "invalid_parameter",
        "cancelled",
        "cuda_oom",
        "model_error",
    ],
)
def test_an_error_of_another_process_is_restored(reason: str) -> None:
    error = error_from_reason(reason, "What the worker part.")
    assert error.reason == reason
    assert str(error) == "What the worker part."
    assert type(error) in CLASSES


def test_an_unknown_reason_becomes_an_internal_error() -> None:
    error = error_from_reason("made_up", "Something.")
    assert (error.reason, error.status) == ("internal_error", 500)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, NO_ERROR),
        (399, NO_ERROR),
        (400, "bad_request"),
        (404, "not_found"),
        (413, "body_too_large"),
        (415, "unsupported_media_type"),
        (422, "invalid_parameter"),
        (429, "rate_limited"),
        (500, "internal_error"),
        (503, "overloaded"),
        (504, "timeout"),
    ],
)
def test_a_status_has_a_reason(status: int, reason: str) -> None:
    assert reason_of_status(status) == reason


class OutOfMemoryError(RuntimeError):
    """An error with the same name as torch's."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfMemoryError(), "cuda_oom"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (UnidentifiedImageError(), "not_an_image"),
        (Image.DecompressionBombError(), "image_too_large"),
        (Overloaded("Too many.", 1.0), "overloaded"),
        (BadSetting(), "internal_error"),
        (ValueError(), "internal_error"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_an_exception_of_a_library_has_a_reason(error: BaseException, reason: str) -> None:
    assert reason_of_exception(error) == reason


def test_the_out_of_memory_error_of_torch_has_a_reason() -> None:
    import torch

    assert reason_of_exception(torch.cuda.OutOfMemoryError("no")) == "cuda_oom"


def test_an_unknown_exception_has_the_default_reason() -> None:
    assert reason_of_exception(ValueError(), default="model_error") == "model_error"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "cuda_oom"),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
            "cuda_oom",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "cuda_oom",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "cuda_oom"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"), "cuda_oom"),
        (RuntimeError("HIP out of memory. Tried to allocate 20 MiB"), "cuda_oom"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "cuda_oom"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"
            ),
            "host_oom",
        ),
        (RuntimeError("std::bad_alloc"), "host_oom"),
        (OSError(12, "Cannot allocate memory"), "host_oom"),
        (MemoryError(), "host_oom"),
        (ValueError("the user wrote: CUDA out of memory"), "internal_error"),
        (RuntimeError("expected a tensor"), "internal_error"),
        (ExceptionGroup("one task", [MemoryError()]), "host_oom"),
    ],
)
def test_w12_full_memory_has_a_reason_in_every_wording(error: BaseException, reason: str) -> None:
    assert reason_of_exception(error) == reason


def test_w12_the_errors_that_torch_raises_have_their_reason() -> None:
    import torch

    assert reason_of_exception(torch.AcceleratorError("CUDA error: out of memory")) == "cuda_oom"
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert reason_of_exception(raised.value) == "host_oom"
