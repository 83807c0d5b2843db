from typing import Any

import numpy as np
import pytest
import torch

from safelight.probes.numbers import given, integer, number


@pytest.mark.parametrize(
    "value",
    [3, 3.0, np.float32(3), np.float64(3), np.int64(3), np.array(3), np.array([3.0]), True + 2],
)
def test_numbers_of_python_and_numpy_are_read(value: Any) -> None:
    assert number(value) == 3.0
    assert integer(value) == 3


@pytest.mark.parametrize(
    "value", [None, "3", [3], (3,), np.array([1, 2]), np.array([]), torch.tensor(3.0), object()]
)
def test_everything_else_is_no_number(value: Any) -> None:
    assert number(value) is None
    assert integer(value) is None


def test_a_fraction_is_no_integer() -> None:
    assert integer(2.5) is None


@pytest.mark.parametrize(
    ("value", "is_given"),
    [
        (None, False),
        ("", False),
        ([], False),
        ("blurred", True),
        (["a"], True),
        (np.zeros(3), True),
    ],
)
def test_an_array_is_given_whatever_is_in_it(value: Any, is_given: bool) -> None:
    assert given(value) is is_given
