"""The demos' weights, which come with the package: where they lie, and that they are whole."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from safelight.errors import ModelNotFound

WEIGHTS = Path(__file__).parent / "weights"
DEMOS = {"demo-edit": "edit", "demo-generate": "generate", "demo-recognize": "recognize"}
AUTOENCODER = "vae"
_CHECKSUMS = "checksums.json"


def verified(name: str) -> Path:
    """Return the folder of a demo, or of the autoencoder that two of them share.

    Raises ModelNotFound where a file is not what was shipped.
    """
    part = DEMOS.get(name, name)
    files = {file: sum_ for file, sum_ in _checksums().items() if file.split("/", 1)[0] == part}
    for file, wanted in (files or {_CHECKSUMS: "those of every part"}).items():
        if _checksum(WEIGHTS / file) != wanted:
            raise ModelNotFound(name, f"its {file} is damaged or missing. Install Safelight anew.")
    return WEIGHTS / part


def save(name: str, folder: Path) -> None:
    """Write a demo as one folder, as `from_pretrained` reads it anywhere.

    Raises ModelNotFound where it is damaged, FileExistsError where the folder is there already.
    """
    source, shared = verified(name), verified(AUTOENCODER)
    shutil.copytree(source, folder)
    if (source / "model_index.json").is_file():
        shutil.copytree(shared, folder / AUTOENCODER)


def seal(folder: Path = WEIGHTS) -> None:
    """Write down what every file of the weights is now."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sums = {
        str(file.relative_to(folder)): _checksum(file) for file in files if file.name != _CHECKSUMS
    }
    (folder / _CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n")


@cache
def _checksums() -> dict[str, Any]:
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
