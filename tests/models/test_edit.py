import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, Edit, ModelOrder
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


def nothing(step: int) -> None:
    """Hear of a step, and do nothing."""


def pixels(image: Image.Image) -> Any:
    return np.asarray(image)


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
    assert backend.edit(ORDER, nothing).size == (64, 64)


def test_an_edit_has_the_size_of_what_came_in(demo: Backend) -> None:
    image = demo.edit(replace(ORDER, image=picture(100, 70)), nothing)
    assert (image.size, image.mode) == ((100, 70), "RGB")


def test_every_step_is_told(demo: Backend) -> None:
    steps: list[int] = []
    demo.edit(ORDER, steps.append)
    assert steps == [1, 2, 3]


def test_an_edit_stops_where_the_listener_raises(demo: Backend) -> None:
    def stop(step: int) -> None:
        if step == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        demo.edit(ORDER, stop)


def test_the_same_seed_gives_the_same_image_and_another_another(demo: Backend) -> None:
    first, again = demo.edit(ORDER, nothing), demo.edit(ORDER, nothing)
    other = demo.edit(replace(ORDER, seed=8), nothing)
    assert np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(other))


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
    plain, different = demo.edit(ORDER, nothing), demo.edit(replace(ORDER, **changed), nothing)
    assert not np.array_equal(pixels(plain), pixels(different))


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
    assert said.endswith("Name a hub id, a local folder with model_index.json, or demo-edit.")
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
    assert "the folder has no model_index.json" in refusal(order(tmp_path))


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


def test_a_text_to_image_pipeline_is_refused_by_name(text_pipe: Any, tmp_path: Path) -> None:
    text_pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    said = refusal(order(tmp_path))
    assert "StableDiffusionPipeline, which takes no image" in said


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    said = refusal(order(folder, device="cuda:63"))
    assert "the device cuda:63 is not usable" in said


def test_a_demo_without_a_place_to_be_built_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said = refusal(order("demo-edit", cache_folder=str(tmp_path / "file" / "cache")))
    assert "cannot be built in" in said
