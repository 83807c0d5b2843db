"""Tell two loaded models apart by samples of their weights, and name the device that runs them."""

import platform
from collections.abc import Iterable
from hashlib import blake2b

import torch

from safelight.models.precision import parts_of

_SAMPLE = 256  # values from the start, the middle and the end of a tensor


def fingerprint(models: Iterable[torch.nn.Module]) -> str:
    """Return a hash of samples of all weights, with their names, types and shapes.

    It reads few kilobytes of each tensor, so a model of any size takes well under a second.
    Training changes all weights, so another checkpoint has another hash. A change of single values
    in memory is not found here but by the canary's outputs.
    """
    digest = blake2b(digest_size=16)
    for model in models:
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            for part in parts_of(tensor):
                digest.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
                flat = part.detach().reshape(-1)
                if flat.device.type != "meta" and flat.numel():
                    middle = max(0, flat.numel() // 2 - _SAMPLE // 2)
                    samples = flat[:_SAMPLE], flat[middle : middle + _SAMPLE], flat[-_SAMPLE:]
                    levels = torch.cat(samples).contiguous().view(torch.uint8)
                    digest.update(levels.cpu().numpy().tobytes())
    return digest.hexdigest()


def device_name(device: str) -> str:
    """Return the product name of a CUDA device, or the architecture of a CPU."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(torch.device(device)))
    return f"{platform.machine()} CPU" if device == "cpu" else device
