"""Where a checkpoint lies: a folder, a hub id, or what is bundled; and what it says of itself.

Weights are taken from safetensors only, unless pickles are asked for by name: a pickle could run
anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelOrder
from safelight.models.demo.bundle import AUTOENCODER, DEMOS, verified

DEFAULTS_FILE = "safelight.json"
_PICKLES = ("*model*.bin", "*.ckpt")  # as weights are called, not an optimiser's state


class _Defaults(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    steps: int | None = Field(None, ge=1, le=1000)
    guidance_scale: float | None = Field(None, ge=0, le=30)
    image_guidance_scale: float | None = Field(None, ge=0, le=10)
    width: int | None = Field(None, ge=32, le=8192, multiple_of=8)
    height: int | None = Field(None, ge=32, le=8192, multiple_of=8)


@dataclass(frozen=True, slots=True)
class Source:
    """What `from_pretrained` is given: a folder or a hub id, and a folder of a shared part."""

    place: str
    autoencoder: Path | None = None
    safe: bool | None = True
    """Whether only safetensors will do; None takes what there is."""

    def shared(self, dtype: Any) -> dict[str, Any]:
        """Return the parts that lie elsewhere, loaded."""
        if self.autoencoder is None:
            return {}
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(self.autoencoder, dtype=dtype, use_safetensors=True)
        return {"vae": vae}

    @property
    def folder(self) -> Path | None:
        """Return the folder, or None where it is none."""
        try:
            return Path(self.place) if Path(self.place).is_dir() else None
        except OSError:  # a name too long for any
            return None


def source_of(order: ModelOrder) -> Source:
    """Return where a model's files are; what is bundled is verified. Raises ModelNotFound."""
    if order.model not in DEMOS:
        return Source(order.model, safe=None if order.allow_pickle else True)
    folder = verified(order.model)
    shares = (folder / "model_index.json").is_file()
    return Source(str(folder), verified(AUTOENCODER) if shares else None)


def defaults_of(order: ModelOrder, source: Source) -> dict[str, float]:
    """Return the defaults that a folder names in its safelight.json. Raises ModelNotFound."""
    file = source.folder / DEFAULTS_FILE if source.folder else None
    if file is None or not file.is_file():
        return {}
    try:
        return _Defaults.model_validate_json(file.read_bytes()).model_dump(exclude_none=True)
    except (OSError, ValueError):
        raise ModelNotFound(
            order.model,
            f"its {DEFAULTS_FILE} must be an object of numbers within bounds, of "
            f"{', '.join(_Defaults.model_fields)}.",
        ) from None


def refuse_pickles(order: ModelOrder, source: Source) -> None:
    """Raise ModelNotFound where a folder that did not load has its weights in pickles only."""
    if source.folder is None or order.allow_pickle:
        return
    pickles = sorted(file for kind in _PICKLES for file in source.folder.rglob(kind))
    alone = [file for file in pickles if not list(file.parent.glob("*.safetensors"))]
    if alone:
        raise ModelNotFound(
            order.model,
            f"{alone[0].relative_to(source.folder)} is a pickle, which could run anything. Save it "
            "as safetensors, or set SAFELIGHT_ALLOW_PICKLE=true if you trust it.",
        )


def whole(order: ModelOrder, loaded: tuple[Any, Any]) -> Any:
    """Return a model that was loaded with its info. Raises ModelNotFound where weights are missing.

    transformers fills these in by chance, and says so in the log only.
    """
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelNotFound(
            order.model,
            f"its weights lack {missing[0]}{' and others' if missing[1:] else ''}, so what it says "
            "would be chance. Save the trained model whole.",
        )
    return model
