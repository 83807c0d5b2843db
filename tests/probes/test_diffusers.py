import inspect
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    HeunDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)

from safelight.errors import AlreadyWatched
from safelight.probes.assign import Requests
from safelight.probes.calls import precision_of
from safelight.probes.diffusers import DiffusersProbe
from safelight.quality.instructions import load_taxonomy
from safelight.telemetry.record import PipelineCall
from tests.pipelines import STEPS, draw, edit, edit_pipeline, picture, text_pipeline
from tests.probes.cuda import FakeCuda
from tests.reading import at_once

CLASSIFY = load_taxonomy().classify


class RecordingListener:
    """A listener that stores all calls."""

    def __init__(self, *, fails_at: str = "") -> None:
        self.owner: object = self
        self.begun = 0
        self.calls: list[PipelineCall] = []
        self.late_calls: list[PipelineCall] = []
        self.failures: list[str] = []
        self._fails_at = fails_at

    def begin(self) -> Requests:
        self.begun += 1
        self._fail_if("begin")
        return ()

    def end(self, call: PipelineCall, requests: Requests) -> None:
        self.calls.append(call)
        self._fail_if("end")

    def late(self, call: PipelineCall) -> None:
        self.late_calls.append(call)

    def failed(self, probe: str) -> None:
        self.failures.append(probe)

    def _fail_if(self, where: str) -> None:
        if where == self._fails_at:
            raise OSError("disk full")

    @property
    def call(self) -> PipelineCall:
        """Return the only call."""
        assert self.failures == []
        (call,) = self.calls
        return call


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def editing(edit_pipe: Any, listener: RecordingListener) -> Iterator[Any]:
    probe = DiffusersProbe(edit_pipe, listener, classify=CLASSIFY)
    yield edit_pipe
    probe.unwatch()


@pytest.fixture
def drawing(text_pipe: Any, listener: RecordingListener) -> Iterator[Any]:
    probe = DiffusersProbe(text_pipe, listener, classify=CLASSIFY)
    yield text_pipe
    probe.unwatch()


# ── A call ───────────────────────────────────────────────────────────────────────────────────────


def test_p8_a_call_of_instructpix2pix_is_reported_without_changing_its_code(
    editing: Any, listener: RecordingListener
) -> None:
    image = edit(editing).images[0]
    assert image.size == (64, 64)
    call = listener.call
    assert call.pipeline == "StableDiffusionInstructPix2PixPipeline"
    assert call.instruction_type == "make_him_old"
    assert call.precision == "float32"
    assert (call.steps_asked, len(call.step_seconds)) == (STEPS, STEPS)
    assert call.images == ((64, 64),)
    assert call.error == "none"
    assert call.negative_prompt is False


def test_a_call_of_stable_diffusion_is_reported(drawing: Any, listener: RecordingListener) -> None:
    draw(drawing, negative_prompt="blurred")
    call = listener.call
    assert (call.pipeline, call.instruction_type) == ("StableDiffusionPipeline", "add_hat")
    assert (call.image_guidance_asked, call.image_guidance_in_force) == (None, None)
    assert (call.guidance_asked, call.guidance_in_force) == (7.5, 7.5)
    assert call.negative_prompt is True


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_p5_every_denoising_step_is_timed(
    editing: Any, listener: RecordingListener, steps: int
) -> None:
    edit(editing, num_inference_steps=steps)
    assert len(listener.call.step_seconds) == steps
    assert all(seconds > 0 for seconds in listener.call.step_seconds)
    assert sum(listener.call.step_seconds) <= listener.call.phases["denoise"] + 1e-3


def test_a_second_order_scheduler_makes_the_requested_steps(
    text_pipe: Any, listener: RecordingListener
) -> None:
    own = text_pipe.scheduler
    text_pipe.scheduler = HeunDiscreteScheduler.from_config(own.config)
    probe = DiffusersProbe(text_pipe, listener)
    draw(text_pipe, num_inference_steps=4)
    probe.unwatch()
    text_pipe.scheduler = own
    assert len(listener.call.step_seconds) == 4


def test_the_phases_sum_to_the_call(editing: Any, listener: RecordingListener) -> None:
    edit(editing)
    phases = listener.call.phases
    assert list(phases) == ["encode_prompt", "encode_image", "denoise", "decode_latents"]
    assert all(seconds > 0 for seconds in phases.values())
    assert sum(phases.values()) == pytest.approx(listener.call.seconds, abs=1e-3)


@pytest.mark.parametrize(
    ("output_type", "sizes"), [("pil", 1), ("np", 1), ("pt", 1), ("latent", 0)]
)
@pytest.mark.parametrize("return_dict", [True, False])
def test_the_image_size_is_read_from_every_output_type(
    drawing: Any, listener: RecordingListener, output_type: str, sizes: int, return_dict: bool
) -> None:
    draw(drawing, width=128, output_type=output_type, return_dict=return_dict)
    assert listener.call.images == ((128, 64),) * sizes


