"""The progress of a batch, as the worker reports it."""

from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image

from safelight.errors import Cancelled
from safelight.models.backend import OnStep
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Step
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.steps import Steps
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock


class Sent(Channel):
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


class Scene:
    """A batch of three jobs; a test may cancel some of them."""

    def __init__(self) -> None:
        self.sent, self.clock = Sent(), FakeClock(100.0)
        self.cancelled = set[str]()
        self.failures: list[str] = []
        self.steps = Steps(self.sent, self.failures.append, clock=self.clock)
        jobs = [
            Prepared(
                name, "key", 1, 1, 1e9, 3, (0, 0), alone=False, size=(8, 8), timeline=Timeline()
            )
            for name in "abc"
        ]
        self.on_step: OnStep = self.steps.of(jobs, self.cancelled.__contains__)

    def reported(self, step: int, latents: Any = None) -> list[Message]:
        """Return the messages of a step."""
        self.sent.messages.clear()
        self.on_step(step, latents)
        return list(self.sent.messages)


def step_of(message: Message) -> Step:
    assert isinstance(message.content, Step)
    return message.content


def greys(latents: int) -> Any:
    """Return latents of so many images, each brighter than the one before."""
    return torch.linspace(-2, 2, latents).view(-1, 1, 1, 1) * torch.ones(latents, 4, 8, 8)


def brightness(preview: bytes) -> int:
    pixel = Image.open(BytesIO(preview)).convert("L").getpixel((4, 4))
    assert isinstance(pixel, int)
    return pixel


def test_a_report_is_sent_every_quarter_of_a_second() -> None:
    scene = Scene()

    assert scene.reported(1) == [Message(Step([], 1), [])]
    assert scene.reported(2) == []
    scene.clock.now += 0.24
    assert scene.reported(3) == []
    scene.clock.now += 0.02
    assert scene.reported(4) == [Message(Step([], 4), [])]
    assert scene.reported(5) == []


def test_a_followed_job_reports_every_step() -> None:
    scene = Scene()
    scene.steps.follow("b", 0)

    assert [scene.reported(step) for step in (1, 2)] == [
        [Message(Step(["b"], step), [b""])] for step in (1, 2)
    ]


def test_a_job_may_be_followed_while_it_is_made_and_forgotten_again() -> None:
    scene = Scene()
    scene.reported(1)
    assert scene.reported(2) == []

    scene.steps.follow("c", 0)
    assert step_of(scene.reported(3)[0]).ids == ["c"]

    scene.steps.forget("c")
    scene.steps.forget("never followed")
    assert scene.reported(4) == []


def test_a_job_of_another_batch_may_be_followed_without_a_word_here() -> None:
    scene = Scene()
    scene.steps.follow("z", 1)
    scene.reported(1)

    assert scene.reported(2, greys(3)) == []


def test_each_follower_is_shown_its_own_image() -> None:
    scene = Scene()
    for name in "cab":
        scene.steps.follow(name, 1)

    [message] = scene.reported(1, greys(3))

    assert step_of(message).ids == ["a", "b", "c"]
    dark, middle, bright = (brightness(preview) for preview in message.payloads)
    assert dark < middle < bright


def test_previews_follow_each_jobs_interval() -> None:
    scene = Scene()
    scene.steps.follow("a", 2)
    scene.steps.follow("b", 3)
    scene.steps.follow("c", 0)

    shown = [
        [bool(preview) for preview in scene.reported(step, greys(3))[0].payloads]
        for step in range(1, 7)
    ]

    assert [a for a, _, _ in shown] == [False, True, False, True, False, True]
    assert [b for _, b, _ in shown] == [False, False, True, False, False, True]
    assert not any(c for _, _, c in shown)


def test_a_model_without_latents_has_no_previews() -> None:
    scene = Scene()
    scene.steps.follow("a", 1)

    assert scene.reported(1)[0].payloads == [b""]


def test_a_batch_runs_while_a_caller_waits_for_one_of_its_jobs() -> None:
    scene = Scene()
    scene.cancelled |= {"a", "b"}
    scene.on_step(1, None)

    scene.cancelled.add("c")
    with pytest.raises(Cancelled):
        scene.on_step(2, None)


def test_a_stopped_batch_sends_no_more_reports() -> None:
    scene = Scene()
    scene.steps.follow("a", 1)
    scene.cancelled |= {"a", "b", "c"}

    with pytest.raises(Cancelled):
        scene.on_step(1, greys(3))
    assert scene.sent.messages == []
