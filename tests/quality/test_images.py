from io import BytesIO

import pytest
from PIL import Image

from safelight.errors import ImageDamaged, NotAnImage
from safelight.quality.images import decode, measure


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mean(image: Image.Image) -> float:
    pixels = image.convert("L").tobytes()
    return sum(pixels) / len(pixels)


def test_a_grey_picture_of_16_bits_keeps_its_greys() -> None:
    deep = Image.linear_gradient("L").convert("I").point(lambda value: value * 257).convert("I;16")

    assert mean(decode(png(deep), (256, 256))) == pytest.approx(127.5, abs=1)


def test_what_is_transparent_lies_on_white() -> None:
    glass = Image.new("RGBA", (64, 64), (255, 0, 0, 0))

    assert decode(png(glass), (64, 64)).getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_brought_to_the_size_that_is_wanted() -> None:
    assert decode(png(Image.new("RGB", (200, 100))), (50, 25)).size == (50, 25)


@pytest.mark.parametrize("read", [measure, lambda picture: decode(picture, (64, 64))])
def test_what_is_no_picture_is_told_from_what_is_damaged(read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotAnImage):
        read(b"text")
    with pytest.raises(ImageDamaged):
        read(b"\xff\xd8\xff\xe0\x00\x10JF")
