"""Find a checkpoint: a folder, a hub id, or a bundled demo; and read its own defaults.

Weights are loaded from safetensors only, unless pickles are explicitly allowed: a pickle can run
any code.
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
_PICKLES = ("*model*.bin", "*.ckpt")  # names of weights, not of optimiser states


class _Defaults(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    steps: int | None = Field(None, ge=1, le=1000)
    guidance_scale: float | None = Field(None, ge=0, le=30)
    image_guidance_scale: float | None = Field(None, ge=0, le=10)
    width: int | None = Field(None, ge=32, le=8192, multiple_of=8)
    height: int | None = Field(None, ge=32, le=8192, multiple_of=8)


@dataclass(frozen=True, slots=True)
class Source:
    """The arguments for `from_pretrained`: a folder or hub id, and the folder of a shared part."""

    place: str
    is_pipeline: bool
    """A diffusers pipeline if True, else a transformers model."""
    autoencoder: Path | None = None
    safe: bool | None = True
    """True: only safetensors. None: any format."""

    def shared(self, dtype: object) -> dict[str, object]:
        """Load the parts that are in another folder."""
        if self.autoencoder is None:
            return {}
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(self.autoencoder, dtype=dtype, use_safetensors=True)
        return {"vae": vae}

    @property
    def folder(self) -> Path | None:
        """Return the folder; None if the place is not a folder."""
        try:
            return Path(self.place) if Path(self.place).is_dir() else None
        except OSError:  # the name is too long
            return None


def source_of(order: ModelOrder) -> Source:
    """Return the place and kind of a model's files; bundled demos are verified.

    Imports no heavy library, so that a wrong name fails at once. Raises ModelNotFound.
    """
    if order.model in DEMOS:
        folder = verified(order.model)
        pipeline = (folder / _INDEX).is_file()
        return Source(str(folder), pipeline, verified(AUTOENCODER) if pipeline else None)
    exists = os.path.exists(order.model)  # unlike pathlib, it accepts a name that is too long
    is_pipeline = _is_local_pipeline(order) if exists else _is_hub_pipeline(order)
    return Source(order.model, is_pipeline, safe=None if order.allow_pickle else True)


def _is_local_pipeline(order: ModelOrder) -> bool:
    """Return whether a folder is a pipeline. Raises ModelNotFound if it is no model."""
    if Path(order.model, _INDEX).is_file():
        return True
    if Path(order.model, _CONFIG).is_file():
        return False
    raise ModelNotFound(
        order.model,
        f"the folder has neither a {_INDEX}, as diffusers pipelines have, nor a {_CONFIG}, as "
        "classifiers of transformers have.",
    )


def _is_hub_pipeline(order: ModelOrder) -> bool:
    """Return whether a hub id is a pipeline. Raises ModelNotFound if it cannot be loaded."""
    from huggingface_hub import hf_hub_download

    reason = ""
    for file in (_INDEX, _CONFIG):
        try:
            hf_hub_download(order.model, file)
        except Exception as error:  # noqa: BLE001 - every error is reported
            reason = reason or (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            continue
        return file == _INDEX
    raise ModelNotFound(
        order.model,
        "it is not a local folder, and the hub does not have it, needs a token or is unreachable: "
        f"{reason.rstrip('.')}.",
    )


def defaults_of(order: ModelOrder, source: Source) -> dict[str, float]:
    """Return the defaults in a folder's safelight.json. Raises ModelNotFound."""
    file = source.folder / DEFAULTS_FILE if source.folder else None
    if file is None or not file.is_file():
        return {}
    try:
        return _Defaults.model_validate_json(file.read_bytes()).model_dump(exclude_none=True)
    except (OSError, ValueError):
        raise ModelNotFound(
            order.model,
            f"its {DEFAULTS_FILE} must be an object with valid numbers for "
            f"{', '.join(_Defaults.model_fields)}.",
        ) from None


def refuse_pickles(order: ModelOrder, source: Source) -> None:
    """Raise ModelNotFound if a folder that did not load has its weights only in pickles."""
    if source.folder is None or order.allow_pickle:
        return
    pickles = sorted(file for kind in _PICKLES for file in source.folder.rglob(kind))
    unsafe = [file for file in pickles if not list(file.parent.glob("*.safetensors"))]
    if unsafe:
        raise ModelNotFound(
            order.model,
            f"{unsafe[0].relative_to(source.folder)} is a pickle, which can run any code. Save it "
            "as safetensors, or set SAFELIGHT_ALLOW_PICKLE=true if you trust it.",
        )


def check_complete(order: ModelOrder, loaded: tuple[Any, Any]) -> Any:
    """Return a model that was loaded with its info. Raises ModelNotFound if weights are missing.

    transformers initialises missing weights at random, and reports it only in the log.
    """
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelNotFound(
            order.model,
            f"the weights {missing[0]}{' and others' if missing[1:] else ''} are missing, so its "
            "labels would be random. Save the complete trained model.",
        )
    return model
