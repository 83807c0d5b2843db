"""Where a model runs, and what a library said when it could not."""

import sys

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


def best_device() -> str:
    """Return the device that a model is put on where none is named."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def first_line(error: Exception) -> str:
    """Return an error's first line as a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return text if text.endswith(".") else f"{text}."


def quieten() -> None:
    """Leave the libraries' progress bars to terminals; in a log they are noise."""
    if not sys.stderr.isatty():
        for library in (diffusers_logging, transformers_logging):
            library.disable_progress_bar()
