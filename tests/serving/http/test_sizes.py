"""Sizes, decided by arithmetic before the queue."""

import pytest

from safelight.errors import InvalidParameter
from safelight.serving.http.sizes import Sides, check_sides, fit, working_size

SIDES = (1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 33, 40, 63, 64, 65, 100, 512, 1024, 4096, 99_999)


@pytest.mark.parametrize(
    ("multiple", "shortest"), [(1, 32), (8, 32), (16, 32), (24, 48), (32, 32), (64, 64)]
)
def test_the_shortest_side_is_a_multiple_of_at_least_32(multiple: int, shortest: int) -> None:
    assert Sides(1024, multiple).shortest == shortest


@pytest.mark.parametrize(
    ("box", "expected"), [((64, 64), (64, 48)), ((48, 999), (48, 36)), ((4096, 4096), (512, 384))]
)
def test_a_size_is_fitted_into_a_box_with_its_shape(
    box: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fit((64, 48), box, Sides(512)) == expected


@pytest.mark.parametrize("box", [(1, 1), (3, 3), (7, 9), (1, 1024), (99_999, 1), (32, 32)])
def test_a_box_that_is_too_small_for_the_image_is_refused_with_the_sides_that_are_allowed(
    box: tuple[int, int],
) -> None:
    with pytest.raises(InvalidParameter, match="A side is from 32 to 512 pixels") as refused:
        fit((64, 48), box, Sides(512))
    assert f"size is {box[0]}x{box[1]}" in str(refused.value)


def made(size: tuple[int, int], box: tuple[int, int] | None, sides: Sides) -> tuple[int, int]:
    """Return the size that is made; if it is refused, one that is allowed."""
    try:
        return working_size(*size, sides) if box is None else fit(size, box, sides)
    except InvalidParameter as refused:
        assert f"A side is {sides}" in str(refused)  # noqa: PT017 - many outcomes, one law
        return sides.longest, sides.longest


@pytest.mark.parametrize("multiple", [1, 8, 16, 24, 64])
def test_no_size_passes_that_the_model_cannot_make(multiple: int) -> None:
    sides = Sides(512, multiple)
    both = [(width, height) for width in SIDES for height in SIDES]
    boxes = [None, *both]
    for size in both:
        for box in boxes:
            found = made(size, box, sides)
            assert min(found) >= sides.shortest, (size, box)
            assert max(found) <= 512, (size, box)


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (72, 64, "width is 72; this model needs multiples of 16. Use 64."),
        (64, 24, "height is 24; this model needs multiples of 16. Use 32."),
        (16, 64, "width is 16; a side is from 32 to 512 pixels."),
        (64, 528, "A side has 528 pixels and the limit is 512. A side is from 32 to 512 pixels."),
    ],
)
def test_a_side_that_the_model_cannot_make_is_refused_with_one_that_it_can(
    width: int, height: int, said: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_sides(width, height, Sides(512, 16))
    assert said in str(refused.value)
