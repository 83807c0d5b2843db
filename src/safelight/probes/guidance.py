"""Find out which guidance a pipeline's loop applies, and which it ignores."""

from collections.abc import Mapping
from dataclasses import dataclass

from safelight.libraries import Pipeline
from safelight.probes.numbers import number

NO_GUIDANCE = 1.0  # uncond + 1 * (cond - uncond) = cond: guidance has no effect


@dataclass(frozen=True, slots=True)
class Guidance:
    """The guidance of one call: asked and in force. None is unknown, or not a parameter."""

    asked: float | None = None
    in_force: float | None = None

    @property
    def overridden(self) -> bool:
        """Return True if the loop ignores the asked value. 0 also asks for no guidance."""
        asked, in_force = self.asked, self.in_force
        return asked is not None and in_force is not None and asked not in (in_force, 0)


def guidance_of(pipeline: Pipeline, name: str, arguments: Mapping[str, object]) -> Guidance:
    """Return the guidance of a running call, read when its loop begins.

    `name` is `guidance_scale` or `image_guidance_scale`.
    """
    asked = number(arguments.get(name))
    if asked is None:
        return Guidance()
    if not getattr(pipeline, "do_classifier_free_guidance", True):
        return Guidance(asked, NO_GUIDANCE)
    return Guidance(asked, number(getattr(pipeline, name, asked)))