def test_several_prompts_make_several_images(editing: Any, listener: RecordingListener) -> None:
    edit(editing, ["make him old", "add a hat"], image=[picture(), picture()])
    assert listener.call.images == ((64, 64), (64, 64))
    assert listener.call.instruction_type == "make_him_old"


def test_positional_arguments_are_read(editing: Any, listener: RecordingListener) -> None:
    editing("add a hat", picture(), 2)
    assert (listener.call.instruction_type, listener.call.steps_asked) == ("add_hat", 2)


def test_defaults_count_as_requested(drawing: Any, listener: RecordingListener) -> None:
    drawing("a hat", height=64, width=64, num_inference_steps=1)
    assert listener.call.guidance_asked == 7.5


def test_a_call_without_a_prompt_has_no_instruction_type(
    editing: Any, listener: RecordingListener
) -> None:
    embedded = torch.zeros(1, 77, 64)
    edit(editing, None, prompt_embeds=embedded, negative_prompt_embeds=embedded)
    assert listener.call.instruction_type == "none"


def test_p11_the_precision_is_read_from_the_weights(listener: RecordingListener) -> None:
    pipe = edit_pipeline().to(torch.bfloat16)
    with_probe = DiffusersProbe(pipe, listener)
    edit(pipe, output_type="latent")
    with_probe.unwatch()
    assert listener.call.precision == "bfloat16"
    assert precision_of(SimpleNamespace(transformer=SimpleNamespace(dtype=torch.float16))) == (
        "float16"
    )
    assert precision_of(SimpleNamespace()) == "other"


# ── Guidance (P7) ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "image", "in_force", "overridden"),
    [
        (7.5, 1.5, (7.5, 1.5), ()),
        (7.5, 1.0, (7.5, 1.0), ()),
        (7.5, 0.8, (1.0, 1.0), ("guidance_scale", "image_guidance_scale")),
        (1.0, 1.5, (1.0, 1.0), ("image_guidance_scale",)),
        (0.5, 1.5, (1.0, 1.0), ("guidance_scale", "image_guidance_scale")),
        (1.0, 1.0, (1.0, 1.0), ()),
        (0, 1.0, (1.0, 1.0), ()),
    ],
)
def test_p7_silently_disabled_guidance_is_reported(
    editing: Any,
    listener: RecordingListener,
    text: float,
    image: float,
    in_force: tuple[float, float],
    overridden: tuple[str, ...],
) -> None:
    edit(editing, guidance_scale=text, image_guidance_scale=image, num_inference_steps=1)
    call = listener.call
    assert (call.guidance_asked, call.image_guidance_asked) == (text, image)
    assert (call.guidance_in_force, call.image_guidance_in_force) == in_force
    assert call.overridden == overridden


@pytest.mark.parametrize(
    ("asked", "in_force", "overridden"),
    [(7.5, 7.5, ()), (1.0, 1.0, ()), (0.5, 1.0, ("guidance_scale",)), (0, 1.0, ())],
)
def test_p7_text_guidance_of_a_plain_pipeline(
    drawing: Any,
    listener: RecordingListener,
    asked: float,
    in_force: float,
    overridden: tuple[str, ...],
) -> None:
    draw(drawing, guidance_scale=asked, num_inference_steps=1)
    assert listener.call.guidance_in_force == in_force
    assert listener.call.overridden == overridden


# ── The watched is not hurt ──────────────────────────────────────────────────────────────────────


def seeded(pipe: Any, **changed: Any) -> Any:
    """Return the pixels of one edit with a fixed seed."""
    generator = torch.Generator("cpu").manual_seed(7)
    return np.asarray(edit(pipe, generator=generator, **changed).images[0])


def test_a_watched_pipeline_makes_the_same_image(
    edit_pipe: Any, listener: RecordingListener
) -> None:
    before = seeded(edit_pipe)
    probe = DiffusersProbe(edit_pipe, listener)
    during = seeded(edit_pipe)
    probe.unwatch()
    assert np.array_equal(before, during)
    assert np.array_equal(before, seeded(edit_pipe))


