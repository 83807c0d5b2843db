"""CLIP as a judge of how well an image follows its prompt. Runs on one CPU thread."""

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from safelight.errors import ModelNotFound
from safelight.models.adherence import Judge
from safelight.models.backend import Edit, Generation, Pixels
from safelight.models.devices import first_line
from safelight.models.zeroshot import features

_WEIGHT = 2.5  # Hessel et al. 2021


def load_clip(place: str) -> Judge:
    """Return a CLIP model from a folder or hub id as a judge. Raises ModelNotFound."""
    try:
        model = AutoModelForZeroShotImageClassification.from_pretrained(place, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(place, backend="pil")
        tokenizer = AutoTokenizer.from_pretrained(place)
    except Exception as error:
        raise ModelNotFound(place, first_line(error)) from error
    model.eval()
    torch.set_num_threads(1)  # for this thread only: the serving model keeps its threads

    @torch.inference_mode()
    def judge(work: Edit | Generation, pixels: Pixels) -> float | None:
        """Return CLIPScore, 2.5 · max(cos, 0) (Hessel et al. 2021), of an image and its prompt.

        An instruction is not a caption. So the score of an edit is the probability that the
        instruction describes the output and not the input; above one half, the edit followed it.
        """
        edit = isinstance(work, Edit)
        output = Image.fromarray(pixels)
        inputs = [output, work.image] if isinstance(work, Edit) else [output]
        text = work.instruction if isinstance(work, Edit) else work.prompt
        values = processor(images=inputs, return_tensors="pt")["pixel_values"]
        tokens = tokenizer(
            [text],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
            max_length=model.config.text_config.max_position_embeddings,
        )
        images = features(model.get_image_features(pixel_values=values))
        cosines = (images @ features(model.get_text_features(**tokens)).T).ravel()
        if edit:
            return float(torch.softmax(cosines * model.logit_scale.exp(), 0)[0])
        return min(1.0, _WEIGHT * max(0.0, float(cosines[0])))

    return judge
