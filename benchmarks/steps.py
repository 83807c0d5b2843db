"""Measure the time that monitoring adds to a denoising step.

A pipeline with empty steps shows the time of the probe alone. Then a tiny real pipeline runs with
and without the probe, to check that it costs no more there.
"""

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.measurements import Measurement, rounds

_STEPS = 5000
_ROUNDS = 15
_REAL_ROUNDS = 12
_REAL_STEPS = 20
_STEP_SECONDS = 0.005


class _Bar:
    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def update(self, n: int = 1) -> None:
        return None


class NullPipeline:
    """A pipeline with empty denoising steps."""

    do_classifier_free_guidance = True
    guidance_scale = 7.5

    def progress_bar(self, total: int) -> _Bar:
        """Return a progress bar without output."""
        return _Bar()

    def __call__(
        self, prompt: str, num_inference_steps: int = 50, guidance_scale: float = 7.5
    ) -> None:
        """Run the steps."""
        with self.progress_bar(total=num_inference_steps) as bar:
            for _ in range(num_inference_steps):
                bar.update()


def measure() -> Iterator[Measurement]:
    """Yield the time that the probe adds to a step, in microseconds and as a share of 5 ms."""
    import safelight

    plain, watched = NullPipeline(), NullPipeline()
    with safelight.watch(pipeline=watched):
        pairs = [(_per_step(plain), _per_step(watched)) for _ in range(rounds(_ROUNDS))]
    added = median(after - before for before, after in pairs)
    yield Measurement("added to a step by the probe", added * 1e6, "µs", 20)
    yield Measurement("the same, share of a step of 5 ms", added / _STEP_SECONDS * 100, "%", 1)
    yield from _real()


def _per_step(pipeline: NullPipeline) -> float:
    started = perf_counter()
    pipeline("make him old", num_inference_steps=_STEPS)
    return (perf_counter() - started) / _STEPS


def _real() -> Iterator[Measurement]:
    from PIL import Image

    import safelight
    from safelight.models.backend import ModelOrder
    from safelight.models.load import load_backend

    pipeline: Any = load_backend(ModelOrder("demo-edit", "cpu")).pipeline
    image = Image.effect_noise((64, 64), 50).convert("RGB")

    def run() -> float:
        started = perf_counter()
        pipeline(prompt="make him old", image=image, num_inference_steps=_REAL_STEPS)
        return (perf_counter() - started) / _REAL_STEPS

    run()
    pairs = []
    for _ in range(rounds(_REAL_ROUNDS)):
        before = run()
        with safelight.watch(pipeline=pipeline):
            pairs.append((before, run()))
    yield Measurement("tiny InstructPix2Pix, a step", median(p for p, _ in pairs) * 1e3, "ms")
    change = median(after / before for before, after in pairs)
    yield Measurement("a step with the probe against without (noise ±2 %)", change, "times")
