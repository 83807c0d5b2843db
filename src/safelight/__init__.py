"""Safelight: observability for image-model services, down to each denoising step."""

from safelight.errors import SafelightError
from safelight.telemetry.record import Facts, PipelineCall, Record
from safelight.watching import Watch, watch

__all__ = ["Facts", "PipelineCall", "Record", "SafelightError", "Watch", "watch"]
