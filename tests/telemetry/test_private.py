"""What belongs to callers stays out of exceptions and texts of libraries."""

import sys
import timeit

import pytest

from safelight.errors import BodyTooLarge
from safelight.telemetry.private import error_fields, error_of, masked
from tests.serving.models import AcceleratorError, OutOfMemoryError

SECRET = "rumpelstiltskin"
BOTH_QUOTES = f'it\'s my "name" {SECRET}'


def raised(error: Exception, *, before: Exception | None = None) -> BaseException:
    """Return an exception that was raised, perhaps while another one was handled."""
    try:
        if before is None:
            raise error
        try:
            raise before
        except Exception:
            raise error  # noqa: B904 - the context of an exception is looked at too
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the words ['{SECRET}'] were cut", "the words [[hidden]] were cut"),
        (f"file \"{SECRET}.png\" and '{SECRET}'", "file [hidden] and [hidden]"),
        ("refused 10.1.2.3:8080 and 2001:db8:0:1:1:1:1:1", "refused [hidden]:8080 and [hidden]"),
        (f"of {[BOTH_QUOTES]!r}", "of [[hidden]]"),
        (f"of {BOTH_QUOTES.encode()!r} end", "of [hidden] end"),
        (f"cut at 'the {SECRET}", "cut at [hidden]"),
        (f'cut at "the {SECRET}\\', "cut at [hidden]"),
        (f"quoted as 'it's {SECRET}' end", "quoted as [hidden] end"),
        (f"name='' prompt='{SECRET}' end", "name=[hidden] prompt=[hidden] end"),
        ("near fe80::1%eth0 and ::ffff:10.1.2.3.", "near [hidden] and [hidden]."),
        (
            "of http://[::1]:80, 2001:DB8::1 or FE80::",
            "of http://[hidden]:80, [hidden] or [hidden]",
        ),
        ("2001:DB8:0:1:1:1:1:1: no route", "[hidden] no route"),
        ("it's at 12:30:45, version 1.2.3", "it's at 12:30:45, version 1.2.3"),
        ("12:30:45: in std::vector of c10::Error", "12:30:45: in std::vector of c10::Error"),
    ],
)
def test_quotations_and_addresses_are_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


HOSTILE = (
    "'",
    "\\'",
    "'\"",
    "' ",
    "a'",
    "'\\",
    "b'",
    ":",
    "a:",
    "a::",
    "1:1:",
    "[",
    "[::",
    "1.",
    "1.1.1.",
)


@pytest.mark.parametrize("end", ["", "\\", "z", "'"])
@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_text_is_masked_in_linear_time(part: str, end: str) -> None:
    text = (part * 20_000)[:20_000] + end
    best = min(timeit.repeat(lambda: masked(text), number=1, repeat=3))
    assert best < 0.1  # linear is 0.02; what reads the rest at each character needs seconds


def test_of_a_foreign_exception_only_the_class_and_the_place_are_written() -> None:
    error = raised(ValueError(SECRET), before=KeyError(SECRET))
    fields = error_fields(error, with_private=False)
    assert SECRET not in str(fields)
    assert set(fields) == {"error.type", "error.stack_trace"}
    trace = fields["error.stack_trace"]
    assert trace.index("KeyError\n") < trace.index("ValueError\n")
    assert trace.count("in raised") >= 2


def test_the_message_of_an_own_error_is_written() -> None:
    fields = error_fields(raised(BodyTooLarge(100)), with_private=False)
    assert "larger than the limit of 100 bytes" in fields["error.message"]
    assert fields["error.stack_trace"].endswith("or raise SAFELIGHT_BODY_LIMIT_BYTES.\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError(f"CUDA error: an illegal access\n{SECRET}"), "CUDA error: an illegal access"),
        (AcceleratorError("CUDA error: unspecified"), "CUDA error: unspecified"),
        (OutOfMemoryError("CUDA out of memory on '0'"), "CUDA out of memory on [hidden]"),
        (FileNotFoundError(2, "No such file", f"/home/{SECRET}"), "No such file"),
    ],
)
def test_what_a_device_or_the_system_says_is_written(error: Exception, message: str) -> None:
    fields = error_fields(raised(error), with_private=False)
    assert fields["error.message"] == message
    assert fields["error.stack_trace"].endswith(f"{type(error).__name__}: {message}\n")
    assert SECRET not in str(fields)


def test_with_permission_all_is_written() -> None:
    fields = error_fields(raised(ValueError(SECRET)), with_private=True)
    assert fields["error.message"] == SECRET
    assert fields["error.stack_trace"].endswith(f"ValueError: {SECRET}\n")


def test_a_huge_message_keeps_its_end() -> None:
    fields = error_fields(ValueError("x" * 100_000 + "end"), with_private=True)
    assert len(fields["error.message"]) == 32_001
    assert fields["error.message"].endswith("end")


def test_a_long_chain_ends() -> None:
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert error_fields(first, with_private=False)["error.stack_trace"].count("ValueError") == 8


def test_the_exception_is_found_in_every_form_of_exc_info() -> None:
    assert error_of(None) is None
    assert error_of((None, None, None)) is None
    try:
        raise KeyError(1)
    except KeyError as error:
        found = [error_of(error), error_of(exc_info=True), error_of(sys.exc_info())]
    assert [type(each) for each in found] == [KeyError] * 3
