"""The worker's own side of the socket, with the real pipeline and with the model that is told."""

import socket
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from safelight.models.backend import Backend, Edit, ModelOrder, OnStep, Picture
from safelight.models.diffusion import Diffusion
from safelight.models.edit import EditBackend
from safelight.quality.validity import Limits
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.choice import prepared
from safelight.serving.worker.worker import Worker
from safelight.stack.tools.samples import photo
from tests.serving.models import painter

LIMIT_PIXELS = 1_000_000


class Failing(EditBackend):
    """The shared tiny pipeline, which can be made to fail."""

    fails: Exception | None = None

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[Picture]:
        if self.fails is not None:
            raise self.fails
        return super().run(batch, on_step)


class Desk:
    """A worker whose answers can be read."""

    def __init__(self, backend: Backend) -> None:
        ours, theirs = socket.socketpair()
        self.worker = Worker(Channel(theirs), backend, LIMIT_PIXELS, Limits())
        self.parent = Channel(ours)

    def close(self) -> None:
        self.worker.close()
        self.parent.close()

    def give(self, *pictures: bytes, **edit: Any) -> None:
        """Hand jobs in, as the parent does."""
        jobs = [job(str(number), **edit) for number in range(len(pictures))]
        self.worker.hear(Message(Kind.JOBS, {"jobs": jobs}, pictures))

    def batch(self) -> None:
        """Have the model make the next batch."""
        taken = self.worker._stage.take()
        assert taken is not None
        self.worker.make(taken)

    def told(self, kind: Kind) -> Message:
        """Return the next message of a kind."""
        while (message := self.parent.receive()) is not None:
            if message.kind is kind and (kind is not Kind.RESULTS or message.fields["results"]):
                return message
        raise AssertionError("the worker is gone")

    def results(self, number: int = 1) -> list[tuple[dict[str, Any], bytes]]:
        """Return what came of so many jobs."""
        found: list[tuple[dict[str, Any], bytes]] = []
        while len(found) < number:
            message = self.told(Kind.RESULTS)
            found += zip(message.fields["results"], message.payloads, strict=True)
        return found

    def make(self, picture: bytes, **edit: Any) -> tuple[dict[str, Any], bytes]:
        """Have one edit made."""
        self.give(picture, **edit)
        self.batch()
        return self.results()[0]


def job(name: str, **edit: Any) -> dict[str, Any]:
    asked = {
        "instruction": "make him old",
        "negative_prompt": "",
        "steps": 3,
        "seed": 1,
        "guidance_scale": 7.5,
        "image_guidance_scale": 1.5,
        **edit,
    }
    return {
        "id": name,
        "task": "edit",
        "size": [64, 64],
        "work": asked,
        "key": "key",
        "rank": 1,
        "left_seconds": 60.0,
        "cap": 8,
        "cost": [0.0, 0.0],
        "alone": False,
        "about": {"request_id": name, "instruction_type": "make_him_old", "keeps": 0.0},
    }


@pytest.fixture
def backend(edit_pipe: Any) -> Failing:
    return Failing(Diffusion(edit_pipe, ModelOrder("demo", "cpu")), {})


@pytest.fixture
def desk(backend: Failing) -> Iterator[Desk]:
    desk = Desk(backend)
    yield desk
    desk.close()


@pytest.fixture
def told() -> Iterator[Desk]:
    desk = Desk(painter(ModelOrder("painter", "cpu", "float32")))
    yield desk
    desk.close()


def test_an_edit_comes_back_as_a_png_with_all_its_time_accounted_for(desk: Desk) -> None:
    fields, image = desk.make(photo(64, 64))

    assert Image.open(BytesIO(image)).size == (64, 64)
    assert fields["size"] == [64, 64]
    assert len(fields["call"]["step_seconds"]) == 3
    assert {
        "decode",
        "encode_prompt",
        "encode_image",
        "denoise",
        "decode_latents",
        "check",
        "encode",
    } <= set(fields["stages"])


def test_a_batch_is_one_call_whose_time_one_of_its_jobs_enters(desk: Desk) -> None:
    desk.give(photo(64, 64), photo(64, 64), photo(64, 64))
    desk.batch()
    found = desk.results(3)

    calls = sorted((fields["call"] for fields, _ in found), key=lambda call: not call["leads"])
    assert [call["leads"] for call in calls] == [True, False, False]
    assert [call["batch"] for call in calls] == [3, 3, 3]
    assert [call["images"] for call in calls] == [[[64, 64]]] * 3


