"""The size of weights, read from real files of real models."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from safelight.models.backend import ModelOrder
from safelight.models.load import load_backend
from safelight.models.source import Source, source_of
from safelight.models.weights import weights_bytes
from tests.pipelines import classifier, edit_pipeline


@pytest.mark.parametrize("model", ["demo-edit", "demo-generate", "demo-recognize"])
@pytest.mark.parametrize(("precision", "number_bytes"), [("float32", 4), ("bfloat16", 2)])
def test_it_is_the_size_of_the_loaded_model(model: str, precision: str, number_bytes: int) -> None:
    order = ModelOrder(model, "cpu", precision, warm_up=False)

    estimate = weights_bytes(source_of(order), number_bytes)
    loaded = load_backend(order).info.weights_bytes

    assert 0.99 * loaded <= estimate <= 1.01 * loaded  # buffers are not in files


def test_a_saved_pipeline_and_a_classifier_are_measured_too(tmp_path: Path) -> None:
    edit_pipeline().save_pretrained(tmp_path / "edit")
    classifier(tmp_path / "labels", several=False)
    for name in ("edit", "labels"):
        order = ModelOrder(str(tmp_path / name), "cpu", warm_up=False)
        loaded = load_backend(order).info.weights_bytes
        assert weights_bytes(source_of(order), 4) == pytest.approx(loaded, rel=0.02)


def test_weights_in_several_files_count_once_each(tmp_path: Path) -> None:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for name in names:
        tensors = {"a": torch.zeros(10, 10), "b": torch.zeros(10, 10), "n": torch.zeros(5).long()}
        save_file(tensors, tmp_path / name)
    places = {"a": names[0], "b": names[0], "c": names[1]}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    assert weights_bytes(Source(str(tmp_path), is_pipeline=False), 2) == 2 * (200 * 2 + 5 * 8)


def test_a_second_variant_of_a_part_does_not_count(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors"):
        save_file({"a": torch.zeros(100)}, tmp_path / name)

    assert weights_bytes(Source(str(tmp_path), is_pipeline=False), 4) == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 8,
        b"\x02\0\0\0\0\0\0\0{",
        b"\x02\0\0\0\0\0\0\0[]",
        b'\x0a\0\0\0\0\0\0\0{"a": [1]}',
        b"\x10\0\0\0\0\0\0\0" + b"[" * 16,
    ],
)
def test_a_damaged_file_is_of_unknown_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    assert weights_bytes(Source(str(tmp_path), is_pipeline=False), 4) == 0


def test_a_model_that_is_not_here_is_of_unknown_size(tmp_path: Path) -> None:
    for place in ("nobody/nothing-that-was-downloaded", "x" * 5000, str(tmp_path)):
        for is_pipeline in (True, False):
            assert weights_bytes(Source(place, is_pipeline), 4) == 0
