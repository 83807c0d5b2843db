"""Copy the trained models into the package: pipelines in half precision, model cards, checksums.

python -m training.ship
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import AutoTokenizer, CLIPTextModel, Qwen3Model

from safelight.models.demo.bundle import AUTOENCODER, WEIGHTS, seal
from training.edit import NOISE

CARDS = Path(__file__).parent / "cards"
DEFAULTS = {
    "edit": {"steps": 20, "guidance_scale": 1.5, "image_guidance_scale": 1.0},
    "generate": {"steps": 8, "guidance_scale": 2.0, "width": 64, "height": 64},
}
_HALF: dict[str, Any] = {"dtype": torch.float16}


def ship(runs: Path, package: Path = WEIGHTS) -> None:
    """Replace the package's weights with the trained models in `runs`."""
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        draft = Path(folder) / "weights"
        shutil.copytree(runs / AUTOENCODER, draft / AUTOENCODER)
        shutil.copytree(runs / "recognize", draft / "recognize")
        pipelines = {"edit": edit_pipeline(runs), "generate": generate_pipeline(runs)}
        for name, pipeline in pipelines.items():
            pipeline.save_pretrained(draft / name)
            shutil.rmtree(draft / name / AUTOENCODER)  # both share one copy
            (draft / name / "safelight.json").write_text(json.dumps(DEFAULTS[name]) + "\n")
        for card in CARDS.glob("*.md"):
            shutil.copy(card, draft / card.stem / "README.md")
        seal(draft)
        shutil.rmtree(package, ignore_errors=True)
        draft.rename(package)


def edit_pipeline(runs: Path, options: dict[str, Any] = _HALF) -> Any:
    """Return the editor with the trained models in a folder."""
    parts = runs / "edit"
    return StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL.from_pretrained(runs / AUTOENCODER, **options),
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", **options),
        tokenizer=AutoTokenizer.from_pretrained(parts / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(parts / "unet", **options),
        scheduler=EulerAncestralDiscreteScheduler(**NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def generate_pipeline(runs: Path, options: dict[str, Any] = _HALF) -> Any:
    """Return the generator with the trained models in a folder."""
    parts = runs / "generate"
    return ZImagePipeline(
        vae=AutoencoderKL.from_pretrained(runs / AUTOENCODER, **options),
        text_encoder=Qwen3Model.from_pretrained(parts / "text_encoder", **options),
        tokenizer=AutoTokenizer.from_pretrained(parts / "tokenizer"),
        transformer=ZImageTransformer2DModel.from_pretrained(parts / "transformer", **options),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training/runs"))
    ship(parser.parse_args().folder)
