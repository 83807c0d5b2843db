"""Texts of numbers with units."""

import pytest

from safelight.units import by_numbers, counted, duration, percent, share, size, sizes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0383, "38.3 ms"),
        (1.24, "1.24 s"),
        (3.0, "3 s"),
        (720, "12 min"),
        (3600, "60 min"),
        (14_400, "4 h"),
        (86_400, "24 h"),
        (181_440, "2.1 days"),
    ],
)
def test_a_duration_has_the_unit_that_keeps_it_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1536, "1.5 KiB"),
        (200e6, "191 MiB"),
        (1023 * 1024**2, "0.999 GiB"),
        (24 * 1024**3, "24 GiB"),
        (5 * 1024**4, "5 TiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_bytes_have_iec_units(count: float, text: str) -> None:
    assert size(count) == text


def test_several_sizes_share_the_unit_of_the_largest() -> None:
    assert sizes([512 * 1024**2, 16 * 1024**3]) == "0.5 of 16 GiB"


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.95, "95 %"), (1 - 0.95, "5 %"), (0.9995, "99.95 %"), (0.0, "0 %")]
)
def test_a_limit_is_an_exact_percentage(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.714, "71 %"), (0.0042, "0.4 %"), (0.0, "0 %"), (1.0, "100 %")]
)
def test_a_measured_share_is_rounded(ratio: float, text: str) -> None:
    assert share(ratio) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 requests"), (1, "1 request"), (0.6, "1 request"), (1.6, "2 requests")],
)
def test_a_noun_is_singular_or_plural(number: float, text: str) -> None:
    assert counted(number, "request") == text


def test_texts_are_sorted_by_the_numbers_in_them() -> None:
    ordered = ["", "1-5", "6-10", "11-20", "51+", "a2", "a10", "b1"]
    assert sorted(set(ordered), key=by_numbers) == ordered
    assert by_numbers("9" * 5000)  # such a label is no error