def test_the_users_callback_still_works(edit_pipe: Any, listener: RecordingListener) -> None:
    steps: list[int] = []

    def halve(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert pipe is edit_pipe
        steps.append(step)
        return {"latents": tensors["latents"] / 2}

    before = seeded(edit_pipe, callback_on_step_end=halve)
    probe = DiffusersProbe(edit_pipe, listener)
    during = seeded(edit_pipe, callback_on_step_end=halve)
    probe.unwatch()
    assert steps == [*range(STEPS), *range(STEPS)]
    assert np.array_equal(before, during)
    assert len(listener.call.step_seconds) == STEPS


class Stop(Exception):
    """The caller disconnected."""


def test_an_interrupted_call_is_reported_with_its_steps_so_far(
    editing: Any, listener: RecordingListener
) -> None:
    def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 3:
            raise Stop
        return tensors

    with pytest.raises(Stop):
        edit(editing, num_inference_steps=6, callback_on_step_end=stop)
    call = listener.call
    assert call.error == "model_error"
    assert (call.steps_asked, len(call.step_seconds)) == (6, 3)
    assert call.images == ()
    assert sum(call.phases.values()) == pytest.approx(call.seconds, abs=1e-3)


def test_out_of_memory_has_its_own_reason(editing: Any, listener: RecordingListener) -> None:
    def exhaust(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        edit(editing, callback_on_step_end=exhaust)
    assert listener.call.error == "cuda_oom"


def test_the_call_after_a_failed_one_is_reported(editing: Any, listener: RecordingListener) -> None:
    with pytest.raises(ValueError, match="prompt"):
        edit(editing, 123)
    edit(editing)
    assert [call.error for call in listener.calls] == ["model_error", "none"]


def test_wrong_arguments_are_refused_by_the_pipeline(
    editing: Any, listener: RecordingListener
) -> None:
    with pytest.raises(TypeError, match="positional arguments"):
        editing(*range(60))
    assert (listener.call.error, listener.call.step_seconds) == ("model_error", ())


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_listener_that_fails_does_not_fail_the_call(where: str, edit_pipe: Any) -> None:
    listener = RecordingListener(fails_at=where)
    probe = DiffusersProbe(edit_pipe, listener)
    assert edit(edit_pipe).images
    probe.unwatch()
    assert listener.failures == ["diffusers"]


def test_a_taxonomy_that_fails_does_not_fail_the_call(
    edit_pipe: Any, listener: RecordingListener
) -> None:
    def classify(text: str) -> str:
        raise RuntimeError("no")

    probe = DiffusersProbe(edit_pipe, listener, classify=classify)
    assert edit(edit_pipe).images
    probe.unwatch()
    assert listener.failures == ["diffusers"]


# ── Threads ──────────────────────────────────────────────────────────────────────────────────────


def test_two_concurrent_pipelines_are_reported_separately(
    editing: Any, drawing: Any, listener: RecordingListener
) -> None:
    def work(number: int) -> None:
        if number:
            edit(editing, num_inference_steps=5)
        else:
            draw(drawing, num_inference_steps=4)

    at_once(work, threads=2)
    assert {call.pipeline: len(call.step_seconds) for call in listener.calls} == {
        "StableDiffusionInstructPix2PixPipeline": 5,
        "StableDiffusionPipeline": 4,
    }


def test_two_concurrent_calls_on_one_pipeline_are_reported_separately(
    editing: Any, listener: RecordingListener
) -> None:
    """The scheduler is not thread-safe and may raise; the reported calls must still be correct."""
    made: Counter[int] = Counter()
    ended: list[bool] = []

    def work(number: int) -> None:
        def count(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            made[number] += 1
            return tensors

        try:
            edit(editing, num_inference_steps=3 + 3 * number, callback_on_step_end=count)
            ended.append(True)
        except (IndexError, RuntimeError, TypeError, ValueError):
            ended.append(False)

    at_once(work, threads=2)
    assert listener.failures == []
    steps_by_call = {call.steps_asked: len(call.step_seconds) for call in listener.calls}
    assert steps_by_call == {3 + 3 * number: made[number] for number in (0, 1)}
    assert Counter(call.error == "none" for call in listener.calls) == Counter(ended)


def test_a_call_in_another_thread_is_reported_in_that_thread(edit_pipe: Any) -> None:
    threads: list[int] = []

    class Where(RecordingListener):
        def end(self, call: PipelineCall, requests: Requests) -> None:
            threads.append(threading.get_ident())

    probe = DiffusersProbe(edit_pipe, Where())
    thread = threading.Thread(target=edit, args=(edit_pipe,))
    thread.start()
    thread.join()
    probe.unwatch()
    assert threads == [thread.ident]


# ── The pipeline stays what it was ───────────────────────────────────────────────────────────────


def test_a_watched_pipeline_is_still_an_instance_of_its_class(editing: Any) -> None:
    own = StableDiffusionInstructPix2PixPipeline
    assert isinstance(editing, own)
    assert type(editing).__name__ == own.__name__
    assert type(editing).__module__ == own.__module__
    assert inspect.signature(editing.__call__) == inspect.signature(own.__call__.__get__(editing))
    assert type(editing).__doc__ == own.__doc__
    assert repr(editing).startswith("StableDiffusionInstructPix2PixPipeline {")


def test_unwatch_restores_the_class(edit_pipe: Any, listener: RecordingListener) -> None:
    probe = DiffusersProbe(edit_pipe, listener)
    assert type(edit_pipe) is not StableDiffusionInstructPix2PixPipeline
    probe.unwatch()
    probe.unwatch()
    assert type(edit_pipe) is StableDiffusionInstructPix2PixPipeline
    edit(edit_pipe)
    assert listener.calls == []


def test_a_second_watch_is_refused_until_the_first_ends(
    edit_pipe: Any, listener: RecordingListener
) -> None:
    first = DiffusersProbe(edit_pipe, listener)
    with pytest.raises(AlreadyWatched, match="pipeline"):
        DiffusersProbe(edit_pipe, listener)
    first.unwatch()
    DiffusersProbe(edit_pipe, listener).unwatch()


def test_another_pipeline_of_the_class_is_not_watched(
    drawing: Any, edit_pipe: Any, listener: RecordingListener
) -> None:
    draw(text_pipeline(edit_pipe))
    assert listener.calls == []


def test_a_watched_pipeline_can_be_saved_and_loaded(editing: Any, tmp_path: Path) -> None:
    editing.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is StableDiffusionInstructPix2PixPipeline


def test_a_watched_pipeline_can_be_moved_and_its_components_reused(
    editing: Any, listener: RecordingListener
) -> None:
    assert editing.to("cpu") is editing
    assert set(editing.components) >= {"vae", "unet", "scheduler"}
    assert StableDiffusionPipeline is not type(editing)


def test_progress_bars_and_prompts_outside_a_call_are_ignored(
    editing: Any, listener: RecordingListener
) -> None:
    edit(editing)
    call = listener.call
    bar = editing.progress_bar(total=3)
    assert type(bar).__module__.startswith("tqdm")
    editing._encode_prompt("add a hat", "cpu", 1, False)
    assert listener.calls == [call]


def test_unwatch_during_a_call_lets_the_call_finish(
    edit_pipe: Any, listener: RecordingListener
) -> None:
    def leave(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        probe.unwatch()
        return tensors

    probe = DiffusersProbe(edit_pipe, listener)
    assert edit(edit_pipe, callback_on_step_end=leave).images
    assert len(listener.call.step_seconds) == STEPS


# ── A device that is late ────────────────────────────────────────────────────────────────────────


class Bar:
    """A progress bar like tqdm's."""

    total = 0

    def __init__(self, steps: Any = None, total: int = 0) -> None:
        self.steps = steps
        self.total = total
        self.moved = 0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def update(self, n: int = 1) -> None:
        self.moved += n


class OnCuda:
    """A minimal pipeline on a device that works late."""

    _execution_device = torch.device("cuda")
    unet = SimpleNamespace(dtype=torch.float16)

    def encode_prompt(self, prompt: str) -> str:
        return prompt

    def progress_bar(self, iterable: Any = None, total: int = 0) -> Any:
        return Bar(iterable, total)

    def __call__(self, prompt: str, num_inference_steps: int = 3, *, iterates: bool = False) -> Any:
        self.encode_prompt(prompt)
        steps = range(num_inference_steps)
        if iterates:
            bar = self.progress_bar(steps)
            assert len(bar) == num_inference_steps
            for _ in bar:
                pass
            return SimpleNamespace(images=[])
        with self.progress_bar(total=num_inference_steps) as bar:
            for _ in steps:
                bar.update()
        assert bar.moved == bar.total
        return SimpleNamespace(images=[])


def test_p5_cuda_steps_are_reported_when_the_device_has_finished_them(
    listener: RecordingListener,
) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    assert (listener.call.step_seconds, dict(listener.call.phases)) == ((), {})
    assert listener.call.precision == "float16"
    probe.drain()
    assert listener.late_calls == []
    cuda.catch_up()
    assert probe.drain()
    assert [call.step_seconds for call in listener.late_calls] == [(0.01, 0.01, 0.01)]
    probe.drain()
    assert len(listener.late_calls) == 1


def test_late_steps_are_also_reported_at_the_next_call(listener: RecordingListener) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    cuda.catch_up()
    pipe("a hat")
    assert len(listener.late_calls) == 1


def test_no_step_is_lost_if_the_device_finishes_during_the_check(
    listener: RecordingListener,
) -> None:
    cuda, pipe = FakeCuda(catches_up_when_asked=True), OnCuda()
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat")
    probe.drain()
    steps_by_call = [call.step_seconds for call in (*listener.calls, *listener.late_calls)]
    assert [len(steps) for steps in steps_by_call if steps] == [3]


def test_a_loop_over_the_progress_bar_is_timed(listener: RecordingListener) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    probe = DiffusersProbe(pipe, listener, cuda=cuda)
    pipe("a hat", 4, iterates=True)
    cuda.catch_up()
    probe.drain()
    assert [len(call.step_seconds) for call in listener.late_calls] == [4]
    assert listener.failures == []
