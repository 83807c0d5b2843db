"""Images from a prompt, with real pipelines: Stable Diffusion's and Z-Image's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safelight.models.backend import Backend, Generation, MadeImage, ModelOrder
from safelight.models.load import load_backend
from tests.pipelines import z_image_pipeline

WORK = Generation(
    size=(64, 48), prompt="a red hat", negative_prompt="", steps=3, guidance_scale=2.0, seed=7
)


@pytest.fixture(scope="module", params=["Stable Diffusion", "Z-Image"])
def backend(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_edit_pipeline: Any,
    shared_text_pipeline: Any,
) -> Backend:
    folder = tmp_path_factory.mktemp("model")
    made = (
        shared_text_pipeline
        if request.param == "Stable Diffusion"
        else z_image_pipeline(shared_edit_pipeline)
    )
    made.save_pretrained(folder)
    return load_backend(ModelOrder(str(folder), "cpu", "float32"))


def nothing(step: int, latents: Any) -> None:
    """Hear of a step, and do nothing."""


def pixels(backend: Backend, *works: Generation) -> list[np.ndarray]:
    made = backend.run(list(works), nothing)
    assert all(isinstance(each, MadeImage) and each.finite for each in made)
    return [each.pixels for each in made]  # type: ignore[union-attr]


def test_a_text_to_image_pipeline_generates(backend: Backend) -> None:
    assert backend.task == "generate"
    assert backend.info.pipeline in ("StableDiffusionPipeline", "ZImagePipeline")
    (made,) = pixels(backend, WORK)
    assert made.shape == (48, 64, 3)
    assert made.dtype == np.uint8


def test_a_seed_gives_the_same_image_alone_and_in_a_batch(backend: Backend) -> None:
    works = [WORK, replace(WORK, seed=8), replace(WORK, prompt="a forest in the rain")]
    for work, made in zip(works, pixels(backend, *works), strict=True):
        # Other shapes sum in another order: a grey level may round the other way.
        assert abs(made.astype(int) - pixels(backend, work)[0].astype(int)).max() <= 2
    assert not np.array_equal(pixels(backend, WORK)[0], pixels(backend, works[1])[0])


def test_what_sides_must_be_a_multiple_of_is_told(backend: Backend) -> None:
    expected = {"StableDiffusionPipeline": 8, "ZImagePipeline": 16}
    assert backend.info.multiple == expected[backend.info.pipeline]


def test_defaults_are_those_of_the_pipeline(backend: Backend) -> None:
    steps = {"StableDiffusionPipeline": (50, 7.5), "ZImagePipeline": (8, 0.0)}
    asked = backend.info.defaults
    assert (asked["steps"], asked["guidance_scale"]) == steps[backend.info.pipeline]


def test_every_step_is_told_and_may_stop_it(backend: Backend) -> None:
    steps: list[int] = []
    backend.run([WORK], lambda step, latents: steps.append(step))
    assert steps == [1, 2, 3]

    def stop(step: int, latents: Any) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        backend.run([WORK], stop)
