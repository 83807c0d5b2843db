"""What comes with the package: whole, small, without pickles, and as any library reads it."""

import json
import shutil
from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.demo import bundle
from safelight.models.demo.bundle import AUTOENCODER, DEMOS, WEIGHTS, save, seal, verified

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
    for part in ("## What it is for", "## Data", "## Figures", "## Limits"):
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
    with pytest.raises(ModelNotFound, match=r"is damaged or missing[.] Install Safelight anew"):
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
def test_a_demo_is_saved_as_a_folder_that_the_library_loads(name: str, tmp_path: Path) -> None:
    save(name, tmp_path / "model")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "model")
    assert type(pipeline).__name__ == PIPELINES[name]


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        save("demo-recognize", tmp_path)
