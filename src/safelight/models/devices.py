"""Choose a device, and shorten the error messages of libraries."""

import sys

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


def best_device() -> str:
    """Return the default device: CUDA if it is available."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def first_line(error: Exception) -> str:
    """Return the first line of an error as a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return text if text.endswith(".") else f"{text}."


def disable_progress_bars() -> None:
    """Disable the libraries' progress bars, unless stderr is a terminal."""
    if not sys.stderr.isatty():
        for library in (diffusers_logging, transformers_logging):
            library.disable_progress_bar()
