"""Keep what callers send out of log lines: private data, and characters that forge a line.

The message of an exception may quote any input, so only those of Safelight's own errors, of devices
and of the system are written. Texts of libraries are written without what they quote.
"""

import re
import sys
from collections.abc import Iterator
from traceback import format_exception, format_tb

from safelight.errors import SafelightError

# Each reads a text once, however hostile it is: no part can fail after it has read far.
_QUOTED = re.compile(  # without an end, the rest may be private; '' has no content
    r"""(?<![\w"'])b?(["'])\1(?![\w"'])|(?<!\w)b?(["'])(?:\\.?|(?!\2(?!\w))[^\\])+(?:\2|\Z)""",
    re.DOTALL,
)
_ADDRESS = re.compile(  # of IPv6, what has `::` or three colons: a time of day has two
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|\[?(?<![\w:])(?!::(?![\da-f]))(?=[\da-f:]*::|(?:[\da-f]{0,4}:){3}[\da-f])"
    r"[\da-f:]++(?:\.\d{1,3}){0,3}(?!\w)(?:%\w+)?\]?",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_HIDDEN = "[hidden]"
_MOST_CHARACTERS = 32_000  # of a text; the end of a trace says more than its start
_MOST_ERRORS = 8
_DEVICE_ERRORS = ("OutOfMemoryError", "AcceleratorError", "NVMLError")
_DEVICE_TEXTS = ("CUDA error", "CUDA out of memory", "NCCL error", "cuDNN error")


def error_of(exc_info: object) -> BaseException | None:
    """Return the exception, from any value that `exc_info` may have."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return error_of(exc_info[1])
    return sys.exc_info()[1] if exc_info else None


def error_fields(error: BaseException, *, with_private: bool) -> dict[str, str]:
    """Return the ECS fields of an exception; its message only if nobody's data can be in it."""
    fields = {"error.type": type(error).__name__}
    if message := str(error) if with_private else _message(error):
        fields["error.message"] = _shortened(message)
    trace = "".join(format_exception(error)) if with_private else _trace(error)
    return {**fields, "error.stack_trace": _shortened(trace)}


def masked(text: str) -> str:
    """Return a text without quotations and addresses."""
    return _ADDRESS.sub(_HIDDEN, _QUOTED.sub(_HIDDEN, text))


def escaped(text: str) -> str:
    """Return a text without characters that end a line, move the cursor or turn the text."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _trace(error: BaseException) -> str:
    """Return a traceback without the messages of its exceptions."""
    parts = [
        f"Traceback (most recent call last):\n{''.join(format_tb(each.__traceback__))}"
        f"{_name(each)}{_after_colon(_message(each))}\n"
        for each in _chain(error)
    ]
    return "\nDuring the handling of it, another exception was raised:\n\n".join(reversed(parts))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those before it, the last one first."""
    found: BaseException | None = error
    for _ in range(_MOST_ERRORS):
        if found is None:
            return
        yield found
        hidden = found.__cause__ is None and found.__suppress_context__
        found = None if hidden else found.__cause__ or found.__context__


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ in ("builtins", "__main__")
        else (f"{kind.__module__}.{kind.__qualname__}")
    )


def _after_colon(message: str) -> str:
    return f": {message}" if message else ""


def _message(error: BaseException) -> str:
    """Return what an exception says, if no caller's text can be in it; else nothing."""
    if isinstance(error, SafelightError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or ""  # without the file's name
    first, *_ = str(error).splitlines() or [""]
    is_of_device = type(error).__name__ in _DEVICE_ERRORS or first.startswith(_DEVICE_TEXTS)
    return masked(first) if is_of_device else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"…{text[-_MOST_CHARACTERS:]}"
