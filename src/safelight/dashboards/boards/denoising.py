"""Dashboard of the denoising loop: steps, phases and guidance."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    SHARE,
    TIMES,
    board,
    by,
    heat,
    lines,
    panel,
    quantiles,
    row,
)
from safelight.metrics.catalog import (
    BATCH_SIZE,
    ENCODER,
    ENCODER_SECONDS,
    GUIDANCE,
    GUIDANCE_OVERRIDDEN,
    IMAGE_GUIDANCE,
    IMAGES,
    OUTPUT_PIXELS,
    PARAMETER,
    PROMPTS_TRUNCATED,
    STAGE,
    STAGE_SECONDS,
    STEP,
    STEP_SECONDS,
    STEPS,
    TEXT_GUIDANCE,
    WARM_UPS,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import Matchers
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import DENOISING, GPUS, INSTRUCTIONS

_PHASES: Matchers = {STAGE: "~encode_prompt|encode_image|denoise|decode_latents"}
_A_PIPELINE = "a diffusion pipeline"


def denoising(limits: Thresholds) -> Board:
    """Return the dashboard of the denoising loop."""
    return board(
        DENOISING,
        "Denoising",
        "How long do the steps and phases of the model take, and is the guidance applied?",
        row("Steps", GPUS, *_steps(limits)),
        row("Calls", GPUS, *_calls()),
        row("Guidance and prompts", INSTRUCTIONS, *_guidance()),
    )


def _steps(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = STEP_SECONDS.unit
    return (
        lines(
            "Which steps are slow?",
            "P95 by position; the dashed line is the limit of StepsSlow. Slow first steps (1-5) "
            "mean warm-up or compilation. Slow last steps mean a hot GPU.",
            seconds,
            *quantiles(STEP_SECONDS, 0.95, by_labels=(STEP,)),
            limit=limits.step_p95_seconds,
            needs=_A_PIPELINE,
        ),
        lines(
            "Is the usual step slow, too?",
            "P50 by position. If only P95 rises, single calls are slow: large images or batches.",
            seconds,
            *quantiles(STEP_SECONDS, 0.5, by_labels=(STEP,)),
            needs=_A_PIPELINE,
        ),
        heat(
            "Are there two kinds of steps?",
            "Distribution of the step times. A second band means a second image or batch size.",
            TIMES,
            STEP_SECONDS,
        ),
    )


def _calls() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Which phase takes the time of a call?",
            "Mean time of the text encoder, the image encoder, the steps and the decoder.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, (STAGE,), _PHASES), by(STAGE)),
            needs=_A_PIPELINE,
        ),
        lines(
            "How many steps and requests does a call run?",
            "Means. Steps of larger batches take longer, which is normal. The degradation ladder "
            "can reduce the steps.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
            Query(NOW.mean(BATCH_SIZE), "requests"),
            needs=_A_PIPELINE,
        ),
        panel(
            Shape.STACK,
            "Which text encoder takes the time?",
            "Mean time of a call in each text encoder: SDXL has two, SD3 has three.",
            ENCODER_SECONDS.unit,
            Query(NOW.mean(ENCODER_SECONDS, (ENCODER,)), by(ENCODER)),
            needs=_A_PIPELINE,
        ),
        lines(
            "How many megapixels are made per second?",
            "Pixels of the output images, in millions: images of all sizes count fairly.",
            TIMES,
            Query(f"{NOW.rate(OUTPUT_PIXELS)} / 1e6", "megapixels"),
            needs=_A_PIPELINE,
        ),
    )


def _guidance() -> tuple[Panel, ...]:
    truncated = NOW.part(NOW.increase(PROMPTS_TRUNCATED), NOW.increase(IMAGES))
    return (
        _guidance_panel(
            "Is the image guidance applied?",
            "Requested and applied value. Below 1, the pipeline turns it off without an error.",
            IMAGE_GUIDANCE,
        ),
        _guidance_panel(
            "Is the text guidance applied?",
            "Requested and applied value. At 1 or below, the pipeline turns all guidance off.",
            TEXT_GUIDANCE,
        ),
        panel(
            Shape.STACK,
            "Which guidance does the pipeline ignore?",
            "Calls whose guidance the pipeline ignored without an error, by parameter.",
            TIMES,
            Query(NOW.rate(GUIDANCE_OVERRIDDEN, (PARAMETER,)), by(PARAMETER)),
            needs="requests whose guidance the pipeline ignores",
        ),
        lines(
            "Are prompts cut?",
            "Share of images whose prompt was too long for the text encoder.",
            SHARE,
            Query(truncated, "truncated"),
            needs=_A_PIPELINE,
        ),
        lines(
            "Does the model compile again and again?",
            "Calls during which torch.compile ran. The other panels exclude them.",
            TIMES,
            Query(NOW.rate(WARM_UPS), "compiled"),
            needs=_A_PIPELINE,
        ),
    )


def _guidance_panel(title: str, description: str, metric: Metric) -> Panel:
    mean = f"avg by ({GUIDANCE.name}) ({NOW.select(metric)})"
    return lines(title, description, COUNT, Query(mean, by(GUIDANCE)), needs=_A_PIPELINE)
