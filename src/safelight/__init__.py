"""Safelight: observability for image-model services, down to each denoising step."""

from typing import TYPE_CHECKING

from safelight.errors import SafelightError
from safelight.probes.carry import handle
from safelight.probes.declare import Response, fail, note
from safelight.probes.inference import inference
from safelight.probes.measured import measured
from safelight.renamed import imported
from safelight.telemetry.record import Facts, PipelineCall, Record
from safelight.watching import Watch, watch

__all__ = [
    "Facts",
    "PipelineCall",
    "Record",
    "Response",
    "SafelightError",
    "Watch",
    "fail",
    "handle",
    "inference",
    "measured",
    "note",
    "watch",
]

if not TYPE_CHECKING:  # else type checkers would accept every name

    def __getattr__(name: str) -> object:
        """Return what an old name became."""
        return imported(name)
