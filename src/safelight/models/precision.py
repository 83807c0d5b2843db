"""The number format of a model's weights, and their size."""

from importlib import import_module
from typing import Any

import torch

from safelight.errors import MissingExtra


def dtype_of(precision: str, device: str) -> torch.dtype:
    """Return the dtype of a precision; `auto` is float16 on CUDA and float32 elsewhere."""
    if precision in ("auto", "int8"):
        precision = "float16" if device.startswith("cuda") else "float32"
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def to_int8(model: torch.nn.Module) -> None:
    """Quantise a model's linear layers to int8, with one scale per row. Raises MissingExtra."""
    try:
        torchao: Any = import_module("torchao.quantization")
    except ModuleNotFoundError as error:
        raise MissingExtra("int8", "torchao") from error
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())


def precision_of(model: torch.nn.Module) -> str:
    """Return the number format of a model's weights, such as `float16`."""
    if any(type(weight).__module__.startswith("torchao") for weight in model.parameters()):
        return "int8"
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def bytes_of(model: torch.nn.Module) -> int:
    """Return the size of a model's weights and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(part.nbytes for tensor in tensors for part in parts_of(tensor))


def parts_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the parts of a tensor: a quantised one has several."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [getattr(tensor, name) for name in names]
