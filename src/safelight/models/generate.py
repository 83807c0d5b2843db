"""Generate images from a prompt, with any text-to-image pipeline of diffusers."""

from collections.abc import Mapping, Sequence

from safelight.models.backend import Generation, MadeImage, OnStep, Task
from safelight.models.diffusion import Diffusion


class GenerateBackend:
    """A loaded text-to-image pipeline. Not safe to call from two threads at once."""

    task: Task = "generate"

    def __init__(self, diffusion: Diffusion, defaults: Mapping[str, float]) -> None:
        self.pipeline = diffusion.pipeline
        self.info = diffusion.info(defaults)
        self._diffusion = diffusion

    def run(self, batch: Sequence[Generation], on_step: OnStep) -> list[MadeImage]:
        """Return the images. All inputs have the same batch key."""
        first = batch[0]
        width, height = first.size
        negative = [each.negative_prompt for each in batch]
        arguments = {
            "prompt": [each.prompt for each in batch],
            "negative_prompt": negative if any(negative) else None,
            "width": width,
            "height": height,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
        }
        return self._diffusion.run(arguments, [each.seed for each in batch], on_step)
