from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from safelight.probes.calls import CallInProgress
from safelight.probes.timers import HostTimer
from safelight.telemetry.record import PipelineCall
from tests.pipelines import picture
from tests.reading import FakeClock

PIPE = SimpleNamespace(unet=SimpleNamespace(dtype=torch.float16))


class Call:
    """One call on a fake clock that advances one second per mark."""

    def __init__(self, pipeline: Any = PIPE, **arguments: Any) -> None:
        self.clock = FakeClock()
        self.under_way = CallInProgress(pipeline, arguments, "add_hat", HostTimer(self.clock))

    def go(self, *marks: str) -> "Call":
        for mark in marks:
            self.clock.now += 1
            if mark == "loop":
                self.loop = self.under_way.mark_loop(PIPE)
            elif mark == "step":
                self.loop.step()
            elif mark == "loop_end":
                self.loop.finish()
            else:
                getattr(self.under_way, f"mark_{mark}")()
        return self

    def end(self, output: Any = None, error: BaseException | None = None) -> PipelineCall:
        self.clock.now += 1
        self.under_way.mark_end(output, error)
        assert self.under_way.finished
        return self.under_way.result(finished=True)


def test_the_phases_are_adjacent() -> None:
    call = Call().go("encoded", "loop", "step", "step", "step", "loop_end").end()
    assert call.phases == {"encode_prompt": 1, "encode_image": 1, "denoise": 4, "decode_latents": 1}
    assert call.step_seconds == (1, 1, 1)


@pytest.mark.parametrize(
    ("marks", "phases"),
    [
        ((), {"encode_prompt": 1}),
        (("encoded",), {"encode_prompt": 1}),
        (("loop", "step"), {"encode_prompt": 1, "denoise": 2}),
        (("encoded", "loop", "step"), {"encode_prompt": 1, "encode_image": 1, "denoise": 2}),
        (("loop", "step", "loop_end"), {"encode_prompt": 1, "denoise": 2, "decode_latents": 1}),
    ],
)
def test_a_call_that_ends_early_has_the_phases_it_reached(
    marks: tuple[str, ...], phases: dict[str, float]
) -> None:
    assert Call().go(*marks).end(error=ValueError()).phases == phases


def test_a_prompt_encoded_inside_the_loop_is_part_of_a_step() -> None:
    call = Call().go("encoded", "loop", "encoded", "step", "loop_end").end()
    assert call.phases["encode_prompt"] == 1
    assert call.step_seconds == (2,)


def test_a_progress_bar_inside_another_has_the_steps() -> None:
    call = Call().go("loop", "loop", "step", "step", "loop_end").end()
    assert call.step_seconds == (1, 1)
    assert call.phases == {"encode_prompt": 1, "denoise": 5}


def test_of_two_progress_bars_after_each_other_both_have_steps() -> None:
    marks = ("loop", "step", "loop_end", "loop", "step", "step", "loop_end")
    call = Call().go(*marks).end()
    assert call.step_seconds == (1, 1, 1)
    assert call.phases == {"encode_prompt": 1, "denoise": 5, "encode_image": 1, "decode_latents": 1}


def test_an_unfinished_call_has_neither_phases_nor_steps() -> None:
    call = Call().go("encoded", "loop", "step", "loop_end")
    call.end()
    result = call.under_way.result(finished=False)
    assert (dict(result.phases), result.step_seconds) == ({}, ())


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        ([picture(64, 32)], ((64, 32),)),
        (np.zeros((2, 32, 64, 3)), ((64, 32), (64, 32))),
        (torch.zeros(1, 3, 32, 64), ((64, 32),)),
        (np.zeros((1, 32, 64, 1)), ((64, 32),)),
        ([], ()),
        (None, ()),
        ([None], ()),
        (["a", b"b", 3], ()),
    ],
)
def test_image_sizes_are_read_from_every_output_type(images: Any, sizes: Any) -> None:
    assert Call().end(SimpleNamespace(images=images)).images == sizes
    assert Call().end((images,)).images == sizes


@pytest.mark.parametrize("output", [None, (), "text", 3, object()])
def test_an_output_without_images_has_no_sizes(output: Any) -> None:
    assert Call().end(output).images == ()


@pytest.mark.parametrize("odd", ["many", None, [7.5], 1j])
def test_invalid_parameters_are_ignored(odd: Any) -> None:
    call = Call(num_inference_steps=odd, guidance_scale=odd).go("loop", "loop_end").end()
    assert (call.steps_asked, call.guidance_asked, call.guidance_in_force) == (None, None, None)


def test_effective_guidance_is_read_at_the_start_of_the_loop() -> None:
    class Quiet(SimpleNamespace):
        def __call__(self, guidance_scale: float = 5.0) -> bool:
            return bool(self.do_classifier_free_guidance)

    quiet = Quiet(do_classifier_free_guidance=False)
    call = Call(quiet, guidance_scale=5.0)
    call.under_way.mark_loop(quiet)
    result = call.end()
    assert (result.guidance_asked, result.guidance_in_force) == (5.0, 1.0)
    assert result.overridden == ("guidance_scale",)


def test_the_error_is_reported_if_the_device_takes_no_more_marks() -> None:
    class Broken:
        def __init__(self) -> None:
            self.breaks = False

        def mark(self) -> float:
            if self.breaks:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return 0.0

        def passed(self, mark: float) -> bool:
            return True

        def seconds(self, earlier: float, later: float) -> float:
            return later - earlier

    timer = Broken()
    call = CallInProgress(object(), {}, "make_him_old", timer)
    timer.breaks = True
    with pytest.raises(RuntimeError):
        call.mark_end(None, RuntimeError("CUDA error"))

    result = call.result(finished=False)
    assert (call.ended, result.error, result.instruction_type) == (
        False,
        "model_error",
        "make_him_old",
    )
