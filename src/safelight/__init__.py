"""Safelight makes image-model services observable down to each denoising step."""

__version__ = "0.1.0"
