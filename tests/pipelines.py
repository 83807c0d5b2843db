"""Tiny real pipelines, and the calls that tests make of them: 64 x 64 pixels, few steps."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    ConvNextImageProcessorPil,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    ResNetConfig,
    ResNetForImageClassification,
)

from tests.untrained import build_edit

STEPS = 3

torch.set_num_threads(1)  # on tiny tensors, threads that wait for each other cost more than they do


def edit_pipeline() -> Any:
    """Return InstructPix2Pix with weights drawn by chance, without its progress bar."""
    pipe = build_edit()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def text_pipeline(edit: Any) -> Any:
    """Return a text-to-image pipeline made from the parts of an editing one."""
    pipe = StableDiffusionPipeline(
        vae=edit.vae,
        text_encoder=edit.text_encoder,
        tokenizer=deepcopy(edit.tokenizer),  # a tokenizer is not safe for two threads
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


def z_image_pipeline(edit: Any) -> Any:
    """Return Z-Image with weights drawn by chance; it borrows nothing but the letters."""
    letters = [token for token in edit.tokenizer.get_vocab() if len(token) == 1]
    tokenizer = Qwen2Tokenizer(
        vocab={token: n for n, token in enumerate([*letters, "<|endoftext|>"])}, merges=[]
    )
    tokenizer.chat_template = "{{ messages[0].content }}"
    encoder = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    pipe = ZImagePipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=16,
            norm_num_groups=4,
            shift_factor=0.0,
            scaling_factor=1.0,
        ),
        text_encoder=Qwen3Model(encoder),
        tokenizer=tokenizer,
        transformer=ZImageTransformer2DModel(
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[4, 6, 6],
            axes_lens=[1024, 64, 64],
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def classifier(folder: Path, *, several: bool) -> Path:
    """Save a tiny image classifier into a folder, with how it reads pictures; return the folder."""
    kind = "multi_label_classification" if several else "single_label_classification"
    labels = dict(enumerate(("bird", "boat", "bridge")))
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        problem_type=kind,
        id2label=labels,
        label2id={name: n for n, name in labels.items()},
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=1.0).save_pretrained(folder)
    return folder


def xl_edit_pipeline(edit: Any) -> Any:
    """Return InstructPix2Pix's XL sibling, tiny, with weights drawn by chance."""
    wide = {**edit.text_encoder.config.to_dict(), "projection_dim": 64}
    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=8,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64 + 6 * 8,
    )
    pipe = StableDiffusionXLInstructPix2PixPipeline(
        vae=edit.vae,
        text_encoder=edit.text_encoder,
        tokenizer=edit.tokenizer,
        unet=unet,
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**wide)),
        tokenizer_2=edit.tokenizer,
        scheduler=EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
