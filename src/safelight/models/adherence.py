"""How well a picture fits what was asked: by a CLIP of the user's, or by the demos' own tagger."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from PIL import Image

from safelight.models.backend import Edit, Generation, Labels, ModelOrder, Recognition
from safelight.models.demo.bundle import DEMOS
from safelight.models.demo.meaning import asked_of_caption, asked_of_edit
from safelight.models.demo.portrait import TAGS
from safelight.models.load import load_backend

Judge = Callable[[Edit | Generation, Any], float | None]

_TAGGER = "demo-recognize"


def judge_for(model: str, clip_model: str) -> Judge | None:
    """Return who judges what a model makes, or None; whoever it is is loaded when first asked."""
    if clip_model:
        return _late(lambda: _clip(clip_model))
    return _late(_tagger) if model in DEMOS else None


def _late(load: Callable[[], Judge]) -> Judge:
    loaded: list[Judge] = []

    def judge(work: Edit | Generation, pixels: Any) -> float | None:
        if not loaded:
            loaded.append(load())
        return loaded[0](work, pixels)

    return judge


def _clip(model: str) -> Judge:
    # By name: to import the room is to import torch.
    judge: Judge = import_module("safelight.models.clip").load_clip(model)
    return judge


def _tagger() -> Judge:
    import torch

    torch.set_num_threads(1)  # this thread's own: the model that serves keeps its
    backend = load_backend(ModelOrder(_TAGGER, "cpu", warm_up=False))

    def judge(work: Edit | Generation, pixels: Any) -> float | None:
        """Return the least of the probabilities that a tag is as it was asked to be."""
        told = (
            asked_of_edit(work.instruction)
            if isinstance(work, Edit)
            else asked_of_caption(work.prompt)
        )
        if not told:
            return None
        (seen,) = backend.run([Recognition(Image.fromarray(pixels), len(TAGS))], _no_step)
        assert isinstance(seen, Labels)
        scores = dict(seen.scores)
        return min(scores[tag] if shown else 1 - scores[tag] for tag, shown in told.items())

    return judge


def _no_step(_step: int, _latents: Any) -> None:
    """Hear of no step: a tagger has none."""
