"""Run the example services as processes, send edits, and read /metrics."""

import ast
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from safelight.metrics.registry import parse, where
from safelight.settings import program_environment
from safelight.stories.replay import free_port
from tests.asking import HTTP
from tests.pipelines import picture
from tests.reading import page_of
from tests.untrained import build_edit

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICES = ("fastapi_service.py", "flask_service.py")
STEPS = 4


@dataclass(frozen=True)
class Running:
    """A running example service."""

    url: str

    def edit(self, image: bytes, instruction: str = "make him old") -> httpx.Response:
        return HTTP.post(
            f"{self.url}/edit",
            files={"image": ("photo.png", image, "image/png")},
            data={"instruction": instruction, "steps": str(STEPS)},
            timeout=60,
        )

    def metric(self, name: str, **labels: str) -> float:
        text = page_of(f"{self.url}/metrics", HTTP)
        return sum(number for _, number in where(parse(text), name, **labels))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "untrained"
    build_edit().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest, model: Path) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, str(EXAMPLES / request.param), str(model), str(port)]
    environment = program_environment(OMP_NUM_THREADS="1")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            reader = wait_for_address(process)
            yield Running(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
        reader.join(timeout=20)


def wait_for_address(process: "subprocess.Popen[str]") -> threading.Thread:
    """Read the output until it contains the address; then read on, so that the pipe stays empty."""
    assert process.stderr is not None
    output = ""
    for line in process.stderr:
        output += line
        if "http://127.0.0.1" in line:
            break
    else:
        pytest.fail(f"The service ended: {output}")
    reader = threading.Thread(target=process.stderr.read)
    reader.start()
    return reader


def png(width: int = 64, height: int = 64) -> bytes:
    file = BytesIO()
    picture(width, height).save(file, "PNG")
    return file.getvalue()


def test_p8_p9_an_image_is_edited_and_every_step_is_in_the_metrics(service: Running) -> None:
    response = service.edit(png())
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(response.content)).size == (64, 64)
    labels = {"endpoint": "/edit", "instruction_type": "make_him_old"}
    pix = "instructpix2pix"
    assert service.metric(f"{pix}_request_success_total", **labels) == 1
    assert service.metric(f"{pix}_request_duration_seconds_count", **labels, status_code="200") == 1
    assert service.metric(f"{pix}_step_latency_seconds_count", step="1-5") == STEPS
    assert service.metric(f"{pix}_request_images_total", image_size="64x64") == 1
    assert service.metric("http_requests_total", handler="/edit", method="POST") == 1
    assert service.metric("safelight_probe_failures_total") == 0


def test_p2_an_invalid_image_is_counted_with_its_reason(service: Running) -> None:
    service.edit(png())
    assert service.edit(b"no image").status_code == 422
    failed = {"status_code": "422", "error": "invalid_parameter", "instruction_type": "none"}
    assert service.metric("instructpix2pix_request_total", endpoint="/edit", **failed) == 1


def test_parallel_callers_each_get_a_response(service: Running) -> None:
    with ThreadPoolExecutor(4) as callers:
        responses = list(callers.map(lambda _: service.edit(png()), range(8)))

    assert [response.status_code for response in responses] == [200] * 8


def test_promtool_accepts_the_metrics_of_an_example(service: Running) -> None:
    service.edit(png())
    text = HTTP.get(f"{service.url}/metrics").text
    process = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (process.returncode, process.stdout + process.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_an_example_calls_safelight_once(name: str) -> None:
    code = ast.unparse(ast.parse((EXAMPLES / name).read_text()).body[1:])  # type: ignore[arg-type]
    lines = [line.strip() for line in code.splitlines() if re.search(r"safelight", line)]
    assert lines == ["import safelight", "safelight.watch(app=app, pipeline=pipe)"]


def test_every_example_is_tested() -> None:
    clients = {"portraits.py", "openai_client.py"}  # in tests/stack/test_real_stack.py
    others = {"onnx_service.py", "classifier_service.py"}  # in tests/examples/test_models.py
    assert {file.name for file in EXAMPLES.glob("*.py")} == {*SERVICES, *clients, *others}
