"""A small picture of an image in the making."""

from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image

from safelight.serving.worker.preview import preview


def shown(latents: Any) -> Image.Image:
    image = Image.open(BytesIO(preview(latents)))
    assert image.format == "JPEG"
    return image.convert("RGB")


def colour(latents: Any, at: tuple[int, int] = (4, 4)) -> Any:
    return shown(latents).getpixel(at)


def one_hot(channel: int, value: float = 1.0) -> Any:
    latents = torch.zeros(4, 8, 8)
    latents[channel] = value
    return latents


@pytest.mark.parametrize(
    ("latents", "rgb"),
    [
        (torch.zeros(4, 8, 8), (127, 127, 127)),
        (one_hot(0), (172, 157, 169)),
        (one_hot(1), (169, 191, 157)),
        (one_hot(2), (91, 150, 162)),
        (one_hot(3), (100, 94, 36)),
        (one_hot(0, 100.0), (255, 255, 255)),
        (one_hot(0, -100.0), (0, 0, 0)),
    ],
)
def test_four_channels_are_red_green_and_blue_in_known_parts(
    latents: Any, rgb: tuple[int, int, int]
) -> None:
    assert colour(latents) == pytest.approx(rgb, abs=4)


@pytest.mark.parametrize(
    ("channels", "height", "width", "size"),
    [
        (4, 8, 16, (16, 8)),
        (16, 8, 16, (16, 8)),
        (4, 128, 64, (64, 128)),
        (4, 256, 128, (64, 128)),
        (4, 100, 400, (128, 32)),
        (4, 1, 1, (1, 1)),
    ],
)
def test_a_place_is_a_pixel_up_to_the_longest_side(
    channels: int, height: int, width: int, size: tuple[int, int]
) -> None:
    assert shown(torch.zeros(channels, height, width)).size == size


@pytest.mark.parametrize("channels", [3, 4, 5, 16, 32])
def test_brighter_latents_give_a_brighter_preview(channels: int) -> None:
    latents = torch.ones(channels, 8, 32) * torch.linspace(-1, 1, 32)

    left, right = (sum(colour(latents, (x, 4))) for x in (2, 29))

    assert right > left + 100


def test_many_channels_without_any_contrast_are_shown_all_the_same() -> None:
    assert colour(torch.full((16, 8, 8), 3.0)) == (0, 0, 0)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_latents_of_any_precision_are_shown_and_left_as_they_were(kind: Any) -> None:
    latents = one_hot(3).to(kind).requires_grad_()
    before = latents.detach().clone()

    assert colour(latents) == pytest.approx((100, 94, 36), abs=4)
    assert torch.equal(latents, before)
    assert latents.dtype == kind


def test_a_preview_is_small() -> None:
    torch.manual_seed(0)

    assert len(preview(torch.randn(4, 128, 128))) < 32 * 1024
