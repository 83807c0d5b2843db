"""The articles' own services, each with one line of Safelight, scraped by the real Prometheus."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from diffusers import StableDiffusionPipeline
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from safelight.metrics.registry import parse
from safelight.rules.files import rule_file
from safelight.settings import program_environment
from tests.asking import HTTP
from tests.examples.test_services import png, wait_for_address
from tests.pipelines import text_pipeline
from tests.stack.waiting import eventually, free_ports
from tests.untrained import build_edit

ARTICLES = Path(__file__).parents[2] / "examples" / "articles"
SERVICES = ("edit_service", "diffusion_api", "recognition_service")
NAMESPACES = ("instructpix2pix", "diffusion", "recognition")


def models(folder: Path) -> dict[str, Path]:
    """Save a tiny model for each service."""
    edit = build_edit()
    edit.save_pretrained(folder / "edit_service")
    text: StableDiffusionPipeline = text_pipeline(edit)
    text.save_pretrained(folder / "diffusion_api")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    ResNetForImageClassification(config).save_pretrained(folder / "recognition_service")
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=1.0)
    processor.save_pretrained(folder / "recognition_service")
    return {name: folder / name for name in SERVICES}


class World:
    """The three services and a Prometheus that scrapes them every second."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        for name, model in models(folder).items():
            command = [sys.executable, str(ARTICLES / f"{name}.py"), str(model), str(ports[name])]
            environment = program_environment(OMP_NUM_THREADS="1")
            process = stack.enter_context(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
            )
            stack.callback(process.terminate)
            wait_for_address(process)
        self.prometheus = self._start_prometheus(folder, stack, ports)

    def _start_prometheus(self, folder: Path, stack: ExitStack, ports: dict[str, int]) -> str:
        [port] = free_ports(1)
        (folder / "rules.yml").write_text(rule_file(*NAMESPACES))
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{each}"]}]}
            for name, each in ports.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": jobs,
        }
        text = yaml.safe_dump(config)
        (folder / "prometheus.yml").write_text(text)
        command = (
            shutil.which("prometheus") or "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        )
        process = stack.enter_context(subprocess.Popen(command))
        stack.callback(process.terminate)
        return f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        try:
            answer = HTTP.get(
                f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=5
            )
        except httpx.TransportError:
            return []
        return list(answer.json()["data"]["result"]) if answer.is_success else []

    def eventually(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an expression as soon as it has one."""
        return eventually(lambda: self.query(expression), within=60, what=expression)

    def metrics(self, name: str) -> Any:
        """Return the samples of a service's own page."""
        return parse(HTTP.get(f"{self.urls[name]}/metrics", follow_redirects=True).text)

    def value(self, service: str, name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(
            float(value)
            for (each, pairs), value in self.metrics(service).items()
            if each == name and wanted <= pairs
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("articles"), stack)


def edit(world: World, image: bytes = b"") -> httpx.Response:
    return HTTP.post(
        f"{world.urls['edit_service']}/edit",
        files={"image": ("photo.png", image or png(), "image/png")},
        data={"instruction": "make him old"},
        timeout=60,
    )


def generate(world: World, size: int = 64) -> httpx.Response:
    body = {"prompt": "a red hat", "size": size}
    return HTTP.post(f"{world.urls['diffusion_api']}/generate", json=body, timeout=60)


def predict(world: World, image: bytes = b"") -> httpx.Response:
    files = {"image": ("photo.png", image or png(), "image/png")}
    return HTTP.post(f"{world.urls['recognition_service']}/predict", files=files, timeout=60)


def test_the_editing_article_keeps_its_metrics_and_shows_requests_steps_and_failures(
    world: World,
) -> None:
    assert edit(world).status_code == 200
    assert edit(world, b"no picture").status_code == 500
    own = "instructpix2pix_requests_total"
    assert world.value("edit_service", own, endpoint="/edit", status_code="200") == 1
    value = world.value("edit_service", "instructpix2pix_request_total", endpoint="/edit")
    assert value == 2
    failed = {"status_code": "500", "error": "not_an_image"}
    assert world.value("edit_service", "instructpix2pix_request_total", **failed) == 1
    steps = world.value("edit_service", "instructpix2pix_step_latency_seconds_count")
    assert steps == 4
    assert world.value("edit_service", "http_requests_total", handler="/edit", status="200") == 1
    assert world.value("edit_service", "safelight_probe_failures_total") == 0
    world.eventually('instructpix2pix_request_total{job="edit_service", status_code="500"} == 1')


def test_the_diffusion_article_keeps_its_metrics_and_its_hidden_errors_raise_an_alert(
    world: World,
) -> None:
    api = "diffusion_api"
    assert generate(world).status_code == 200
    for number in range(8):
        answer = generate(world, size=63)  # not a multiple of 8, which the pipeline refuses
        assert answer.status_code == 200
        assert answer.json()[1] == 500
        if number == 0:  # `increase` needs a first sample of the series
            world.eventually(f'safelight_http_requests_total{{job="{api}", status="500"}}')
    own = {"handler": "/generate", "method": "POST"}
    assert world.value(api, "http_requests_total", **own, status="2xx") == 9
    assert world.value(api, "safelight_http_requests_total", **own, status="500") == 8
    assert world.value(api, "diffusion_request_total", error="model_error") == 8
    assert world.value(api, "diffusion_request_success_total") == 1
    assert world.value(api, "diffusion_steps_sum") == 4
    world.eventually(f'ALERTS{{alertname="HighAPIErrorRate", job="{api}"}}')


def test_the_recognition_article_keeps_its_metrics_and_shows_its_requests(world: World) -> None:
    assert predict(world).status_code == 200
    assert predict(world, b"no picture").status_code == 500
    service = "recognition_service"
    name = {"model_name": "universal_v3"}
    assert world.value(service, "model_request_total", **name, status="success") == 1
    assert world.value(service, "model_request_total", **name, status="failed") == 1
    assert world.value(service, "model_latency_seconds_count", **name) == 1
    assert world.value(service, "recognition_request_total", endpoint="/predict") == 2
    assert world.value(service, "recognition_request_total", error="internal_error") == 1
    assert world.value(service, "http_requests_total", handler="/predict") == 2
    stage = {"stage": "predict"}
    count = "recognition_request_stage_duration_seconds_count"
    assert world.value(service, count, **stage) == 1


@pytest.mark.parametrize(("service", "namespace"), list(zip(SERVICES, NAMESPACES, strict=True)))
def test_the_service_is_found_by_its_namespace(world: World, service: str, namespace: str) -> None:
    (found,) = world.eventually(f'safelight_service_info{{namespace="{namespace}"}}')
    assert found["metric"]["job"] == service
    assert world.query('ALERTS{alertname="ServiceMissing", alertstate="firing"}') == []


@pytest.mark.parametrize("name", SERVICES)
def test_an_article_has_one_line_of_safelight(name: str) -> None:
    lines = [
        line.strip()
        for line in (ARTICLES / f"{name}.py").read_text().splitlines()
        if "safelight.watch(" in line
    ]
    assert len(lines) == 1
