"""A closer look at outputs: of a sample, bounded, and never at a request's cost."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy
import pytest
from PIL import Image

from safelight.models.backend import Edit, Generation
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Assessed, AssessmentFailed
from safelight.serving.worker.appraisal import (
    Appraisal,
    Sampling,
    assess,
    lower_priority,
    thumbnail,
)
from safelight.serving.worker.choice import Prepared
from safelight.serving.worker.familiarity import ENOUGH, Familiarity
from safelight.telemetry.assessment import Assessment
from tests.serving.prepared import ready

PORTRAIT = paint(draw(1))
PIXELS = numpy.asarray(PORTRAIT)
EVERY = Sampling(ratio=1.0)
LONG_SECONDS = 20.0


def job(name: str = "one", work: Any = None) -> Prepared:
    edit = Edit(PORTRAIT, "make him old", "", 2, 7.5, 1.5, 0)
    return ready(
        name,
        work=work or edit,
        request_id=f"request {name}",
        instruction_type="make_him_old",
        min_kept_ratio=0.35,
    )


@dataclass
class Bench:
    """An appraisal whose messages can be read, and whose circumstances can be chosen."""

    sampling: Sampling = EVERY
    busy: bool = False
    now: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(LONG_SECONDS)
        self.parent, self.worker = Channel(ours), Channel(theirs)
        self.appraisal = Appraisal(
            self.worker,
            self.sampling,
            lambda: self.busy,
            self.failures.append,
            clock=lambda: self.now,
        )

    def offer(self, name: str = "one", error: str = "none", pixels: Any = PIXELS) -> None:
        self.appraisal.offer(job(name), pixels, error)

    def work(self, seconds: float) -> float:
        """Judge an image, which takes so long."""
        self.now += seconds
        return 0.5

    def message(self) -> Message:
        message = self.parent.receive()
        assert message is not None
        return message

    def assessment(self) -> Assessment:
        """Return the next assessment, with its thumbnails."""
        message = self.message()
        assert isinstance(message.content, Assessed)
        before, after = message.payloads
        return replace(message.content.assessment, before=before, after=after)

    def close(self) -> None:
        self.appraisal.close()
        self.parent.close()
        self.worker.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


class Gate:
    """A judge who waits until he is let through."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Semaphore(0), threading.Event()

    def __call__(self, _work: Edit | Generation, _pixels: Any) -> float:
        self.entered.release()
        assert self.opened.wait(LONG_SECONDS)
        return 0.5


def test_an_assessment_names_its_request(bench: Bench) -> None:
    bench.offer()
    assessment = bench.assessment()
    assert assessment.request_id == "request one"
    assert assessment.instruction_type == "make_him_old"
    assert assessment.structure == pytest.approx(1)
    assert assessment.changed == 0
    assert assessment.score is not None
    assert 0.5 < assessment.score <= 1
    assert assessment.seconds > 0
    assert (assessment.before, assessment.after) == (b"", b"")


def test_only_the_sampled_share_is_assessed() -> None:
    gate = Gate()
    bench = Bench(Sampling(ratio=0.2, judge=gate, enough=0))
    bench.appraisal._random.seed(0)
    for number in range(200):
        bench.offer(str(number))
    assert gate.entered.acquire(timeout=LONG_SECONDS)
    looked_at = bench.appraisal.dropped() + bench.appraisal._items.qsize() + 1
    assert 20 <= looked_at <= 60
    gate.opened.set()
    bench.close()


def test_with_ratio_zero_nothing_is_assessed() -> None:
    bench = Bench(Sampling(ratio=0.0))
    bench.offer(error="invalid_output")
    assert bench.appraisal._thread is None
    assert bench.appraisal.dropped() == 0
    bench.close()


def test_an_output_that_failed_is_kept_as_a_sample_but_its_figures_would_mislead() -> None:
    bench = Bench(Sampling(ratio=1e-9, thumbnails=True, enough=0))
    bench.offer("good")
    bench.offer("bad", error="structure_corruption")
    assessment = bench.assessment()
    assert (assessment.request_id, assessment.error) == ("request bad", "structure_corruption")
    assert assessment.after, "its thumbnail"
    assert (assessment.score, assessment.structure) == (None, None)
    bench.close()


def test_the_queue_is_short_and_dropped_outputs_are_counted_once() -> None:
    gate = Gate()
    bench = Bench(Sampling(ratio=1.0, judge=gate, enough=0))
    bench.offer("first")
    assert gate.entered.acquire(timeout=LONG_SECONDS), "the first is being looked at"
    for number in range(10):
        bench.offer(str(number))
    assert bench.appraisal.dropped() == 6, "four wait"
    assert bench.appraisal.dropped() == 0
    gate.opened.set()
    bench.close()


