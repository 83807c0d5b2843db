from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.reasons import NO_ERROR
from safelight.telemetry.record import Exchange, PipelineCall, finish, record_of_call
from safelight.telemetry.scope import CURRENT_REQUEST, RequestScope, current_exchange
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock

GOOD = PipelineCall(
    "Pix", "make_him_old", seconds=1.0, phases={"encode_prompt": 0.25, "denoise": 0.5}
)
FAILED = PipelineCall("Pix", "add_hat", seconds=0.5, error="cuda_oom")


def exchange(**given: object) -> Exchange:
    return Exchange(Timeline(0, clock=FakeClock(2)), **given)  # type: ignore[arg-type]


def test_a_finished_exchange_is_a_record_whose_stages_sum_to_its_seconds() -> None:
    under_way = exchange(id="one", queued=True)
    under_way.add(GOOD)
    record = finish(under_way, "/edit", 200, NO_ERROR)
    assert (record.facts.id, record.endpoint, record.status_code) == ("one", "/edit", 200)
    assert (record.facts.instruction_type, record.facts.queued) == ("make_him_old", True)
    assert record.seconds == sum(record.stages.values()) == 2
    assert record.facts.calls == (GOOD,)
    assert record.succeeded


def test_a_failed_call_fails_its_request() -> None:
    under_way = exchange()
    under_way.add(FAILED)
    record = finish(under_way, "/edit", 500, "internal_error")
    assert (record.error, record.facts.instruction_type) == ("cuda_oom", "add_hat")
    assert not record.succeeded


def test_a_request_that_failed_before_the_pipeline_has_the_given_reason() -> None:
    record = finish(exchange(), "/edit", 422, "invalid_parameter")
    assert (record.error, record.facts.instruction_type) == ("invalid_parameter", NO_INSTRUCTION)
    assert not record.succeeded


def test_a_bad_status_is_a_failure_without_a_reason() -> None:
    assert not finish(exchange(), "/edit", 404, NO_ERROR).succeeded


def test_a_record_without_an_id_gets_a_unique_one() -> None:
    assert (
        finish(exchange(), "/", 200, NO_ERROR).facts.id
        != finish(exchange(), "/", 200, NO_ERROR).facts.id
    )


def test_a_call_outside_a_request_becomes_a_record() -> None:
    record = record_of_call(GOOD)
    assert (record.endpoint, record.status_code, record.error) == ("none", 200, NO_ERROR)
    assert record.stages == {"encode_prompt": 0.25, "denoise": 0.5, "respond": 0.25}
    assert record.seconds == 1.0


def test_a_failed_call_outside_a_request_becomes_a_failed_record() -> None:
    record = record_of_call(FAILED)
    assert (record.status_code, record.error, record.succeeded) == (500, "cuda_oom", False)


def test_outside_any_request_there_is_no_exchange() -> None:
    assert current_exchange() is None


def test_inside_a_request_its_exchange_is_current() -> None:
    class Passing:
        exchange = exchange()
        outer: RequestScope | None = None
        declared: str | None = None
        owner: object = None
        is_over = False

    token = CURRENT_REQUEST.set(Passing())
    try:
        assert current_exchange() is Passing.exchange
    finally:
        CURRENT_REQUEST.reset(token)
