"""Models that are no diffusers pipelines: transformers and ONNX Runtime (W9)."""

import contextlib
import copy
import gc
import pickle
import threading
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
from safelight.metrics.catalog import BATCH_SIZE, IN_FLIGHT, MODEL_LATENCY, MODEL_REQUESTS, REQUESTS
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


@pytest.mark.parametrize(
    "run",
    [
        lambda session: session.run(["boxes"], {"images": images(5)}),
        lambda session: session.run(["boxes"], {"images": images(5), "threshold": np.ones(1)}),
        lambda session: session.run(output_names=["boxes"], input_feed={"images": images(5)}),
        lambda session: session.run_with_ort_values(
            ["boxes"], {"images": onnxruntime.OrtValue.ortvalue_from_numpy(images(5))}
        ),
    ],
)
def test_the_batch_of_a_session_is_read_from_its_input(run: Any, session: Any) -> None:
    with watch(pipelines={"yolo": session}) as watched:
        with contextlib.suppress(Exception):  # the network has no threshold
            run(session)
        assert value(watched, MODEL_REQUESTS, model_name="yolo") == 1
        assert value(watched, BATCH_SIZE, "_sum") == 5


def bound(session: Any) -> None:
    binding = session.io_binding()
    binding.bind_cpu_input("images", images())
    binding.bind_output("boxes")
    session.run_with_iobinding(binding)


def test_a_session_with_bound_memory_is_watched(session: Any) -> None:
    with watch(pipelines={"yolo": session}) as watched:
        bound(session)
        assert value(watched, MODEL_REQUESTS, model_name="yolo", status="success") == 1


class Answer:
    """Waits for the results of `run_async`."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._arguments: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._event.set()

    def wait(self) -> tuple[Any, ...]:
        assert self._event.wait(10)
        return self._arguments


@pytest.mark.parametrize("named", [False, True])
def test_a_session_that_calls_back_is_measured_until_its_callback(
    named: bool, session: Any
) -> None:
    """As in microsoft/onnxruntime#24200."""
    answer = Answer()
    with watch(pipelines={"yolo": session}) as watched:
        if named:
            session.run_async(None, {"images": images(2)}, callback=answer, user_data="mine")
        else:
            session.run_async(None, {"images": images(2)}, answer, "mine")
        (boxes,), data, error = answer.wait()
        assert (boxes.shape, data, error) == ((2, 3, 1, 1), "mine", "")
        assert value(watched, MODEL_REQUESTS, model_name="yolo", status="success") == 1
        assert value(watched, BATCH_SIZE, "_sum") == 2
        assert value(watched, IN_FLIGHT) == 0


@pytest.mark.parametrize("inputs", [{"images": "no"}, {"images": np.zeros((2, 9), np.float32)}])
def test_a_session_that_fails_before_or_in_its_callback_is_a_failed_call(
    inputs: Any, session: Any
) -> None:
    answer = Answer()
    with watch(pipelines={"yolo": session}) as watched:
        try:
            session.run_async(None, inputs, answer, None)
        except Exception:
            pass
        else:
            assert answer.wait()[2] != ""
        assert value(watched, MODEL_REQUESTS, model_name="yolo", status="failed") == 1
        assert value(watched, IN_FLIGHT) == 0


class Pictures(torch.utils.data.Dataset[Any]):
    """A data set, as people give it to transformers."""

    def __init__(self, broken: int = -1) -> None:
        self._broken = broken

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index == self._broken:
            raise OSError("a broken picture")
        if index >= len(self):
            raise IndexError
        return picture()


LAZY: dict[str, Any] = {
    "generator": lambda pipe: pipe(picture() for _ in range(4)),
    "data set": lambda pipe: pipe(Pictures()),
    "batches": lambda pipe: pipe(Pictures(), batch_size=2),
}


@pytest.mark.parametrize("ask_pipe", LAZY.values(), ids=LAZY.keys())
def test_a_result_that_transformers_computes_later_is_measured_while_it_is_read(
    ask_pipe: Any,
) -> None:
    """As in huggingface/transformers#14352 and #26826."""
    pipe = classifier()
    plain = ask_pipe(pipe)
    with watch(pipeline=pipe) as watched:
        results = ask_pipe(pipe)
        assert isinstance(results, type(plain))
        assert value(watched, MODEL_REQUESTS, status="success") == 0
        assert value(watched, IN_FLIGHT) == 0
        assert len(list(results)) == 4
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, BATCH_SIZE, "_sum") == 4
        assert value(watched, MODEL_LATENCY, "_sum") > 0.001
        assert value(watched, IN_FLIGHT) == 0


def test_a_later_result_that_fails_is_a_failed_call_and_one_that_is_left_is_none() -> None:
    pipe = classifier()
    with watch(pipeline=pipe) as watched:
        with pytest.raises(OSError, match="broken"):
            list(pipe(Pictures(broken=2)))
        assert value(watched, MODEL_REQUESTS, status="failed") == 1
        left = pipe(Pictures())
        next(iter(left))
        del left
        gc.collect()
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, IN_FLIGHT) == 0


@pytest.mark.parametrize(
    ("args", "kwargs", "size"),
    [
        (([picture()] * 3,), {}, 3),
        ((picture(),), {"candidate_labels": ["cat", "dog"]}, 1),
        ((), {"image": picture(), "question": "what?", "top_k": [1, 2]}, 1),
        ((), {"images": [picture()] * 2, "candidate_labels": ["a", "b", "c"]}, 2),
        (([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],), {}, 1),
        (([[{"role": "user", "content": "a"}]] * 2,), {}, 2),
        (([],), {}, 1),
    ],
)
def test_the_batch_of_a_pipeline_is_read_from_its_input(args: Any, kwargs: Any, size: int) -> None:
    class Pipeline:
        def __call__(self, *args: object, **kwargs: object) -> str:
            return "done"

    pipe = Pipeline()
    with watch(pipeline=pipe) as watched:
        assert pipe(*args, **kwargs) == "done"
        assert value(watched, BATCH_SIZE, "_sum") == size


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
