"""Zero-shot recognition: CLIP and SigLIP score an image against the user's tags."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from safelight.errors import BadSetting, ModelNotFound
from safelight.models.backend import ModelOrder
from safelight.models.source import check_complete

_SENTENCE = "This is a photo of {}."  # as in transformers' zero-shot pipeline
_TAG_LIMIT = 1000
_TAG_CHARACTER_LIMIT = 100


def load_tagged(
    order: ModelOrder, place: str, device: str, options: dict[str, object]
) -> tuple[Any, Any, Sequence[str], Callable[[torch.Tensor], torch.Tensor]]:
    """Return the model, its image processor, the tags, and the function that scores pixels.

    The text features are computed once. CLIP's scores sum to one; SigLIP's are independent.
    Sources: Radford et al. 2021; Zhai et al. 2023.
    """
    if not order.tags:
        raise ModelNotFound(
            order.model, "it needs your tags: set SAFELIGHT_TAGS to a file with one tag per line."
        )
    tags = read_tags(Path(order.tags))
    model = check_complete(
        order, AutoModelForZeroShotImageClassification.from_pretrained(place, **options)
    )
    processor = AutoImageProcessor.from_pretrained(place, backend="pil")
    model.to(device).eval()
    texts = features(model.get_text_features(**_tokens(place, tags, model).to(device)))
    bias = getattr(model, "logit_bias", None)

    def score(pixels: torch.Tensor) -> torch.Tensor:
        images = features(model.get_image_features(pixel_values=pixels))
        logits = images @ texts.T * model.logit_scale.exp()
        return torch.softmax(logits, 1) if bias is None else torch.sigmoid(logits + bias)

    return model, processor, tags, score


def read_tags(file: Path) -> list[str]:
    """Return the tags of a text file with one tag per line. Raises BadSetting."""
    try:
        tags = [" ".join(line.split()) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"The tags {file} cannot be read: {error}.") from None
    tags = [tag for tag in tags if tag]
    if not tags:
        raise BadSetting(f"The file of tags {file} is empty. Write one tag per line.")
    if len(tags) > _TAG_LIMIT:
        raise BadSetting(f"The file {file} has {len(tags)} tags; the limit is {_TAG_LIMIT}.")
    longest = max(tags, key=len)
    if len(longest) > _TAG_CHARACTER_LIMIT:
        raise BadSetting(
            f"A tag in {file} has {len(longest)} characters; the limit is {_TAG_CHARACTER_LIMIT}."
        )
    duplicates = [tag for tag, times in Counter(map(str.casefold, tags)).items() if times > 1]
    if duplicates:
        raise BadSetting(f"The file {file} has the tag {duplicates[0]!r} twice. Remove one.")
    return tags


def _tokens(place: str, tags: Sequence[str], model: Any) -> Any:
    sentences = [_SENTENCE.format(tag) for tag in tags]
    # Padded to the full length: SigLIP was trained that way, and CLIP gives the same result.
    return AutoTokenizer.from_pretrained(place)(
        sentences,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
        max_length=model.config.text_config.max_position_embeddings,
    )


@torch.inference_mode()
def features(output: Any) -> torch.Tensor:
    """Return normalised features (n, width); transformers before 5 returned a bare tensor."""
    pooled: torch.Tensor = getattr(output, "pooler_output", output)
    return functional.normalize(pooled, dim=-1)
