"""Train Z-Image's transformer and its text encoder on painted portraits and captions.

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
from training.loop import Losses, main, train_pipeline
from training.text import qwen_tokenizer

FIRST_SEED = 10_000_000
PORTRAITS = 16_000
STEPS = 4_000
BATCH = 32
_DROP = 0.1  # rate of omitted captions, which guidance needs
_WORDINGS = 3  # captions of each portrait


class Course:
    """Painted portraits as latents, captions as tokens, and the loss of a batch."""

    def __init__(self, vae: AutoencoderKL, portraits: int) -> None:
        people = [draw(FIRST_SEED + seed) for seed in range(portraits)]
        self._latents = encoded(vae, painted(people)) * vae.config.scaling_factor
        self.tokenizer = qwen_tokenizer()
        chance = random.Random(3)
        captions = [caption(person, chance) for person in people for _ in range(_WORDINGS)]
        self._ids, self._mask = tokens(self.tokenizer, ["", *captions])  # the first row is empty
        self.modules = nn.ModuleDict(
            {"transformer": transformer(), "text_encoder": prompt_encoder(self.tokenizer)}
        )

    def loss(self, step: int) -> torch.Tensor:
        """Return the mean squared error of the predicted velocity in flow matching.

        Source: Lipman et al. 2023; times are logit-normal, as in Esser et al. 2024.
        """
        chance = torch.Generator().manual_seed(step)
        rows = torch.randint(len(self._latents), (BATCH,), generator=chance)
        captions = 1 + rows * _WORDINGS + torch.randint(_WORDINGS, (BATCH,), generator=chance)
        captions *= torch.rand(BATCH, generator=chance) >= _DROP
        latents = self._latents[rows]
        noise = torch.randn(latents.shape, generator=chance)
        sigma = torch.randn(BATCH, generator=chance).sigmoid()
        mixed = torch.lerp(latents, noise, sigma[:, None, None, None])
        predicted = self.modules["transformer"](
            list(mixed.unsqueeze(2).unbind(0)), 1 - sigma, self._states(captions), return_dict=False
        )[0]
        error: torch.Tensor = torch.stack(list(predicted)).squeeze(2) - (latents - noise)
        return error.square().mean()

    def _states(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return the encoded captions, each of shape (its tokens, width)."""
        ids, masks = self._ids[rows], self._mask[rows]
        states = self.modules["text_encoder"](
            input_ids=ids, attention_mask=masks, output_hidden_states=True
        ).hidden_states[-2]
        return [state[mask] for state, mask in zip(states, masks, strict=True)]


def train(folder: Path, steps: int, size: int = PORTRAITS, report: Any = print) -> Losses:
    """Train and save the models; return the first and the last loss."""
    torch.manual_seed(3)
    report(f"painting {size} portraits")
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    return train_pipeline(Course(vae, size), "generate", folder, steps, report)


def tokens(tokenizer: Any, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the token ids and the mask of sentences in the pipeline's chat template."""
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": sentence}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        for sentence in sentences
    ]
    encoding = tokenizer(prompts, padding=True, padding_side="right", return_tensors="pt")
    return encoding.input_ids, encoding.attention_mask.bool()


if __name__ == "__main__":
    main(train, __doc__, STEPS)
