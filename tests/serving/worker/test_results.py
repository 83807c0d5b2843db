"""Which call of the model each result of a batch has."""

from dataclasses import replace

from safelight.serving.worker.results import calls_of
from tests.serving.prepared import ready
from tests.telemetry.making import CALL


def test_each_job_of_a_batch_has_its_own_image_and_type_and_the_first_one_leads() -> None:
    images = ((64, 64), (32, 32), (64, 64), (64, 64))
    types = ("old", "snow", "old", "old")
    jobs = [ready(kind, instruction_type=kind) for kind in types]
    calls = calls_of(jobs, replace(CALL, images=images))

    found = [call for call in calls if call is not None]
    assert [call.images for call in found] == [(size,) for size in images]
    assert [call.instruction_type for call in found] == list(types)
    assert [call.leads for call in found] == [True, False, False, False]
    assert {call.batch for call in found} == {4}
    [batch_id] = {call.batch_id for call in found}
    assert batch_id


def test_a_job_alone_has_no_batch_and_without_a_call_there_is_none() -> None:
    [alone] = calls_of([ready()], CALL)
    assert alone is not None
    assert (alone.batch, alone.batch_id, alone.leads) == (1, "", True)
    assert calls_of([ready(), ready()], None) == [None, None]
