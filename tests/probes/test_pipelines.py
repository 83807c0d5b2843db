"""Pipelines as people build them (W5): each shows its steps and stages, or says that it cannot."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    KandinskyV22CombinedPipeline,
    MarigoldDepthPipeline,
    PriorTransformer,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    UNet2DModel,
    UNet3DConditionModel,
    VQModel,
    ZImageModularPipeline,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from safelight import PipelineCall, Record, watch
from safelight.metrics.catalog import MODEL_INFO, STEPS
from tests.pipelines import draw, edit_pipeline, picture, text_pipeline, z_image_pipeline
from tests.reading import series, value

Make = Callable[[], Any]


def called(pipe: Any, *arguments: Any, **options: Any) -> PipelineCall:
    """Return the call of a watched pipeline."""
    records: list[Record] = []
    pipe.set_progress_bar_config(disable=True)
    with watch(pipeline=pipe, on_record=records.append):
        pipe(*arguments, **options)
    (record,) = records
    (call,) = record.calls
    assert sum(call.phases.values()) == pytest.approx(call.seconds, abs=0.005)
    return call


# ── Classes of diffusers ─────────────────────────────────────────────────────────────────────────


def marigold() -> PipelineCall:
    """Several predictions of an ensemble: a progress bar around a progress bar."""
    edit = edit_pipeline()
    pipe = MarigoldDepthPipeline(
        unet=UNet2DConditionModel.from_config({**edit.unet.config, "in_channels": 8}),
        vae=edit.vae,
        scheduler=DDIMScheduler(prediction_type="v_prediction"),
        text_encoder=edit.text_encoder,
        tokenizer=edit.tokenizer,
        scale_invariant=True,
        shift_invariant=True,
        default_denoising_steps=2,
        default_processing_resolution=64,
    )
    return called(pipe, picture(), num_inference_steps=2, ensemble_size=3, processing_resolution=64)


def kandinsky() -> PipelineCall:
    """Two pipelines in one: the prior's steps, then the decoder's."""
    tokenizer = edit_pipeline().tokenizer
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=len(tokenizer) - 1,
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        image_size=224,
        projection_dim=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=1,
        patch_size=14,
    )
    unet = UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        encoder_hid_dim=32,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=32,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        in_channels=3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        out_channels=3,
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        vq_embed_dim=4,
    )
    pipe = KandinskyV22CombinedPipeline(
        unet=unet,
        scheduler=DDPMScheduler(),
        movq=movq,
        prior_prior=PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, embedding_dim=32, num_layers=1
        ),
        prior_image_encoder=CLIPVisionModelWithProjection(vision),
        prior_text_encoder=CLIPTextModelWithProjection(text),
        prior_tokenizer=tokenizer,
        prior_scheduler=UnCLIPScheduler(prediction_type="sample", num_train_timesteps=1000),
        prior_image_processor=CLIPImageProcessorPil(size=224, crop_size=224),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers calls its own deprecated option
        return called(
            pipe,
            "a red hat",
            num_inference_steps=4,
            prior_num_inference_steps=2,
            height=64,
            width=64,
        )


def video() -> PipelineCall:
    """A text-to-video pipeline."""
    edit = edit_pipeline()
    unet = UNet3DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=edit.text_encoder.config.hidden_size,
        attention_head_dim=4,
        norm_num_groups=2,
    )
    pipe = TextToVideoSDPipeline(
        vae=edit.vae,
        text_encoder=edit.text_encoder,
        tokenizer=edit.tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(),
    )
    return called(
        pipe, "a hat", num_frames=2, height=64, width=64, num_inference_steps=3, output_type="pt"
    )


def unconditional() -> PipelineCall:
    """A pipeline without a prompt."""
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return called(DDPMPipeline(unet=unet, scheduler=DDPMScheduler()), num_inference_steps=3)


@pytest.mark.parametrize(
    ("call_of", "steps"), [(marigold, 6), (kandinsky, 6), (video, 3), (unconditional, 3)]
)
def test_w5_every_step_is_found(call_of: Callable[[], PipelineCall], steps: int) -> None:
    call = call_of()
    assert len(call.step_seconds) == steps
    assert all(seconds > 0 for seconds in call.step_seconds)
    assert sum(call.step_seconds) <= call.phases["denoise"] + 0.001
    assert "predict" not in call.phases


# ── The progress bar ─────────────────────────────────────────────────────────────────────────────


class Silent(StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline of one's own, without a progress bar."""

    @torch.no_grad()
    def __call__(self, prompt: str, steps: int = 4) -> Any:
        embeds, _ = self.encode_prompt(prompt, "cpu", 1, False)
        latents = torch.randn(1, 4, 8, 8)
        self.scheduler.set_timesteps(steps)
        for timestep in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(latents, timestep)
            noise = self.unet(scaled, timestep, encoder_hidden_states=embeds).sample
            latents = self.scheduler.step(noise, timestep, latents).prev_sample
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample


