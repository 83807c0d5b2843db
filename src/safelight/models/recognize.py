"""Recognise images with any image classifier, or with a model that scores the user's tags."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING as ZERO_SHOT,
)

from safelight.errors import ModelNotFound, Unusable
from safelight.models.backend import (
    Labels,
    ModelInfo,
    ModelOrder,
    OnStep,
    Recognition,
    Task,
    shown_name,
)
from safelight.models.devices import best_device, first_line
from safelight.models.identity import device_name, fingerprint
from safelight.models.precision import bytes_of, dtype_of, precision_of, to_int8
from safelight.models.source import Source, check_complete, refuse_pickles
from safelight.models.zeroshot import load_tagged

Score = Callable[[torch.Tensor], torch.Tensor]


class RecognizeBackend:
    """A loaded classifier. Not safe to call from two threads at once.

    `score` turns pixels of shape (n, 3, height, width) into scores of shape (n, labels), 0 to 1.
    """

    task: Task = "predict"
    pipeline = None

    def __init__(
        self, model: Any, processor: Any, labels: Sequence[str], score: Score, name: str
    ) -> None:
        self._model = model
        self._processor = processor
        self._labels = labels
        self._score = score
        self.info = ModelInfo(
            model=shown_name(name),
            pipeline=type(model).__name__,
            scheduler="none",
            precision=precision_of(model),
            device=str(model.device),
            side=_side(processor),
            weights_bytes=bytes_of(model),
            fingerprint=fingerprint([model]),
            device_name=device_name(str(model.device)),
            torch=str(torch.__version__),
        )

    @torch.inference_mode()
    def run(self, batch: Sequence[Recognition], on_step: OnStep) -> list[Labels]:  # noqa: ARG002 - there are no steps
        """Return the labels of each image. Multi-label classifiers score each label separately."""
        inputs = self._processor(images=[each.image for each in batch], return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
        best = self._score(pixels).float().sort(dim=1, descending=True)
        return [
            Labels(tuple((self._labels[place], score) for place, score in ranked[: each.top]))
            for each, ranked in zip(batch, _rows(best.indices, best.values), strict=True)
        ]


def _rows(places: torch.Tensor, scores: torch.Tensor) -> list[list[tuple[int, float]]]:
    rows = zip(places.tolist(), scores.tolist(), strict=True)
    return [list(zip(place, score, strict=True)) for place, score in rows]


def _side(processor: Any) -> int:
    return max(dict(processor.size).values(), default=0)


def load_recognizer(order: ModelOrder, source: Source) -> RecognizeBackend:
    """Load the classifier of a folder or hub id. Raises ModelNotFound."""
    try:
        config = AutoConfig.from_pretrained(source.place)
    except Exception as error:
        raise ModelNotFound(order.model, first_line(error)) from error
    names = config.architectures or [""]
    if type(config) in ZERO_SHOT and not names[0].endswith("ForImageClassification"):
        model, processor, labels, score = _loaded(order, source, load_tagged)
    elif order.tags:
        raise ModelNotFound(order.model, "it has its own labels. Unset SAFELIGHT_TAGS.")
    else:
        model, processor, labels, score = _loaded(order, source, _load_classifier)
    if order.precision == "int8":
        to_int8(model)
    if order.compile:
        model.compile()
    return RecognizeBackend(model, processor, labels, score, order.model)


Loaded = tuple[Any, Any, Sequence[str], Score]


def _loaded(order: ModelOrder, source: Source, load: Callable[..., Loaded]) -> Loaded:
    device = order.device if order.device != "auto" else best_device()
    options = {
        "dtype": dtype_of(order.precision, device),
        "use_safetensors": source.safe,
        "output_loading_info": True,
    }
    try:
        return load(order, source.place, device, options)
    except Unusable:
        raise
    except Exception as error:
        refuse_pickles(order, source)
        raise ModelNotFound(order.model, first_line(error)) from error


def _load_classifier(
    order: ModelOrder, place: str, device: str, options: dict[str, object]
) -> Loaded:
    model = check_complete(order, AutoModelForImageClassification.from_pretrained(place, **options))
    # The Pillow backend needs no torchvision.
    processor = AutoImageProcessor.from_pretrained(place, backend="pil")
    model.to(device).eval()
    multi_label = model.config.problem_type == "multi_label_classification"

    def score(pixels: torch.Tensor) -> torch.Tensor:
        logits = model(pixel_values=pixels).logits
        return torch.as_tensor(logits.sigmoid() if multi_label else logits.softmax(dim=1))

    labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
    return model, processor, labels, score
