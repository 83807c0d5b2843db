from collections.abc import Callable
from dataclasses import replace
from statistics import stdev
from typing import Any

import pytest

from safelight.metrics.catalog import (
    ADHERENCE,
    ASSESSMENT_SECONDS,
    ASSESSMENTS,
    BACKGROUND_ENTROPY,
    BACKGROUNDS,
    DEVICE_STEP_SECONDS,
    GUIDANCE_OVERRIDDEN,
    IMAGE_GUIDANCE,
    IMAGES,
    INFERENCE_SECONDS,
    LAST_SUCCESS,
    OUTPUT_PIXELS,
    PROBE_FAILURES,
    QUALITY_SCORE,
    QUALITY_SQUARES,
    QUEUED_SECONDS,
    REQUEST_MAX,
    REQUEST_SECONDS,
    REQUESTS,
    SIZE_SECONDS,
    SPEED,
    STAGE_SECONDS,
    STEP_SECONDS,
    STEPS,
    STRUCTURE,
    SUCCESSES,
    TEXT_GUIDANCE,
)
from safelight.metrics.registry import Meter
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.meter import assessment_sink, metrics_sink, observe_steps
from tests.reading import OPENMETRICS, FakeClock, series, text, value
from tests.telemetry.making import CALL, RECORD, TRACE, changed

Write = Callable[..., None]
REQUEST_ID = "5c1f09aa27de4b1c8d3f0a6b7c8d9e0f"


@pytest.fixture
def meter() -> Meter:
    return Meter("instructpix2pix")


@pytest.fixture(params=[False, True], ids=["one by one", "together"])
def write(meter: Meter, request: pytest.FixtureRequest) -> Write:
    sink = metrics_sink(meter, together=request.param)

    def written(**changes: Any) -> None:
        sink(changed(RECORD, **changes))

    return written


def test_p1_the_requests_time_is_a_histogram_by_endpoint_status_and_type(
    meter: Meter, write: Write
) -> None:
    write()
    labels = {"endpoint": "/edit", "status_code": "200", "instruction_type": "make_him_old"}
    assert series(meter, REQUEST_SECONDS, "_sum") == [labels]
    assert value(meter, REQUEST_SECONDS, "_sum") == 2.0
    assert 'instructpix2pix_request_duration_seconds_bucket{endpoint="/edit"' in text(meter)


def test_p1_the_stages_of_a_request_are_observed(meter: Meter, write: Write) -> None:
    write()
    assert value(meter, STAGE_SECONDS, "_sum") == pytest.approx(2.0)
    assert value(meter, STAGE_SECONDS, "_sum", stage="denoise") == 1.2


def test_p2_requests_and_successes_are_counted_with_the_reason(meter: Meter, write: Write) -> None:
    write()
    write(status_code=503, error="cuda_oom")
    write(status_code=422, error="not_an_image", instruction_type="none", calls=())
    assert value(meter, REQUESTS, instruction_type="make_him_old", error="none") == 1
    assert value(meter, REQUESTS, status_code="503", error="cuda_oom") == 1
    assert value(meter, REQUESTS, status_code="422", error="not_an_image") == 1
    assert value(meter, SUCCESSES, instruction_type="make_him_old", endpoint="/edit") == 1
    assert "instructpix2pix_request_success_total{" in text(meter)


def test_p2_a_type_that_only_failed_has_zero_successes(meter: Meter, write: Write) -> None:
    write(status_code=500, error="model_error", instruction_type="change_background")
    assert value(meter, SUCCESSES, instruction_type="change_background") == 0


def test_p2_an_unknown_reason_never_becomes_a_label(meter: Meter, write: Write) -> None:
    write(status_code=500, error="RuntimeError: CUDA error at 0x7f")
    assert series(meter, REQUESTS)[0]["error"] == "other"


def test_p3_the_queue_wait_is_observed_if_there_is_one(meter: Meter, write: Write) -> None:
    write()
    write(queued=False, stages={"respond": 1.0})
    assert value(meter, QUEUED_SECONDS, "_count") == 1
    assert value(meter, QUEUED_SECONDS, "_sum") == 0.3


