"""A real model that tests can break, while it is loaded, in the ways that models break.

`edit` is the factory of the demo that edits images; it runs in a thread of the test's process.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import cycle
from typing import Any

import torch
from diffusers import DDIMScheduler

from safelight.models.backend import Backend, Edit, MadeImage, ModelOrder, OnStep
from safelight.models.load import load_backend
from tests.serving.models import Painter

LOADED: list[Any] = []
STEP_SECONDS = 0.4
STOPPED = threading.Event()  # never set: a worker waits for its device
Break = Callable[[Any], AbstractContextManager[None]]


def edit(order: ModelOrder) -> Backend:
    """Load the demo."""
    backend = load_backend(replace(order, model="demo-edit"))
    LOADED.append(backend)
    return backend


def generate(order: ModelOrder) -> Backend:
    """Load the demo that makes images from prompts."""
    LOADED.append(load_backend(replace(order, model="demo-generate")))
    backend: Backend = LOADED[-1]
    return backend


def recognize(order: ModelOrder) -> Backend:
    """Load the demo that labels images."""
    LOADED.append(load_backend(replace(order, model="demo-recognize")))
    backend: Backend = LOADED[-1]
    return backend


class Slow(Painter):
    """A model whose steps take long. An instruction `quick` makes them short."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Make the images, step by step."""
        seconds = 0.0 if "quick" in batch[0].instruction else STEP_SECONDS
        for step in range(batch[0].steps):
            STOPPED.wait(seconds)
            on_step(step + 1, None)
        return super().run(
            [replace(edit, instruction="make him old", steps=1) for edit in batch], _ignore
        )


class Constant(Painter):
    """A model that makes the same image of everything."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Make the images of one seed."""
        alike = [replace(edit, seed=1, instruction="make him old") for edit in batch]
        return super().run(alike, on_step)


