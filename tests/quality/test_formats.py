"""Every format that is read, by its first bytes, and every one that is refused by name."""

import struct
import sys
import zlib

import pytest
from PIL import Image, features

from safelight.errors import ImageDamaged, ImageTooLarge, NotAnImage, UnsupportedMediaType
from safelight.quality.formats import format_of, open_image
from safelight.quality.images import decode, decode_within, measure
from tests.quality.pictures import FORMATS, card, middle, saved

every_format = pytest.mark.parametrize("form", FORMATS)


@every_format
def test_a_format_is_measured_and_decoded(form: str) -> None:
    content = saved(card(), form)

    assert format_of(content) == form
    assert measure(content) == (192, 96)
    image = decode(content, (96, 48))
    assert (image.mode, image.size) == ("RGB", (96, 48))
    red, white = image.getpixel((24, 24)), image.getpixel((80, 24))
    assert isinstance(red, tuple)
    assert isinstance(white, tuple)
    assert red[0] > 200 > 60 > red[1]
    assert min(white) > 235


@every_format
def test_a_format_is_measured_without_its_pixels(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_image: Image.Image) -> None:
        raise AssertionError("the pixels were decoded")

    content = saved(card(), form)
    monkeypatch.setattr(type(open_image(content)), "load", refuse)

    assert measure(content) == (192, 96)
    with pytest.raises(ImageDamaged):
        decode(content, (192, 96))


@every_format
def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(form: str) -> None:
    with pytest.raises(ImageTooLarge, match="192 x 96"):
        decode_within(saved(card(), form), 64, 192 * 96 - 1)


@every_format
def test_half_a_file_is_damaged(form: str) -> None:
    content = saved(Image.effect_noise((300, 300), 90).convert("RGB"), form)

    with pytest.raises(ImageDamaged):
        decode(content[: len(content) // 2], (300, 300))
    with pytest.raises(ImageDamaged):
        measure(content[:16])


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_of_several_pages_or_frames_the_first_is_taken(form: str) -> None:
    pages = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "green")]

    content = saved(pages[0], form, save_all=True, append_images=pages[1:])

    red, green, blue = middle(decode(content, (64, 64)))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("PDF", b"%PDF-1.7"),
        ("SVG", b"<svg xmlns="),
        ("Photoshop", b"8BPS\0\1"),
        ("JPEG XL", b"\xff\x0a\0\0"),
        ("JPEG XL", b"\0\0\0\x0cJXL \r\n"),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n"),
        ("JPEG 2000", b"\xff\x4f\xff\x51"),
    ],
)
def test_a_format_that_is_not_read_is_refused_by_its_name(name: str, start: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"a {name} file. Send JPEG, PNG, WebP"):
        measure(start + bytes(100))


def test_heic_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from safelight.quality.formats import _check_heif

    content = saved(card(), "HEIF")
    _check_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (measure, lambda content: decode(content, (64, 64))):
        with pytest.raises(UnsupportedMediaType, match=r"HEIC needs pip .*'safelight\[heif\]'"):
            read(content)


def test_avif_without_its_decoder_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(card(), "AVIF")
    monkeypatch.setattr(features, "check", lambda _name: False)

    with pytest.raises(UnsupportedMediaType, match="cannot read AVIF"):
        measure(content)


@pytest.mark.parametrize("content", [b"", b"text", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42mp42"])
def test_what_is_no_picture_is_told_from_what_is_damaged(content: bytes) -> None:
    with pytest.raises(NotAnImage, match="Send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"):
        measure(content)


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_that_are_no_colours_are_refused(mode: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="Send 8 or 16 bits"):
        decode(saved(Image.new(mode, (64, 64)), "TIFF"), (64, 64))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_tiff_is_read_in_every_mode_of_colours(mode: str) -> None:
    image = decode(saved(Image.new(mode, (64, 64)), "TIFF"), (32, 32))

    assert (image.mode, image.size) == ("RGB", (32, 32))


def tiff_of_one_tile(side: int) -> bytes:
    """Return a TIFF of 64 x 64 pixels with one tile that is larger, well compressed."""
    tile = zlib.compress(bytes(side * 64))
    fields = (
        (256, 3, 64),
        (257, 3, 64),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, side),
        (323, 4, side),
        (324, 4, 8),
        (325, 4, len(tile)),
    )
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(tile))
    return start + tile + struct.pack("<H", len(fields)) + entries + bytes(4)


def test_a_tile_much_larger_than_its_image_is_refused_by_its_header() -> None:
    assert measure(tiff_of_one_tile(256)) == (64, 64)
    with pytest.raises(ImageDamaged):
        measure(tiff_of_one_tile(32768))
