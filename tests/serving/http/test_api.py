"""The routes, on a real service: three kinds of body, two kinds of answer, and what is measured."""

import subprocess
from base64 import b64decode, b64encode, urlsafe_b64encode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from safelight.stack.tools.samples import photo
from tests.quality.pictures import FORMATS, card, saved
from tests.serving.conftest import RealService

JPEG = {"content-type": "image/jpeg"}


def size_of(answer_body: bytes) -> tuple[int, int]:
    image = Image.open(BytesIO(answer_body))
    assert image.format == "PNG"
    return image.size


def picture(size: tuple[int, int], kind: str, mode: str = "RGB", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def test_a_photograph_as_a_raw_body_comes_back_edited_in_its_own_size(service: RealService) -> None:
    answer = service.client.post(
        "/api/edit",
        params={"instruction": "make him old", "steps": 3, "seed": 7},
        content=photo(250, 167),
        headers=JPEG,
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert size_of(answer.content) == (250, 167)
    assert answer.headers["x-safelight-seed"] == "7"
    assert len(answer.headers["x-request-id"]) == 32


def test_a_form_and_json_do_the_same_as_a_raw_body(service: RealService) -> None:
    asked: dict[str, str | int] = {"instruction": "add sunglasses", "steps": 2, "seed": 3}
    raw = service.client.post("/api/edit", params=asked, content=photo(64, 64), headers=JPEG)
    form = service.client.post("/api/edit", data=asked, files={"image": photo(64, 64)})
    encoded = b64encode(photo(64, 64)).decode()
    as_json = service.client.post("/api/edit", json={**asked, "image": encoded})
    url = {**asked, "image": f"data:image/jpeg;base64,{encoded}"}
    as_url = service.client.post("/api/edit", json=url, headers={"accept": "application/json"})

    variant = urlsafe_b64encode(photo(64, 64)).decode().rstrip("=")
    lines = "\n".join(variant[place : place + 76] for place in range(0, len(variant), 76))
    as_lines = service.client.post("/api/edit", json={**asked, "image": lines})

    assert raw.content == form.content == as_json.content == as_lines.content
    assert b64decode(as_url.json()["image"]) == raw.content
    assert (as_url.json()["width"], as_url.json()["height"], as_url.json()["seed"]) == (64, 64, 3)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (picture((64, 96), "PNG", "RGBA"), (64, 96)),
        (picture((64, 96), "PNG", "P"), (64, 96)),
        (picture((64, 96), "PNG", "L"), (64, 96)),
        (picture((64, 96), "WEBP"), (64, 96)),
        (picture((64, 96), "JPEG", "CMYK"), (64, 96)),
        (picture((64, 96), "JPEG", orientation=6), (96, 64)),
        (picture((64, 96), "PNG", orientation=6), (96, 64)),
        (picture((65, 97), "JPEG"), (65, 97)),
        (picture((1000, 500), "JPEG"), (256, 128)),
    ],
)
def test_images_of_every_format_return_upright_and_within_the_side_limit(
    service: RealService, image: bytes, size: tuple[int, int]
) -> None:
    answer = service.edit(image)

    assert answer.status_code == 200, answer.text
    assert size_of(answer.content) == size


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_edited_whatever_its_content_type(service: RealService, form: str) -> None:
    kind = "heic" if form == "HEIF" else form.lower()
    asked: dict[str, str | int] = {"instruction": "make him old", "steps": 1}
    for content_type in (f"image/{kind}", "application/octet-stream"):
        answer = service.client.post(
            "/api/edit",
            params=asked,
            content=saved(card(), form),
            headers={"content-type": content_type},
        )

        assert (answer.status_code, size_of(answer.content)) == (200, (192, 96)), answer.text


def test_every_moment_of_a_request_belongs_to_a_stage(service: RealService) -> None:
    service.edit(steps=6)
    service.edit(b"no picture")
    name = "instructpix2pix_request"

    samples = service.samples()

    total = sum(v for (n, _), v in samples.items() if n == f"{name}_duration_seconds_sum")
    stages = sum(v for (n, _), v in samples.items() if n == f"{name}_stage_duration_seconds_sum")
    assert stages == pytest.approx(total, rel=1e-9)


