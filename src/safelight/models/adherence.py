"""Measure how well an image follows its prompt, with a CLIP model or the demos' tagger."""

from collections.abc import Callable
from importlib import import_module

from PIL import Image

from safelight.models.backend import (
    Edit,
    Generation,
    Labels,
    Latents,
    ModelOrder,
    Pixels,
    Recognition,
)
from safelight.models.demo.bundle import DEMOS
from safelight.models.demo.expectations import of_caption, of_instruction
from safelight.models.demo.portrait import TAGS
from safelight.models.load import load_backend

Judge = Callable[[Edit | Generation, Pixels], float | None]

_TAGGER = "demo-recognize"


def judge_for(model: str, clip_model: str) -> Judge | None:
    """Return the judge of a model's outputs, or None. It is loaded at its first use."""
    if clip_model:
        return _late(lambda: _clip(clip_model))
    return _late(_tagger) if model in DEMOS else None


def _late(load: Callable[[], Judge]) -> Judge:
    loaded: list[Judge] = []

    def judge(work: Edit | Generation, pixels: Pixels) -> float | None:
        if not loaded:
            loaded.append(load())
        return loaded[0](work, pixels)

    return judge


def _clip(model: str) -> Judge:
    # By name: importing the module would import torch.
    judge: Judge = import_module("safelight.models.clip").load_clip(model)
    return judge


def _tagger() -> Judge:
    import torch

    torch.set_num_threads(1)  # for this thread only: the serving model keeps its threads
    backend = load_backend(ModelOrder(_TAGGER, "cpu", warm_up=False))

    def judge(work: Edit | Generation, pixels: Pixels) -> float | None:
        """Return the smallest probability that an expected tag is shown, or absent."""
        expected = (
            of_instruction(work.instruction) if isinstance(work, Edit) else of_caption(work.prompt)
        )
        if not expected:
            return None
        (labels,) = backend.run([Recognition(Image.fromarray(pixels), len(TAGS))], _no_step)
        assert isinstance(labels, Labels)
        scores = dict(labels.scores)
        return min(scores[tag] if shown else 1 - scores[tag] for tag, shown in expected.items())

    return judge


def _no_step(_step: int, _latents: Latents) -> None:
    """Do nothing: a tagger has no steps."""
