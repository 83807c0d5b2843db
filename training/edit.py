"""Trains InstructPix2Pix's UNet and its text encoder on painted pairs.

python -m training.edit --compile
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from torch import nn

from safelight.models.demo.wording import pair
from training.anatomy import text_encoder, unet
from training.images import centred, painted
from training.loop import Losses, main, taught
from training.text import LONGEST, clip_tokenizer

PAIRS = 12_000
STEPS = 4_500
BATCH = 32
NOISE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",  # few steps suffice: at the noisiest it tells the picture
}
_DROP = 0.05  # each of: both, the text, the picture; so that guidance has something to compare
_MOST_SNR = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"


class Course:
    """Painted pairs as latents and tokens, and what is learned from a batch of them."""

    def __init__(self, vae: AutoencoderKL, pairs: int) -> None:
        asked = [pair(seed) for seed in range(pairs)]
        self.tokenizer = clip_tokenizer()
        self._before = encoded(vae, painted(each.before for each in asked))
        scale = vae.config.scaling_factor
        self._after = encoded(vae, painted(each.after for each in asked)) * scale
        self._ids = tokens(self.tokenizer, [each.instruction for each in asked])
        self._nothing = tokens(self.tokenizer, [""])
        self._noise = DDPMScheduler(**NOISE)
        self.modules = nn.ModuleDict({"unet": unet(), "text_encoder": text_encoder(self.tokenizer)})

    def loss(self, step: int) -> torch.Tensor:
        """Return how far the velocity that is told is from that of a batch.

        Source: Salimans and Ho 2022, "Progressive Distillation", appendix D.
        """
        chance = torch.Generator().manual_seed(step)
        rows = torch.randint(len(self._ids), (BATCH,), generator=chance)
        times = torch.randint(1000, (BATCH,), generator=chance)
        noise = torch.randn(BATCH, *self._after.shape[1:], generator=chance)
        drop = torch.rand(BATCH, generator=chance) / _DROP
        text = torch.where((drop < 2)[:, None], self._nothing, self._ids[rows])
        blind = (drop < 1) | ((drop >= 2) & (drop < 3))
        seen = self._before[rows] * ~blind[:, None, None, None]
        noisy = self._noise.add_noise(self._after[rows], noise, times)
        told = self.modules["text_encoder"](text).last_hidden_state
        guess = self.modules["unet"](torch.cat([noisy, seen], 1), times, told).sample
        real = self._noise.get_velocity(self._after[rows], noise, times)
        wrong: torch.Tensor = (guess - real).square().mean((1, 2, 3)) * self._weight(times)
        return wrong.mean()

    def _weight(self, times: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = self._noise.alphas_cumprod[times]
        ratio = kept / (1 - kept)
        return ratio.clamp(max=_MOST_SNR) / (ratio + 1)


def train(
    folder: Path, steps: int, size: int = PAIRS, say: Any = print, *, compile: bool = False
) -> Losses:
    """Train, and save the parts; return the first and the last losses."""
    torch.manual_seed(2)
    say(f"painting {size} pairs")
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    course = Course(vae, size)
    if compile:  # two minutes, after which a step takes three fifths of its time
        course.modules["unet"].compile()
    return taught(course, "edit", folder, steps, say)


@torch.inference_mode()
def encoded(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Return the latents of pictures, as the autoencoder gives them, unscaled."""
    parts = [vae.encode(centred(part)).latent_dist.mode() for part in torch.split(pictures, 128)]
    return torch.cat(parts).clone()


def tokens(tokenizer: Any, sentences: list[str]) -> torch.Tensor:
    """Return sentences as token ids, of shape (n, LONGEST)."""
    told = tokenizer(
        sentences, padding="max_length", max_length=LONGEST, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = told.input_ids
    return ids


if __name__ == "__main__":
    main(train, __doc__, STEPS, compile="faster steps, after two minutes")
