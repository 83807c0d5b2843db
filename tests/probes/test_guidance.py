"""The guidance that is reported is what the loop applies, for every class of diffusers (W6)."""

import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    ModularPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)

from safelight import Record, watch
from safelight.probes.guidance import Decision, Guidance, guidance_of, rule_of
from tests.pipelines import (
    edit,
    edit_pipeline,
    picture,
    text_pipeline,
    xl_edit_pipeline,
    z_image_pipeline,
)
from tests.reading import at_once

SURVEY = Path(__file__).with_name("guidance.txt")


def classes() -> list[type]:
    """Return every pipeline class of the installed diffusers."""
    found = []
    for name in dir(diffusers):
        try:
            kind = getattr(diffusers, name)
        except (AttributeError, RuntimeError):  # a class that was removed
            continue
        if isinstance(kind, type) and issubclass(kind, DiffusionPipeline | ModularPipeline):
            found.append(kind)
    return found


def surveyed() -> list[str]:
    """Return one line for each class: its name, its decision, and the conditions."""
    rules = {kind.__name__: rule_of(kind) for kind in classes()}
    return [
        f"{name}: {rule.decision}{' if ' if rule.conditions else ''}{' or '.join(rule.conditions)}"
        for name, rule in sorted(rules.items())
    ]


def test_w6_the_decision_of_every_class_is_stated() -> None:
    lines = surveyed()
    assert len(lines) >= 300
    # After an update of diffusers: read the difference, then write the lines into the file.
    assert lines == SURVEY.read_text().splitlines()


def test_w6_almost_every_class_with_guidance_has_a_known_decision() -> None:
    counts = Counter(rule_of(kind).decision for kind in classes())
    with_guidance = counts.total() - counts[Decision.NO_PARAMETER]
    assert counts[Decision.UNKNOWN] <= 0.05 * with_guidance
    assert counts[Decision.FLAG] > 200
    assert counts[Decision.EMBEDDED] > 25


# ── Held against the image: does another value change it? ────────────────────────────────────────


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def remade(kind: Any, **parts: Any) -> Any:
    pipe = text_pipeline(edit_pipeline())
    return kind(**{**pipe.components, **parts}, requires_safety_checker=False)


def embedding_unet() -> Any:
    config = {**text_pipeline(edit_pipeline()).unet.config, "time_cond_proj_dim": 16}
    return UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")})


def plain() -> Any:
    return remade(StableDiffusionPipeline)


def embedded() -> Any:
    return remade(StableDiffusionPipeline, unet=embedding_unet())


def latent_consistency() -> Any:
    return remade(LatentConsistencyModelPipeline, unet=embedding_unet(), scheduler=LCMScheduler())


def panorama() -> Any:
    return remade(StableDiffusionPanoramaPipeline, scheduler=DDIMScheduler())


def z_image() -> Any:
    return z_image_pipeline(edit_pipeline())


def flux(*, distilled: bool) -> Any:
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=distilled,
    )
    vae = AutoencoderKL(
        block_out_channels=(4,),
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        transformer=transformer,
        vae=vae,
    )


def flux_dev() -> Any:
    return flux(distilled=True)


def flux_schnell() -> Any:
    return flux(distilled=False)


