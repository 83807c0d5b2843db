"""Before a model is loaded: refuse one whose weights cannot fit into its device's free memory.

What is not known is not refused.
"""

from collections.abc import Callable
from typing import NamedTuple

import psutil

from safelight.errors import ModelTooLarge
from safelight.models.backend import ModelOrder
from safelight.models.source import Source
from safelight.models.weights import weights_bytes
from safelight.probes.cgroup import memory as container_memory
from safelight.units import percent, size

_MARGIN = 0.05  # of the weights: loading a ViT of 450 and of 900 MiB took 0.7 % more than these
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


class Free(NamedTuple):
    """The free and the whole memory of a device, in bytes, and its name."""

    free: int
    total: int
    where: str


def check_budget(
    order: ModelOrder, source: Source, *, free: Callable[[str], Free | None] | None = None
) -> None:
    """Raise ModelTooLarge if a model's weights do not fit; `free` reads the memory of a device."""
    device = _device(order.device)
    there = (free or free_memory)(device)
    precision = _precision(order.precision, device)
    weights = weights_bytes(source, _BYTES[precision])
    needed = weights * (1 + _MARGIN)
    if there is None or needed <= there.free:
        return
    raise ModelTooLarge(
        order.model,
        f"its weights take at least {size(weights)} as {precision}, and loading them "
        f"{percent(_MARGIN)} more: {size(needed)}",
        f"{there.where} has {size(there.free)} of {size(there.total)} free",
        _remedies(precision),
    )


def _remedies(precision: str) -> str:
    own = _BYTES[precision]
    smaller = [name for name, number in _BYTES.items() if number < own]
    names = f"Choose a smaller number format (SAFELIGHT_PRECISION: {', '.join(smaller)})"
    others = (
        "another device (SAFELIGHT_DEVICES), or a smaller model; or end what else uses the memory."
    )
    return f"{names}, {others}" if smaller else f"Choose {others}"


def _precision(precision: str, device: str) -> str:
    """Return the number format of the weights; as `models.precision` chooses it."""
    if precision == "auto":
        return "float16" if device.startswith("cuda") else "float32"
    return precision


def _device(device: str) -> str:
    if device != "auto":
        return device
    from safelight.models.devices import best_device

    return best_device()


def free_memory(device: str) -> Free | None:
    """Return the memory of a device; None if it is unknown, or no device of this machine."""
    if device == "cpu":
        return _host()
    return _cuda(device) if device.startswith("cuda") else None


def _cuda(device: str) -> Free | None:
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError, ValueError):  # loading says what is wrong with it
        return None
    return Free(free, total, device)


def _host() -> Free:
    """Return the memory of the container if it has less free than the machine with its swap."""
    machine = psutil.virtual_memory()
    free = machine.available + psutil.swap_memory().free
    container = container_memory()
    if container is not None and container.limit - container.used < free:
        left = max(0, container.limit - container.used)
        return Free(left, container.limit, "the container")
    return Free(free, machine.total, "the machine")