def test_a_seed_makes_the_same_image_again_alone_and_in_a_batch(desk: Desk) -> None:
    import numpy

    def pixels(image: bytes) -> Any:
        return numpy.asarray(Image.open(BytesIO(image)), dtype=int)

    first, again, other = (pixels(desk.make(photo(64, 64), seed=seed)[1]) for seed in (1, 1, 2))
    desk.give(photo(64, 64), photo(64, 64))
    desk.batch()
    batched = [pixels(image) for _, image in desk.results(2)]

    assert (first == again).all()
    assert (first != other).any()
    # Another size of matrix is another order of sums: a grey level may round the other way.
    assert all(abs(first - image).max() <= 2 for image in batched)


@pytest.mark.parametrize("picture", [photo(200, 200)[:-4000], photo(900, 900)[:-40000]])
def test_a_damaged_picture_fails_before_the_model(desk: Desk, picture: bytes) -> None:
    desk.give(picture)
    fields, _ = desk.results()[0]

    assert fields["reason"] == "image_damaged"
    assert fields["call"] is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "cuda_oom"),
        (RuntimeError("shapes cannot be multiplied"), "model_error"),
        (ValueError("a secret prompt"), "model_error"),
    ],
)
def test_a_failing_model_is_told_by_its_reason_and_not_by_its_words(
    desk: Desk, backend: Failing, error: Exception, reason: str
) -> None:
    backend.fails = error

    fields, _ = desk.make(photo(64, 64))

    assert fields["reason"] == reason
    assert str(error) not in fields["detail"]


def test_a_worker_goes_on_after_a_failure(desk: Desk) -> None:
    desk.give(b"no picture")
    assert desk.results()[0][0]["reason"] == "not_an_image"

    assert "reason" not in desk.make(photo(64, 64))[0]


def test_a_job_cancelled_at_work_stops_at_the_next_step_with_the_steps_it_made(desk: Desk) -> None:
    desk.give(photo(64, 64), steps=20)
    batch = desk.worker._stage.take()
    assert batch is not None
    desk.worker.hear(Message(Kind.CANCEL, {"id": "0"}))
    desk.worker.make(batch)
    fields, _ = desk.results()[0]

    assert fields["reason"] == "cancelled"
    assert len(fields["call"]["step_seconds"]) < 2


def test_a_job_cancelled_before_its_turn_is_answered_at_once(told: Desk) -> None:
    told.give(photo(64, 64), photo(64, 64))
    told.worker.hear(Message(Kind.CANCEL, {"id": "1"}))

    assert told.results()[0][0]["reason"] == "cancelled"
    taken = told.worker._stage.take()
    assert taken is not None
    assert [job.id for job in taken.jobs] == ["0"]


def test_a_batch_too_large_is_made_in_halves(told: Desk) -> None:
    told.give(*[photo(64, 64)] * 5, instruction="fits 2")
    told.batch()
    sizes: list[int] = []
    done: set[str] = set()
    while len(done) < 5:
        message = told.parent.receive()
        assert message is not None
        if message.kind is Kind.STARTED:
            sizes.append(len(message.fields["ids"]))
        done |= {r["id"] for r in message.fields.get("results", []) if "reason" not in r}

    assert sizes == [5, 2, 3, 1, 2]


def test_a_lost_device_ends_the_worker(told: Desk) -> None:
    told.give(photo(64, 64), instruction="poison")
    told.batch()

    told.told(Kind.POISONED)
    assert told.worker._stage.take() is None


def test_a_model_that_makes_too_few_images_has_failed(told: Desk) -> None:
    told.worker._backend.run = lambda batch, on_step: []  # type: ignore[method-assign]

    assert told.make(photo(64, 64))[0]["reason"] == "model_error"


def test_late_jobs_are_told_so_and_cost_nothing(told: Desk) -> None:
    late = prepared({**job("late"), "left_seconds": -1.0}, 1, told.worker._stage.clock)
    told.worker._stage.put([late])
    batch = told.worker._stage.take()

    assert batch is not None
    assert (batch.jobs, [job.id for job in batch.late]) == ([], ["late"])


def test_a_step_is_a_sign_of_life_and_a_followed_one_is_told_with_its_preview(desk: Desk) -> None:
    desk.give(photo(64, 64), steps=4)
    desk.worker.hear(Message(Kind.FOLLOW, {"id": "0", "preview_every": 2}))
    desk.batch()
    steps = [desk.told(Kind.STEP) for _ in range(4)]

    assert [step.fields["step"] for step in steps] == [1, 2, 3, 4]
    assert [bool(step.payloads[0]) for step in steps] == [False, True, False, True]


@pytest.mark.parametrize(("instruction", "whole"), [("make him old", True), ("raise", False)])
def test_only_a_whole_batch_teaches_what_a_batch_costs(
    told: Desk, instruction: str, whole: bool
) -> None:
    told.give(photo(64, 64), instruction=instruction)
    told.batch()
    while (message := told.parent.receive()) is not None:
        if message.fields.get("ran"):
            break

    assert message is not None
    assert message.fields["ran"]["whole"] is whole
    assert message.fields["ran"]["ids"] == ["0"]
