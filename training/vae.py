"""Trains the autoencoder that both pipelines share.

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

PICTURES = 8_000
STEPS = 4_000
BATCH = 16
_KL = 1e-5  # enough that the latents stay of a size; more would blur
_EDGES = 0.5


def train(folder: Path, steps: int, size: int = PICTURES, say: Any = print) -> Losses:
    """Train, and save the autoencoder; return the first and the last losses."""
    torch.manual_seed(1)
    say(f"painting {size} portraits")
    pictures = painted(draw(seed) for seed in range(size))
    vae = autoencoder().to(memory_format=torch.channels_last)  # a sixth faster a step
    modules = nn.ModuleDict({"vae": vae})
    training = Training(modules, folder / "vae.pt", steps=steps, rate=1.5e-3)

    def loss_of(step: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(step)
        real = centred(pictures[torch.randint(size, (BATCH,), generator=chance)])
        latents = vae.encode(real).latent_dist
        made = vae.decode(latents.sample()).sample
        edges = sum(functional.l1_loss(made.diff(dim=d), real.diff(dim=d)) for d in (2, 3))
        wrong: torch.Tensor = functional.l1_loss(made, real) + _EDGES * edges
        wrong += _KL * latents.kl().mean()
        return wrong

    losses = training.run(loss_of, say)
    training.keep_average()
    save(vae, pictures[:512], folder / "vae", say)
    return losses


@torch.inference_mode()
def save(vae: AutoencoderKL, pictures: torch.Tensor, folder: Path, say: Any) -> None:
    """Save the autoencoder, its latents scaled to a spread of one."""
    vae.eval()
    seen = centred(pictures)
    latents = vae.encode(seen).latent_dist.mode()
    scale = 1 / latents.std().item()
    vae.register_to_config(scaling_factor=round(scale, 4))  # not shifted: one pipeline would not
    error = (vae.decode(latents).sample.clamp(-1, 1) - seen).abs().mean().item() * 127.5
    say(f"latents scaled by {scale:.3f}; mean error {error:.2f} grey levels")
    vae.half().save_pretrained(folder)


if __name__ == "__main__":
    main(train, __doc__, STEPS)
