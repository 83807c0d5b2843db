import asyncio
import json
import threading
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
from diffusers import StableDiffusionInstructPix2PixPipeline
from fastapi import FastAPI, HTTPException
from flask import Flask

from safelight import PipelineCall, Record, Watch, watch
from safelight.cli.main import application
from safelight.errors import AlreadyWatched, BadSetting, MissingExtra
from safelight.metrics.catalog import (
    BUILD_INFO,
    DEVICE_HELD_SECONDS,
    DEVICE_SECONDS,
    DEVICE_STEP_SECONDS,
    GOOD_OUTPUTS,
    GPU_HOUR_PRICE,
    GUIDANCE_OVERRIDDEN,
    HOST_MEMORY_TOTAL,
    HTTP_REQUESTS,
    IMAGE_GUIDANCE,
    IMAGES,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    LAST_SUCCESS,
    MODEL_INFO,
    OUTPUT_PIXELS,
    PROBE_FAILURES,
    PROBE_TIMESTAMP,
    RECORDS,
    RECORDS_WAITING,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    STEP_SECONDS,
    STEPS,
    SUCCESSES,
    TYPE_DEVICE_SECONDS,
)
from safelight.stories.replay import free_port
from safelight.telemetry.logs import configure_logging, log_sink
from tests.pipelines import STEPS as MADE
from tests.pipelines import draw, edit
from tests.probes.web import ask, client
from tests.reading import at_once, series, text, value
from tests.records.making import rows

SECRET = "make Rumpelstiltskin old"


@pytest.fixture
def records() -> list[Record]:
    return []


def service(pipe: Any) -> FastAPI:
    """Return an ordinary service."""
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.post("/edit")
    def edit_it(instruction: str, steps: int = MADE) -> list[int]:
        if not instruction:
            raise HTTPException(400, "an instruction, please")
        return list(edit(pipe, instruction, num_inference_steps=steps).images[0].size)

    @app.post("/threaded")
    async def threaded(instruction: str) -> list[int]:
        made = await asyncio.to_thread(edit, pipe, instruction)
        return list(made.images[0].size)

    return app


# ── An application and a pipeline, joined ────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/edit", "/threaded"])
def test_p8_p9_one_watch_joins_requests_and_steps(
    path: str, edit_pipe: Any, records: list[Record]
) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, on_record=records.append) as watched:
        assert ask(app, path, "POST", params={"instruction": "make him old"}).json() == [64, 64]
    labels = {"endpoint": path, "status_code": "200", "instruction_type": "make_him_old"}
    assert series(watched, REQUESTS) == [{**labels, "error": "none"}]
    assert series(watched, REQUEST_SECONDS, "_count") == [labels]
    assert value(watched, SUCCESSES, instruction_type="make_him_old", endpoint=path) == 1
    assert value(watched, STEP_SECONDS, "_count", step="1-5") == MADE
    assert value(watched, STEPS, "_sum") == MADE
    assert value(watched, INFERENCE_SECONDS, "_count", precision="float32") == 1
    assert value(watched, IMAGES, image_size="64x64") == 1
    assert value(watched, IMAGE_GUIDANCE, guidance="in_force") == 1.5
    assert value(watched, HTTP_REQUESTS, handler=path, status="200") == 1
    assert value(watched, PROBE_FAILURES) == 0
    assert value(watched, IN_FLIGHT) == 0
    (record,) = records
    assert record.endpoint == path
    assert len(record.facts.calls) == 1


def test_p1_p17_the_stages_of_a_request_sum_to_its_time(
    edit_pipe: Any, records: list[Record]
) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, on_record=records.append) as watched:
        ask(app, "/edit", "POST", params={"instruction": "make him old"})
    (record,) = records
    assert set(record.stages) == {
        "receive",
        "encode_prompt",
        "encode_image",
        "denoise",
        "decode_latents",
        "respond",
    }
    assert sum(record.stages.values()) == pytest.approx(record.seconds)
    assert record.stages["denoise"] == pytest.approx(
        record.facts.calls[0].phases["denoise"], abs=0.02
    )
    total = value(watched, REQUEST_SECONDS, "_sum")
    assert value(watched, STAGE_SECONDS, "_sum") == pytest.approx(total)
    assert record.facts.calls[0].seconds <= record.seconds


def test_a_bad_request_counts_once_its_route_is_known(edit_pipe: Any) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe) as watched:
        ask(app, "/edit", "POST", params={"instruction": "make him old"})
        assert ask(app, "/edit", "POST", params={"instruction": ""}).status_code == 400
        assert ask(app, "/edit", "POST").status_code == 422
    assert value(watched, REQUESTS, status_code="400", error="bad_request") == 1
    assert value(watched, REQUESTS, status_code="422", error="invalid_parameter") == 1


