"""What an image shows, with real classifiers."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, Labels, ModelOrder, Recognition
from safelight.models.load import load_backend
from tests.pipelines import classifier, picture


def load(folder: Path) -> Backend:
    return load_backend(ModelOrder(str(folder), "cpu", "float32"))


def labels(backend: Backend, *tops: int) -> list[tuple[tuple[str, float], ...]]:
    works = [Recognition(image=picture(100, 70), top=top) for top in tops]
    made = backend.run(works, lambda step, latents: None)
    assert all(isinstance(each, Labels) for each in made)
    return [each.scores for each in made]  # type: ignore[union-attr]


@pytest.mark.parametrize("several", [False, True])
def test_labels_come_with_their_scores_the_best_first(several: bool, tmp_path: Path) -> None:
    backend = load(classifier(tmp_path, several=several))
    assert (backend.task, backend.pipeline) == ("predict", None)
    (scores,) = labels(backend, 5)
    values = [score for _, score in scores]
    assert {name for name, _ in scores} == {"bird", "boat", "bridge"}
    assert values == sorted(values, reverse=True)
    assert all(0 <= score <= 1 for score in values)
    assert (sum(values) == pytest.approx(1)) is not several


def test_each_of_a_batch_gets_as_many_labels_as_it_asked_for(tmp_path: Path) -> None:
    backend = load(classifier(tmp_path, several=False))
    one, two = labels(backend, 1, 2)
    assert (len(one), len(two)) == (1, 2)
    assert one[0] == pytest.approx(two[0])


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_part_is_refused(missing: str, tmp_path: Path) -> None:
    folder = classifier(tmp_path, several=False)
    (folder / missing).unlink()
    with pytest.raises(ModelNotFound):
        load(folder)


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    weights = classifier(tmp_path, several=False) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelNotFound):
        load(tmp_path)


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    folder = classifier(tmp_path, several=False)
    weights = {
        n: w for n, w in load_file(folder / "model.safetensors").items() if "classif" not in n
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFound, match="the weights classifier"):
        load(folder)


def test_that_pickles_are_allowed_forbids_no_safetensors(tmp_path: Path) -> None:
    folder = classifier(tmp_path, several=False)
    order = ModelOrder(str(folder), "cpu", "float32", allow_pickle=True)
    assert load_backend(order).task == "predict"


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    folder = classifier(tmp_path, several=False)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(torch, "load", loaded)
    with pytest.raises(ModelNotFound):
        load(folder)