def test_p4_images_are_counted_by_size_and_unusual_sizes_as_other(
    meter: Meter, write: Write
) -> None:
    write(calls=(replace(CALL, images=((1024, 768), (1024, 768), (1023, 767))),))
    assert value(meter, IMAGES, image_size="1024x768") == 2
    assert value(meter, IMAGES, image_size="other") == 1


def test_p4_the_p90_of_a_type_at_a_size_has_an_answer(meter: Meter, write: Write) -> None:
    for number in range(10):
        write(instruction_type="add_beard", seconds=1.4 if number < 9 else 29.0)
    write(instruction_type="add_beard", calls=(replace(CALL, images=((64, 64),)),))
    at = {"instruction_type": "add_beard", "image_size": "1024x768"}
    assert value(meter, SIZE_SECONDS, "_bucket", le="1.5", **at) == 9
    assert value(meter, SIZE_SECONDS, "_count", **at) == 10


def test_p4_only_a_request_that_returned_an_image_has_a_time_by_size(
    meter: Meter, write: Write
) -> None:
    write(status_code=499, error="cancelled")
    write(calls=(replace(CALL, images=()),))
    write(calls=())
    assert series(meter, SIZE_SECONDS, "_count") == []
    write(error="structure_corruption")  # the image is sent
    write(calls=(replace(CALL, images=((1, 1),)),))
    assert value(meter, SIZE_SECONDS, "_count", image_size="other") == 1
    assert value(meter, SIZE_SECONDS, "_count", image_size="1024x768") == 1


@pytest.mark.parametrize("together", [False, True])
def test_the_last_success_keeps_its_time_while_requests_fail(together: bool) -> None:
    clock = FakeClock(1000.0)
    meter = Meter("tests", wall_clock=clock)
    sink = metrics_sink(meter, together=together)
    sink(changed(RECORD, error="model_error", status_code=500))
    assert series(meter, LAST_SUCCESS) == []  # none yet: unknown

    sink(RECORD)
    clock.now = 2000.0
    sink(changed(RECORD, error="model_error", status_code=500))
    assert value(meter, LAST_SUCCESS) == 1000.0


def test_requests_that_are_counted_together_give_the_same_page() -> None:
    def samples_of(*, together: bool) -> dict[str, float]:
        meter = Meter("tests", wall_clock=FakeClock(1000.0))
        sink = metrics_sink(meter, model="edit", together=together)
        for number in range(200):
            kind = ("old", "smile", "snow")[number % 3]
            failed = number % 7 == 0
            sink(
                changed(
                    RECORD,
                    instruction_type=kind,
                    queued=number % 2 == 0,
                    calls=() if failed else (CALL,),
                    seconds=number / 64,
                    stages={"queue": number / 128, "denoise": number / 128},
                    error="model_error" if failed else "none",
                    status_code=500 if failed else 200,
                )
            )
        lines = (line.rsplit(" ", 1) for line in text(meter).splitlines())
        return {
            name: float(number)
            for name, number in lines
            if name.startswith("tests_") and "_exposition_" not in name
        }

    assert samples_of(together=True) == pytest.approx(samples_of(together=False))


def test_a_request_that_cannot_be_counted_does_not_fail_the_scrape(meter: Meter) -> None:
    sink = metrics_sink(meter, together=True)
    sink(changed(RECORD, stages={"queue": "long"}))
    assert value(meter, PROBE_FAILURES, probe="record") == 1


def test_the_pixels_of_all_images_are_counted(meter: Meter, write: Write) -> None:
    assert value(meter, OUTPUT_PIXELS) == 0
    write(calls=(replace(CALL, images=((64, 48), (100, 10))),))
    assert value(meter, OUTPUT_PIXELS) == 64 * 48 + 100 * 10


def test_steps_are_counted_for_the_device_that_did_them(meter: Meter, write: Write) -> None:
    for device in ("cuda:0", "cuda:1", "cuda:1", ""):
        write(calls=(replace(CALL, device=device, step_seconds=(0.1, 0.3)),))
    assert value(meter, DEVICE_STEP_SECONDS, "_count", device="cuda:0") == 2
    assert value(meter, DEVICE_STEP_SECONDS, "_count", device="cuda:1") == 4
    assert value(meter, DEVICE_STEP_SECONDS, "_sum", device="cuda:1") == pytest.approx(0.8)
    assert len(series(meter, DEVICE_STEP_SECONDS, "_count")) == 2


