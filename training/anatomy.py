"""The architectures of the demo models: real classes of diffusers and transformers, very small."""

from collections.abc import Sequence
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel, ZImageTransformer2DModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Qwen3Config,
    Qwen3Model,
    ResNetConfig,
    ResNetForImageClassification,
)

LATENTS = 16
LATENT_SIDE = 8
_WIDTH = 128


def autoencoder() -> AutoencoderKL:
    """Return the autoencoder of both pipelines: factor 8, 16 channels, as in Z-Image."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=64,
        shift_factor=0.0,
        scaling_factor=1.0,  # set after the training, from the spread of the latents
    )


def unet() -> UNet2DConditionModel:
    """Return InstructPix2Pix's UNet, which reads the noisy latents and those of the image."""
    return UNet2DConditionModel(
        in_channels=2 * LATENTS,
        out_channels=LATENTS,
        sample_size=LATENT_SIDE,
        layers_per_block=1,
        block_out_channels=(96, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def text_encoder(tokenizer: Any) -> CLIPTextModel:
    """Return the text encoder of the UNet."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def transformer() -> ZImageTransformer2DModel:
    """Return Z-Image's transformer."""
    return ZImageTransformer2DModel(
        in_channels=LATENTS,
        dim=160,
        n_layers=4,
        n_refiner_layers=1,
        n_heads=5,
        n_kv_heads=5,
        cap_feat_dim=_WIDTH,
        axes_dims=[8, 12, 12],
        axes_lens=[1024, 64, 64],
    )


def prompt_encoder(tokenizer: Any) -> Qwen3Model:
    """Return the text encoder of the transformer, which reads its second last layer."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def recogniser(tags: Sequence[str]) -> ResNetForImageClassification:
    """Return the tagger: a multi-label classifier."""
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=24,
            hidden_sizes=[32, 64, 96, 128],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            problem_type="multi_label_classification",
            id2label=dict(enumerate(tags)),
            label2id={tag: number for number, tag in enumerate(tags)},
        )
    )
