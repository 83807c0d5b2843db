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
from safelight.probes.calls import precision_of
from safelight.probes.diffusers import DiffusersProbe
from safelight.quality.instructions import load_taxonomy
from safelight.telemetry.record import PipelineCall
from tests.pipelines import STEPS, draw, edit, edit_pipeline, picture, text_pipeline
from tests.probes.cuda import FakeCuda
from tests.reading import at_once

CLASSIFY = load_taxonomy().classify


class Heard:
    """A listener that remembers what it heard."""

    def __init__(self, *, fails_at: str = "") -> None:
        self.begun = 0
        self.calls: list[PipelineCall] = []
        self.came_late: list[PipelineCall] = []
        self.failures: list[str] = []
        self._fails_at = fails_at

    def begin(self) -> None:
        self.begun += 1
        self._perhaps_fail("begin")

    def end(self, call: PipelineCall) -> None:
        self.calls.append(call)
        self._perhaps_fail("end")

    def late(self, call: PipelineCall) -> None:
        self.came_late.append(call)

    def failed(self, probe: str) -> None:
        self.failures.append(probe)

    def _perhaps_fail(self, where: str) -> None:
        if where == self._fails_at:
            raise OSError("disk full")

    @property
    def call(self) -> PipelineCall:
        """Return the one call that was heard of."""
        assert self.failures == []
        (call,) = self.calls
        return call


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def editing(edit_pipe: Any, heard: Heard) -> Iterator[Any]:
    probe = DiffusersProbe(edit_pipe, heard, classify=CLASSIFY)
    yield edit_pipe
    probe.unwatch()


@pytest.fixture
def drawing(text_pipe: Any, heard: Heard) -> Iterator[Any]:
    probe = DiffusersProbe(text_pipe, heard, classify=CLASSIFY)
    yield text_pipe
    probe.unwatch()


# ── A call ───────────────────────────────────────────────────────────────────────────────────────


def test_p8_a_call_of_instructpix2pix_is_heard_of_without_touching_its_code(
    editing: Any, heard: Heard
) -> None:
    image = edit(editing).images[0]
    assert image.size == (64, 64)
    call = heard.call
    assert call.pipeline == "StableDiffusionInstructPix2PixPipeline"
    assert call.instruction_type == "make_him_old"
    assert call.precision == "float32"
    assert (call.steps_asked, len(call.step_seconds)) == (STEPS, STEPS)
    assert call.images == ((64, 64),)
    assert call.error == "none"
    assert call.negative_prompt is False


def test_a_call_of_stable_diffusion_is_heard_of_too(drawing: Any, heard: Heard) -> None:
    draw(drawing, negative_prompt="blurred")
    call = heard.call
    assert (call.pipeline, call.instruction_type) == ("StableDiffusionPipeline", "add_hat")
    assert (call.image_guidance_asked, call.image_guidance_in_force) == (None, None)
    assert (call.guidance_asked, call.guidance_in_force) == (7.5, 7.5)
    assert call.negative_prompt is True


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_p5_every_denoising_step_is_timed(editing: Any, heard: Heard, steps: int) -> None:
    edit(editing, num_inference_steps=steps)
    assert len(heard.call.step_seconds) == steps
    assert all(seconds > 0 for seconds in heard.call.step_seconds)
    assert sum(heard.call.step_seconds) <= heard.call.phases["denoise"] + 1e-3


def test_a_scheduler_of_the_second_order_makes_the_steps_that_were_asked(
    text_pipe: Any, heard: Heard
) -> None:
    own = text_pipe.scheduler
    text_pipe.scheduler = HeunDiscreteScheduler.from_config(own.config)
    probe = DiffusersProbe(text_pipe, heard)
    draw(text_pipe, num_inference_steps=4)
    probe.unwatch()
    text_pipe.scheduler = own
    assert len(heard.call.step_seconds) == 4


def test_the_phases_sum_to_the_call(editing: Any, heard: Heard) -> None:
    edit(editing)
    phases = heard.call.phases
    assert list(phases) == ["encode_prompt", "encode_image", "denoise", "decode_latents"]
    assert all(seconds > 0 for seconds in phases.values())
    assert sum(phases.values()) == pytest.approx(heard.call.seconds, abs=1e-3)


