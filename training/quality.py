"""What the demo models can do, on people whom none of them saw.

The tagger is the judge: it was trained apart, on other seeds. First it is judged itself, by what
the painter knows. Nothing calls this yet: there are no trained weights to judge.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from safelight.models.demo.painter import SIDE, paint
from safelight.models.demo.portrait import TAGS, Portrait, draw
from safelight.models.demo.wording import EditKind, caption, pair_of
from training.pictures import as_tensor, centred, painted

HELD_OUT = 50_000_000
_BATCH = 16
_CHANGED = 12  # grey levels; and whatever is near it
_NEAR = 9


@dataclass(frozen=True)
class Edited:
    """How well one kind of edit was made."""

    kind: str
    found: float
    others_kept: float
    alike: float


def tags_of(tagger: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Return which tags the tagger sees, of shape (n, tags), bool."""
    with torch.inference_mode():
        return torch.cat([tagger(centred(part)).logits > 0 for part in torch.split(pictures, 64)])


def true_tags(people: Sequence[Portrait]) -> torch.Tensor:
    """Return which tags are true, of shape (n, tags), bool."""
    return torch.tensor([[tag in person.tags for tag in TAGS] for person in people])


def mean_average_precision(tagger: Any, number: int) -> float:
    """Return the mean over the tags of the average precision on held-out portraits."""
    people = [draw(HELD_OUT + seed) for seed in range(number)]
    with torch.inference_mode():
        scores = torch.cat([tagger(centred(p)).logits for p in torch.split(painted(people), 64)])
    return (
        torch.stack(
            [_average_precision(scores[:, n], true) for n, true in enumerate(true_tags(people).T)]
        )
        .mean()
        .item()
    )


def _average_precision(scores: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    ranked = true[scores.argsort(descending=True)].float()
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)
    return (precision * ranked).sum() / ranked.sum()


def judge_edit(
    pipeline: Any, tagger: Any, kind: EditKind, number: int, **parameters: Any
) -> tuple[Edited, list[tuple[str, Image.Image, Image.Image]]]:
    """Return how well a kind of edit is made, and the pictures."""
    pairs = [pair_of(kind, HELD_OUT + seed) for seed in range(number)]
    before = [paint(pair.before) for pair in pairs]
    made: list[Image.Image] = []
    for start in range(0, number, _BATCH):
        some = slice(start, start + _BATCH)
        made += pipeline(
            prompt=[pair.instruction for pair in pairs[some]], image=before[some],
            generator=[torch.Generator().manual_seed(seed) for seed in range(number)[some]],
            **parameters,
        ).images  # fmt: skip
    seen = tags_of(tagger, as_tensor(made))
    was, wanted = (true_tags([getattr(p, when) for p in pairs]) for when in ("before", "after"))
    asked = was != wanted
    right = seen == wanted
    found = (right | ~asked).all(1).float().mean().item()
    kept = right[~asked].float().mean().item()
    alike = _alike_outside(as_tensor(before), as_tensor(made), painted(p.after for p in pairs))
    sentences = [pair.instruction for pair in pairs]
    return Edited(kind.name, found, kept, alike), list(zip(sentences, before, made, strict=True))


def _alike_outside(before: torch.Tensor, made: torch.Tensor, after: torch.Tensor) -> float:
    """Return the structural similarity where nothing was to change (Wang et al. 2004)."""
    changed = ((before.float() - after.float()).abs().amax(1, keepdim=True) > _CHANGED).float()
    near = functional.max_pool2d(changed, _NEAR, 1, _NEAR // 2)
    outside = 1 - near
    alike = _similarity(before.float().mean(1, keepdim=True), made.float().mean(1, keepdim=True))
    return ((alike * outside).sum() / outside.sum().clamp(min=1)).item()


def _similarity(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    def local(values: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(functional.pad(values, (3, 3, 3, 3), mode="reflect"), 7, 1)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = local(one), local(other)
    spread1, spread2 = local(one**2) - mean1**2, local(other**2) - mean2**2
    both = local(one * other) - mean1 * mean2
    return ((2 * mean1 * mean2 + c1) * (2 * both + c2)) / (
        (mean1**2 + mean2**2 + c1) * (spread1 + spread2 + c2)
    )


def judge_generation(
    pipeline: Any, tagger: Any, number: int, **parameters: Any
) -> tuple[float, list[tuple[str, Image.Image]]]:
    """Return the share of asked attributes that are found, and the pictures."""
    people = [draw(HELD_OUT + 1_000_000 + seed) for seed in range(number)]
    chance = random.Random(HELD_OUT)
    said = [caption(person, chance) for person in people]
    made: list[Image.Image] = []
    for start in range(0, number, _BATCH):
        some = slice(start, start + _BATCH)
        made += pipeline(
            prompt=said[some], width=SIDE, height=SIDE,
            generator=[torch.Generator().manual_seed(seed) for seed in range(number)[some]],
            **parameters,
        ).images  # fmt: skip
    seen, wanted = tags_of(tagger, as_tensor(made)), true_tags(people)
    return seen[wanted].float().mean().item(), list(zip(said, made, strict=True))
