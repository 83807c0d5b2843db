"""The closed set of reasons that a request fails for, and how each failure finds its own."""

from collections.abc import Iterator

from safelight.errors import SafelightError, Unusable

NO_ERROR = "none"


def kinds_below(kind: type[SafelightError]) -> Iterator[type[SafelightError]]:
    """Yield every error class below one, in the order of the drawn tree."""
    for below in kind.__subclasses__():
        yield below
        yield from kinds_below(below)


# Behind every `error` label and every `reason` of a problem document. Where a branch and a leaf
# have the same reason, the leaf says it best.
KINDS: dict[str, type[SafelightError]] = {
    kind.reason: kind for kind in kinds_below(SafelightError) if not issubclass(kind, Unusable)
}
REASONS = tuple(KINDS)

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
    "MemoryError": "cuda_oom",
    "UnidentifiedImageError": "not_an_image",
    "DecompressionBombError": "image_too_large",
    "TimeoutError": "timeout",
    "CancelledError": "cancelled",
}


def reason_of_status(status: int) -> str:
    """Return the reason that a bare HTTP status stands for; `none` below 400."""
    if status < 400:
        return NO_ERROR
    return _REASON_BY_STATUS.get(status, "bad_request" if status < 500 else "internal_error")


def reason_of_exception(error: BaseException, default: str = "internal_error") -> str:
    """Return the reason of an exception raised by somebody else's code.

    Classes are told by name, so that no library need be imported to know its errors.
    """
    if isinstance(error, SafelightError):
        return error.reason
    names = (cls.__name__ for cls in type(error).__mro__)
    return next(
        (_REASON_BY_EXCEPTION[name] for name in names if name in _REASON_BY_EXCEPTION), default
    )


def by_reason(reason: str, detail: str) -> SafelightError:
    """Return the error that another process raised, as it told of it."""
    kind = KINDS.get(reason, SafelightError)
    error = kind.__new__(kind)
    Exception.__init__(error, detail)
    return error
