"""The example services whose models are no diffusers pipelines, as processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from safelight.settings import program_environment
from tests.asking import HTTP
from tests.examples.test_services import EXAMPLES, Running, png, wait_for_address
from tests.stack.waiting import free_ports


def network(folder: Path) -> Path:
    """Save a network with an image as input and boxes as output."""
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 640, 640])
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 1, 1])
    pool = helper.make_node("GlobalAveragePool", ["images"], ["boxes"])
    graph = helper.make_graph([pool], "detector", [image], [boxes])
    path = folder / "detector.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def classifier(folder: Path) -> Path:
    """Save a tiny image classifier."""
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    ResNetForImageClassification(config).save_pretrained(folder)
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=1.0)
    processor.save_pretrained(folder)
    return folder


SERVICES = {
    "onnx_service.py": (network, "/detect", "yolo"),
    "classifier_service.py": (classifier, "/predict", ""),
}


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Running, str, str]]:
    save, path, name = SERVICES[request.param]
    [port] = free_ports(1)
    command = [sys.executable, str(EXAMPLES / request.param), str(save(tmp_path)), str(port)]
    environment = program_environment(OMP_NUM_THREADS="1")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            reader = wait_for_address(process)
            yield Running(f"http://127.0.0.1:{port}"), path, name
        finally:
            process.terminate()
        reader.join(timeout=20)


def test_w9_requests_calls_and_failures_of_the_model_are_measured(
    service: tuple[Running, str, str],
) -> None:
    running, path, name = service
    for content, status in ((png(), 200), (b"no image", 422)):
        files = {"image": ("photo.png", content, "image/png")}
        assert HTTP.post(running.url + path, files=files, timeout=60).status_code == status
    labels = {"model_name": name} if name else {}
    assert running.metric("model_request_total", **labels, status="success") == 1
    assert running.metric("model_latency_seconds_count", **labels) == 1
    assert running.metric("recognition_request_total", endpoint=path, status_code="200") == 1
    assert running.metric("recognition_request_total", endpoint=path, status_code="422") == 1
    assert running.metric("safelight_probe_failures_total") == 0
