"""The closed set of failure reasons, and the reason of an exception or HTTP status."""

import re
from collections.abc import Iterator

from safelight.errors import (
    BadInput,
    Cancelled,
    CircuitOpen,
    NotReady,
    Overloaded,
    RateLimited,
    SafelightError,
    Stopping,
    Unusable,
)

NO_ERROR = "none"


def subclasses_of(kind: type[SafelightError]) -> Iterator[type[SafelightError]]:
    """Yield all subclasses of an error class, depth first."""
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses_of(subclass)


# The values of the `error` label and of `reason` in a problem document. If a branch and a leaf
# have the same reason, the leaf comes later and wins.
ERROR_CLASSES: dict[str, type[SafelightError]] = {
    kind.reason: kind for kind in subclasses_of(SafelightError) if not issubclass(kind, Unusable)
}
REASONS = tuple(ERROR_CLASSES)


def reasons_of(*kinds: type[SafelightError]) -> frozenset[str]:
    """Return the reasons of these error classes and of their subclasses."""
    return frozenset(reason for reason, kind in ERROR_CLASSES.items() if issubclass(kind, kinds))


# Errors of callers and refusals: they say nothing about the model.
UNRELATED = reasons_of(
    BadInput, Cancelled, CircuitOpen, NotReady, Overloaded, RateLimited, Stopping
)

_OUTCOMES = (
    ("caller_error", reasons_of(BadInput, RateLimited)),
    ("cancelled", reasons_of(Cancelled)),
    ("overload", reasons_of(CircuitOpen, NotReady, Overloaded, Stopping)),
)
_OUTCOME_BY_REASON = {reason: outcome for outcome, reasons in _OUTCOMES for reason in reasons}


# Failures that are not the service's fault.
OF_CALLERS = frozenset(
    reason for reason, outcome in _OUTCOME_BY_REASON.items() if outcome != "overload"
)


def outcome_of(reason: str) -> str:
    """Return whose fault a failure is: a value of the label of `request_outcomes_total`."""
    return "ok" if reason == NO_ERROR else _OUTCOME_BY_REASON.get(reason, "server_error")


_REASON_BY_STATUS = {
    401: "unauthorized",
    404: "not_found",
    408: "timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_parameter",
    429: "rate_limited",
    499: "cancelled",
    503: "overloaded",
    504: "timeout",
}

_REASON_BY_EXCEPTION = {
    "OutOfMemoryError": "cuda_oom",
    "MemoryError": "host_oom",
    "UnidentifiedImageError": "not_an_image",
    "DecompressionBombError": "image_too_large",
    "TimeoutError": "timeout",
    "CancelledError": "cancelled",
    "ClientDisconnect": "cancelled",
}

# How libraries say that memory is full, where the exception's class does not say it.
_DEVICE_FULL = re.compile(
    r"(cuda|hip|xpu|mps|npu)[^\n]*out[ _]of[ _]memory"  # torch, ONNX Runtime, drivers
    r"|allocation on device[^\n]*out of memory|invalid buffer size"  # torch, the MPS backend
    r"|cu[a-z]+_status_alloc_failed"  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE, cuFFT
    r"|resource_?exhausted[^\n]*(memory|oom)|oom when allocating",  # JAX, TensorFlow
    re.IGNORECASE,
)
_HOST_FULL = re.compile(
    r"defaultcpuallocator|alloc_cpu|bad[_ ]alloc|cannot allocate memory|host_allocation_failed"
    r"|failed to allocate memory for requested buffer",  # ONNX Runtime
    re.IGNORECASE,
)
_MESSAGE_CHARACTERS = 2000


def reason_of_status(status: int) -> str:
    """Return the reason for an HTTP status without a known error; `none` below 400."""
    if status < 400:
        return NO_ERROR
    return _REASON_BY_STATUS.get(status, "bad_request" if status < 500 else "internal_error")


def reason_of_exception(error: BaseException, default: str = "internal_error") -> str:
    """Return the reason of any exception.

    Compares class names, so that no library has to be imported. Libraries also say in a
    RuntimeError that memory is full; then the message decides.
    """
    if isinstance(error, SafelightError):
        return error.reason
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return reason_of_exception(error.exceptions[0], default)
    names = (cls.__name__ for cls in type(error).__mro__)
    known = (_REASON_BY_EXCEPTION[name] for name in names if name in _REASON_BY_EXCEPTION)
    reason = next(known, None) or _reason_of_message(error)
    if reason is None and error.__cause__ is not None:
        reason = reason_of_exception(error.__cause__, default)
    return reason or default


def _reason_of_message(error: BaseException) -> str | None:
    if not isinstance(error, RuntimeError | OSError) and "onnx" not in type(error).__module__:
        return None
    message = str(error)[:_MESSAGE_CHARACTERS]
    if _DEVICE_FULL.search(message):
        return "cuda_oom"
    return "host_oom" if _HOST_FULL.search(message) else None


def error_from_reason(reason: str, detail: str) -> SafelightError:
    """Return the error that another process raised, from its reason and message."""
    kind = ERROR_CLASSES.get(reason, SafelightError)
    error = kind.__new__(kind)
    Exception.__init__(error, detail)
    return error