def test_model_endpoints_count_before_the_first_call(edit_pipe: Any) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, model_endpoints=["/edit"]) as watched:
        ask(app, "/edit", "POST")
    assert value(watched, REQUESTS, endpoint="/edit", status_code="422") == 1


def test_a_failing_pipeline_is_a_failed_request_with_its_reason(edit_pipe: Any) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe) as watched:
        answer = ask(app, "/edit", "POST", params={"instruction": "make him old", "steps": "-1"})
    assert answer.status_code == 500
    assert value(watched, REQUESTS, status_code="500", error="model_error") == 1
    assert value(watched, SUCCESSES, instruction_type="make_him_old") == 0
    assert value(watched, IN_FLIGHT) == 0


def test_p7_a_silently_overridden_guidance_is_counted(edit_pipe: Any) -> None:
    with watch(pipeline=edit_pipe) as watched:
        edit(edit_pipe)
        assert value(watched, GUIDANCE_OVERRIDDEN) == 0
        edit(edit_pipe, image_guidance_scale=0.8)
    assert value(watched, GUIDANCE_OVERRIDDEN, parameter="image_guidance_scale") == 1
    assert value(watched, IMAGE_GUIDANCE, guidance="asked") == 0.8
    assert value(watched, IMAGE_GUIDANCE, guidance="in_force") == 1.0


def test_concurrent_requests_are_joined_to_their_own_calls(
    edit_pipe: Any, records: list[Record]
) -> None:
    lock = asyncio.Lock()
    app = FastAPI()
    words = {
        "make him old": "make_him_old",
        "add a hat": "add_hat",
        "add sunglasses": "add_sunglasses",
    }

    @app.post("/edit")
    async def edit_it(instruction: str) -> None:
        async with lock:
            await asyncio.to_thread(edit, edit_pipe, instruction)

    async def all_at_once() -> None:
        async with client(app) as web:
            await asyncio.gather(
                *(web.post("/edit", params={"instruction": text}) for text in [*words, *words])
            )

    with watch(app=app, pipeline=edit_pipe, on_record=records.append):
        asyncio.run(all_at_once())
    assert sorted(record.facts.instruction_type for record in records) == sorted(
        [*words.values()] * 2
    )
    assert all(len(record.facts.calls) == 1 for record in records)


def test_p9_flask_is_watched_with_the_same_call(edit_pipe: Any, records: list[Record]) -> None:
    app = Flask("service")

    @app.post("/edit")
    def edit_it() -> str:
        edit(edit_pipe, "add a hat")
        return "edited"

    with watch(app=app, pipeline=edit_pipe, on_record=records.append) as watched:
        assert app.test_client().post("/edit", buffered=True).text == "edited"
        scraped = app.test_client().get("/metrics").text
    assert 'instructpix2pix_request_total{endpoint="/edit"' in scraped
    assert value(watched, SUCCESSES, endpoint="/edit", instruction_type="add_hat") == 1
    assert value(watched, PROBE_FAILURES) == 0
    assert sum(records[0].stages.values()) == pytest.approx(records[0].seconds)


# ── A pipeline without an application ────────────────────────────────────────────────────────────


def test_a_script_without_an_application_is_watched(edit_pipe: Any, records: list[Record]) -> None:
    with watch(pipeline=edit_pipe, on_record=records.append) as watched:
        edit(edit_pipe)
        with pytest.raises(ValueError, match="prompt"):
            edit(edit_pipe, 123)
    assert value(watched, REQUESTS, endpoint="none", status_code="200", error="none") == 1
    assert value(watched, REQUESTS, endpoint="none", status_code="500", error="model_error") == 1
    assert [record.succeeded for record in records] == [True, False]
    assert sum(records[0].stages.values()) == pytest.approx(records[0].seconds, abs=1e-3)


