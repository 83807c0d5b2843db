"""Train InstructPix2Pix's UNet and its text encoder on painted pairs.

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
from training.loop import Losses, main, train_pipeline
from training.text import LONGEST, clip_tokenizer

PAIRS = 12_000
STEPS = 4_500
BATCH = 32
NOISE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",  # few steps suffice: it predicts the image at full noise
}
_DROP = 0.05  # rates of: no text and no image, no text, no image; guidance needs all three
_MAX_SNR = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"


class Course:
    """Painted pairs as latents and tokens, and the loss of a batch."""

    def __init__(self, vae: AutoencoderKL, pairs: int) -> None:
        painted_pairs = [pair(seed) for seed in range(pairs)]
        self.tokenizer = clip_tokenizer()
        self._before = encoded(vae, painted(one.before for one in painted_pairs))
        scale = vae.config.scaling_factor
        self._after = encoded(vae, painted(one.after for one in painted_pairs)) * scale
        self._ids = tokens(self.tokenizer, [one.instruction for one in painted_pairs])
        self._empty = tokens(self.tokenizer, [""])
        self._noise = DDPMScheduler(**NOISE)
        self.modules = nn.ModuleDict({"unet": unet(), "text_encoder": text_encoder(self.tokenizer)})

    def loss(self, step: int) -> torch.Tensor:
        """Return the weighted mean squared error of the predicted velocity for a batch.

        Source: Salimans and Ho 2022, "Progressive Distillation", appendix D.
        """
        chance = torch.Generator().manual_seed(step)
        rows = torch.randint(len(self._ids), (BATCH,), generator=chance)
        times = torch.randint(1000, (BATCH,), generator=chance)
        noise = torch.randn(BATCH, *self._after.shape[1:], generator=chance)
        drop = torch.rand(BATCH, generator=chance) / _DROP
        text = torch.where((drop < 2)[:, None], self._empty, self._ids[rows])
        no_image = (drop < 1) | ((drop >= 2) & (drop < 3))
        image = self._before[rows] * ~no_image[:, None, None, None]
        noisy = self._noise.add_noise(self._after[rows], noise, times)
        states = self.modules["text_encoder"](text).last_hidden_state
        predicted = self.modules["unet"](torch.cat([noisy, image], 1), times, states).sample
        velocity = self._noise.get_velocity(self._after[rows], noise, times)
        errors: torch.Tensor = (predicted - velocity).square().mean((1, 2, 3))
        return (errors * self._weight(times)).mean()

    def _weight(self, times: torch.Tensor) -> torch.Tensor:
        signal: torch.Tensor = self._noise.alphas_cumprod[times]
        ratio = signal / (1 - signal)
        return ratio.clamp(max=_MAX_SNR) / (ratio + 1)


def train(
    folder: Path, steps: int, size: int = PAIRS, report: Any = print, *, compile: bool = False
) -> Losses:
    """Train and save the models; return the first and the last loss."""
    torch.manual_seed(2)
    report(f"painting {size} pairs")
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    course = Course(vae, size)
    if compile:  # takes two minutes, then a step takes 60 % of its time
        course.modules["unet"].compile()
    return train_pipeline(course, "edit", folder, steps, report)


@torch.inference_mode()
def encoded(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Return the unscaled latents of images, of shape (n, LATENTS, side, side)."""
    parts = [vae.encode(centred(part)).latent_dist.mode() for part in torch.split(images, 128)]
    return torch.cat(parts).clone()


def tokens(tokenizer: Any, sentences: list[str]) -> torch.Tensor:
    """Return sentences as token ids, of shape (n, LONGEST)."""
    encoding = tokenizer(
        sentences, padding="max_length", max_length=LONGEST, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = encoding.input_ids
    return ids


if __name__ == "__main__":
    main(train, __doc__, STEPS, compile="faster steps, after two minutes")