class Opaque(DiffusionPipeline):  # type: ignore[misc]
    """A pipeline of one's own that shows nothing of its loop."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.register_modules(unet=unet)

    def __call__(self, steps: int = 2) -> list[Any]:
        embeds = torch.zeros(1, 77, self.unet.config.cross_attention_dim)
        with torch.no_grad():
            return [self.unet(torch.zeros(1, 4, 8, 8), n, embeds).sample for n in range(steps)]


def remade(kind: Any) -> Any:
    pipe = text_pipeline(edit_pipeline())
    return kind(**pipe.components, requires_safety_checker=False)


@pytest.mark.parametrize("run", range(2))
def test_w5_without_a_progress_bar_the_scheduler_shows_the_steps(run: int) -> None:
    pipe, records = remade(Silent), list[Record]()
    with watch(pipeline=pipe, on_record=records.append):
        for _ in range(run + 1):
            pipe("a hat")
    call = records[-1].calls[0]
    assert len(call.step_seconds) == 4
    assert set(call.phases) == {"encode_prompt", "encode_image", "denoise"}


def test_w5_unknown_steps_are_not_shown_as_a_wrong_stage() -> None:
    call = called(Opaque(text_pipeline(edit_pipeline()).unet))
    assert call.step_seconds == ()
    assert set(call.phases) == {"predict"}


class OwnBar:
    """A progress bar of one's own, as web user interfaces have."""

    def __init__(self, items: Iterable[Any] = (), total: int = 0) -> None:
        self._items = items
        self.updates = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __enter__(self) -> "OwnBar":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, n: int = 1) -> None:
        self.updates += n


