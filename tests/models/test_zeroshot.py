"""Recognition of the user's own tags, with CLIP's and SigLIP's real classes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from safelight.errors import BadSetting, ModelNotFound
from safelight.models.backend import Backend, Labels, ModelOrder, Recognition
from safelight.models.load import load_backend
from safelight.models.zeroshot import read_tags
from tests.pipelines import classifier, picture
from tests.untrained import build_edit

TAGS = ("an old man", "a hat", "sunglasses")
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def saved(kind: str, folder: Path) -> Path:
    """Save a tiny model of the kind with its tokenizer and processor; return the folder."""
    tokenizer = build_edit().tokenizer
    text = {
        **_SIZES,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    seen = {**_SIZES, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    size = {"height": 32, "width": 32}
    if kind == "CLIP":
        config = CLIPConfig(text_config=text, vision_config=seen, projection_dim=16)
        CLIPModel(config).save_pretrained(folder)
        CLIPImageProcessorPil(size=size, crop_size=size).save_pretrained(folder)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=seen)).save_pretrained(folder)
        SiglipImageProcessorPil(size=size).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["CLIP", "SigLIP"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(request.param, tmp_path_factory.mktemp("zeroshot"))


@pytest.fixture
def tags(tmp_path: Path) -> Path:
    return written(tmp_path, *TAGS)


def written(folder: Path, *tags: str) -> Path:
    file = folder / "tags.txt"
    file.write_text("\n".join(tags))
    return file


def load(folder: Path, tags: Path | str, **changed: Any) -> Backend:
    given = {"precision": "float32", "tags": str(tags), **changed}
    return load_backend(ModelOrder(str(folder), "cpu", **given))


def scores(backend: Backend) -> dict[str, float]:
    (made,) = backend.run([Recognition(picture(50, 40), top=10)], lambda step, latents: None)
    assert isinstance(made, Labels)
    return dict(made.scores)


def test_an_image_is_scored_against_the_tags_as_the_model_itself_scores_it(
    folder: Path, tags: Path
) -> None:
    backend = load(folder, tags)
    found = scores(backend)
    assert set(found) == set(TAGS)
    model: Any = backend._model  # type: ignore[attr-defined]
    tokens = build_edit().tokenizer(
        [f"This is a photo of {tag}." for tag in TAGS],
        padding="max_length",
        max_length=77,
        truncation=True,
        return_tensors="pt",
    )
    pixels = backend._processor(images=[picture(50, 40)], return_tensors="pt")  # type: ignore[attr-defined]
    with torch.inference_mode():
        logits = model(**tokens, **pixels).logits_per_image[0]
    sums_to_one = type(model).__name__ == "CLIPModel"
    expected = logits.softmax(0) if sums_to_one else logits.sigmoid()
    assert [found[tag] for tag in TAGS] == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_first_line_of_blanks_and_empty_lines_are_no_tags(tmp_path: Path) -> None:
    assert read_tags(written(tmp_path, "", "  a   hat ", "", "glasses")) == ["a hat", "glasses"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ((), "is empty. Write one tag per line"),
        ((" ", ""), "is empty. Write one tag per line"),
        (("hat", "glasses", "Hat"), "has the tag 'hat' twice"),
        (tuple(map(str, range(1001))), "has 1001 tags; the limit is 1000"),
        (("x" * 101,), "has 101 characters; the limit is 100"),
    ],
    ids=["none", "blanks", "twice", "too many", "too long"],
)
def test_tags_that_cannot_be_used_are_refused(
    tags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=said):
        read_tags(written(tmp_path, *tags))


def test_a_file_of_tags_that_cannot_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"The tags .*missing.txt cannot be read"):
        load(folder, tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes("hüte".encode("latin-1"))
    with pytest.raises(BadSetting, match="cannot be read"):
        read_tags(tmp_path / "latin.txt")


def test_without_tags_it_says_how_to_name_them(folder: Path) -> None:
    with pytest.raises(ModelNotFound, match="set SAFELIGHT_TAGS to a file with one tag per line"):
        load(folder, "")


def test_tags_for_a_classifier_with_its_own_labels_are_refused(tags: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelNotFound, match=r"its own labels[.] Unset SAFELIGHT_TAGS"):
        load(classifier(tmp_path / "model", several=False), tags)


def test_int8_weights_take_less_memory_and_score_alike(folder: Path, tags: Path) -> None:
    whole, small = load(folder, tags), load(folder, tags, precision="int8")
    assert small.info.precision == "int8"
    assert small.info.weights_bytes < whole.info.weights_bytes
    assert scores(small) == pytest.approx(scores(whole), abs=0.05)
