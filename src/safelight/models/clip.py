"""CLIP as a judge of pictures against words. Runs on the processor, on one thread, off the way."""

from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from safelight.errors import ModelNotFound
from safelight.models.adherence import Judge
from safelight.models.backend import Edit, Generation
from safelight.models.devices import first_line
from safelight.models.zeroshot import features

_WEIGHT = 2.5  # Hessel et al. 2021


def load_clip(place: str) -> Judge:
    """Return CLIP of a folder or a hub id as a judge. Raises ModelNotFound, saying what to do."""
    try:
        model = AutoModelForZeroShotImageClassification.from_pretrained(place, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(place, backend="pil")
        tokenizer = AutoTokenizer.from_pretrained(place)
    except Exception as wrong:
        raise ModelNotFound(place, first_line(wrong)) from wrong
    model.eval()
    torch.set_num_threads(1)  # this thread's own: the model that serves keeps its

    @torch.inference_mode()
    def judge(work: Edit | Generation, pixels: Any) -> float | None:
        """Return CLIPScore, 2.5 · max(cos, 0) (Hessel et al. 2021), of a picture and its prompt.

        An instruction is no caption, so for an edit it is the probability that the words belong to
        the picture made and not to the one sent in: above one half, the edit went their way.
        """
        edit = isinstance(work, Edit)
        made = Image.fromarray(pixels)
        pictures = [made, work.image] if isinstance(work, Edit) else [made]
        text = work.instruction if isinstance(work, Edit) else work.prompt
        seen = processor(images=pictures, return_tensors="pt")["pixel_values"]
        words = tokenizer(
            [text],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
            max_length=model.config.text_config.max_position_embeddings,
        )
        images = features(model.get_image_features(pixel_values=seen))
        cosines = (images @ features(model.get_text_features(**words)).T).ravel()
        if edit:
            return float(torch.softmax(cosines * model.logit_scale.exp(), 0)[0])
        return min(1.0, _WEIGHT * max(0.0, float(cosines[0])))

    return judge
