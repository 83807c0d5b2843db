from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.reasons import NO_ERROR
from safelight.telemetry.record import (
    CURRENT_PASSAGE,
    Exchange,
    PipelineCall,
    current_exchange,
    direct_call,
    finish,
)
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock

GOOD = PipelineCall(
    "Pix", "make_him_old", seconds=1.0, phases={"encode_prompt": 0.25, "denoise": 0.5}
)
FAILED = PipelineCall("Pix", "add_hat", seconds=0.5, error="cuda_oom")


def exchange(**given: object) -> Exchange:
    return Exchange(Timeline(0, clock=FakeClock(2)), **given)  # type: ignore[arg-type]


def test_a_finished_exchange_is_a_record_whose_stages_sum_to_its_seconds() -> None:
    in_progress = exchange(id="one", queued=True, trace_id="abc")
    in_progress.add(GOOD)
    record = finish(in_progress, "/edit", 200, NO_ERROR)
    assert (record.id, record.endpoint, record.status_code) == ("one", "/edit", 200)
    assert (record.instruction_type, record.queued, record.trace_id) == (
        "make_him_old",
        True,
        "abc",
    )
    assert record.seconds == sum(record.stages.values()) == 2
    assert record.calls == (GOOD,)
    assert record.succeeded


def test_a_pipelines_failure_becomes_the_requests() -> None:
    in_progress = exchange()
    in_progress.add(FAILED)
    record = finish(in_progress, "/edit", 500, "internal_error")
    assert (record.error, record.instruction_type) == ("cuda_oom", "add_hat")
    assert not record.succeeded


def test_a_request_that_failed_before_the_pipeline_has_the_callers_reason() -> None:
    record = finish(exchange(), "/edit", 422, "invalid_parameter")
    assert (record.error, record.instruction_type) == ("invalid_parameter", NO_INSTRUCTION)
    assert not record.succeeded


def test_a_bad_status_is_no_success_even_without_a_reason() -> None:
    assert not finish(exchange(), "/edit", 404, NO_ERROR).succeeded


def test_records_without_an_id_get_one_each() -> None:
    assert finish(exchange(), "/", 200, NO_ERROR).id != finish(exchange(), "/", 200, NO_ERROR).id


def test_a_call_outside_any_request_is_a_record_by_itself() -> None:
    record = direct_call(GOOD)
    assert (record.endpoint, record.status_code, record.error) == ("none", 200, NO_ERROR)
    assert record.stages == {"encode_prompt": 0.25, "denoise": 0.5, "respond": 0.25}
    assert record.seconds == 1.0


def test_a_failed_call_outside_any_request_is_a_failed_record() -> None:
    record = direct_call(FAILED)
    assert (record.status_code, record.error, record.succeeded) == (500, "cuda_oom", False)


def test_outside_any_request_there_is_no_exchange() -> None:
    assert current_exchange() is None


def test_inside_a_request_its_exchange_is_found() -> None:
    class Passing:
        exchange = exchange()

    token = CURRENT_PASSAGE.set(Passing())
    try:
        assert current_exchange() is Passing.exchange
    finally:
        CURRENT_PASSAGE.reset(token)
