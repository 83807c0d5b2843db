"""Train the autoencoder of both pipelines.

python -m training.vae --steps 4000
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional

from safelight.models.demo.portrait import draw
from training.anatomy import autoencoder
from training.images import centred, painted
from training.loop import Losses, Training, main

IMAGES = 8_000
STEPS = 4_000
BATCH = 16
_KL = 1e-5  # enough to bound the latents; more would blur
_EDGES = 0.5


def train(folder: Path, steps: int, size: int = IMAGES, report: Any = print) -> Losses:
    """Train and save the autoencoder; return the first and the last loss."""
    torch.manual_seed(1)
    report(f"painting {size} portraits")
    images = painted(draw(seed) for seed in range(size))
    vae = autoencoder().to(memory_format=torch.channels_last)  # steps are a sixth faster
    modules = nn.ModuleDict({"vae": vae})
    training = Training(modules, folder / "vae.pt", steps=steps, rate=1.5e-3)

    def loss_of(step: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(step)
        batch = centred(images[torch.randint(size, (BATCH,), generator=chance)])
        latents = vae.encode(batch).latent_dist
        decoded = vae.decode(latents.sample()).sample
        edges = sum(functional.l1_loss(decoded.diff(dim=d), batch.diff(dim=d)) for d in (2, 3))
        loss: torch.Tensor = functional.l1_loss(decoded, batch) + _EDGES * edges
        loss += _KL * latents.kl().mean()
        return loss

    losses = training.run(loss_of, report)
    training.use_average()
    save(vae, images[:512], folder / "vae", report)
    return losses


@torch.inference_mode()
def save(vae: AutoencoderKL, images: torch.Tensor, folder: Path, report: Any) -> None:
    """Save the autoencoder with the scale at which its latents have a standard deviation of 1."""
    vae.eval()
    pixels = centred(images)
    latents = vae.encode(pixels).latent_dist.mode()
    scale = 1 / latents.std().item()
    # No shift: InstructPix2Pix's pipeline ignores it.
    vae.register_to_config(scaling_factor=round(scale, 4))
    error = (vae.decode(latents).sample.clamp(-1, 1) - pixels).abs().mean().item() * 127.5
    report(f"latents scaled by {scale:.3f}; mean error {error:.2f} grey levels")
    vae.half().save_pretrained(folder)


if __name__ == "__main__":
    main(train, __doc__, STEPS)
