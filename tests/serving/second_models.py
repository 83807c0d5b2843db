"""Second models with a fault each, for a service that the painter serves."""

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from safelight.errors import ModelNotFound
from safelight.models.backend import (
    Edit,
    Labels,
    MadeImage,
    ModelInfo,
    ModelOrder,
    OnStep,
    Recognition,
    Task,
)
from tests.serving.models import OutOfMemoryError, Painter

SAME = "tests.serving.models:painter"
SLOW_SECONDS = 0.03


class Slow(Painter):
    """Makes the same image, later."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        threading.Event().wait(SLOW_SECONDS)
        return super().run(batch, on_step)


class Failing(Painter):
    """Fails for every input."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        raise ValueError("a secret prompt")


class Black(Painter):
    """Makes black images."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        made = super().run(batch, on_step)
        return [replace(each, pixels=each.pixels * 0) for each in made]


class Hanging(Painter):
    """Never comes to an end."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        threading.Event().wait()
        raise AssertionError


class Dying(Painter):
    """Ends its process with the first input."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        os._exit(9)


class Cramped(Painter):
    """Fits into memory only while no model is loaded after it in its process."""

    def __init__(self, order: ModelOrder) -> None:
        super().__init__(order)
        self._before = set(_model_threads())

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        later = set(_model_threads()) - self._before
        if later and batch[0].instruction.startswith("tight"):
            raise OutOfMemoryError("CUDA out of memory")
        return super().run(batch, on_step)


def _model_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "safelight-model"]


class Tagger:
    """Labels every image as a cat, or as the model's name says."""

    task: Task = "predict"
    pipeline = None

    def __init__(self, order: ModelOrder, label: str) -> None:
        self.info = ModelInfo(order.model, "Tagger", "none", "float32", "cpu")
        self._label = label

    def run(self, batch: Sequence[Recognition], on_step: OnStep) -> list[Labels]:
        return [Labels(((self._label, 0.9), ("fish", 0.1))) for _ in batch]


def slow(order: ModelOrder) -> Any:
    return Slow(order)


def failing(order: ModelOrder) -> Any:
    return Failing(order)


def black(order: ModelOrder) -> Any:
    return Black(order)


def hanging(order: ModelOrder) -> Any:
    return Hanging(order)


def dying(order: ModelOrder) -> Any:
    return Dying(order)


def cramped(order: ModelOrder) -> Any:
    return Cramped(order)


def cats(order: ModelOrder) -> Any:
    return Tagger(order, "cat")


def dogs(order: ModelOrder) -> Any:
    return Tagger(order, "dog")


def odd_sizes(order: ModelOrder) -> Any:
    model = Painter(order)
    model.info = replace(model.info, multiple=24)
    return model


def larger(order: ModelOrder) -> Any:
    model = Painter(order)
    model.info = replace(model.info, side=1024)
    return model


def smaller(order: ModelOrder) -> Any:
    model = Painter(order)
    model.info = replace(model.info, side=512)
    return model


def telling(order: ModelOrder) -> Any:
    """Return a model that says whether it was to be compiled."""
    model = Painter(order)
    model.info = replace(model.info, pipeline="compiled" if order.compile else "plain")
    return model


def missing(order: ModelOrder) -> Any:
    raise ModelNotFound(order.model, "It has no weights.")
