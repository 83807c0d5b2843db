"""Safelight makes image-model services observable down to each denoising step."""

from safelight.errors import SafelightError
from safelight.telemetry.record import PipelineCall, Record
from safelight.watching import Watch, watch

__all__ = ["PipelineCall", "Record", "SafelightError", "Watch", "watch"]
