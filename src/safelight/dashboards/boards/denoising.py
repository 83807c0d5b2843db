"""The board of the denoising loop: its steps, its phases, the guidance that it really applied."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    TIMES,
    WHOLE,
    board,
    by,
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
    """Return the board of the steps."""
    return board(
        "Denoising",
        "What does the model do between the prompt and the picture, and how long is each step?",
        row("Steps", *_steps(limits)),
        row("Calls", *_calls()),
        row("Guidance", *_guidance()),
        row("Around the steps", *_around()),
    )


def _steps(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = STEP_SECONDS.unit
    return (
        lines(
            "P50 of a step, by its place",
            "A slow beginning (1-5) is a warm-up or a compilation; a slow end is the card's heat.",
            seconds,
            *quantiles(STEP_SECONDS, 0.5, by_labels=(STEP,)),
        ),
        lines(
            "P95 of a step, by its place",
            "The slow twentieth of the steps; the dashed line is where StepsSlow begins.",
            seconds,
            *quantiles(STEP_SECONDS, 0.95, by_labels=(STEP,)),
            limit=limits.step_p95_seconds,
        ),
        panel(
            Shape.HEAT,
            "All steps",
            "How many steps took how long: a second band is a second size or batch.",
            TIMES,
            Query(NOW.buckets(STEP_SECONDS), "{{le}}"),
        ),
        lines(
            "Steps per second",
            "Denoising steps that all workers make together.",
            TIMES,
            Query(NOW.rate(STEP_SECONDS), "steps"),
        ),
    )


def _calls() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.BUCKETS,
            "Steps of a call, distribution",
            "How many calls made how many steps, over the time shown.",
            COUNT,
            Query(WHOLE.bucket_counts(STEPS), "{{le}}"),
        ),
        lines(
            "Mean steps of a call",
            "What callers ask for, less what the ladder of degradation takes.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Call of the pipeline, by precision",
            "Half and 95 % of the calls, by the number format of the weights.",
            INFERENCE_SECONDS.unit,
            *quantiles(INFERENCE_SECONDS, 0.5, 0.95, by_labels=(PRECISION,)),
        ),
        panel(
            Shape.STACK,
            "Phases of a call",
            "Mean time of each phase: the text encoder, the image encoder, the steps, the decoder.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, (STAGE,), _PHASES), by(STAGE)),
        ),
    )


def _guidance() -> tuple[Panel, ...]:
    return (
        _asked(
            "Image guidance",
            "As asked and as in force: under 1 the pipeline switches it off silently.",
            IMAGE_GUIDANCE,
        ),
        _asked(
            "Text guidance",
            "As asked and as in force: at 1 or less the pipeline switches all guidance off.",
            TEXT_GUIDANCE,
        ),
        panel(
            Shape.STACK,
            "Guidance not applied",
            "Calls whose guidance the pipeline silently ignored, by the parameter.",
            PER_SECOND,
            Query(NOW.rate(GUIDANCE_OVERRIDDEN, (PARAMETER,)), by(PARAMETER)),
            needs="a caller who asks for a guidance that the pipeline ignores",
        ),
    )


def _asked(title: str, description: str, metric: Metric) -> Panel:
    mean = f"avg by ({GUIDANCE.name}) ({NOW.select(metric)})"
    return lines(title, description, COUNT, Query(mean, by(GUIDANCE)))


def _around() -> tuple[Panel, ...]:
    return (
        lines(
            "Denoising's share of a call",
            "The rest is the encoders and the decoder: what fewer steps cannot save.",
            SHARE,
            Query(
                f"{NOW.seconds_per_second(STAGE_SECONDS, where={STAGE: 'denoise'})} / "
                f"{NOW.seconds_per_second(STAGE_SECONDS, where=_PHASES)}",
                "denoise",
            ),
        ),
        lines(
            "Prompts cut off",
            "Share of images whose prompt was longer than the text encoder reads.",
            SHARE,
            Query(f"{NOW.rate(PROMPTS_TRUNCATED)} / {NOW.rate(IMAGES)}", "cut off"),
        ),
        lines(
            "Calls that compiled",
            "Calls in which torch.compile was at work; they are in no histogram of the model's.",
            TIMES,
            Query(NOW.rate(WARM_UPS), "compiled"),
        ),
    )