class WithBar(StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline of one's own, with such a bar."""

    def progress_bar(self, iterable: Any = (), total: int = 0) -> OwnBar:
        return OwnBar(iterable, total)


def test_w5_a_progress_bar_of_ones_own_shows_the_steps() -> None:
    call = called(remade(WithBar), "a hat", height=64, width=64, num_inference_steps=3)
    assert len(call.step_seconds) == 3


def test_w5_a_progress_bar_set_on_the_object_still_works() -> None:
    pipe = text_pipeline(edit_pipeline())
    bars: list[OwnBar] = []

    def progress_bar(iterable: Any = (), total: int = 0) -> OwnBar:
        bars.append(OwnBar(iterable, total))
        return bars[-1]

    pipe.progress_bar = progress_bar
    call = called(pipe, "a hat", height=64, width=64, num_inference_steps=3)
    assert bars[0].updates == 3
    assert len(call.step_seconds) == 3


def test_a_scheduler_is_left_alone_once_the_bar_shows_the_steps() -> None:
    pipe = text_pipeline(edit_pipeline())
    plain = type(pipe.scheduler)
    with watch(pipeline=pipe):
        draw(pipe)
        assert type(pipe.scheduler) is plain


# ── Components ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", ["compile", "watch"])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_w5_a_compiled_component_before_or_after_watch(first: str, part: str) -> None:
    pipe = text_pipeline(edit_pipeline())

    def compile_it() -> None:
        setattr(pipe, part, torch.compile(getattr(pipe, part), backend="eager"))

    if first == "compile":
        compile_it()
    with watch(pipeline=pipe) as watched:
        if first == "watch":
            compile_it()
        draw(pipe)
        draw(pipe)
        assert value(watched, STEPS, "_sum") >= 3
        assert series(watched, MODEL_INFO)[0]["precision"] == "float32"


def test_w7_the_description_follows_scheduler_precision_and_lora() -> None:
    pipe = text_pipeline(edit_pipeline())
    with watch(pipelines={"base": pipe}) as watched:
        (before,) = series(watched, MODEL_INFO)
        assert (before["model"], before["adapters"]) == ("base", "none")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.to(torch.bfloat16)
        pipe.unet.peft_config = {"watercolour": object()}  # what peft leaves on the module
        (after,) = series(watched, MODEL_INFO)
    assert after["scheduler"] == "DPMSolverMultistepScheduler"
    assert after["precision"] == "bfloat16"
    assert after["adapters"] == "watercolour"


def test_w5_a_pipeline_whose_modules_move_between_devices_makes_the_same_image() -> None:
    pipe = text_pipeline(edit_pipeline())

    def image() -> Any:
        generator = torch.Generator().manual_seed(1)
        return np.asarray(draw(pipe, generator=generator, output_type="np").images)

    before = image()
    moved: list[str] = []
    hook = pipe.unet.register_forward_pre_hook(lambda *_: moved.append("to the device"))
    with watch(pipeline=pipe) as watched:
        assert np.array_equal(before, image())
        assert value(watched, STEPS, "_sum") == 3
    hook.remove()
    assert len(moved) == 3


def test_w5_a_modular_pipeline_is_watched() -> None:
    parts, pipe = z_image_pipeline(edit_pipeline()).components, ZImageModularPipeline()
    pipe.update_components(**{name: parts[name] for name in pipe.component_names if name in parts})
    records: list[Record] = []
    with watch(pipeline=pipe, on_record=records.append):
        pipe(prompt="a hat", height=64, width=64, num_inference_steps=3, output_type="pt")
    (call,) = records[0].calls
    assert (call.pipeline, call.instruction_type) == ("ZImageModularPipeline", "add_hat")
    assert len(call.step_seconds) == 2  # nothing shows when the first step begins
    assert set(records[0].stages) == {"predict", "respond"}


# ── Steps that are not the ones asked for: huggingface/diffusers#4165 and #5867 (interrupt),
#    apple/ml-stable-diffusion#207 (strength), and a schedule of the caller's own


def interrupt(pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    pipe._interrupt = step == 1
    return tensors


def interrupted() -> PipelineCall:
    pipe = text_pipeline(edit_pipeline())
    return called(pipe, "a hat", height=64, width=64, callback_on_step_end=interrupt, **STEPS_ASKED)


def with_strength() -> PipelineCall:
    parts = text_pipeline(edit_pipeline()).components
    pipe = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    return called(pipe, "a hat", image=picture(), strength=0.5, **STEPS_ASKED)


def with_own_times() -> PipelineCall:
    pipe = text_pipeline(edit_pipeline())
    pipe.scheduler = EulerDiscreteScheduler()
    return called(pipe, "a hat", height=64, width=64, timesteps=[900, 100])


def with_own_sigmas() -> PipelineCall:
    pipe = z_image_pipeline(edit_pipeline())
    return called(pipe, "a hat", height=64, width=64, sigmas=[1.0, 0.5])


STEPS_ASKED = {"num_inference_steps": 4}


@pytest.mark.parametrize(
    ("call_of", "asked"),
    [(interrupted, 4), (with_strength, 4), (with_own_times, None), (with_own_sigmas, None)],
)
def test_steps_are_those_that_were_made(
    call_of: Callable[[], PipelineCall], asked: int | None
) -> None:
    call = call_of()
    assert len(call.step_seconds) == 2
    assert call.steps_asked == asked
    assert call.error == "none"
