"""The worker's side of the socket, with a real pipeline and with a model that obeys its prompt."""

import socket
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from safelight.models.backend import Backend, Edit, MadeImage, ModelOrder, OnStep
from safelight.models.diffusion import Diffusion
from safelight.models.edit import EditBackend
from safelight.quality.validity import Limits
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import (
    Cancel,
    Content,
    FailedResult,
    Follow,
    ImageResult,
    Jobs,
    Poisoned,
    Result,
    Results,
    Started,
    Step,
)
from safelight.serving.worker.choice import prepared
from safelight.serving.worker.worker import Worker
from safelight.stack.tools.samples import photo
from safelight.telemetry.record import PipelineCall
from tests.serving.models import painter
from tests.serving.prepared import an_order, edit_task

LIMIT_PIXELS = 1_000_000


class Failing(EditBackend):
    """The shared tiny pipeline, which can be made to fail."""

    fails: Exception | None = None

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        if self.fails is not None:
            raise self.fails
        return super().run(batch, on_step)


class Desk:
    """A worker whose messages can be read."""

    def __init__(self, backend: Backend) -> None:
        ours, theirs = socket.socketpair()
        self.worker = Worker(Channel(theirs), backend, LIMIT_PIXELS, Limits())
        self.parent = Channel(ours)

    def close(self) -> None:
        self.worker.close()
        self.parent.close()

    def give(self, *images: bytes, **edit: Any) -> None:
        """Send jobs, as the API process does."""
        orders = [an_order(str(number), edit_task(**edit)) for number in range(len(images))]
        self.worker.receive(Message(Jobs(orders), images))

    def batch(self) -> None:
        """Run the next batch."""
        batch = self.worker._stage.take()
        assert batch is not None
        self.worker.run(batch)

    def message(self, kind: type[Content]) -> Message:
        """Return the next message of a kind; of results, the next that has some."""
        while (message := self.parent.receive()) is not None:
            content = message.content
            if isinstance(content, kind) and not (
                isinstance(content, Results) and not content.results
            ):
                return message
        raise AssertionError("the worker is gone")

    def results(self, number: int = 1) -> list[tuple[Result, bytes]]:
        """Return the results of so many jobs."""
        results: list[tuple[Result, bytes]] = []
        while len(results) < number:
            message = self.message(Results)
            assert isinstance(message.content, Results)
            results += zip(message.content.results, message.payloads, strict=True)
        return results

    def make(self, image: bytes, **edit: Any) -> tuple[Result, bytes]:
        """Run one edit."""
        self.give(image, **edit)
        self.batch()
        return self.results()[0]

    def failure(self) -> FailedResult:
        """Return the next result, which is a failure."""
        result, _ = self.results()[0]
        assert isinstance(result, FailedResult)
        return result


def call_of(result: Result) -> PipelineCall:
    assert result.call is not None
    return result.call


@pytest.fixture
def backend(edit_pipe: Any) -> Failing:
    return Failing(Diffusion(edit_pipe, ModelOrder("demo", "cpu")), {})


@pytest.fixture
def desk(backend: Failing) -> Iterator[Desk]:
    desk = Desk(backend)
    yield desk
    desk.close()


@pytest.fixture
def painter_desk() -> Iterator[Desk]:
    desk = Desk(painter(ModelOrder("painter", "cpu", "float32")))
    yield desk
    desk.close()


def test_an_edit_comes_back_as_a_png_with_all_its_time_accounted_for(desk: Desk) -> None:
    result, image = desk.make(photo(64, 64))

    assert Image.open(BytesIO(image)).size == (64, 64)
    assert isinstance(result, ImageResult)
    assert result.size == (64, 64)
    assert len(call_of(result).step_seconds) == 3
    assert {
        "decode",
        "encode_prompt",
        "encode_image",
        "denoise",
        "decode_latents",
        "check",
        "encode",
    } <= set(dict(result.parts))


def test_a_batch_is_one_call_whose_time_one_of_its_jobs_enters(desk: Desk) -> None:
    desk.give(photo(64, 64), photo(64, 64), photo(64, 64))
    desk.batch()
    results = desk.results(3)

    calls = sorted((call_of(result) for result, _ in results), key=lambda call: not call.leads)
    assert [call.leads for call in calls] == [True, False, False]
    assert [call.batch for call in calls] == [3, 3, 3]
    assert [call.images for call in calls] == [((64, 64),)] * 3


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
def test_a_damaged_image_fails_before_the_model_runs(desk: Desk, picture: bytes) -> None:
    desk.give(picture)
    result = desk.failure()

    assert result.reason == "image_damaged"
    assert result.call is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "cuda_oom"),
        (RuntimeError("shapes cannot be multiplied"), "model_error"),
        (ValueError("a secret prompt"), "model_error"),
    ],
)
def test_a_model_failure_has_its_reason_but_not_its_message(
    desk: Desk, backend: Failing, error: Exception, reason: str
) -> None:
    backend.fails = error

    result, _ = desk.make(photo(64, 64))

    assert isinstance(result, FailedResult)
    assert result.reason == reason
    assert str(error) not in result.detail