def test_while_requests_wait_the_thread_rests_a_hundred_times_as_long_as_it_worked() -> None:
    bench = Bench()

    bench.appraisal._sampling = replace(EVERY, judge=lambda *_: bench.work(0.1))
    bench.appraisal._familiarity = Familiarity(enough=0)
    bench.busy = True
    bench.offer("first")
    assert bench.assessment().request_id == "request first"
    while not bench.appraisal._paused_until:  # the assessment is sent just before the pause begins
        os.sched_yield()
    bench.now += 9.9
    bench.offer("too soon")
    assert bench.appraisal.dropped() == 1
    bench.now += 0.2
    bench.offer("later")
    assert bench.assessment().request_id == "request later"
    bench.close()


def test_p15_the_first_outputs_of_each_kind_are_assessed_however_small_the_share_is() -> None:
    bench = Bench(Sampling(ratio=1e-9))
    for number in range(ENOUGH):
        bench.offer(str(number))
        bench.assessment()
    for number in range(5):
        bench.offer(f"more {number}")
    bench.appraisal.offer(replace(job("new"), instruction_type="add_hat"), PIXELS)
    assert bench.assessment().request_id == "request new", "the others were not queued"
    assert bench.appraisal.dropped() == 0
    bench.close()


def test_p15_also_while_requests_wait_the_first_outputs_of_a_kind_are_assessed() -> None:
    gate = Gate()
    bench = Bench(Sampling(ratio=1.0, judge=gate, enough=2), busy=True)
    bench.offer("first")
    assert gate.entered.acquire(timeout=LONG_SECONDS), "the first is being looked at"
    bench.offer("second")
    for number in range(20):
        bench.appraisal.offer(replace(job("new"), instruction_type=f"type {number}"), PIXELS)
    assert bench.appraisal._items.qsize() == 12
    assert bench.appraisal.dropped() == 9, "no more than fit into the memory"
    gate.opened.set()
    bench.close()


def test_at_rest_nothing_is_dropped(bench: Bench) -> None:
    for number in range(3):
        bench.offer(str(number))
        bench.assessment()
    assert bench.appraisal.dropped() == 0


def test_a_failed_assessment_is_reported_and_the_next_one_runs(bench: Bench) -> None:
    bench.offer(pixels="no pixels")
    assert bench.message().content == AssessmentFailed()
    bench.offer("next")
    assert bench.assessment().request_id == "request next"
    assert bench.failures == ["assessment"]


def test_a_parent_that_is_gone_meanwhile_is_no_failure_of_the_look() -> None:
    gate = Gate()
    bench = Bench(Sampling(ratio=1.0, judge=gate))
    bench.offer()
    assert gate.entered.acquire(timeout=LONG_SECONDS)
    bench.parent.close()
    gate.opened.set()
    thread = bench.appraisal._thread
    assert thread is not None
    bench.close()
    thread.join(LONG_SECONDS)
    assert (thread.is_alive(), bench.failures) == (False, [])


def test_close_does_not_wait() -> None:
    bench = Bench()
    bench.offer()
    bench.assessment()
    thread = bench.appraisal._thread
    assert thread is not None
    bench.close()
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="only Linux has it by thread")
def test_only_the_assessing_thread_gets_the_lowest_priority() -> None:
    found: list[int] = []

    def work() -> None:
        lower_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LONG_SECONDS)
    assert found == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_thumbnails_are_kept_only_where_samples_are_wanted() -> None:
    large = Image.new("RGB", (900, 600), "teal")
    work = Edit(large, "make him old", "", 2, 7.5, 1.5, 0)
    none = assess(job(), work, numpy.asarray(large), "none", EVERY)
    assert (none.before, none.after) == (b"", b"")
    both = assess(job(), work, numpy.asarray(large), "none", replace(EVERY, thumbnails=True))
    for picture in (both.before, both.after):
        with Image.open(BytesIO(picture)) as opened:
            assert (opened.format, opened.size) == ("JPEG", (128, 85))


def test_a_generated_image_has_scores_but_no_structure() -> None:
    work = Generation((64, 64), "somebody old", "", 2, 0.0, 0)
    found = assess(job(work=work), work, PIXELS, "none", EVERY)
    assert found.score is not None
    assert (found.structure, found.edges, found.changed, found.before) == (None, None, None, b"")


def test_a_small_image_is_not_enlarged() -> None:
    with Image.open(BytesIO(thumbnail(PORTRAIT))) as opened:
        assert opened.size == (64, 64)
