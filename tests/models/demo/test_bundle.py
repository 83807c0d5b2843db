"""What comes with the package: whole, small, without pickles, and as any library reads it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import AutoImageProcessor, AutoModelForImageClassification

from safelight.errors import ModelNotFound
from safelight.models.backend import Edit, MadeImage, ModelOrder
from safelight.models.demo import bundle
from safelight.models.demo.bundle import AUTOENCODER, DEMOS, WEIGHTS, save, seal, verified
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.load import load_backend

MB = 1_000_000
PARTS = (*DEMOS, AUTOENCODER)
PIPELINES = {
    "demo-edit": "StableDiffusionInstructPix2PixPipeline",
    "demo-generate": "ZImagePipeline",
}


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the weights, which the package takes for its own."""
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder)
    monkeypatch.setattr(bundle, "WEIGHTS", folder)
    return folder


@pytest.mark.parametrize("name", PARTS)
def test_what_is_shipped_is_whole(name: str) -> None:
    assert any(verified(name).iterdir())


def test_it_is_small_and_holds_no_pickle() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 24 * MB
    assert {file.suffix for file in files} == {".json", ".jinja", ".md", ".safetensors"}


@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_a_card(name: str) -> None:
    card = (verified(name) / "README.md").read_text()
    for part in ("## Purpose", "## Data", "## Measurements", "## Limits"):
        assert part in card


def test_every_file_has_its_checksum() -> None:
    listed = set(json.loads((WEIGHTS / "checksums.json").read_text()))
    there = {str(f.relative_to(WEIGHTS)) for f in WEIGHTS.rglob("*") if f.is_file()}
    assert there == listed | {"checksums.json"}


@pytest.mark.parametrize("name", PARTS)
def test_a_damaged_file_is_told(name: str, copied: Path) -> None:
    weights = next((copied / DEMOS.get(name, name)).rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelNotFound, match=r"is damaged or missing[.] Reinstall Safelight"):
        verified(name)


def test_a_missing_file_is_told(copied: Path) -> None:
    (copied / "recognize" / "config.json").unlink()
    with pytest.raises(ModelNotFound, match=r"recognize/config[.]json is damaged or missing"):
        verified("demo-recognize")


def test_sealing_again_changes_nothing(copied: Path) -> None:
    before = (copied / "checksums.json").read_text()
    seal(copied)
    assert (copied / "checksums.json").read_text() == before


@pytest.mark.parametrize("name", PIPELINES)
def test_a_saved_pipeline_loads_and_runs_with_the_defaults_of_diffusers(
    name: str, tmp_path: Path
) -> None:
    save(name, tmp_path / "model")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "model")
    pipeline.set_progress_bar_config(disable=True)
    inputs = {"image": paint(draw(1))} if name == "demo-edit" else {"width": 64, "height": 64}

    [image] = pipeline(prompt="make him old", num_inference_steps=2, **inputs).images

    assert type(pipeline).__name__ == PIPELINES[name]
    assert image.size == (64, 64)
    assert {pipeline.text_encoder.dtype, pipeline.vae.dtype} == {torch.float32}


def test_a_saved_recogniser_runs_in_the_default_pipeline_of_transformers(tmp_path: Path) -> None:
    save("demo-recognize", tmp_path / "model")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "model")

    logits = model(**processor(paint(draw(1)), return_tensors="pt")).logits

    assert model.dtype == torch.float32
    assert logits.isfinite().all()


def test_a_users_folder_of_float16_weights_is_served_with_the_default_settings(
    tmp_path: Path,
) -> None:
    save("demo-edit", tmp_path / "demo")
    half = DiffusionPipeline.from_pretrained(tmp_path / "demo", dtype=torch.float16)
    half.save_pretrained(tmp_path / "half")
    backend = load_backend(ModelOrder(str(tmp_path / "half"), "cpu", warm_up=False))
    edit = Edit(paint(draw(1)), "make him old", "", 2, 1.5, 1.0, 1)

    [output] = backend.run([edit], lambda _step, _latents: None)

    assert isinstance(output, MadeImage)
    assert output.finite
    assert output.pixels.std() > 1


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        save("demo-recognize", tmp_path)