class Failing(Painter):
    """A model whose every call fails."""

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Fail."""
        raise ValueError(f"no images for {len(batch)} inputs after {on_step}")


def constant(order: ModelOrder) -> Constant:
    """Return a model that makes one image."""
    return Constant(order)


def failing(order: ModelOrder) -> Failing:
    """Return a model that fails."""
    return Failing(order)


def slow(order: ModelOrder) -> Slow:
    """Return a slow model."""
    return Slow(order)


def _ignore(_step: int, _latents: object) -> None:
    return None


@contextmanager
def _weights(parameter: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    kept = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(change(kept))
    yield
    with torch.no_grad():
        parameter.copy_(kept)


@contextmanager
def _hook(module: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Change what a module returns."""

    def hook(_module: object, _inputs: object, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return change(output)
        first = output[0]
        changed = change(first)
        first.copy_(changed)
        return output

    handle = module.register_forward_hook(hook)
    yield
    handle.remove()


def _middle(backend: Any) -> torch.Tensor:
    """Return a weight from the middle of the denoiser."""
    weights = [p for n, p in backend.pipeline.unet.named_parameters() if n.endswith("weight")]
    big: list[torch.Tensor] = [weight for weight in weights if weight.ndim == 4]
    return big[len(big) // 2]


def zeroed(backend: Any) -> AbstractContextManager[None]:
    """One tensor of the denoiser becomes zero."""
    found: AbstractContextManager[None] = _weights(_middle(backend), torch.zeros_like)
    return found


def denoiser_zeroed(backend: Any) -> AbstractContextManager[None]:
    """One tensor of a denoiser of any class becomes zero."""
    pipeline = backend.pipeline
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    weights = [weight for weight in denoiser.parameters() if weight.ndim > 1]
    found: AbstractContextManager[None] = _weights(weights[len(weights) // 2], torch.zeros_like)
    return found


def labels_moved(backend: Any) -> AbstractContextManager[None]:
    """The last layer of a classifier has its rows in another order."""
    weights = [weight for weight in backend._model.parameters() if weight.ndim == 2]
    found: AbstractContextManager[None] = _weights(weights[-1], lambda weight: weight.roll(1, 0))
    return found


def scaled(backend: Any) -> AbstractContextManager[None]:
    """One tensor of the denoiser becomes half as large again."""
    found: AbstractContextManager[None] = _weights(_middle(backend), lambda w: w * 1.5)
    return found


def flipped(backend: Any) -> AbstractContextManager[None]:
    """The highest bit of a weight's exponent flips, as in memory without error correction."""

    def flip(weight: torch.Tensor) -> torch.Tensor:
        bits = weight.clone().view(torch.int32).flatten()
        bits[bits.numel() // 2] ^= 1 << 30
        return bits.view(torch.float32).view(weight.shape)

    found: AbstractContextManager[None] = _weights(_middle(backend), flip)
    return found


def overflowing(backend: Any) -> AbstractContextManager[None]:
    """Half precision overflows in the first convolution."""
    found: AbstractContextManager[None] = _hook(
        backend.pipeline.unet.conv_in, lambda x: (x * 1e6).half().float()
    )
    return found


def adapted(backend: Any) -> AbstractContextManager[None]:
    """Somebody merges an adapter of rank one into one tensor."""

    def adapt(weight: torch.Tensor) -> torch.Tensor:
        flat = weight.flatten(1)
        chance = torch.Generator().manual_seed(5)
        left = torch.randn(flat.shape[0], 1, generator=chance)
        right = torch.randn(1, flat.shape[1], generator=chance)
        delta = left @ right
        added: torch.Tensor = (0.5 * flat.norm() / delta.norm() * delta).view(weight.shape)
        return weight + added

    found: AbstractContextManager[None] = _weights(_middle(backend), adapt)
    return found


@contextmanager
def rescheduled(backend: Any) -> Iterator[None]:
    """The scheduler is of another class."""
    kept = backend.pipeline.scheduler
    backend.pipeline.scheduler = DDIMScheduler.from_config(kept.config)
    yield
    backend.pipeline.scheduler = kept


def swapped_colours(backend: Any) -> AbstractContextManager[None]:
    """Red and blue are swapped."""
    found: AbstractContextManager[None] = _hook(
        backend.pipeline.vae.decoder, lambda x: x.flip(1).clone()
    )
    return found


def broken_decoder(backend: Any) -> AbstractContextManager[None]:
    """The decoder of the latents is another one."""
    weights = [p for p in backend.pipeline.vae.decoder.parameters() if p.ndim == 4]
    found: AbstractContextManager[None] = _weights(weights[1], lambda w: w.flip(0))
    return found


def faulty_device(backend: Any) -> AbstractContextManager[None]:
    """The device computes wrong results now and then: in two of three steps."""
    chance, faults = torch.Generator().manual_seed(3), cycle((True, True, False))

    def spoil(x: torch.Tensor) -> torch.Tensor:
        if not next(faults):
            return x.clone()
        noise = torch.randn(x.shape, generator=chance)
        return x + 0.3 * x.std() * noise

    found: AbstractContextManager[None] = _hook(backend.pipeline.unet.mid_block, spoil)
    return found


def deaf(backend: Any) -> AbstractContextManager[None]:
    """The text encoder returns nothing: instructions are ignored."""
    found: AbstractContextManager[None] = _hook(backend.pipeline.text_encoder, torch.zeros_like)
    return found


def blind(backend: Any) -> AbstractContextManager[None]:
    """The input image is ignored."""
    found: AbstractContextManager[None] = _hook(backend.pipeline.vae.encoder, torch.zeros_like)
    return found


Run = Callable[[Sequence[Edit], OnStep], list[MadeImage]]


@contextmanager
def _instead(backend: Any, wrap: Callable[[Run], Run]) -> Any:
    kept = backend.run
    backend.run = wrap(kept)
    yield
    backend.run = kept


def stale(backend: Any) -> AbstractContextManager[None]:
    """The worker answers with an image that it made before."""
    old: list[list[MadeImage]] = []

    def wrap(run: Run) -> Run:
        def answer(batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
            old.append(run(batch, on_step))
            return old[0]

        return answer

    found: AbstractContextManager[None] = _instead(backend, wrap)
    return found


def unseeded(backend: Any) -> AbstractContextManager[None]:
    """The seed is ignored."""
    seeds = iter(range(1000, 2000))

    def wrap(run: Run) -> Run:
        return lambda batch, step: run([replace(e, seed=next(seeds)) for e in batch], step)

    found: AbstractContextManager[None] = _instead(backend, wrap)
    return found


def unguided(backend: Any) -> AbstractContextManager[None]:
    """Guidance is off, whatever is asked."""

    def wrap(run: Run) -> Run:
        return lambda batch, step: run([replace(e, guidance_scale=1.0) for e in batch], step)

    found: AbstractContextManager[None] = _instead(backend, wrap)
    return found


KINDS: tuple[Break, ...] = (
    zeroed,
    scaled,
    flipped,
    overflowing,
    adapted,
    rescheduled,
    swapped_colours,
    broken_decoder,
    faulty_device,
    deaf,
    blind,
    stale,
    unseeded,
    unguided,
)
