"""The two models that all systems serve, without any server code.

The tagger classifies images of 64 by 64 pixels; a batch of 8 costs about 2.4 times a batch of 1.
The editor is the bundled demo of InstructPix2Pix.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.serving.task import IMAGE_GUIDANCE, INSTRUCTION, LABELS, SEED, STEPS, TEXT_GUIDANCE

Scores = tuple[tuple[str, float], ...]

_WIDTHS = (16, 32, 64, 128)


class Tagger:
    """Classifies images; its weights are random with a fixed seed."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self._network = _network().eval()

    @torch.inference_mode()
    def tag(self, images: Sequence[Image.Image]) -> list[Scores]:
        """Return the labels of each image with their scores, the best first."""
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        logits = self._network(pixels.permute(0, 3, 1, 2).float() / 255)
        best = logits.softmax(dim=1).sort(dim=1, descending=True)
        return [
            tuple((LABELS[place], score) for place, score in zip(places, scores, strict=True))
            for places, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


class Editor:
    """Edits images by instruction, with the demo's weights from a folder."""

    def __init__(self, folder: str) -> None:
        # Imported here, so that a tagger does not load diffusers.
        from diffusers import StableDiffusionInstructPix2PixPipeline

        self._pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(folder)
        self._pipeline.set_progress_bar_config(disable=True)

    def edit(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Return the edited images."""
        edited: list[Image.Image] = self._pipeline(
            prompt=[INSTRUCTION] * len(images),
            image=list(images),
            num_inference_steps=STEPS,
            guidance_scale=TEXT_GUIDANCE,
            image_guidance_scale=IMAGE_GUIDANCE,
        ).images
        return edited


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, width in pairwise((3, *_WIDTHS)):
        convolution = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    head = nn.Linear(_WIDTHS[-1], len(LABELS))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
