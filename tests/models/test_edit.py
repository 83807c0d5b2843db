import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, Edit, MadeImage, ModelOrder, OnStep
from safelight.models.diffusion import _as_image
from safelight.models.edit import EditBackend
from safelight.models.load import load_backend
from safelight.models.pipelines import save_memory
from tests.pipelines import picture, xl_edit_pipeline
from tests.untrained import build_edit

ORDER = Edit(
    image=picture(),
    instruction="make him old",
    negative_prompt="",
    steps=3,
    guidance_scale=7.5,
    image_guidance_scale=1.5,
    seed=7,
)


def order(model: Path | str, **changed: Any) -> ModelOrder:
    given = {"device": "cpu", "precision": "float32", "warm_up": False, **changed}
    return ModelOrder(str(model), **given)


def nothing(step: int, latents: Any) -> None:
    """Hear of a step, and do nothing."""


def edited(backend: Backend, edit: Edit, on_step: OnStep = nothing) -> Any:
    """Return the pixels of one edit."""
    (made,) = backend.run([edit], on_step)
    assert isinstance(made, MadeImage)
    assert made.finite
    return made.pixels


@pytest.fixture(scope="module")
def demo() -> Backend:
    return load_backend(order("demo-edit"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a local folder with a model, as any user may have one."""
    made = tmp_path_factory.mktemp("models") / "untrained"
    build_edit().save_pretrained(made)
    return made


def test_the_bundled_demo_is_loaded(demo: Backend) -> None:
    info = demo.info
    assert (info.model, info.pipeline, info.scheduler, info.precision, info.device) == (
        "demo-edit",
        "StableDiffusionInstructPix2PixPipeline",
        "EulerAncestralDiscreteScheduler",
        "float32",
        "cpu",
    )
    assert info.side == 64
    assert info.defaults["steps"] == 20


def test_any_local_folder_is_loaded_and_shown_without_its_path(folder: Path) -> None:
    backend = load_backend(order(folder))
    assert backend.info.model == folder.name
    assert edited(backend, ORDER).shape == (64, 64, 3)


def test_an_edit_has_the_size_of_what_came_in_down_to_the_next_multiple_of_8(demo: Backend) -> None:
    pixels = edited(demo, replace(ORDER, image=picture(100, 70)))
    assert (pixels.shape, pixels.dtype) == ((64, 96, 3), "uint8")


def test_a_batch_gives_each_edit_its_own_image_as_it_would_be_alone(demo: Backend) -> None:
    edits = [ORDER, replace(ORDER, seed=8), replace(ORDER, instruction="add a hat")]
    made = demo.run(edits, nothing)
    for edit, picture_ in zip(edits, made, strict=True):
        assert isinstance(picture_, MadeImage)
        # Other shapes sum in another order: a grey level may round the other way.
        assert abs(picture_.pixels.astype(int) - edited(demo, edit).astype(int)).max() <= 2


def test_numbers_that_are_none_are_told() -> None:
    broken = torch.full((3, 8, 8), float("nan"))
    assert not _as_image(broken).finite
    assert _as_image(torch.full((3, 8, 8), 0.5)).pixels.max() == 128


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
        ("cpu", "float32"),
        ("cuda", "float16"),
    }


# ── The XL sibling, which knows another callback and likes another size ──────────────────────────


@pytest.fixture(scope="module")
def large(shared_edit_pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    folder = tmp_path_factory.mktemp("xl")
    xl_edit_pipeline(shared_edit_pipeline).save_pretrained(folder)
    return load_backend(order(folder))


@pytest.mark.parametrize("size", [(128, 128), (128, 96), (64, 64), (100, 70)])
def test_the_xl_sibling_edits_at_the_size_that_came_in(
    large: Backend, size: tuple[int, int]
) -> None:
    assert (large.task, large.info.defaults["steps"]) == ("edit", 30)
    steps: list[int] = []
    pixels = edited(large, replace(ORDER, image=picture(*size)), lambda n, _: steps.append(n))
    assert pixels.shape == (size[1] // 8 * 8, size[0] // 8 * 8, 3)
    assert steps == [1, 2, 3]


# ── What cannot be loaded ────────────────────────────────────────────────────────────────────────


def refusal(wanted: ModelOrder) -> str:
    with pytest.raises(ModelNotFound) as raised:
        load_backend(wanted)
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 700
    assert said.endswith(
        "Give a hub id, a demo such as demo-edit, or a folder with model_index.json or config.json."
    )
    assert raised.value.exit_code == 3
    return said


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "is not a local folder" in refusal(order(tmp_path / "missing"))


def test_a_hub_id_out_of_reach_is_refused() -> None:
    assert "the hub does not have it, needs a token or is unreachable" in refusal(
        order("nobody/no-such-model")
    )


@pytest.mark.parametrize("model", ["", "  ", "a b/c?", "../..", "x" * 300, "demo-edti"])
def test_a_name_that_is_no_model_is_refused(model: str) -> None:
    refusal(order(model))


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    assert "the folder has neither a model_index.json" in refusal(order(tmp_path))


@pytest.mark.parametrize(
    "index", ["", "{", "[]", "{}", '{"_class_name": "NoSuchPipeline"}', '{"_class_name": 7}']
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


@pytest.mark.parametrize("text", ["[]", "{", '{"speed": 1}', '{"steps": "many"}', "7", "\xff"])
def test_defaults_that_are_none_are_refused(text: str, folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "model")
    (copied / "safelight.json").write_bytes(text.encode("latin-1"))
    assert "its safelight.json must be an object with valid numbers" in refusal(order(copied))


def test_defaults_are_read_from_the_folder(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "model")
    (copied / "safelight.json").write_text('{"steps": 7, "guidance_scale": 2.5}')
    assert load_backend(order(copied)).info.defaults == {
        "steps": 7,
        "guidance_scale": 2.5,
        "image_guidance_scale": 1.5,
        "width": 512,
        "height": 512,  # the pipeline's own
    }


def test_tags_for_a_model_that_labels_nothing_are_refused(folder: Path) -> None:
    assert "it does not label images. Unset SAFELIGHT_TAGS" in refusal(
        order(folder, tags="tags.txt")
    )


def test_pickles_are_loaded_only_if_they_are_allowed(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "model")
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    said = refusal(order(copied))
    assert "unet/diffusion_pytorch_model.bin is a pickle" in said
    assert "set SAFELIGHT_ALLOW_PICKLE=true if you trust it" in said
    assert edited(load_backend(order(copied, allow_pickle=True)), ORDER).shape == (64, 64, 3)


def test_a_damaged_file_of_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "model")
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refusal(order(copied))


# ── Memory and warmth ────────────────────────────────────────────────────────────────────────────


def test_int8_weights_take_less_memory_and_make_nearly_the_same_image(demo: Backend) -> None:
    small = load_backend(order("demo-edit", precision="int8"))
    assert small.info.precision == "int8"
    assert small.info.weights_bytes < 0.9 * demo.info.weights_bytes
    difference = edited(small, ORDER).astype(int) - edited(demo, ORDER)
    assert abs(difference).mean() < 3


def test_slicing_and_tiling_change_the_memory_and_not_the_image(demo: Backend) -> None:
    spared = load_backend(order("demo-edit", attention_slicing=True, vae_tiling=True))
    assert spared.pipeline.vae.use_tiling
    kinds = {type(p).__name__ for p in spared.pipeline.unet.attn_processors.values()}
    assert kinds == {"SlicedAttnProcessor"}
    assert abs(edited(spared, ORDER).astype(int) - edited(demo, ORDER)).max() <= 2


def test_a_pipeline_without_tiling_is_refused() -> None:
    with pytest.raises(
        ModelNotFound, match=r"does not support tiling[.] Unset SAFELIGHT_VAE_TILING"
    ):
        save_memory(SimpleNamespace(vae=object()), order("demo-edit", vae_tiling=True))


def test_a_model_whose_first_call_fails_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("mask_image is missing")

    monkeypatch.setattr(EditBackend, "run", broken)
    assert "its first call failed: mask_image is missing" in refusal(order(folder, warm_up=True))


def test_out_of_memory_during_the_warm_up_is_not_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(EditBackend, "run", full)
    assert load_backend(order(folder, warm_up=True)).task == "edit"
    assert "out of memory" in capsys.readouterr().err


def test_infinite_latents_are_reported_although_pixels_are_clamped(demo: Backend) -> None:
    def spoil(step: int, latents: Any) -> None:
        if step == ORDER.steps:
            latents[0, 0, 0, 0] = float("inf")

    first, second = demo.run([ORDER, ORDER], spoil)
    assert isinstance(first, MadeImage)
    assert isinstance(second, MadeImage)
    assert (first.finite, second.finite) == (False, True)


def test_the_warm_up_is_measured(folder: Path) -> None:
    assert load_backend(order(folder)).info.warm_up_seconds == 0
    assert load_backend(order(folder, warm_up=True)).info.warm_up_seconds > 0


def test_a_truncated_prompt_is_reported(demo: Backend) -> None:
    long = replace(ORDER, instruction="make him old " * 40)
    (short_one, long_one) = demo.run([ORDER, long], nothing)
    assert isinstance(short_one, MadeImage)
    assert isinstance(long_one, MadeImage)
    assert (short_one.truncated, long_one.truncated) == (False, True)
