from io import BytesIO

import pytest
from PIL import Image

from safelight.quality.instructions import load_taxonomy
from safelight.stack.tools.samples import INSTRUCTIONS, photo


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (512, 384)])
def test_a_photo_is_a_jpeg_of_the_requested_size(size: tuple[int, int]) -> None:
    with Image.open(BytesIO(photo(*size))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)


def test_the_same_seed_gives_the_same_photo_without_the_cache() -> None:
    first = photo(64, 64, 3)
    photo.cache_clear()
    assert photo(64, 64, 3) == first


def test_another_seed_gives_another_photo() -> None:
    assert len({photo(64, 64, seed) for seed in range(8)}) == 8


def test_a_photo_has_the_entropy_of_a_camera_image() -> None:
    with Image.open(BytesIO(photo(256, 256))) as image:
        assert image.convert("L").entropy() > 5


def test_the_instructions_have_many_types_and_one_has_none() -> None:
    types = [load_taxonomy(None).classify(instruction) for instruction in INSTRUCTIONS]
    assert types.count("other") >= 1
    assert len(set(types)) >= 8
    assert "make_him_old" in types