@pytest.mark.parametrize(
    ("output_type", "sizes"), [("pil", 1), ("np", 1), ("pt", 1), ("latent", 0)]
)
@pytest.mark.parametrize("return_dict", [True, False])
def test_the_size_of_an_image_is_read_from_any_output_that_is_one(
    drawing: Any, heard: Heard, output_type: str, sizes: int, return_dict: bool
) -> None:
    draw(drawing, width=128, output_type=output_type, return_dict=return_dict)
    assert heard.call.images == ((128, 64),) * sizes


def test_several_prompts_make_several_images(editing: Any, heard: Heard) -> None:
    edit(editing, ["make him old", "add a hat"], image=[picture(), picture()])
    assert heard.call.images == ((64, 64), (64, 64))
    assert heard.call.instruction_type == "make_him_old"


def test_arguments_may_be_given_by_position(editing: Any, heard: Heard) -> None:
    editing("add a hat", picture(), 2)
    assert (heard.call.instruction_type, heard.call.steps_asked) == ("add_hat", 2)


def test_defaults_count_as_asked(drawing: Any, heard: Heard) -> None:
    drawing("a hat", height=64, width=64, num_inference_steps=1)
    assert heard.call.guidance_asked == 7.5


def test_a_call_without_words_has_no_instruction(editing: Any, heard: Heard) -> None:
    embedded = torch.zeros(1, 77, 64)
    edit(editing, None, prompt_embeds=embedded, negative_prompt_embeds=embedded)
    assert heard.call.instruction_type == "none"


def test_p11_the_precision_is_that_of_the_weights(heard: Heard) -> None:
    pipe = edit_pipeline().to(torch.bfloat16)
    with_probe = DiffusersProbe(pipe, heard)
    edit(pipe, output_type="latent")
    with_probe.unwatch()
    assert heard.call.precision == "bfloat16"
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
def test_p7_guidance_that_is_silently_switched_off_is_told(
    editing: Any,
    heard: Heard,
    text: float,
    image: float,
    in_force: tuple[float, float],
    overridden: tuple[str, ...],
) -> None:
    edit(editing, guidance_scale=text, image_guidance_scale=image, num_inference_steps=1)
    call = heard.call
    assert (call.guidance_asked, call.image_guidance_asked) == (text, image)
    assert (call.guidance_in_force, call.image_guidance_in_force) == in_force
    assert call.overridden == overridden


@pytest.mark.parametrize(
    ("asked", "in_force", "overridden"),
    [(7.5, 7.5, ()), (1.0, 1.0, ()), (0.5, 1.0, ("guidance_scale",)), (0, 1.0, ())],
)
def test_p7_text_guidance_of_a_plain_pipeline(
    drawing: Any, heard: Heard, asked: float, in_force: float, overridden: tuple[str, ...]
) -> None:
    draw(drawing, guidance_scale=asked, num_inference_steps=1)
    assert heard.call.guidance_in_force == in_force
    assert heard.call.overridden == overridden


# ── The watched is not hurt ──────────────────────────────────────────────────────────────────────


def seeded(pipe: Any, **changed: Any) -> Any:
    """Return the pixels of one edit with a fixed seed."""
    generator = torch.Generator("cpu").manual_seed(7)
    return np.asarray(edit(pipe, generator=generator, **changed).images[0])


def test_a_watched_pipeline_makes_the_very_same_image(edit_pipe: Any, heard: Heard) -> None:
    before = seeded(edit_pipe)
    probe = DiffusersProbe(edit_pipe, heard)
    during = seeded(edit_pipe)
    probe.unwatch()
    assert np.array_equal(before, during)
    assert np.array_equal(before, seeded(edit_pipe))