def embeds(seed: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    return {
        "prompt_embeds": torch.randn(1, 8, 32, generator=random),
        "pooled_prompt_embeds": torch.randn(1, 32, generator=random),
    }


def made(pipe: Any, **guidance: float) -> tuple[Any, Any]:
    """Return the pixels that a pipeline makes, and its call."""
    pipe.set_progress_bar_config(disable=True)
    records: list[Record] = []
    asked: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np", **guidance}
    with watch(pipeline=pipe, on_record=records.append), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if isinstance(pipe, FluxPipeline):
            images = pipe(**embeds(1), height=16, width=16, generator=generator(), **asked).images
        else:
            images = pipe("a hat", height=64, width=64, generator=generator(), **asked).images
    return np.asarray(images), records[0].calls[0]


MAKERS = [plain, embedded, latent_consistency, panorama, z_image, flux_dev, flux_schnell]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(("first", "second"), [(8.0, 3.0), (1.0, 0.5)])
def test_w6_guidance_is_in_force_exactly_if_it_changes_the_image(
    make: Any, first: float, second: float
) -> None:
    pipe = make()
    one, call = made(pipe, guidance_scale=first)
    other, again = made(pipe, guidance_scale=second)
    changes = bool(abs(one - other).max() > 1e-6)
    in_force = [each.guidance_in_force == each.guidance_asked for each in (call, again)]
    assert call.guidance_asked == first
    if changes:
        assert in_force == [True, True]
    else:
        assert again.guidance_in_force == 1.0
        assert "guidance_scale" in again.overridden


def test_w6_true_cfg_without_a_negative_prompt_is_ignored_and_counted() -> None:
    pipe = flux_dev()
    without, _ = made(pipe, guidance_scale=3.0)
    ignored, call = made(pipe, guidance_scale=3.0, true_cfg_scale=4.0)
    assert np.array_equal(without, ignored)
    assert call.overridden == ("true_cfg_scale",)
    negative = {f"negative_{name}": value for name, value in embeds(2).items()}
    applied, call = made(pipe, guidance_scale=3.0, true_cfg_scale=4.0, **negative)
    assert not np.array_equal(without, applied)
    assert call.overridden == ()


@pytest.mark.parametrize(
    ("image_guidance", "in_force", "overridden"),
    [(1.5, (7.5, 1.5), ()), (0.8, (1.0, 1.0), ("guidance_scale", "image_guidance_scale"))],
)
def test_w6_the_guidance_that_instructpix2pix_xl_drops_is_seen(
    image_guidance: float, in_force: tuple[float, float], overridden: tuple[str, ...]
) -> None:
    pipe, records = xl_edit_pipeline(edit_pipeline()), list[Record]()
    with watch(pipeline=pipe, on_record=records.append):
        options = {"guidance_scale": 7.5, "image_guidance_scale": image_guidance}
        edit(pipe, image=picture(), height=64, width=64, **options)
    call = records[0].calls[0]
    assert (call.guidance_in_force, call.image_guidance_in_force) == in_force
    assert call.overridden == overridden


def test_w6_unknown_guidance_is_shown_as_unknown() -> None:
    class Odd:
        def __call__(self, prompt: str, guidance_scale: float = 4.0) -> float:
            return guidance_scale**2

    names: dict[str, Any] = {}
    exec("def call(self, guidance_scale=4.0): pass", names)
    WithoutSource = type("WithoutSource", (), {"__call__": names["call"]})  # noqa: N806
    for kind in (Odd, WithoutSource):
        assert rule_of(kind).decision is Decision.UNKNOWN
        assert guidance_of(kind(), "guidance_scale", {"guidance_scale": 4.0}) == Guidance(4.0)


def test_a_condition_that_cannot_be_evaluated_is_unknown() -> None:
    class Local:
        def __call__(self, guidance_scale: float = 4.0) -> None:
            do_classifier_free_guidance = guidance_scale > self.limit  # type: ignore[attr-defined]
            assert do_classifier_free_guidance

    asked = {"guidance_scale": 4.0}
    assert guidance_of(Local(), "guidance_scale", asked) == Guidance(4.0)
    assert guidance_of(SimpleNamespace(), "guidance_scale", {}) == Guidance()


def test_a_condition_that_calls_a_function_is_not_evaluated_again() -> None:
    calls: list[float] = []

    class Calling:
        def __call__(self, guidance_scale: float = 4.0) -> None:
            do_classifier_free_guidance = calls.append(guidance_scale)  # type: ignore[func-returns-value]
            assert do_classifier_free_guidance is None

    assert guidance_of(Calling(), "guidance_scale", {"guidance_scale": 4.0}) == Guidance(4.0)
    assert calls == []


def test_sources_are_read_in_many_threads_at_once() -> None:
    kinds = [kind for kind in classes() if rule_of(kind).decision is Decision.FLAG][:40]

    def work(_: int) -> None:
        for kind in kinds:
            copied = type(kind.__name__, (kind,), {})
            assert rule_of(copied).decision is Decision.FLAG

    at_once(work, 4)
