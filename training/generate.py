"""Trains Z-Image's transformer and its text encoder on painted portraits and their captions.

python -m training.generate --steps 4000
"""

import random
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import caption
from training.anatomy import prompt_encoder, transformer
from training.edit import encoded
from training.images import painted
from training.loop import Losses, main, taught
from training.text import qwen_tokenizer

FIRST_SEED = 10_000_000
PORTRAITS = 16_000
STEPS = 4_000
BATCH = 32
_DROP = 0.1  # captions left out, so that guidance has something to compare
_WORDINGS = 3  # captions of each portrait


class Course:
    """Painted portraits as latents, captions as tokens, and what is learned from a batch."""

    def __init__(self, vae: AutoencoderKL, portraits: int) -> None:
        people = [draw(FIRST_SEED + seed) for seed in range(portraits)]
        self._latents = encoded(vae, painted(people)) * vae.config.scaling_factor
        self.tokenizer = qwen_tokenizer()
        chance = random.Random(3)
        said = [caption(person, chance) for person in people for _ in range(_WORDINGS)]
        self._ids, self._mask = tokens(self.tokenizer, ["", *said])  # the first row says nothing
        self.modules = nn.ModuleDict(
            {"transformer": transformer(), "text_encoder": prompt_encoder(self.tokenizer)}
        )

    def loss(self, step: int) -> torch.Tensor:
        """Return how far the velocity that is told is from that of flow matching.

        Source: Lipman et al. 2023; times are logit-normal, as in Esser et al. 2024.
        """
        chance = torch.Generator().manual_seed(step)
        rows = torch.randint(len(self._latents), (BATCH,), generator=chance)
        said = 1 + rows * _WORDINGS + torch.randint(_WORDINGS, (BATCH,), generator=chance)
        said *= torch.rand(BATCH, generator=chance) >= _DROP
        real = self._latents[rows]
        noise = torch.randn(real.shape, generator=chance)
        sigma = torch.randn(BATCH, generator=chance).sigmoid()
        mixed = torch.lerp(real, noise, sigma[:, None, None, None])
        guess = self.modules["transformer"](
            list(mixed.unsqueeze(2).unbind(0)), 1 - sigma, self._told(said), return_dict=False
        )[0]
        wrong: torch.Tensor = torch.stack(list(guess)).squeeze(2) - (real - noise)
        return wrong.square().mean()

    def _told(self, rows: torch.Tensor) -> list[torch.Tensor]:
        ids, mask = self._ids[rows], self._mask[rows]
        told = self.modules["text_encoder"](
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states[-2]
        return [row[kept] for row, kept in zip(told, mask, strict=True)]


def train(folder: Path, steps: int, size: int = PORTRAITS, say: Any = print) -> Losses:
    """Train, and save the parts; return the first and the last losses."""
    torch.manual_seed(3)
    say(f"painting {size} portraits")
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    return taught(Course(vae, size), "generate", folder, steps, say)


def tokens(tokenizer: Any, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sentences as token ids, framed as the pipeline frames them, and which are theirs."""
    framed = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": sentence}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        for sentence in sentences
    ]
    told = tokenizer(framed, padding=True, padding_side="right", return_tensors="pt")
    return told.input_ids, told.attention_mask.bool()


if __name__ == "__main__":
    main(train, __doc__, STEPS)
