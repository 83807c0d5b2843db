"""The worker's work, with the real pipeline, on this side of the socket."""

import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from safelight.models.backend import Backend, ModelInfo
from safelight.serving.protocol import Channel, Kind, Message
from safelight.serving.worker import Worker
from safelight.stack.samples import photo


class PipelineBackend:
    """The shared tiny pipeline, as a worker's backend."""

    def __init__(self, pipeline: Any) -> None:
        from safelight.models.edit import EditBackend

        self._backend = EditBackend(pipeline, "demo")
        self.pipeline = pipeline
        self.info: ModelInfo = self._backend.info
        self.fails: Exception | None = None

    def edit(self, edit: Any, on_step: Any) -> Image.Image:
        if self.fails is not None:
            raise self.fails
        return self._backend.edit(edit, on_step)


class Desk:
    """A worker whose answers can be read."""

    def __init__(self, backend: PipelineBackend) -> None:
        ours, theirs = socket.socketpair()
        self.backend = backend
        self.worker = Worker(Channel(theirs), _typed(backend))
        self._parent = Channel(ours)

    def close(self) -> None:
        self.worker.close()
        self._parent.close()

    def make(self, picture: bytes, **edit: Any) -> Message:
        asked = {
            "instruction": "make him old", "negative_prompt": "", "steps": 3, "seed": 1,
            "guidance_scale": 7.5, "image_guidance_scale": 1.5, **edit,
        }  # fmt: skip
        fields = {"id": "job", "size": [64, 64], "edit": asked}
        self.worker.make(Message(Kind.JOB, fields, picture))
        answer = self._parent.receive()
        assert answer is not None
        return answer


def _typed(backend: PipelineBackend) -> Backend:
    return backend


@pytest.fixture
def desk(edit_pipe: Any) -> Iterator[Desk]:
    desk = Desk(PipelineBackend(edit_pipe))
    yield desk
    desk.close()


def test_an_edit_comes_back_as_a_png_with_all_its_time_accounted_for(desk: Desk) -> None:
    answer = desk.make(photo(64, 64))

    assert answer.kind is Kind.DONE
    assert Image.open(BytesIO(answer.payload)).size == (64, 64)
    assert list(answer.fields["size"]) == [64, 64]
    assert len(answer.fields["call"]["step_seconds"]) == 3
    assert {
        "decode",
        "encode_prompt",
        "encode_image",
        "denoise",
        "decode_latents",
        "encode",
    } <= set(answer.fields["stages"])


def test_a_seed_makes_the_same_image_again(desk: Desk) -> None:
    first, again, other = (desk.make(photo(64, 64), seed=seed).payload for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_damaged_picture_fails_before_the_model(desk: Desk) -> None:
    answer = desk.make(photo(200, 200)[:-4000])

    assert (answer.kind, answer.fields["reason"]) == (Kind.FAILED, "image_damaged")
    assert answer.fields["call"] is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "cuda_oom"),
        (RuntimeError("shapes cannot be multiplied"), "model_error"),
        (ValueError("a secret prompt"), "model_error"),
    ],
)
def test_a_failing_model_is_told_by_its_reason_and_not_by_its_words(
    desk: Desk, error: Exception, reason: str
) -> None:
    desk.backend.fails = error

    answer = desk.make(photo(64, 64))

    assert (answer.kind, answer.fields["reason"]) == (Kind.FAILED, reason)
    assert str(error) not in answer.fields["detail"]


def test_a_cancelled_job_stops_at_the_next_step_with_the_steps_it_made(desk: Desk) -> None:
    desk.worker.cancel("job")

    answer = desk.make(photo(64, 64), steps=20)

    assert (answer.kind, answer.fields["reason"]) == (Kind.FAILED, "cancelled")
    assert len(answer.fields["call"]["step_seconds"]) < 2


def test_a_worker_goes_on_after_a_failure(desk: Desk) -> None:
    desk.make(b"no picture")

    assert desk.make(photo(64, 64)).kind is Kind.DONE
