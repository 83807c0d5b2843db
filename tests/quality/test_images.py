import warnings

import pytest
from PIL import Image

from safelight.errors import ImageDamaged, NotAnImage
from safelight.quality.images import decode, measure
from tests.quality.pictures import card, exif, orientation, saved

WITH_EXIF = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")
DEFECTS = {
    "no TIFF in it": b"Exif\0\0garbage that is no TIFF file",
    "nothing in it": b"Exif\0\0",
    "truncated": orientation(6)[:-12],
    "an orientation of 9": orientation(9),
    "an orientation of 0": orientation(0),
    "an orientation as text": exif(2, 2, b"6"),
    "an orientation as a fraction": exif(5, 1, b"\xff\xff\xff\x7f"),
    "no orientation in the field": exif(3, 0, b""),
    "two orientations": exif(3, 2, b"\x09\0\x09"),
    "a million orientations": exif(3, 1_000_000, b"\x08"),
    "a kind that does not exist": exif(99, 1, b"\x06"),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Ignore Pillow's warnings about metadata, as the service does."""
    warnings.filterwarnings("ignore", module="PIL")


def mean(image: Image.Image) -> float:
    pixels = image.convert("L").tobytes()
    return sum(pixels) / len(pixels)


def with_exif(form: str, content: bytes) -> bytes:
    """Return the card with this EXIF. The encoders of AVIF and HEIF would read it, or refuse."""
    if form not in ("AVIF", "HEIF"):
        return saved(card(), form, exif=content)
    blank = exif(1, 1, b"", tag=0x9999)[6:] + bytes(64)
    written = saved(card(), form, exif=b"Exif\0\0" + blank)
    assert blank in written
    return written.replace(blank, content[6:].ljust(len(blank), b"\0"))


def circle(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box of the red circle."""
    box = image.getchannel("G").point(lambda value: 255 * (value < 128)).getbbox()
    assert box
    return box


@pytest.mark.parametrize("form", WITH_EXIF)
@pytest.mark.parametrize("defect", DEFECTS)
def test_invalid_exif_is_ignored(form: str, defect: str) -> None:
    content = with_exif(form, DEFECTS[defect])

    assert measure(content) == (192, 96)
    image = decode(content, (192, 96))
    assert image.size == (192, 96)
    assert circle(image) == pytest.approx((8, 8, 89, 89), abs=2)


@pytest.mark.parametrize("form", [*WITH_EXIF, "TIFF"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_valid_orientation_is_applied(form: str, number: int) -> None:
    content = saved(card(), form, exif=orientation(number))
    size = (96, 192) if number >= 5 else (192, 96)
    corner = {1: "left top", 2: "right top", 3: "right bottom", 4: "left bottom"}
    corner |= {5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}

    assert measure(content) == size
    left, top, right, bottom = circle(decode(content, size))

    assert (right - left, bottom - top) == pytest.approx((81, 81), abs=2)
    if size == (192, 96):
        assert (left < 48) == ("left" in corner[number])
    else:
        assert (top < 48) == ("top" in corner[number])


@pytest.mark.parametrize("number", [1, 6])
def test_a_jpeg_that_is_reduced_while_it_is_decoded_keeps_its_shape(number: int) -> None:
    large = card().resize((1920, 960))
    size = (96, 192) if number == 6 else (192, 96)

    image = decode(saved(large, "JPEG", exif=orientation(number)), size)

    left, top, right, bottom = circle(image)
    assert image.size == size
    assert (right - left, bottom - top) == pytest.approx((81, 81), abs=2)


def test_a_grey_picture_of_16_bits_keeps_its_greys() -> None:
    deep = Image.linear_gradient("L").convert("I").point(lambda value: value * 257).convert("I;16")

    assert mean(decode(saved(deep, "PNG"), (256, 256))) == pytest.approx(127.5, abs=1)


def test_what_is_transparent_lies_on_white() -> None:
    glass = Image.new("RGBA", (64, 64), (255, 0, 0, 0))

    assert decode(saved(glass, "PNG"), (64, 64)).getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_brought_to_the_size_that_is_wanted() -> None:
    assert decode(saved(Image.new("RGB", (200, 100)), "PNG"), (50, 25)).size == (50, 25)


@pytest.mark.parametrize("read", [measure, lambda picture: decode(picture, (64, 64))])
def test_what_is_no_picture_is_told_from_what_is_damaged(read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotAnImage):
        read(b"text")
    with pytest.raises(ImageDamaged):
        read(b"\xff\xd8\xff\xe0\x00\x10JF")
