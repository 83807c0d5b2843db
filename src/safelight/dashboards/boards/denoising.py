"""Dashboard of the denoising loop: steps, phases and guidance."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
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
    GUIDANCE,
    GUIDANCE_OVERRIDDEN,
    IMAGE_GUIDANCE,
    IMAGES,
    INFERENCE_SECONDS,
    PARAMETER,
    PRECISION,
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

_PHASES: Matchers = {STAGE: "~encode_prompt|encode_image|denoise|decode_latents"}


def denoising(limits: Thresholds) -> Board:
    """Return the dashboard of the denoising loop."""
    return board(
        "Denoising",
        "How long do the steps and phases of the model take, and is the guidance applied?",
        row("Steps", *_steps(limits)),
        row("Calls", *_calls()),
        row("Guidance", *_guidance()),
        row("Outside the steps", *_outside()),
    )


def _steps(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = STEP_SECONDS.unit
    return (
        lines(
            "P50 of a step, by position",
            "Slow first steps (1-5) mean warm-up or compilation. Slow last steps mean a hot GPU.",
            seconds,
            *quantiles(STEP_SECONDS, 0.5, by_labels=(STEP,)),
        ),
        lines(
            "P95 of a step, by position",
            "95 % of the steps are faster. The dashed line is the limit of StepsSlow.",
            seconds,
            *quantiles(STEP_SECONDS, 0.95, by_labels=(STEP,)),
            limit=limits.step_p95_seconds,
        ),
        heat(
            "All steps",
            "Distribution of the step times. A second band means a second image or batch size.",
            TIMES,
            STEP_SECONDS,
        ),
        lines(
            "Steps per second",
            "Denoising steps of all workers together.",
            TIMES,
            Query(NOW.rate(STEP_SECONDS), "steps"),
        ),
    )


def _calls() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.BUCKETS,
            "Steps per call, distribution",
            "Inference calls by their number of steps, in the time range.",
            COUNT,
            Query(RANGE.bucket_counts(STEPS), "{{le}}"),
        ),
        lines(
            "Mean steps per call",
            "Requested steps, or fewer if the degradation ladder reduces them.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Inference time, by precision",
            "P50 and P95 of inference calls, by the number format of the weights.",
            INFERENCE_SECONDS.unit,
            *quantiles(INFERENCE_SECONDS, 0.5, 0.95, by_labels=(PRECISION,)),
        ),
        panel(
            Shape.STACK,
            "Phases of an inference call",
            "Mean time of the text encoder, the image encoder, the steps and the decoder.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, (STAGE,), _PHASES), by(STAGE)),
        ),
    )


def _guidance() -> tuple[Panel, ...]:
    return (
        _guidance_panel(
            "Image guidance",
            "Requested and applied value. Below 1, the pipeline turns it off without an error.",
            IMAGE_GUIDANCE,
        ),
        _guidance_panel(
            "Text guidance",
            "Requested and applied value. At 1 or below, the pipeline turns all guidance off.",
            TEXT_GUIDANCE,
        ),
        panel(
            Shape.STACK,
            "Guidance not applied",
            "Calls whose guidance the pipeline ignored without an error, by parameter.",
            PER_SECOND,
            Query(NOW.rate(GUIDANCE_OVERRIDDEN, (PARAMETER,)), by(PARAMETER)),
            needs="requests whose guidance the pipeline ignores",
        ),
    )


def _guidance_panel(title: str, description: str, metric: Metric) -> Panel:
    mean = f"avg by ({GUIDANCE.name}) ({NOW.select(metric)})"
    return lines(title, description, COUNT, Query(mean, by(GUIDANCE)))


def _outside() -> tuple[Panel, ...]:
    return (
        lines(
            "Share of denoising in a call",
            "The rest is the time of encoders and decoder, which fewer steps do not reduce.",
            SHARE,
            Query(
                f"{NOW.total(STAGE_SECONDS, where={STAGE: 'denoise'})} / "
                f"{NOW.total(STAGE_SECONDS, where=_PHASES)}",
                "denoise",
            ),
        ),
        lines(
            "Truncated prompts",
            "Share of images whose prompt was too long for the text encoder.",
            SHARE,
            Query(f"{NOW.increase(PROMPTS_TRUNCATED)} / {NOW.increase(IMAGES)}", "truncated"),
        ),
        lines(
            "Calls that compiled",
            "Calls during which torch.compile ran. Other histograms exclude them.",
            TIMES,
            Query(NOW.rate(WARM_UPS), "compiled"),
        ),
    )