def test_the_calls_of_a_pipeline_have_a_cost_but_idle_time_is_unknown(
    edit_pipe: Any, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_GPU_HOUR_PRICE", "2.5")
    with watch(pipeline=edit_pipe, on_record=records.append) as watching:
        edit(edit_pipe, "make him old")
        with pytest.raises(ValueError, match="incorrect format"):
            edit(edit_pipe, "add a hat", image="no image")
        spent = value(watching, DEVICE_SECONDS)

        assert value(watching, GPU_HOUR_PRICE) == 2.5
        assert spent == pytest.approx(sum(r.facts.device_seconds or 0.0 for r in records))
        old = value(watching, TYPE_DEVICE_SECONDS, instruction_type="make_him_old")
        assert old == value(watching, DEVICE_SECONDS, use="useful")
        assert old == pytest.approx(records[0].seconds, rel=0.05)
        assert value(watching, TYPE_DEVICE_SECONDS) == pytest.approx(spent)
        assert value(watching, GOOD_OUTPUTS) == 1
        assert series(watching, DEVICE_HELD_SECONDS) == []


def test_a_call_shows_its_pixels_its_device_and_the_time_of_its_success(edit_pipe: Any) -> None:
    before = time()
    with watch(pipeline=edit_pipe) as watching:
        edit(edit_pipe)
        assert value(watching, OUTPUT_PIXELS) == 64 * 64
        assert value(watching, DEVICE_STEP_SECONDS, "_count", device="cpu") == MADE
        steps = value(watching, STEP_SECONDS, "_sum")
        assert value(watching, DEVICE_STEP_SECONDS, "_sum") == pytest.approx(steps)
        assert before <= value(watching, LAST_SUCCESS) <= time()


def test_no_price_is_shown_if_none_is_set(edit_pipe: Any) -> None:
    with watch(pipeline=edit_pipe) as watching:
        assert series(watching, GPU_HOUR_PRICE) == []


def test_two_pipelines_in_one_process_have_their_own_metrics(
    edit_pipe: Any, text_pipe: Any
) -> None:
    with watch(pipeline=edit_pipe) as editing, watch(pipeline=text_pipe) as drawing:
        at_once(lambda n: edit(edit_pipe) if n else draw(text_pipe), threads=2)
    assert "instructpix2pix_steps_count 1.0" in text(editing)
    assert "diffusion_steps_count 1.0" in text(drawing)
    assert "diffusion_steps" not in text(editing)


def test_a_script_can_serve_its_metrics_on_a_port(edit_pipe: Any) -> None:
    port = free_port()
    with watch(pipeline=edit_pipe) as watched:
        watched.serve(port)
        edit(edit_pipe)
        scraped = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "instructpix2pix_step_latency_seconds_count" in scraped
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_an_application_alone_is_watched() -> None:
    app = service(None)
    with watch(app=app) as watched:
        ask(app, "/hello")
    assert value(watched, HTTP_REQUESTS, handler="/hello") == 1
    assert series(watched, MODEL_INFO) == []


# ── Namespace and other metrics ──────────────────────────────────────────────────────────────────


def test_the_namespace_comes_from_the_pipeline_unless_it_is_given(
    edit_pipe: Any, text_pipe: Any
) -> None:
    for pipe, namespace_option, expected in (
        (edit_pipe, None, "instructpix2pix"),
        (text_pipe, None, "diffusion"),
        (text_pipe, "atelier", "atelier"),
    ):
        with watch(pipeline=pipe, namespace=namespace_option) as watched:
            assert watched.meter.namespace == expected


def test_the_model_and_the_build_have_info_metrics(edit_pipe: Any) -> None:
    with watch(pipeline=edit_pipe) as watched:
        (model,) = series(watched, MODEL_INFO)
    assert model["pipeline"] == "StableDiffusionInstructPix2PixPipeline"
    assert model["scheduler"] == "EulerAncestralDiscreteScheduler"
    assert (model["precision"], model["device"]) == ("float32", "cpu")
    assert value(watched, BUILD_INFO) == 1


def test_z4_the_machine_is_read_from_the_start(edit_pipe: Any) -> None:
    with watch(pipeline=edit_pipe) as watched:
        pass  # the sampler reads before its first pause
    assert value(watched, PROBE_TIMESTAMP, probe="host") > 0
    assert value(watched, HOST_MEMORY_TOTAL) > 0


def test_p4_no_prompt_is_in_metrics_log_or_record(
    edit_pipe: Any, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json")
    write = log_sink()

    def keep(record: Record) -> None:
        records.append(record)
        write(record)

    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, on_record=keep) as watched:
        ask(app, "/edit", "POST", params={"instruction": SECRET})
        edit(edit_pipe, SECRET, negative_prompt="Rumpelstiltskin")
        scraped = text(watched)
    line = capsys.readouterr().err
    assert json.loads(line.splitlines()[0])["url"]["path"] == "/edit"
    for output in (scraped, line, repr(records)):
        assert "rumpel" not in output.lower()
        assert "make_him_old" in output


def test_a_configured_taxonomy_replaces_the_built_in_one(
    edit_pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("make_goblin: [rumpelstiltskin]\n")
    monkeypatch.setenv("SAFELIGHT_TAXONOMY", str(tmp_path / "own.yaml"))
    with watch(pipeline=edit_pipe) as watched:
        edit(edit_pipe, SECRET)
    assert value(watched, SUCCESSES, instruction_type="make_goblin") == 1


# ── Records in a database ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of the database, which the settings name."""
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", f"sqlite:///{tmp_path / 'records.db'}")
    return f"sqlite:///{tmp_path / 'records.db'}"


def test_records_of_requests_and_calls_are_stored_and_drawn_on_the_radar(
    edit_pipe: Any, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, records=True) as watched:
        for _ in range(5):
            ask(app, "/edit", "POST", params={"instruction": "make him old"})
        edit(edit_pipe, SECRET)
    assert value(watched, RECORDS, outcome="written") == 6
    assert value(watched, RECORDS, outcome="lost") == value(watched, RECORDS_WAITING) == 0
    stored = rows(database, "requests")
    assert {row["endpoint"] for row in stored} == {"/edit", "none"}
    assert {row["model"] for row in stored} == {type(edit_pipe).__name__}
    assert SECRET not in str(stored)
    application()(["radar", "--service", "instructpix2pix"], standalone_mode=False)
    assert "make_him_old" in capsys.readouterr().out


def test_nothing_is_stored_unless_it_is_asked_for(edit_pipe: Any, database: str) -> None:
    with watch(pipeline=edit_pipe) as watched:
        edit(edit_pipe)
    assert series(watched, RECORDS) == []
    assert not Path(database.removeprefix("sqlite:///")).exists()


def test_an_empty_address_stores_nothing(edit_pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", "")
    with watch(pipeline=edit_pipe, records=True) as watched:
        edit(edit_pipe)
    assert series(watched, RECORDS) == []


@pytest.mark.parametrize("address", ["records.db", "mysql://host/name", "postgresql://host:a/name"])
def test_a_wrong_address_is_refused_at_once(
    address: str, edit_pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", address)
    with pytest.raises(BadSetting, match="SAFELIGHT_RECORDS_URL"):
        watch(pipeline=edit_pipe, records=True)


def test_a_missing_driver_is_named_at_once(edit_pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", "postgresql://host/name")
    monkeypatch.setattr("safelight.models.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"safelight\[postgres\]"):
        watch(pipeline=edit_pipe, records=True)
    watch(pipeline=edit_pipe).unwatch()


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────────


def test_p8_unwatch_restores_everything(edit_pipe: Any) -> None:
    app, before = service(edit_pipe), threading.active_count()
    own, middleware = type(edit_pipe), list(app.user_middleware)
    watched = watch(app=app, pipeline=edit_pipe)
    assert isinstance(watched, Watch)
    watched.unwatch()
    watched.unwatch()
    assert type(edit_pipe) is own
    assert app.user_middleware == middleware
    assert threading.active_count() == before
    assert ask(app, "/metrics").status_code == 404


def test_a_second_watch_is_refused_and_does_not_change_the_first(edit_pipe: Any) -> None:
    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe) as watched:
        for again in ({"app": app}, {"pipeline": edit_pipe}, {"app": app, "pipeline": edit_pipe}):
            with pytest.raises(AlreadyWatched):
                watch(**again)
        ask(app, "/edit", "POST", params={"instruction": "make him old"})
        assert value(watched, REQUESTS) == 1


class InferenceSession:
    """A session with the name and the method of ONNX Runtime's."""

    def run(self, _outputs: Any, _inputs: Any) -> list[Any]:
        return []


def test_a_partly_failed_watch_is_undone(edit_pipe: Any) -> None:
    app, session = service(edit_pipe), InferenceSession()
    with watch(pipeline=session):
        with pytest.raises(AlreadyWatched, match="model"):
            watch(app=app, pipelines={"edit": edit_pipe, "tags": session})
        assert type(app) is FastAPI
        assert type(edit_pipe) is StableDiffusionInstructPix2PixPipeline


def test_an_unsupported_application_is_refused_in_one_line(edit_pipe: Any) -> None:
    with pytest.raises(BadSetting, match="FastAPI, Starlette, Flask") as raised:
        watch(app=object(), pipeline=edit_pipe)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("namespace", ["Bad-Name", "1st", "x" * 41])
def test_a_wrong_namespace_is_refused(namespace: str, edit_pipe: Any) -> None:
    with pytest.raises(BadSetting, match="SAFELIGHT_NAMESPACE"):
        watch(pipeline=edit_pipe, namespace=namespace)


def test_a_failing_on_record_does_not_fail_the_request(edit_pipe: Any) -> None:
    def fail(record: Record) -> None:
        raise OSError("disk full")

    app = service(edit_pipe)
    with watch(app=app, pipeline=edit_pipe, on_record=fail) as watched:
        answer = ask(app, "/edit", "POST", params={"instruction": "make him old"})
    assert answer.status_code == 200
    assert value(watched, REQUESTS) == 1
    assert value(watched, PROBE_FAILURES, probe="record") == 1


def test_a_record_contains_its_calls(edit_pipe: Any, records: list[Record]) -> None:
    with watch(pipeline=edit_pipe, on_record=records.append):
        edit(edit_pipe)
    (call,) = records[0].facts.calls
    assert isinstance(call, PipelineCall)
    assert len(call.step_seconds) == MADE
