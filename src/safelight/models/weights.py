"""The size of a model's weights, from the headers of its files. Nothing is loaded.

It is a lower bound: parts whose size is unknown, such as pickles, count nothing.
"""

import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

from safelight.models.source import Source

_LENGTH = struct.Struct("<Q")
_HEADER_LIMIT_BYTES = 100_000_000  # as safetensors itself
_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_INDEX = "model_index.json"


def weights_bytes(source: Source, number_bytes: int) -> int:
    """Return the bytes of all weights, if a floating-point number has so many; 0 if unknown."""
    folders = (*_folders(source), *([source.autoencoder] if source.autoencoder else []))
    return sum(_file_bytes(file, number_bytes) for each in folders for file in _files(each))


def _folders(source: Source) -> Iterator[Path]:
    """Yield the folders of the parts that are loaded."""
    root = source.folder or _cached(source)
    if root is None:
        return
    if not source.is_pipeline:
        yield root
        return
    parts = _json(root / _INDEX)
    for name, part in parts.items():
        if isinstance(part, list) and any(part) and (root / name).is_dir():
            yield root / name


def _cached(source: Source) -> Path | None:
    """Return the folder of a model of the hub, if it was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    file = _INDEX if source.is_pipeline else "config.json"
    try:
        found = try_to_load_from_cache(source.place, file)
    except (OSError, ValueError):
        return None
    return Path(found).parent if isinstance(found, str) else None


def _files(folder: Path) -> list[Path]:
    """Return the files with the weights of a part: one, or those that its index names."""
    for name in _NAMES:
        places = _json(folder / f"{name}.index.json").get("weight_map")
        if isinstance(places, dict):
            return [folder / Path(str(file)).name for file in sorted(set(places.values()))]
        if (folder / name).is_file():
            return [folder / name]
    return []


def _json(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _file_bytes(file: Path, number_bytes: int) -> int:
    return sum(_tensor_bytes(tensor, number_bytes) for tensor in _header(file).values())


def _header(file: Path) -> dict[str, object]:
    """Return the header of a safetensors file; nothing if it is not one."""
    try:
        with file.open("rb") as opened:
            (length,) = _LENGTH.unpack(opened.read(_LENGTH.size))
            content = json.loads(opened.read(min(length, _HEADER_LIMIT_BYTES)))
    except (OSError, ValueError, RecursionError, struct.error):  # the last: it is too short
        return {}
    return content if isinstance(content, dict) else {}


def _tensor_bytes(tensor: object, number_bytes: int) -> int:
    """Return the bytes of a tensor once it is loaded: floating-point numbers are converted."""
    match tensor:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            is_floating = kind.startswith(("F", "BF"))
            sides = [side for side in shape if isinstance(side, int)]
            return prod(sides) * number_bytes if is_floating else end - begin
    return 0