def test_z6_the_longest_request_is_shown_exactly_and_not_forever() -> None:
    clock = FakeClock(600.0)
    meter = Meter("zimage", wall_clock=clock)
    sink = metrics_sink(meter)
    assert series(meter, REQUEST_MAX) == []
    for seconds in (0.2, 7.123, 1.5):
        sink(changed(RECORD, seconds=seconds))
    assert value(meter, REQUEST_MAX) == 7.123
    assert value(meter, REQUEST_MAX) == 7.123, "a second Prometheus sees it too"
    clock.now += 120
    assert series(meter, REQUEST_MAX) == []


def test_p15_the_speed_of_successes_is_a_half_at_three_seconds_without_the_queue(
    meter: Meter, write: Write
) -> None:
    write(seconds=3.3)  # 0.3 of it in the queue
    write(seconds=0.3)
    write(seconds=9.0, status_code=500, error="model_error")
    assert value(meter, SPEED, "_sum", instruction_type="make_him_old") == pytest.approx(1.5)
    assert value(meter, SPEED, "_count", instruction_type="make_him_old") == 2


def test_p5_every_step_is_observed_with_its_position(meter: Meter, write: Write) -> None:
    write()
    counts = {place: value(meter, STEP_SECONDS, "_count", step=place) for place in _places(meter)}
    assert counts == {"1-5": 5, "6-10": 5, "11-20": 2}
    assert value(meter, STEP_SECONDS, "_sum", step="1-5") == pytest.approx(2.0)
    assert value(meter, STEPS, "_sum") == 12


def _places(meter: Meter) -> list[str]:
    return [found["step"] for found in series(meter, STEP_SECONDS, "_count")]


def test_p5_late_steps_are_observed_without_a_record(meter: Meter, write: Write) -> None:
    write(calls=(replace(CALL, step_seconds=()),))
    assert series(meter, STEPS, "_count") == []
    observe_steps(meter, CALL)
    assert value(meter, STEPS, "_count") == 1
    assert value(meter, STEP_SECONDS, "_count") == 12
    assert value(meter, REQUESTS) == 1


def test_p7_requested_and_effective_guidance_are_both_shown(meter: Meter, write: Write) -> None:
    write(
        calls=(
            replace(
                CALL,
                image_guidance_asked=0.8,
                image_guidance_in_force=1.0,
                guidance_in_force=1.0,
                overridden=("guidance_scale", "image_guidance_scale"),
            ),
        )
    )
    assert value(meter, IMAGE_GUIDANCE, guidance="asked") == 0.8
    assert value(meter, IMAGE_GUIDANCE, guidance="in_force") == 1.0
    assert value(meter, TEXT_GUIDANCE, guidance="asked") == 7.5
    assert value(meter, TEXT_GUIDANCE, guidance="in_force") == 1.0
    assert value(meter, GUIDANCE_OVERRIDDEN, parameter="image_guidance_scale") == 1
    assert value(meter, GUIDANCE_OVERRIDDEN, parameter="guidance_scale") == 1


def test_w6_unknown_guidance_does_not_show_that_of_an_earlier_call(
    meter: Meter, write: Write
) -> None:
    write()
    write(calls=(replace(CALL, guidance_asked=3.0, guidance_in_force=None),))
    assert value(meter, TEXT_GUIDANCE, guidance="asked") == 3.0
    assert series(meter, TEXT_GUIDANCE, guidance="in_force") == []


def test_p7_the_override_counter_starts_at_zero(meter: Meter, write: Write) -> None:
    assert value(meter, GUIDANCE_OVERRIDDEN) == 0


def test_p7_a_pipeline_without_image_guidance_has_no_series(meter: Meter, write: Write) -> None:
    write(calls=(replace(CALL, image_guidance_asked=None, image_guidance_in_force=None),))
    assert series(meter, IMAGE_GUIDANCE) == []
    assert value(meter, TEXT_GUIDANCE, guidance="asked") == 7.5


def test_p11_inference_time_has_a_precision_label(meter: Meter, write: Write) -> None:
    write()
    write(calls=(replace(CALL, precision="float32", seconds=4.0),))
    write(calls=(replace(CALL, precision="nf4"),))
    assert value(meter, INFERENCE_SECONDS, "_sum", precision="float16") == 1.5
    assert value(meter, INFERENCE_SECONDS, "_sum", precision="float32") == 4.0
    assert value(meter, INFERENCE_SECONDS, "_count", precision="other") == 1


