from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, Edit, ModelOrder, OnStep, Picture
from safelight.models.diffusion import _picture
from safelight.models.load import load_backend
from tests.pipelines import picture

ORDER = Edit(
    image=picture(),
    instruction="make him old",
    negative_prompt="",
    steps=3,
    guidance_scale=7.5,
    image_guidance_scale=1.5,
    seed=7,
)


def order(model: Path | str, **changed: str) -> ModelOrder:
    given = {"device": "cpu", "precision": "float32", "cache_folder": "/nowhere", **changed}
    return ModelOrder(str(model), **given)


def nothing(step: int, latents: Any) -> None:
    """Hear of a step, and do nothing."""


def edited(backend: Backend, edit: Edit, on_step: OnStep = nothing) -> Any:
    """Return the pixels of one edit."""
    (made,) = backend.run([edit], on_step)
    assert isinstance(made, Picture)
    assert made.finite
    return made.pixels


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def demo(cache: Path) -> Backend:
    return load_backend(order("demo-edit", cache_folder=str(cache)))


@pytest.fixture(scope="module")
def folder(cache: Path, demo: Backend) -> Path:
    """Return a local folder with a model, as any user may have one."""
    (made,) = cache.glob("demo-edit-*")
    return made


def test_the_bundled_demo_is_loaded(demo: Backend) -> None:
    assert demo.info.as_dict() == {
        "model": "demo-edit",
        "pipeline": "StableDiffusionInstructPix2PixPipeline",
        "scheduler": "EulerAncestralDiscreteScheduler",
        "precision": "float32",
        "device": "cpu",
    }


def test_any_local_folder_is_loaded_and_shown_without_its_path(folder: Path) -> None:
    backend = load_backend(order(folder))
    assert backend.info.model == folder.name
    assert edited(backend, ORDER).shape == (64, 64, 3)


def test_an_edit_has_the_size_of_what_came_in_down_to_the_next_multiple_of_8(
    demo: Backend,
) -> None:
    pixels = edited(demo, replace(ORDER, image=picture(100, 70)))
    assert (pixels.shape, pixels.dtype) == ((64, 96, 3), "uint8")


def test_a_batch_gives_each_edit_its_own_image_as_it_would_be_alone(demo: Backend) -> None:
    edits = [ORDER, replace(ORDER, seed=8), replace(ORDER, instruction="add a hat")]
    made = demo.run(edits, nothing)
    for edit, picture_ in zip(edits, made, strict=True):
        assert isinstance(picture_, Picture)
        # Other shapes sum in another order: a grey level may round the other way.
        assert abs(picture_.pixels.astype(int) - edited(demo, edit).astype(int)).max() <= 2


def test_numbers_that_are_none_are_told() -> None:
    broken = torch.full((3, 8, 8), float("nan"))
    assert not _picture(broken).finite
    assert _picture(torch.full((3, 8, 8), 0.5)).pixels.max() == 128


def test_every_step_is_told(demo: Backend) -> None:
    steps: list[int] = []
    edited(demo, ORDER, lambda step, latents: steps.append(step))
    assert steps == [1, 2, 3]


def test_an_edit_stops_where_the_listener_raises(demo: Backend) -> None:
    def stop(step: int, latents: Any) -> None:
        if step == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        edited(demo, ORDER, stop)


def test_the_same_seed_gives_the_same_image_and_another_another(demo: Backend) -> None:
    first, again = edited(demo, ORDER), edited(demo, ORDER)
    other = edited(demo, replace(ORDER, seed=8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "changed",
    [
        {"instruction": "add a hat"},
        {"negative_prompt": "blurred"},
        {"guidance_scale": 2.0},
        {"image_guidance_scale": 3.0},
        {"steps": 4},
        {"image": picture().rotate(90)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_parameter_reaches_the_model(demo: Backend, changed: dict[str, Any]) -> None:
    assert not np.array_equal(edited(demo, ORDER), edited(demo, replace(ORDER, **changed)))


def test_the_precision_asked_for_is_that_of_the_weights(folder: Path) -> None:
    assert load_backend(order(folder, precision="bfloat16")).info.precision == "bfloat16"


def test_the_best_device_and_its_precision_are_chosen(folder: Path) -> None:
    info = load_backend(order(folder, device="auto", precision="auto")).info
    assert (info.device.partition(":")[0], info.precision) in {
        ("cpu", "float32"), ("cuda", "float16"),
    }  # fmt: skip


# ── What cannot be loaded ────────────────────────────────────────────────────────────────────────


def refusal(wanted: ModelOrder) -> str:
    with pytest.raises(ModelNotFound) as raised:
        load_backend(wanted)
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 500
    assert said.endswith(
        "Name a hub id, a local folder with model_index.json or config.json, or demo-edit."
    )
    assert raised.value.exit_code == 3
    return said


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "is no folder here" in refusal(order(tmp_path / "missing"))


def test_a_hub_id_out_of_reach_is_refused() -> None:
    assert "the hub lacks it or is out of reach" in refusal(order("nobody/no-such-model"))


@pytest.mark.parametrize("model", ["", "  ", "a b/c?", "../..", "x" * 300, "demo-edti"])
def test_a_name_that_is_no_model_is_refused(model: str) -> None:
    refusal(order(model))


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    assert "the folder has neither a model_index.json" in refusal(order(tmp_path))


@pytest.mark.parametrize(
    "index",
    ["", "{", "[]", "{}", '{"_class_name": "NoSuchPipeline"}', '{"_class_name": 7}'],
)
def test_a_folder_with_a_broken_index_is_refused(index: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(index)
    refusal(order(tmp_path))


def test_a_folder_without_its_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text((folder / "model_index.json").read_text())
    refusal(order(tmp_path))


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    said = refusal(order(folder, device="cuda:63"))
    assert "the device cuda:63 is not usable" in said


def test_a_demo_without_a_place_to_be_built_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said = refusal(order("demo-edit", cache_folder=str(tmp_path / "file" / "cache")))
    assert "cannot be built in" in said