def test_a_users_own_callback_is_called_and_heeded(edit_pipe: Any, heard: Heard) -> None:
    steps: list[int] = []

    def halve(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert pipe is edit_pipe
        steps.append(step)
        return {"latents": tensors["latents"] / 2}

    before = seeded(edit_pipe, callback_on_step_end=halve)
    probe = DiffusersProbe(edit_pipe, heard)
    during = seeded(edit_pipe, callback_on_step_end=halve)
    probe.unwatch()
    assert steps == [*range(STEPS), *range(STEPS)]
    assert np.array_equal(before, during)
    assert len(heard.call.step_seconds) == STEPS


class Stop(Exception):
    """A caller who left."""


def test_a_call_that_is_stopped_midway_is_heard_of_with_its_steps_so_far(
    editing: Any, heard: Heard
) -> None:
    def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 3:
            raise Stop
        return tensors

    with pytest.raises(Stop):
        edit(editing, num_inference_steps=6, callback_on_step_end=stop)
    call = heard.call
    assert call.error == "model_error"
    assert (call.steps_asked, len(call.step_seconds)) == (6, 3)
    assert call.images == ()
    assert sum(call.phases.values()) == pytest.approx(call.seconds, abs=1e-3)


def test_the_device_running_out_of_memory_has_its_own_reason(editing: Any, heard: Heard) -> None:
    def exhaust(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        edit(editing, callback_on_step_end=exhaust)
    assert heard.call.error == "cuda_oom"


def test_the_call_after_a_failed_one_is_heard_of_as_any_other(editing: Any, heard: Heard) -> None:
    with pytest.raises(ValueError, match="prompt"):
        edit(editing, 123)
    edit(editing)
    assert [call.error for call in heard.calls] == ["model_error", "none"]


def test_wrong_arguments_are_the_pipelines_to_refuse(editing: Any, heard: Heard) -> None:
    with pytest.raises(TypeError, match="positional arguments"):
        editing(*range(60))
    assert (heard.call.error, heard.call.step_seconds) == ("model_error", ())


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_listener_that_fails_does_not_fail_the_call(where: str, edit_pipe: Any) -> None:
    heard = Heard(fails_at=where)
    probe = DiffusersProbe(edit_pipe, heard)
    assert edit(edit_pipe).images
    probe.unwatch()
    assert heard.failures == ["diffusers"]


def test_a_taxonomy_that_fails_does_not_fail_the_call(edit_pipe: Any, heard: Heard) -> None:
    def classify(text: str) -> str:
        raise RuntimeError("no")

    probe = DiffusersProbe(edit_pipe, heard, classify=classify)
    assert edit(edit_pipe).images
    probe.unwatch()
    assert heard.failures == ["diffusers"]


# ── Threads ──────────────────────────────────────────────────────────────────────────────────────


def test_two_pipelines_at_once_do_not_meet(editing: Any, drawing: Any, heard: Heard) -> None:
    def work(number: int) -> None:
        if number:
            edit(editing, num_inference_steps=5)
        else:
            draw(drawing, num_inference_steps=4)

    at_once(work, threads=2)
    assert {call.pipeline: len(call.step_seconds) for call in heard.calls} == {
        "StableDiffusionInstructPix2PixPipeline": 5,
        "StableDiffusionPipeline": 4,
    }


def test_two_calls_at_once_on_one_pipeline_are_told_apart(editing: Any, heard: Heard) -> None:
    """Diffusers' scheduler is not made for this and may raise; what is told must still be true."""
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
    assert heard.failures == []
    told = {call.steps_asked: len(call.step_seconds) for call in heard.calls}
    assert told == {3 + 3 * number: made[number] for number in (0, 1)}
    assert Counter(call.error == "none" for call in heard.calls) == Counter(ended)


def test_a_call_in_another_thread_is_heard_of_in_that_thread(edit_pipe: Any) -> None:
    threads: list[int] = []

    class Where(Heard):
        def end(self, call: PipelineCall) -> None:
            threads.append(threading.get_ident())

    probe = DiffusersProbe(edit_pipe, Where())
    thread = threading.Thread(target=edit, args=(edit_pipe,))
    thread.start()
    thread.join()
    probe.unwatch()
    assert threads == [thread.ident]


# ── The pipeline stays what it was ───────────────────────────────────────────────────────────────


def test_a_watched_pipeline_is_still_of_its_class(editing: Any) -> None:
    own = StableDiffusionInstructPix2PixPipeline
    assert isinstance(editing, own)
    assert type(editing).__name__ == own.__name__
    assert type(editing).__module__ == own.__module__
    assert inspect.signature(editing.__call__) == inspect.signature(own.__call__.__get__(editing))
    assert type(editing).__doc__ == own.__doc__
    assert repr(editing).startswith("StableDiffusionInstructPix2PixPipeline {")


def test_unwatching_gives_the_very_class_back(edit_pipe: Any, heard: Heard) -> None:
    probe = DiffusersProbe(edit_pipe, heard)
    assert type(edit_pipe) is not StableDiffusionInstructPix2PixPipeline
    probe.unwatch()
    probe.unwatch()
    assert type(edit_pipe) is StableDiffusionInstructPix2PixPipeline
    edit(edit_pipe)
    assert heard.calls == []


def test_watching_twice_is_refused_and_watching_anew_is_not(edit_pipe: Any, heard: Heard) -> None:
    first = DiffusersProbe(edit_pipe, heard)
    with pytest.raises(AlreadyWatched, match="pipeline"):
        DiffusersProbe(edit_pipe, heard)
    first.unwatch()
    DiffusersProbe(edit_pipe, heard).unwatch()


def test_another_pipeline_of_the_class_is_not_watched(
    drawing: Any, edit_pipe: Any, heard: Heard
) -> None:
    draw(text_pipeline(edit_pipe))
    assert heard.calls == []


def test_a_watched_pipeline_can_be_saved_and_loaded(editing: Any, tmp_path: Path) -> None:
    editing.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is StableDiffusionInstructPix2PixPipeline


def test_a_watched_pipeline_can_be_moved_and_lend_its_parts(editing: Any, heard: Heard) -> None:
    assert editing.to("cpu") is editing
    assert set(editing.components) >= {"vae", "unet", "scheduler"}
    assert StableDiffusionPipeline is not type(editing)


def test_outside_a_call_bars_and_prompts_are_nobodys(editing: Any, heard: Heard) -> None:
    edit(editing)
    told = heard.call
    bar = editing.progress_bar(total=3)
    assert type(bar).__module__.startswith("tqdm")
    editing._encode_prompt("add a hat", "cpu", 1, False)
    assert heard.calls == [told]


def test_unwatching_in_the_middle_of_a_call_lets_it_end(edit_pipe: Any, heard: Heard) -> None:
    def leave(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        probe.unwatch()
        return tensors

    probe = DiffusersProbe(edit_pipe, heard)
    assert edit(edit_pipe, callback_on_step_end=leave).images
    assert len(heard.call.step_seconds) == STEPS


# ── A device that is late ────────────────────────────────────────────────────────────────────────


class Bar:
    """A progress bar, as tqdm's."""

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
    """The least of a pipeline, on a device that works later than it is asked to."""

    _execution_device = torch.device("cuda")
    unet = SimpleNamespace(dtype=torch.float16)

    def encode_prompt(self, prompt: str) -> str:
        return prompt

    def progress_bar(self, iterable: Any = None, total: int = 0) -> Any:
        return Bar(iterable, total)

    def __call__(self, prompt: str, num_inference_steps: int = 3, *, walks: bool = False) -> Any:
        self.encode_prompt(prompt)
        steps = range(num_inference_steps)
        if walks:
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


def test_p5_steps_on_cuda_are_told_when_the_device_has_made_them(heard: Heard) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    probe = DiffusersProbe(pipe, heard, cuda=cuda)
    pipe("a hat")
    assert (heard.call.step_seconds, dict(heard.call.phases)) == ((), {})
    assert heard.call.precision == "float16"
    probe.drain()
    assert heard.came_late == []
    cuda.catch_up()
    assert probe.drain()
    assert [call.step_seconds for call in heard.came_late] == [(0.01, 0.01, 0.01)]
    probe.drain()
    assert len(heard.came_late) == 1


def test_late_steps_are_told_at_the_next_call_too(heard: Heard) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    DiffusersProbe(pipe, heard, cuda=cuda)
    pipe("a hat")
    cuda.catch_up()
    pipe("a hat")
    assert len(heard.came_late) == 1


def test_a_device_that_finishes_while_it_is_asked_loses_no_steps(heard: Heard) -> None:
    cuda, pipe = FakeCuda(catches_up_when_asked=True), OnCuda()
    probe = DiffusersProbe(pipe, heard, cuda=cuda)
    pipe("a hat")
    probe.drain()
    told = [call.step_seconds for call in (*heard.calls, *heard.came_late)]
    assert [len(steps) for steps in told if steps] == [3]


def test_a_loop_that_walks_its_bar_is_timed_as_well(heard: Heard) -> None:
    cuda, pipe = FakeCuda(), OnCuda()
    probe = DiffusersProbe(pipe, heard, cuda=cuda)
    pipe("a hat", 4, walks=True)
    cuda.catch_up()
    probe.drain()
    assert [len(call.step_seconds) for call in heard.came_late] == [4]
    assert heard.failures == []