def test_a_trace_is_the_exemplar_of_requests_and_steps(meter: Meter, write: Write) -> None:
    write(trace_id=TRACE, kept="sampled", id=REQUEST_ID)
    carrying = {
        line.split("{")[0] for line in text(meter, OPENMETRICS).splitlines() if TRACE in line
    }
    names = {metric.full_name("instructpix2pix") for metric in (REQUEST_SECONDS, STEP_SECONDS)}
    assert {f"{name}_bucket" for name in names} <= carrying
    assert f'# {{request_id="{REQUEST_ID}",trace_id="{TRACE}"}}' in text(meter, OPENMETRICS)


def test_without_a_trace_the_exemplar_leads_to_the_record(meter: Meter, write: Write) -> None:
    write(kept="slow", id=REQUEST_ID)
    assert f'# {{request_id="{REQUEST_ID}"}}' in text(meter, OPENMETRICS)


def test_a_request_that_is_not_kept_is_no_exemplar(meter: Meter, write: Write) -> None:
    write(id=REQUEST_ID)
    assert "# {" not in text(meter, OPENMETRICS)


def test_p14_backgrounds_are_counted_by_outcome(meter: Meter, write: Write) -> None:
    write(background_entropy=3.0)
    write(background_entropy=7.5, busy_background=True)
    write(background_entropy=7.5, busy_background=True, error="structure_corruption")
    write()
    assert value(meter, BACKGROUND_ENTROPY, "_count") == 3
    assert value(meter, BACKGROUNDS, background="calm", outcome="succeeded") == 1
    assert value(meter, BACKGROUNDS, background="busy", outcome="succeeded") == 1
    assert value(meter, BACKGROUNDS, background="busy", outcome="failed") == 1


def test_z5_an_assessment_is_observed_by_instruction_type(meter: Meter) -> None:
    assess = assessment_sink(meter)
    assess(Assessment("one", "add_hat", score=0.8, structure=0.9, adherence=0.7, seconds=0.02))
    assess(Assessment("two", "change_style", score=0.6, seconds=0.03))
    assert value(meter, QUALITY_SCORE, "_sum", instruction_type="add_hat") == 0.8
    assert value(meter, QUALITY_SCORE, "_sum", instruction_type="change_style") == 0.6
    assert series(meter, STRUCTURE, "_sum") == [{"instruction_type": "add_hat"}]
    assert value(meter, ADHERENCE, "_sum") == 0.7
    assert value(meter, ASSESSMENTS, outcome="assessed") == 2
    assert value(meter, ASSESSMENT_SECONDS, "_sum") == pytest.approx(0.05)


def test_stability_can_be_computed_from_the_buckets_of_the_score(meter: Meter) -> None:
    assess = assessment_sink(meter)
    for number in range(50):
        assess(Assessment("id", "steady", score=0.72 + 0.01 * (number % 3)))
        assess(Assessment("id", "unsteady", score=0.4 + 0.5 * (number % 2)))

    def filled(kind: str) -> int:
        counts = [
            value(meter, QUALITY_SCORE, "_bucket", instruction_type=kind, le=str(edge))
            for edge in QUALITY_SCORE.buckets
        ]
        return len(set(counts))

    assert filled("steady") < filled("unsteady")


def test_p15_the_deviation_of_the_scores_follows_from_their_squares(meter: Meter) -> None:
    scores = [0.72 + 0.01 * (number % 7) for number in range(30)]
    assess = assessment_sink(meter)
    for score in scores:
        assess(Assessment("id", "add_hat", score=score))
    mean = value(meter, QUALITY_SCORE, "_sum") / 30
    variance = (value(meter, QUALITY_SQUARES, "_sum") - 30 * mean**2) / 29
    assert variance**0.5 == pytest.approx(stdev(scores))


def test_the_adherence_of_a_broken_output_is_not_counted(meter: Meter) -> None:
    assess = assessment_sink(meter)
    assess(Assessment("one", "add_hat", error="structure_corruption", adherence=0.1))
    assert series(meter, ADHERENCE, "_sum") == []
