"""Colours of a photo with an ICC profile become those of sRGB."""

import os
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from safelight.quality.colour import _CACHED, _PROFILE_LIMIT_BYTES, _transform
from safelight.quality.images import decode
from tests.quality.pictures import ADOBE_RGB, DISPLAY_P3, middle, profile, saved, srgb

WITH_PROFILES = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")
GREY = 194  # of 255, as L* of Lab
COLOURS = ((200, 40, 40), (40, 160, 60), (230, 180, 150), (128, 128, 128))
every_form = pytest.mark.parametrize("form", WITH_PROFILES)


def converted(colour: tuple[int, int, int], of: bytes) -> tuple[int, ...]:
    image = Image.new("RGB", (8, 8), colour)
    own = ImageCms.ImageCmsProfile(BytesIO(of))
    done = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
    assert done is not None
    return middle(done)


@every_form
@pytest.mark.parametrize("primaries", [DISPLAY_P3, ADOBE_RGB], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_is_the_one_that_its_profile_means(
    form: str, primaries: tuple[tuple[float, float, float], ...], colour: tuple[int, int, int]
) -> None:
    own = profile(*primaries)
    options = {"quality": 95} if form in ("JPEG", "AVIF", "HEIF") else {}
    content = saved(Image.new("RGB", (64, 64), colour), form, icc_profile=own, **options)

    assert middle(decode(content, (32, 32))) == pytest.approx(converted(colour, own), abs=4)


@every_form
@pytest.mark.parametrize(
    "broken",
    [b"no profile", bytes(200), profile(*DISPLAY_P3)[:300], os.urandom(3000)],
    ids=["text", "zeros", "truncated", "noise"],
)
def test_a_broken_profile_is_ignored(form: str, broken: bytes) -> None:
    content = saved(Image.new("RGB", (64, 64), (200, 40, 40)), form, icc_profile=broken)

    assert middle(decode(content, (64, 64))) == pytest.approx((200, 40, 40), abs=4)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_of_other_colours_than_the_image_is_ignored(mode: str) -> None:
    image = Image.new("RGB", (64, 64), (200, 200, 200)).convert(mode)

    content = saved(image, "JPEG", icc_profile=profile(*DISPLAY_P3))

    assert middle(decode(content, (64, 64))) == pytest.approx((200, 200, 200), abs=4)


def test_the_profile_of_srgb_changes_nothing_and_costs_no_transform() -> None:
    assert _transform(srgb(), "RGB") is None


def test_transparency_is_kept_out_of_the_profile() -> None:
    glass = Image.new("RGBA", (64, 64), (255, 0, 0, 0))

    content = saved(glass, "PNG", icc_profile=profile(*DISPLAY_P3))

    assert middle(decode(content, (64, 64))) == pytest.approx((255, 255, 255), abs=1)


def test_a_grey_image_gets_the_greys_of_its_profile() -> None:
    content = saved(Image.new("L", (64, 64), 128), "PNG", icc_profile=grey_profile(1.0))

    assert middle(decode(content, (64, 64))) == pytest.approx((188, 188, 188), abs=2)


def test_the_inks_of_a_printer_become_its_colours() -> None:
    image = Image.new("CMYK", (64, 64), (0, 255, 255, 0))

    plain = decode(saved(image, "TIFF"), (64, 64))
    printed = decode(saved(image, "TIFF", icc_profile=ink_profile()), (64, 64))

    assert middle(plain) == (255, 0, 0)
    red, green, blue = middle(printed)
    assert max(red, green, blue) - min(red, green, blue) <= 2
    assert 100 < red < 230


def test_the_cache_of_transforms_is_bounded() -> None:
    for number in range(2 * _CACHED):
        red = (DISPLAY_P3[0][0] + number / 1000, *DISPLAY_P3[0][1:])
        _transform(profile(red, *DISPLAY_P3[1:]), "RGB")

    assert _transform.cache_info().currsize == _CACHED


def test_a_profile_above_the_limit_is_not_read() -> None:
    large = profile(*DISPLAY_P3) + bytes(_PROFILE_LIMIT_BYTES)
    content = saved(Image.new("RGB", (64, 64), (200, 40, 40)), "TIFF", icc_profile=large)

    assert middle(decode(content, (64, 64))) == (200, 40, 40)


# ── Profiles that no test may take from a vendor ─────────────────────────────────────────────────


def grey_profile(gamma: float) -> bytes:
    """Return a profile for grey images with a gamma."""
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")
    return icc(b"GRAY", b"mntr", b"XYZ ", {b"wtpt": white(), b"kTRC": curve + bytes(2)})


def ink_profile() -> bytes:
    """Return a profile by which every mixture of inks is one grey of Lab."""
    identity = b"".join((65536 if i % 4 == 0 else 0).to_bytes(4, "big") for i in range(9))
    grid = bytes([GREY, 128, 128]) * 2**4
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    table = head + bytes(range(256)) * 4 + grid + bytes(range(256)) * 3
    return icc(b"CMYK", b"prtr", b"Lab ", {b"wtpt": white(), b"A2B0": table})


def white() -> bytes:
    return b"XYZ " + bytes(4) + b"".join(n.to_bytes(4, "big") for n in (63190, 65536, 54061))


def icc(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile, version 2, with these tags."""
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + (place + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += padded
    size = (place + len(body)).to_bytes(4, "big")
    d50 = b"".join(n.to_bytes(4, "big") for n in (63190, 65536, 54061))
    head = size + bytes(4) + b"\x02\x40\0\0" + kind + space + connection + bytes(12) + b"acsp"
    head += bytes(28) + d50
    return head.ljust(128, b"\0") + len(tags).to_bytes(4, "big") + table + body
