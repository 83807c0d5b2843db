"""Each family of models, served from a folder by the real command, in a process of its own."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.asking import HTTP
from tests.pipelines import classifier, z_image_pipeline
from tests.serving.conftest import RealService, serving
from tests.serving.jobs import PICTURE

ASKED = {"prompt": "a red hat", "steps": 2, "width": 64, "height": 48}


@pytest.fixture(scope="module")
def painting(
    tmp_path_factory: pytest.TempPathFactory, shared_edit_pipeline: Any
) -> Iterator[RealService]:
    folder = tmp_path_factory.mktemp("z-image")
    z_image_pipeline(shared_edit_pipeline).save_pretrained(folder / "model")
    with serving(folder, str(folder / "model")) as service:
        yield service


def test_a_text_to_image_folder_generates(painting: RealService) -> None:
    answer = HTTP.post(f"{painting.url}/generate", json=ASKED)
    assert answer.status_code == 200, answer.text
    assert Image.open(BytesIO(answer.content)).size == (64, 48)
    counted = [
        number
        for (name, _), number in painting.samples().items()
        if name.endswith("step_latency_seconds_count")
    ]
    assert sum(counted) >= 2


def test_it_generates_through_the_openai_route(painting: RealService) -> None:
    sent = {"prompt": "a red hat", "size": "64x48", "n": 2, "steps": 2}
    answer = HTTP.post(f"{painting.url}/v1/images/generations", json=sent)
    assert answer.status_code == 200, answer.text
    made = [base64.b64decode(image["b64_json"]) for image in answer.json()["data"]]
    assert [Image.open(BytesIO(image)).size for image in made] == [(64, 48)] * 2
    assert made[0] != made[1]


def test_it_refuses_an_edit(painting: RealService) -> None:
    headers = {"content-type": "image/jpeg"}
    answer = HTTP.post(f"{painting.url}/api/edit?instruction=x", content=PICTURE, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (404, "unsupported_task")


def test_a_classifiers_folder_recognises(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    folder = classifier(tmp_path / "model", several=True)
    with serving(tmp_path, str(folder)) as service:
        answer = HTTP.post(
            f"{service.url}/predict?top=2", content=PICTURE, headers={"content-type": "image/jpeg"}
        )
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["labels"]) == 2
