"""Golden outputs on disk: one file for each way to run a model.

Outputs are equal only on the same device, with the same version of torch, type of numbers and so
on. All of these are the key of a file; the weights are not. Other weights under the same name must
give the same outputs, or an operator enrols them.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from pathlib import Path

import orjson
import structlog
from msgspec import DecodeError, Struct, ValidationError, json

from safelight.guard.golden import Golden, Print
from safelight.models.backend import ModelInfo
from safelight.serving.canary.prints import PRINT_BYTES
from safelight.settings import Settings

_FOLDER = "canary"
_LOOK_AT = 50  # files
log = structlog.get_logger("safelight")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The goldens of a model, by the names of their inputs. `enrolled_at` is in ISO 8601."""

    fingerprint: str
    enrolled_at: str
    goldens: Mapping[str, Golden]


class _Golden(Struct):
    digest: str
    pixels: str
    scores: list[tuple[str, float]]
    floor: float
    seconds: float
    spread: float


class _File(Struct):
    key: dict[str, str]
    fingerprint: str
    enrolled_at: str
    goldens: dict[str, _Golden]


def key_of(info: ModelInfo, settings: Settings, size: int, steps: int) -> dict[str, str]:
    """Return what the outputs of a model depend on, apart from its weights and its input."""
    return {
        "model": settings.model,
        "precision": info.precision,
        "device": info.device_name or info.device,
        "torch": info.torch,
        "side": str(size),
        "steps": str(steps),
        "compile": str(settings.compile),
        "attention_slicing": str(settings.attention_slicing),
        "vae_tiling": str(settings.vae_tiling),
        "tags": str(settings.tags or ""),
    }


class Enrolments:
    """Reads and writes the files. A file that cannot be read counts as missing, and is logged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    def read(self, key: Mapping[str, str], names: Collection[str]) -> Enrolment | None:
        """Return the enrolment of a key, with goldens of these names; None if there is none."""
        path = self._path(key)
        try:
            file = json.decode(path.read_bytes(), type=_File)
            _check(file, key, names)
            return Enrolment(file.fingerprint, file.enrolled_at, _goldens(file))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, DecodeError, ValidationError) as error:
            log.warning("golden outputs not read", **_where(path, error))
            return None

    def others(self, key: Mapping[str, str]) -> list[str]:
        """Return how enrolments of the same model differ, such as `device: NVIDIA H200`."""
        found = []
        for path in sorted(self._folder.glob("*.json"))[:_LOOK_AT]:
            try:
                other = json.decode(path.read_bytes(), type=_File).key
            except (OSError, ValueError, DecodeError, ValidationError):
                continue
            if other.get("model") == key["model"]:
                parts = (f"{n}: {v}" for n, v in other.items() if key.get(n) != v)
                found.append(", ".join(parts))
        return found

    def write(self, key: Mapping[str, str], fingerprint: str, goldens: Mapping[str, Golden]) -> str:
        """Keep an enrolment and return when it was made. A full disk is logged."""
        made = datetime.now(UTC).isoformat(timespec="seconds")
        content = _File(dict(key), fingerprint, made, {n: _packed(g) for n, g in goldens.items()})
        path = self._path(key)
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(orjson.dumps(orjson.loads(json.encode(content)), option=_INDENTED))
            new.replace(path)
        except OSError as error:
            log.warning("golden outputs not written", **_where(path, error))
            with suppress(OSError):
                new.unlink()
        return made

    def _path(self, key: Mapping[str, str]) -> Path:
        content = orjson.dumps(dict(key), option=orjson.OPT_SORT_KEYS)
        return self._folder / f"{blake2b(content, digest_size=12).hexdigest()}.json"


_INDENTED = orjson.OPT_INDENT_2


def _where(path: Path, error: Exception) -> dict[str, str]:
    return {"file.path": str(path), "error.message": str(error)}


def _packed(golden: Golden) -> _Golden:
    pixels = b64encode(golden.output.pixels).decode()
    scores = list(golden.output.scores)
    seconds, spread = golden.seconds, golden.spread
    return _Golden(golden.output.digest, pixels, scores, golden.floor, seconds, spread)


def _check(file: _File, key: Mapping[str, str], names: Collection[str]) -> None:
    """Raise ValueError if a file is not what this program writes for a key."""
    if file.key != dict(key) or set(file.goldens) != set(names):
        raise ValueError("it belongs to another model, or has other golden inputs")
    for name, golden in file.goldens.items():
        numbers = golden.floor, golden.seconds, golden.spread
        sizes = {len(b64decode(golden.pixels)), len(golden.scores)}
        if not all(map(isfinite, numbers)) or min(numbers) < 0 or 0 not in sizes:
            raise ValueError(f"{name} has numbers that cannot be")
        if not golden.scores and PRINT_BYTES not in sizes:
            raise ValueError(f"{name} has no picture of {PRINT_BYTES} bytes")


def _goldens(file: _File) -> dict[str, Golden]:
    return {
        name: Golden(
            Print(each.digest, b64decode(each.pixels, validate=True), tuple(each.scores)),
            each.floor,
            each.seconds,
            each.spread,
        )
        for name, each in file.goldens.items()
    }
