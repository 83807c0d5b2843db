"""Train the tagger on portraits of its own: it also judges the other models.

python -m training.tagger --steps 1500
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import ConvNextImageProcessorPil

from safelight.models.demo.painter import SIDE
from safelight.models.demo.portrait import TAGS, draw
from training.anatomy import recogniser
from training.images import centred, painted
from training.loop import Losses, Training, main

FIRST_SEED = 20_000_000
PORTRAITS = 12_000
STEPS = 1_500
BATCH = 64


def train(folder: Path, steps: int, size: int = PORTRAITS, report: Any = print) -> Losses:
    """Train and save the tagger; return the first and the last loss."""
    torch.manual_seed(4)
    report(f"painting {size} portraits")
    people = [draw(FIRST_SEED + seed) for seed in range(size)]
    images = painted(people)
    targets = torch.tensor([[float(tag in person.tags) for tag in TAGS] for person in people])
    tagger = recogniser(TAGS)
    modules = nn.ModuleDict({"tagger": tagger})
    training = Training(modules, folder / "tagger.pt", steps=steps, rate=2e-3)

    def loss_of(step: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(step)
        rows = torch.randint(size, (BATCH,), generator=chance)
        batch = augmented(centred(images[rows]), chance)
        return functional.binary_cross_entropy_with_logits(tagger(batch).logits, targets[rows])

    losses = training.run(loss_of, report)
    training.use_average()
    tagger.half().save_pretrained(folder / "recognize")
    ConvNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_pct=1.0, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder / "recognize")
    return losses


def augmented(images: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Return images that are randomly blurred, noisy, darker and shifted."""

    def share() -> torch.Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=chance)

    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    blurred = torch.lerp(images, functional.avg_pool2d(padded, 3, 1), share() * (share() < 0.5))
    noise = 0.15 * share() * torch.randn(images.shape, generator=chance)
    lit = blurred * (0.8 + 0.4 * share()) + noise
    dy, dx = torch.randint(-2, 3, (2,), generator=chance).tolist()
    return torch.roll(lit, (dy, dx), (2, 3))


if __name__ == "__main__":
    main(train, __doc__, STEPS)
