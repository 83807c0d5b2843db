"""Where a checkpoint lies: a folder, a hub id, or what is bundled; and what it says of itself.

Weights are taken from safetensors only, unless pickles are asked for by name: a pickle could run
anything.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelOrder
from safelight.models.demo.bundle import AUTOENCODER, DEMOS, verified

DEFAULTS_FILE = "safelight.json"
_INDEX, _CONFIG = "model_index.json", "config.json"
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
    is_pipeline: bool
    """Whether it is a diffusers pipeline; if not, it is a transformers model."""
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
    """Return where a model's files are, and of which kind; what is bundled is verified.

    Nothing heavy is imported for it: a wrong name is told at once. Raises ModelNotFound.
    """
    if order.model in DEMOS:
        folder = verified(order.model)
        pipeline = (folder / _INDEX).is_file()
        return Source(str(folder), pipeline, verified(AUTOENCODER) if pipeline else None)
    here = os.path.exists(order.model)  # unlike pathlib's, it takes a name too long for none
    kind = _kind_here(order) if here else _kind_on_hub(order)
    return Source(order.model, kind, safe=None if order.allow_pickle else True)


def _kind_here(order: ModelOrder) -> bool:
    """Tell whether a folder is a pipeline. Raises ModelNotFound where it is neither."""
    if Path(order.model, _INDEX).is_file():
        return True
    if Path(order.model, _CONFIG).is_file():
        return False
    raise ModelNotFound(
        order.model,
        f"the folder has neither a {_INDEX}, as diffusers pipelines have, nor a {_CONFIG}, as "
        "classifiers of transformers have.",
    )


def _kind_on_hub(order: ModelOrder) -> bool:
    """Tell whether a hub id is a pipeline. Raises ModelNotFound where it cannot be had."""
    from huggingface_hub import hf_hub_download

    said = ""
    for file in (_INDEX, _CONFIG):
        try:
            hf_hub_download(order.model, file)
        except Exception as wrong:  # noqa: BLE001 - whatever it is, it is told
            said = said or (str(wrong).strip() or type(wrong).__name__).splitlines()[0][:200]
            continue
        return file == _INDEX
    raise ModelNotFound(
        order.model,
        "it is no folder here, and the hub lacks it, wants a token or is out of reach: "
        f"{said.rstrip('.')}.",
    )


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