def test_a_worker_goes_on_after_a_failure(desk: Desk) -> None:
    desk.give(b"no picture")
    assert desk.failure().reason == "not_an_image"

    assert isinstance(desk.make(photo(64, 64))[0], ImageResult)


def test_a_job_cancelled_at_work_stops_at_the_next_step_with_the_steps_it_made(desk: Desk) -> None:
    desk.give(photo(64, 64), steps=20)
    batch = desk.worker._stage.take()
    assert batch is not None
    desk.worker.receive(Message(Cancel("0")))
    desk.worker.run(batch)
    result = desk.failure()

    assert result.reason == "cancelled"
    assert len(call_of(result).step_seconds) < 2


def test_a_job_cancelled_while_it_waits_fails_at_once(painter_desk: Desk) -> None:
    painter_desk.give(photo(64, 64), photo(64, 64))
    painter_desk.worker.receive(Message(Cancel("1")))

    assert painter_desk.failure().reason == "cancelled"
    taken = painter_desk.worker._stage.take()
    assert taken is not None
    assert [job.id for job in taken.jobs] == ["0"]


def test_a_batch_too_large_is_made_in_halves(painter_desk: Desk) -> None:
    painter_desk.give(*[photo(64, 64)] * 5, instruction="fits 2")
    painter_desk.batch()
    sizes: list[int] = []
    done: set[str] = set()
    while len(done) < 5:
        message = painter_desk.parent.receive()
        assert message is not None
        if isinstance(message.content, Started):
            sizes.append(len(message.content.ids))
        if isinstance(message.content, Results):
            done |= {r.id for r in message.content.results if isinstance(r, ImageResult)}

    assert sizes == [5, 2, 3, 1, 2]


def test_a_lost_device_ends_the_worker(painter_desk: Desk) -> None:
    painter_desk.give(photo(64, 64), instruction="poison")
    painter_desk.batch()

    painter_desk.message(Poisoned)
    assert painter_desk.worker._stage.take() is None


def test_a_worker_that_leaks_ends_before_more_jobs_fail(painter_desk: Desk) -> None:
    held = [0]
    painter_desk.worker.memory.watch(lambda: held[0])
    painter_desk.make(photo(64, 64))
    held[0] += 10**9
    painter_desk.give(*[photo(64, 64)] * 4, instruction="fits 0")
    painter_desk.batch()

    seen: list[object] = []
    while not (seen and isinstance(seen[-1], Poisoned)):
        message = painter_desk.parent.receive()
        assert message is not None
        seen.append(message.content)
    failed = [r.id for m in seen if isinstance(m, Results) for r in m.results]
    assert seen[-1] == Poisoned("memory")
    assert failed == ["0"], "the job that shows the leak, and the others, run elsewhere"
    assert isinstance(seen[-2], Started)
    assert seen[-2].ids == ["1"]
    assert painter_desk.worker._stage.take() is None


def test_a_model_that_makes_too_few_images_has_failed(painter_desk: Desk) -> None:
    painter_desk.worker._backend.run = lambda batch, on_step: []  # type: ignore[method-assign]

    painter_desk.give(photo(64, 64))
    painter_desk.batch()
    assert painter_desk.failure().reason == "model_error"


def test_late_jobs_fail_without_running(painter_desk: Desk) -> None:
    order = an_order("late", remaining_seconds=-1.0)
    late = prepared(order, 1, painter_desk.worker._stage.clock)
    painter_desk.worker._stage.put([late])
    batch = painter_desk.worker._stage.take()

    assert batch is not None
    assert (batch.jobs, [job.id for job in batch.late]) == ([], ["late"])


def test_followed_jobs_report_every_step_with_previews(desk: Desk) -> None:
    desk.give(photo(64, 64), steps=4)
    desk.worker.receive(Message(Follow("0", 2)))
    desk.batch()
    steps = [desk.message(Step) for _ in range(4)]

    assert [step.content for step in steps] == [Step(["0"], number) for number in (1, 2, 3, 4)]
    assert [bool(step.payloads[0]) for step in steps] == [False, True, False, True]


@pytest.mark.parametrize(("instruction", "complete"), [("make him old", True), ("raise", False)])
def test_only_a_complete_batch_is_used_to_learn_its_cost(
    painter_desk: Desk, instruction: str, complete: bool
) -> None:
    painter_desk.give(photo(64, 64), instruction=instruction)
    painter_desk.batch()
    report = None
    while report is None and (message := painter_desk.parent.receive()) is not None:
        report = message.content.batch if isinstance(message.content, Results) else None

    assert report is not None
    assert report.complete is complete
    assert report.ids == ["0"]


def test_the_input_of_one_job_does_not_fail_the_others_of_its_batch(painter_desk: Desk) -> None:
    orders = [
        an_order(name, edit_task(instruction=instruction))
        for name, instruction in (("bad", "raise"), ("good", "make him old"), ("fine", "add a hat"))
    ]
    painter_desk.worker.receive(Message(Jobs(orders), [photo(64, 64)] * 3))
    painter_desk.batch()
    found = {result.id: type(result).__name__ for result, _ in painter_desk.results(3)}

    assert found == {"bad": "FailedResult", "good": "ImageResult", "fine": "ImageResult"}
