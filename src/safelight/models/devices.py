"""Where a model runs, how exact its numbers are, and what a library said when it could not."""

import torch


def best_device() -> str:
    """Return the device that a model is put on where none is named."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(precision: str, device: str) -> torch.dtype:
    """Return the numbers that a precision asks for; `auto` is half of them on a card."""
    if precision == "auto":
        precision = "float16" if device.startswith("cuda") else "float32"
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def first_line(error: Exception) -> str:
    """Return an error's first line as a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return text if text.endswith(".") else f"{text}."
