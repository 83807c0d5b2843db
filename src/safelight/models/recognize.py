"""What an image shows, with any image classifier of transformers: one label of many, or several."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from safelight.errors import ModelNotFound
from safelight.models.backend import (
    Labels,
    ModelInfo,
    ModelOrder,
    OnStep,
    Recognition,
    Task,
    shown_name,
)
from safelight.models.devices import best_device, dtype_of, first_line


class RecognizeBackend:
    """A loaded classifier. Not safe to call from two threads at once."""

    task: Task = "predict"
    pipeline = None

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        self._model = model
        self._processor = processor
        self._several = model.config.problem_type == "multi_label_classification"
        self._labels = [model.config.id2label[n] for n in range(model.config.num_labels)]
        self.info = ModelInfo(
            model=shown_name(name),
            pipeline=type(model).__name__,
            scheduler="none",
            precision=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
        )

    @torch.inference_mode()
    def run(self, batch: Sequence[Recognition], on_step: OnStep) -> list[Labels]:  # noqa: ARG002 - there are no steps
        """Return the labels of each image; where several may be true, each is scored by itself."""
        read = self._processor(images=[each.image for each in batch], return_tensors="pt")
        pixels = read["pixel_values"].to(self._model.device, self._model.dtype)
        logits = self._model(pixel_values=pixels).logits.float()
        scores = logits.sigmoid() if self._several else logits.softmax(dim=1)
        best = scores.sort(dim=1, descending=True)
        return [
            Labels(tuple((self._labels[place], score) for place, score in ranked[: each.top]))
            for each, ranked in zip(batch, _rows(best.indices, best.values), strict=True)
        ]


def _rows(places: torch.Tensor, scores: torch.Tensor) -> list[list[tuple[int, float]]]:
    rows = zip(places.tolist(), scores.tolist(), strict=True)
    return [list(zip(place, score, strict=True)) for place, score in rows]


def load_recognizer(order: ModelOrder, source: str) -> RecognizeBackend:
    """Load the classifier of a folder or a hub id. Raises ModelNotFound, saying what to do."""
    device = order.device if order.device != "auto" else best_device()
    try:
        model = AutoModelForImageClassification.from_pretrained(
            source, dtype=dtype_of(order.precision, device), use_safetensors=True
        )
        # Pillow's way: it needs no torchvision, and our pictures are Pillow's.
        processor = AutoImageProcessor.from_pretrained(source, backend="pil")
        model.to(device).eval()
    except Exception as wrong:
        raise ModelNotFound(order.model, first_line(wrong)) from wrong
    return RecognizeBackend(model, processor, order.model)