def test_an_edit_is_counted_with_its_type_steps_queue_and_size(service: RealService) -> None:
    before = service.samples()
    service.edit(photo(128, 128), instruction="Make him look OLDER, please", steps=7)
    after = service.samples()

    def rise(name: str, **labels: str) -> float:
        key = (f"instructpix2pix_{name}", frozenset(labels.items()))
        return after[key] - before.get(key, 0.0)

    kind = {"endpoint": "/api/edit", "instruction_type": "make_him_old"}
    assert rise("request_total", **kind, status_code="200", error="none") == 1
    assert rise("request_success_total", **kind) == 1
    assert rise("request_duration_seconds_count", **kind, status_code="200") == 1
    assert rise("request_queued_duration_seconds_count", priority="normal") == 1
    assert rise("step_latency_seconds_count", step="1-5") == 5
    assert rise("step_latency_seconds_count", step="6-10") == 2
    assert rise("steps_sum") == 7
    assert rise("request_images_total", image_size="128x128") == 1
    assert rise("inference_duration_seconds_count", precision="float32") == 1


def test_guidance_that_is_silently_switched_off_is_counted_and_shown(service: RealService) -> None:
    name = "instructpix2pix_guidance_overridden_total"
    before = service.value(name, parameter="image_guidance_scale")

    service.edit(image_guidance_scale=0.5)

    assert service.value(name, parameter="image_guidance_scale") == before + 1
    assert service.value("instructpix2pix_image_guidance_ratio", guidance="asked") == 0.5
    assert service.value("instructpix2pix_image_guidance_ratio", guidance="in_force") == 1.0


def test_the_response_has_a_server_timing_header_with_its_stages(service: RealService) -> None:
    timing = service.edit().headers["server-timing"]

    assert [part.partition(";dur=")[0] for part in timing.split(", ")] == [
        "receive",
        "validate",
        "queue",
        "transfer",
        "decode",
        "encode_prompt",
        "encode_image",
        "denoise",
        "decode_latents",
        "check",
        "encode",
    ]


def test_health_readiness_and_the_api_page_respond(service: RealService) -> None:
    assert service.client.get("/healthz").json() == {"status": "alive"}
    ready = service.client.get("/readyz").json()
    assert (ready["status"], ready["leaving"]) == ("ready", False)
    page = service.client.get("/docs").text
    assert "swagger" in page.lower()
    assert "https://" not in page.replace("https://fastapi", "")
    edit = service.client.get("/openapi.json").json()["paths"]["/api/edit"]["post"]
    assert set(edit["requestBody"]["content"]) >= {"image/jpeg", "multipart/form-data"}


def test_both_formats_of_the_metrics_are_served_and_traces_are_exemplars(
    service: RealService,
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {**JPEG, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    params: dict[str, str | int] = {"instruction": "make him old", "steps": 2}
    service.client.post("/api/edit", params=params, content=photo(64, 64), headers=headers)

    text = service.client.get("/metrics")
    wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
    open_metrics = service.client.get("/metrics", headers=wanted)

    assert text.headers["content-type"].startswith("text/plain")
    assert trace not in text.text
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
    exemplars = [line for line in open_metrics.text.splitlines() if trace in line]
    assert any("request_duration_seconds_bucket" in line for line in exemplars)
    assert any("step_latency_seconds_bucket" in line for line in exemplars)


def test_parameters_in_the_query_serve_every_body_and_yield_to_it(service: RealService) -> None:
    answer = service.client.post(
        "/api/edit?instruction=make+him+old&steps=2&seed=1",
        data={"seed": "2"},
        files={"image": photo(64, 64)},
    )

    assert answer.status_code == 200
    assert answer.headers["x-safelight-seed"] == "2"


def test_a_browser_without_the_internet_shows_the_page_of_the_api(
    service: RealService, tmp_path: Path
) -> None:
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=10000"
    quiet = "--disable-background-networking --disable-component-update --disable-sync"
    page = subprocess.run(
        [
            "chromium",
            *flags.split(),
            *quiet.split(),
            f"--user-data-dir={tmp_path}",
            "--dump-dom",
            f"{service.url}/docs",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    assert "Edit an image by an instruction." in page
    assert 'class="opblock opblock-post"' in page


def test_the_schema_names_the_prefix_of_the_reverse_proxy(service: RealService) -> None:
    plain = service.client.get("/openapi.json").json()
    prefixed = service.client.get("/openapi.json", headers={"x-forwarded-prefix": "/studio"}).json()
    assert prefixed == plain | {"servers": [{"url": "/studio"}]}
    assert "servers" not in plain
