"""Recognition of whatever the user names: CLIP and SigLIP score an image against words."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from safelight.errors import BadSetting, ModelNotFound
from safelight.models.backend import ModelOrder
from safelight.models.source import whole

_SENTENCE = "This is a photo of {}."  # as transformers' own zero-shot pipeline asks
_MOST_TAGS = 1000
_LONGEST_TAG = 100


def load_tagged(
    order: ModelOrder, place: str, device: str, options: dict[str, Any]
) -> tuple[Any, Any, Sequence[str], Callable[[torch.Tensor], torch.Tensor]]:
    """Return the model, how it reads images, the tags, and what scores pixels against them.

    The tags' side is worked out once. CLIP's scores sum to one; SigLIP's stand each for itself.
    Sources: Radford et al. 2021; Zhai et al. 2023.
    """
    if not order.tags:
        raise ModelNotFound(
            order.model, "it names what you ask for: set SAFELIGHT_TAGS to a file, one tag a line."
        )
    tags = read_tags(Path(order.tags))
    model = whole(order, AutoModelForZeroShotImageClassification.from_pretrained(place, **options))
    processor = AutoImageProcessor.from_pretrained(place, backend="pil")
    model.to(device).eval()
    words = features(model.get_text_features(**_tokens(place, tags, model).to(device)))
    bias = getattr(model, "logit_bias", None)

    def score(pixels: torch.Tensor) -> torch.Tensor:
        seen = features(model.get_image_features(pixel_values=pixels))
        logits = seen @ words.T * model.logit_scale.exp()
        return torch.softmax(logits, 1) if bias is None else torch.sigmoid(logits + bias)

    return model, processor, tags, score


def read_tags(file: Path) -> list[str]:
    """Return the tags of a text file, one a line. Raises BadSetting where they cannot be used."""
    try:
        tags = [" ".join(line.split()) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadSetting(f"The tags {file} cannot be read: {wrong}.") from None
    tags = [tag for tag in tags if tag]
    if not tags:
        raise BadSetting(f"The tags {file} are none. Write one a line.")
    if len(tags) > _MOST_TAGS:
        raise BadSetting(f"The tags {file} are {len(tags)}; the limit is {_MOST_TAGS}.")
    longest = max(tags, key=len)
    if len(longest) > _LONGEST_TAG:
        raise BadSetting(
            f"A tag in {file} has {len(longest)} characters; the limit is {_LONGEST_TAG}."
        )
    twice = [tag for tag, times in Counter(map(str.casefold, tags)).items() if times > 1]
    if twice:
        raise BadSetting(f"The tags {file} name {twice[0]!r} twice. Name each once.")
    return tags


def _tokens(place: str, tags: Sequence[str], model: Any) -> Any:
    sentences = [_SENTENCE.format(tag) for tag in tags]
    # Always to the full length: SigLIP was trained so, and CLIP does not mind.
    return AutoTokenizer.from_pretrained(place)(
        sentences,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
        max_length=model.config.text_config.max_position_embeddings,
    )


@torch.inference_mode()
def features(found: Any) -> torch.Tensor:
    """Return features of shape (n, width) at length one; libraries before 5 gave them bare."""
    bare: torch.Tensor = getattr(found, "pooler_output", found)
    return functional.normalize(bare, dim=-1)
