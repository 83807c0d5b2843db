"""Models that are no diffusers pipelines: transformers and ONNX Runtime (W9)."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fastapi import FastAPI
from onnx import TensorProto, helper
from transformers import (
    ConvNextImageProcessorPil,
    GPT2Config,
    GPT2LMHeadModel,
    ImageClassificationPipeline,
    ResNetConfig,
    ResNetForImageClassification,
)

from safelight import Record, watch
from safelight.errors import AlreadyWatched
from safelight.metrics.catalog import BATCH_SIZE, MODEL_LATENCY, MODEL_REQUESTS, REQUESTS
from safelight.probes.disguise import probe_of
from tests.pipelines import picture
from tests.probes.web import ask
from tests.reading import value


def classifier_model() -> Any:
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        num_labels=3,
        downsample_in_first_stage=False,
    )
    return ResNetForImageClassification(config).eval()


def classifier() -> Any:
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=1.0)
    return ImageClassificationPipeline(model=classifier_model(), image_processor=processor)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as YOLO's: an image in, boxes out."""
    path = tmp_path_factory.mktemp("onnx") / "boxes.onnx"
    shape = ["n", 3, "h", "w"]
    pool = helper.make_node("GlobalAveragePool", ["images"], ["boxes"])
    graph = helper.make_graph(
        [pool],
        "boxes",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 3, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def session(network: Path) -> Any:
    return onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])


def images(count: int = 1) -> Any:
    return np.zeros((count, 3, 8, 8), np.float32)


def test_w9_a_transformers_pipeline_is_one_call_a_request() -> None:
    app, pipe, records = FastAPI(), classifier(), list[Record]()
    app.post("/predict")(lambda: [each["label"] for each in pipe(picture())])
    with watch(app=app, pipeline=pipe, on_record=records.append) as watched:
        assert ask(app, "/predict", "POST").status_code == 200
        assert value(watched, MODEL_LATENCY, "_count") == 1
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, REQUESTS, endpoint="/predict", error="none") == 1
    assert records[0].stages["predict"] > 0
    assert probe_of(pipe) is None


def test_w9_a_model_of_transformers_is_watched() -> None:
    model = classifier_model()
    with watch(pipeline=model, namespace="tagger") as watched:
        model(torch.zeros(4, 3, 32, 32))
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, BATCH_SIZE, "_sum") == 4


def test_a_generation_is_one_call_although_it_runs_the_model_many_times() -> None:
    config = GPT2Config(
        vocab_size=10, n_positions=32, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=9
    )
    model = GPT2LMHeadModel(config)
    with watch(pipeline=model) as watched:
        model.generate(torch.ones(1, 2, dtype=torch.long), max_new_tokens=5, pad_token_id=9)
        assert value(watched, MODEL_REQUESTS, status="success") == 1


def test_w9_an_onnx_session_is_watched(session: Any) -> None:
    with watch(pipelines={"yolo": session}) as watched:
        (boxes,) = session.run(None, {"images": images(5)})
        assert boxes.shape == (5, 3, 1, 1)
        assert value(watched, MODEL_LATENCY, "_count", model_name="yolo") == 1
        assert value(watched, BATCH_SIZE, "_sum") == 5


def test_an_error_of_the_session_is_a_failed_call(session: Any) -> None:
    with watch(pipelines={"yolo": session}) as watched:
        with pytest.raises(ValueError, match="images"):
            session.run(None, {"pictures": images()})
        assert value(watched, MODEL_REQUESTS, model_name="yolo", status="failed") == 1
        assert value(watched, REQUESTS, error="model_error") == 1


def test_w7_a_copied_or_pickled_model_is_not_watched() -> None:
    model = classifier_model()
    with watch(pipeline=model) as watched:
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert type(twin) is ResNetForImageClassification
            twin(torch.zeros(1, 3, 32, 32))
        assert value(watched, MODEL_REQUESTS, status="success") == 0
        assert isinstance(model, ResNetForImageClassification)


def test_a_watched_model_can_be_compiled() -> None:
    model = classifier_model()
    with watch(pipeline=model) as watched:
        compiled: Any = torch.compile(model, backend="eager")
        expected = model(torch.ones(1, 3, 32, 32)).logits
        assert torch.allclose(compiled(torch.ones(1, 3, 32, 32)).logits, expected)
        assert value(watched, MODEL_REQUESTS, status="success") >= 1


def test_a_model_cannot_be_watched_twice(session: Any) -> None:
    with watch(pipeline=session), pytest.raises(AlreadyWatched):
        watch(pipeline=session)
    with watch(pipeline=session):
        pass
