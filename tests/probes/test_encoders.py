"""The time of each text encoder, also of pipelines that share encoders."""

from typing import Any

import pytest

from safelight import Record, watch
from safelight.metrics.catalog import ENCODER_SECONDS
from safelight.probes.diffusers import DiffusersProbe
from tests.pipelines import draw, edit, edit_pipeline, text_pipeline, xl_edit_pipeline
from tests.probes.cuda import FakeCuda
from tests.probes.test_diffusers import OnCuda, RecordingListener
from tests.reading import series, value

BOTH = {"text_encoder", "text_encoder_2"}


@pytest.fixture(scope="module")
def editing() -> Any:
    return edit_pipeline()


def test_a_pipeline_with_two_encoders_has_the_time_of_each(editing: Any) -> None:
    pipe, records = xl_edit_pipeline(editing), list[Record]()
    kinds = type(pipe.text_encoder), type(pipe.text_encoder_2)
    with watch(pipeline=pipe, on_record=records.append) as watching:
        edit(pipe, height=64, width=64)
        (call,) = records[0].calls

        assert set(call.encoder_seconds) == BOTH
        assert all(seconds > 0 for seconds in call.encoder_seconds.values())
        assert sum(call.encoder_seconds.values()) < call.phases["encode_prompt"]
        for name, seconds in call.encoder_seconds.items():
            assert value(watching, ENCODER_SECONDS, "_count", encoder=name) == 1
            assert value(watching, ENCODER_SECONDS, "_sum", encoder=name) == pytest.approx(seconds)
        assert len(series(watching, ENCODER_SECONDS, "_count")) == 2
    assert (type(pipe.text_encoder), type(pipe.text_encoder_2)) == kinds


def test_the_encoders_of_two_pipelines_may_be_the_same(editing: Any) -> None:
    drawing, records = text_pipeline(editing), list[Record]()
    assert drawing.text_encoder is editing.text_encoder
    first = watch(pipeline=editing, namespace="first", on_record=records.append)
    second = watch(pipeline=drawing, namespace="second", on_record=records.append)
    try:
        edit(editing)
        draw(drawing)
        first.unwatch()
        draw(drawing)
        assert [set(record.calls[0].encoder_seconds) for record in records] == 3 * [
            {"text_encoder"}
        ]
        assert value(first, ENCODER_SECONDS, "_count") == 1
        assert value(second, ENCODER_SECONDS, "_count") == 2
    finally:
        first.unwatch()
        second.unwatch()


class Encoder:
    """A text encoder on a device that works late."""

    def forward(self, prompt: str) -> str:
        return prompt

    __call__ = forward


class TwoEncoders(OnCuda):
    """A minimal pipeline on such a device."""

    def __init__(self) -> None:
        self.text_encoder: Any = Encoder()
        self.text_encoder_2: Any = Encoder()
        self.runs = 1

    def encode_prompt(self, prompt: str) -> str:
        for _ in range(self.runs):
            self.text_encoder(prompt)
        self.text_encoder_2(prompt)
        return str(self.text_encoder_2(prompt))


def test_on_cuda_the_times_are_read_when_the_device_has_finished_and_never_waited_for() -> None:
    cuda, pipe, listener = FakeCuda(), TwoEncoders(), RecordingListener()
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    assert dict(listener.call.encoder_seconds) == {}
    cuda.catch_up()
    probe.drain()
    (late,) = listener.late_calls
    assert late.encoder_seconds == pytest.approx({"text_encoder": 0.01, "text_encoder_2": 0.02})
    assert listener.failures == []


def test_an_encoder_that_cannot_be_watched_does_not_hide_the_call() -> None:
    cuda, pipe, listener = FakeCuda(), TwoEncoders(), RecordingListener()
    pipe.text_encoder = _slotted()
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    cuda.catch_up()
    probe.drain()
    (late,) = listener.late_calls
    assert set(late.encoder_seconds) == {"text_encoder_2"}
    assert len(late.step_seconds) == 3


def _slotted() -> Any:
    """Return an encoder whose class Python cannot change."""

    class Slotted:
        __slots__ = ()

        def forward(self, prompt: str) -> str:
            return prompt

        __call__ = forward

    return Slotted()


def test_the_number_of_measured_runs_is_bounded() -> None:
    cuda, pipe, listener = FakeCuda(), TwoEncoders(), RecordingListener()
    pipe.runs = 1000
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    cuda.catch_up()
    probe.drain()
    assert listener.late_calls[0].encoder_seconds == pytest.approx({"text_encoder": 0.64})
