"""The weights of the demo models, which are part of the package: verify and export them."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

from safelight.errors import ModelNotFound

WEIGHTS = Path(__file__).parent / "weights"
DEMOS = {"demo-edit": "edit", "demo-generate": "generate", "demo-recognize": "recognize"}
AUTOENCODER = "vae"
_CHECKSUMS = "checksums.json"


def verified(name: str) -> Path:
    """Return the folder of a demo, or of the autoencoder that two demos share.

    Raises ModelNotFound if a file differs from what was packaged.
    """
    part = DEMOS.get(name, name)
    files = {file: digest for file, digest in _checksums().items() if file.split("/", 1)[0] == part}
    for file, digest in (files or {_CHECKSUMS: "missing"}).items():
        if _checksum(WEIGHTS / file) != digest:
            raise ModelNotFound(name, f"its {file} is damaged or missing. Reinstall Safelight.")
    return WEIGHTS / part


def save(name: str, folder: Path) -> None:
    """Write a demo as one folder that `from_pretrained` loads with its defaults, in any program.

    The weights are written as float32. diffusers loads every part as float32 by default, and
    transformers loads its parts in the type that they were saved in: a folder of float16 weights
    would become a pipeline of mixed types, which fails at the first call.

    Raises ModelNotFound if the demo is damaged, FileExistsError if the folder exists.
    """
    source, shared = verified(name), verified(AUTOENCODER)
    shutil.copytree(source, folder)
    if (source / "model_index.json").is_file():
        shutil.copytree(shared, folder / AUTOENCODER)
    for weights in folder.rglob("*.safetensors"):
        _widen(weights)
    for config in folder.rglob("config.json"):
        _declare_float32(config)


def _widen(file: Path) -> None:
    """Rewrite the float16 weights of a file as float32; counters keep their type."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(file)
    for name, tensor in tensors.items():
        if tensor.dtype == "float16":
            tensors[name] = tensor.astype("float32")
    save_file(tensors, file, metadata={"format": "pt"})


def _declare_float32(file: Path) -> None:
    """Correct the type of the weights in a transformers config."""
    config = json.loads(file.read_text())
    if "dtype" in config:
        file.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")


def seal(folder: Path = WEIGHTS) -> None:
    """Write the checksum of every file of the weights."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sums = {
        str(file.relative_to(folder)): _checksum(file) for file in files if file.name != _CHECKSUMS
    }
    (folder / _CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n")


@cache
def _checksums() -> dict[str, object]:
    try:
        return dict(json.loads((WEIGHTS / _CHECKSUMS).read_text()))
    except (OSError, ValueError):
        return {}


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
