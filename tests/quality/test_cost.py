"""Image files that would cost far more than their size are refused from their structure."""

from collections.abc import Callable
from io import BytesIO
from time import perf_counter

import pytest
from PIL import Image

from safelight.errors import ImageTooCostly
from safelight.quality.cost import count_scans
from safelight.quality.images import decode, decode_within, measure
from tests.attacks import uploads as attacks

LIMIT_PIXELS = 40_000_000
ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "fill bytes": (attacks.jpeg_of_fill_bytes, "more than 1024 fill bytes in a row"),
    "restart markers": (attacks.jpeg_of_loose_bytes, "outside of its segments"),
    "data before a scan": (
        lambda: attacks.jpeg_of_loose_bytes(pattern=b"\xff\0"),
        "outside of its",
    ),
    "noise before a scan": (
        lambda: attacks.jpeg_of_loose_bytes(pattern=b"\xff\xe1\0\2" + b"a" * 1000),
        "outside of its",
    ),
    "data that is only escapes": (
        lambda: attacks.small_jpeg()[:-2] + b"\xff\0" * 10_000_000,
        "bytes of 255 in its scans",
    ),
    "profiles that inflate": (attacks.png_of_profiles, "too many chunks of iCCP"),
    "texts that inflate": (
        lambda: attacks.png(64, 64, more=attacks.chunk(b"zTXt", b"a\0\0x") * 17),
        "too many chunks of zTXt",
    ),
    "Exif segments": (
        lambda: attacks.jpeg_of_segments(b"\xff\xe1", b"Exif\0\0" + b"\0" * 5000),
        "too many segments of metadata",
    ),
    "Photoshop segments": (
        lambda: attacks.jpeg_of_segments(b"\xff\xed", b"Photoshop 3.0\0" + b"8BIM" * 16_000),
        "too many segments of metadata",
    ),
    "empty segments": (attacks.jpeg_of_empty_segments, "more than 1024 markers"),
    "60 000 scans": (lambda: attacks.jpeg_of_many_scans(60_000), "bytes of 255 in its scans"),
    "20 scans of 40 megapixels": (lambda: attacks.jpeg_of_many_scans(20), r"\d+ scans of 8000 x"),
    "private chunks": (attacks.png_of_private_chunks, "more than 8192 chunks"),
    "one pixel wide": (lambda: attacks.png_that_declares(1, 40_000_000), "1 x 40000000 pixels"),
    "one pixel high": (lambda: attacks.png_that_declares(40_000_000, 1), "40000000 x 1 pixels"),
}


@pytest.mark.parametrize(("make", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_no_image_costs_more_than_a_moment_to_refuse(
    make: Callable[[], bytes], reason: str
) -> None:
    content = make()
    started = perf_counter()
    for refused in (
        lambda: measure(content),
        lambda: decode(content, (64, 64)),
        lambda: decode_within(content, 512, LIMIT_PIXELS),
    ):
        with pytest.raises(ImageTooCostly, match=reason):
            refused()
    assert perf_counter() - started < 0.3  # before: seconds to minutes; now: about 10 ms


@pytest.mark.parametrize("progressive", [False, True])
def test_the_scans_of_a_usual_jpeg_are_counted(progressive: bool) -> None:
    content = attacks.small_jpeg(progressive=progressive, size=(640, 480))
    assert count_scans(content, "JPEG") == (10 if progressive else 1)
    assert measure(content) == (640, 480)


def test_a_photo_of_40_megapixels_with_10_scans_is_read() -> None:
    content = attacks.small_jpeg(progressive=True, size=(8000, 5000))
    assert decode_within(content, 512, LIMIT_PIXELS).size == (512, 320)


def test_what_follows_the_image_is_not_counted() -> None:
    """Phones append a video to a photo; its bytes contain what look like markers."""
    content = attacks.small_jpeg() + b"\xff\xda\x00\x02" * 100_000
    assert count_scans(content, "JPEG") == 1
    assert measure(content) == (64, 64)


def test_a_thumbnail_inside_the_header_is_not_counted() -> None:
    whole = attacks.small_jpeg()
    inner = attacks.small_jpeg(progressive=True, size=(16, 16))
    segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    assert count_scans(whole[:2] + segment + whole[2:], "JPEG") == 1


@pytest.mark.parametrize("cut", [3, 20, 200, -2])
def test_a_truncated_file_is_left_to_the_decoder(cut: int) -> None:
    assert count_scans(attacks.small_jpeg()[:cut], "JPEG") <= 1
    assert count_scans(attacks.png(64, 64)[:cut], "PNG") == 1


def test_noise_is_never_costly_to_refuse() -> None:
    buffer = BytesIO()
    Image.effect_noise((2000, 2000), 90).convert("RGB").save(buffer, "JPEG", quality=95)
    started = perf_counter()
    assert count_scans(buffer.getvalue(), "JPEG") == 1
    assert perf_counter() - started < 0.5
