"""Painted images as tensors for training."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import Portrait


def as_tensor(images: Iterable[Image.Image]) -> torch.Tensor:
    """Return images as one tensor of shape (n, 3, height, width), uint8."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


def painted(portraits: Iterable[Portrait]) -> torch.Tensor:
    """Return painted portraits as one tensor of shape (n, 3, height, width), uint8."""
    return as_tensor(map(paint, portraits)).contiguous()


def centred(pixels: torch.Tensor) -> torch.Tensor:
    """Return uint8 pixels as floats from -1 to 1, as the models read them."""
    return pixels.float().div_(127.5).sub_(1)
