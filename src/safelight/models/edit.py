"""Edit images by instruction, with any diffusers pipeline that takes an image and a prompt."""

from collections.abc import Mapping, Sequence

from safelight.models.backend import Edit, MadeImage, OnStep, Task
from safelight.models.diffusion import Diffusion


class EditBackend:
    """A loaded editing pipeline. Not safe to call from two threads at once."""

    task: Task = "edit"

    def __init__(self, diffusion: Diffusion, defaults: Mapping[str, float]) -> None:
        self.pipeline = diffusion.pipeline
        self.info = diffusion.info(defaults)
        self._diffusion = diffusion

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Return the edited images. All inputs have the same batch key."""
        first, multiple = batch[0], self._diffusion.multiple
        negative = [edit.negative_prompt for edit in batch]
        # Without it, some pipelines would make every image at their own preferred size.
        width, height = (side // multiple * multiple for side in first.image.size)
        arguments = {
            "prompt": [edit.instruction for edit in batch],
            "image": [edit.image for edit in batch],
            "negative_prompt": negative if any(negative) else None,
            "width": width,
            "height": height,
            "_auto_resize": False,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
            "image_guidance_scale": first.image_guidance_scale,
        }
        return self._diffusion.run(arguments, [edit.seed for edit in batch], on_step)
