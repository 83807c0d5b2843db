"""Train the demo models for a few steps: the losses fall, and the saved models load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, ZImageTransformer2DModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel, Qwen3Model

from safelight.models.backend import ModelOrder
from safelight.models.load import load_backend
from training import edit, generate, tagger, vae
from training.loop import Training

Train = Callable[..., tuple[float, float]]


def trained(train: Train, folder: Path, *, steps: int, size: int) -> list[str]:
    reports: list[str] = []
    first, last = train(folder, steps, size, reports.append)
    assert last < first
    return reports


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a briefly trained autoencoder."""
    folder = tmp_path_factory.mktemp("runs")
    reports = trained(vae.train, folder, steps=10, size=32)
    assert reports[-2].startswith("step 10 of 10, loss ")
    return folder


def test_the_autoencoder_is_written_and_loaded(folder: Path) -> None:
    loaded = AutoencoderKL.from_pretrained(folder / "vae")
    assert loaded.config.latent_channels == 16
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


def test_the_editor_learns_from_painted_pairs(folder: Path) -> None:
    trained(edit.train, folder, steps=10, size=48)
    assert UNet2DConditionModel.from_pretrained(folder / "edit" / "unet").config.in_channels == 32
    CLIPTextModel.from_pretrained(folder / "edit" / "text_encoder")
    words = AutoTokenizer.from_pretrained(folder / "edit" / "tokenizer")
    assert words.tokenize("make him old") == ["make</w>", "him</w>", "old</w>"]


def test_the_generator_learns_from_captions(folder: Path) -> None:
    trained(generate.train, folder, steps=10, size=48)
    ZImageTransformer2DModel.from_pretrained(folder / "generate" / "transformer")
    Qwen3Model.from_pretrained(folder / "generate" / "text_encoder")


def test_the_tagger_is_served_like_any_other_classifier(folder: Path) -> None:
    trained(tagger.train, folder, steps=20, size=64)
    backend = load_backend(ModelOrder(str(folder / "recognize"), "cpu", "float32"))
    assert backend.task == "predict"


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    def training(name: str) -> Any:
        torch.manual_seed(0)
        modules = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 1)})
        return Training(modules, tmp_path / name, steps=20, rate=0.1)

    def loss(of: Any, *, interrupt_at: int = 99) -> Callable[[int], torch.Tensor]:
        def of_step(step: int) -> torch.Tensor:
            if step == interrupt_at:
                of._save()
                raise KeyboardInterrupt
            value: torch.Tensor = of.modules["one"](torch.ones(1, 2) * step).square().mean()
            return value

        return of_step

    complete, interrupted = training("complete.pt"), training("interrupted.pt")
    complete.run(loss(complete), lambda _text: None)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(loss(interrupted, interrupt_at=7), lambda _text: None)
    resumed = training("interrupted.pt")
    assert resumed.done == 7
    resumed.run(loss(resumed), lambda _text: None)
    assert all(
        torch.equal(resumed.average[name], complete.average[name]) for name in complete.average
    )


def test_a_finished_training_can_get_more_steps(tmp_path: Path) -> None:
    def training(steps: int) -> Any:
        modules = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 1)})
        return Training(modules, tmp_path / "one.pt", steps=steps, rate=0.1)

    for steps in (5, 12):
        more = training(steps)
        more.run(lambda _step, of=more: of.modules["one"](torch.ones(1, 2)).mean(), lambda _: None)
        assert more.done == steps


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    def training(steps: int) -> Any:
        torch.manual_seed(0)
        modules = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 1)})
        return Training(modules, tmp_path / "one.pt", steps=steps, rate=0.1)

    def loss(of: Any) -> Callable[[int], torch.Tensor]:
        return lambda step: of.modules["one"](torch.ones(1, 2) * step).square().mean()

    first = training(10)
    first.run(loss(first), lambda _text: None)
    again = training(10)
    assert again.done == 10
    assert all(torch.equal(again.average[name], first.average[name]) for name in first.average)
