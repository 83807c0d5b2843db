from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

from safelight.models.demo import build
from safelight.models.demo.build import DEMOS, build_edit, demo_folder

MB = 1_000_000


def weights(pipe: Any) -> list[Any]:
    parts = (pipe.unet, pipe.vae, pipe.text_encoder)
    return [tensor for part in parts for tensor in part.state_dict().values()]


def test_the_demo_is_of_the_real_class(shared_edit_pipeline: Any) -> None:
    assert type(shared_edit_pipeline) is StableDiffusionInstructPix2PixPipeline


def test_every_build_has_the_same_weights() -> None:
    first, second = weights(build_edit()), weights(build_edit())
    assert len(first) == len(second) > 100
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_a_build_leaves_the_callers_chance_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build_edit()
    assert torch.equal(before, torch.get_rng_state())


def test_every_letter_is_a_token(shared_edit_pipeline: Any) -> None:
    tokenizer = shared_edit_pipeline.tokenizer
    ids = tokenizer("make him old, 让他变老 🙂").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert len(set(ids)) > 10


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_is_built_once_and_kept(name: str, tmp_path: Path) -> None:
    folder = demo_folder(name, tmp_path / "new" / "cache")
    index = folder / "model_index.json"
    built_at = index.stat().st_mtime_ns
    assert demo_folder(name, tmp_path / "new" / "cache") == folder
    assert index.stat().st_mtime_ns == built_at
    assert [found.name for found in folder.parent.iterdir()] == [folder.name]


def test_the_demo_is_a_few_megabytes_of_safetensors(tmp_path: Path) -> None:
    files = [file for file in demo_folder("demo-edit", tmp_path).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 20 * MB
    assert any(file.suffix == ".safetensors" for file in files)
    assert not any(file.suffix in {".bin", ".ckpt", ".pt"} for file in files)


class Cut(Exception):
    """What cuts a build short."""


def test_a_build_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        def save_pretrained(self, folder: Path, **_: Any) -> None:
            folder.mkdir()
            (folder / "model_index.json").write_text("{")
            raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(build, "build_edit", Half)
        with pytest.raises(Cut):
            demo_folder("demo-edit", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (demo_folder("demo-edit", tmp_path) / "unet").is_dir()


def test_of_two_processes_that_build_at_once_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def save_pretrained(self, folder: Path, **_: Any) -> None:
            with monkeypatch.context() as patched:
                patched.setattr(build, "build_edit", build_edit)
                demo_folder("demo-edit", tmp_path)  # the other process, meanwhile
            folder.mkdir()
            (folder / "model_index.json").write_text("ours, which comes too late")

    monkeypatch.setattr(build, "build_edit", Slow)
    folder = demo_folder("demo-edit", tmp_path)
    assert (folder / "unet").is_dir()
    assert [found.name for found in tmp_path.iterdir()] == [folder.name]
