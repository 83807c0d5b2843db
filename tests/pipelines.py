"""Tiny real pipelines, and the calls that tests make of them: 64 x 64 pixels, few steps."""

from typing import Any

import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from safelight.models.demo.build import build_edit

STEPS = 3

torch.set_num_threads(1)  # on tiny tensors, threads that wait for each other cost more than they do


def edit_pipeline() -> Any:
    """Return InstructPix2Pix as the demo builds it, but without its progress bar."""
    pipe = build_edit()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def text_pipeline(edit: Any) -> Any:
    """Return a text-to-image pipeline made from the parts of an editing one."""
    pipe = StableDiffusionPipeline(
        vae=edit.vae,
        text_encoder=edit.text_encoder,
        tokenizer=edit.tokenizer,
        unet=UNet2DConditionModel.from_config({**edit.unet.config, "in_channels": 4}),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def picture(width: int = 64, height: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def edit(pipe: Any, instruction: Any = "make him old", **changed: Any) -> Any:
    """Call an editing pipeline as a user does."""
    asked = {"image": picture(), "num_inference_steps": STEPS, **changed}
    return pipe(instruction, **asked)


def draw(pipe: Any, prompt: Any = "a red hat", **changed: Any) -> Any:
    """Call a text-to-image pipeline as a user does."""
    asked = {"height": 64, "width": 64, "num_inference_steps": STEPS, **changed}
    return pipe(prompt, **asked)
