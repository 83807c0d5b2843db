"""Warnings and advice that accompany an image in its response."""

from collections.abc import Sequence

from safelight.errors import StructureCorruption
from safelight.quality.instructions import Taxonomy
from safelight.serving.job import EditParameters, Job, Outcome, Parameters
from safelight.settings import Settings
from safelight.telemetry.record import Exchange

Advice = list[dict[str, str]]
"""Because of what the caller should try what, before or instead of an edit."""

_BUSY = {"because": "busy-background", "try": "remove background"}


def min_kept_ratio(
    parameters: Parameters, kind: str, taxonomy: Taxonomy, settings: Settings
) -> float:
    """Return the share of the input image that an edit of a type must keep; 0: no check."""
    if not settings.structure_floor or not isinstance(parameters, EditParameters):
        return 0.0
    return taxonomy.keeps(kind, settings.structure_floor)


def note_background(jobs: Sequence[Job], limit_bits: float) -> None:
    """Record whether the background of the input image is too busy, if its entropy is known."""
    entropies = (job.exchange.background_entropy for job in jobs)
    bits = next((entropy for entropy in entropies if entropy is not None), None)
    first = jobs[0].exchange
    first.background_entropy = bits
    first.busy_background = bits is not None and is_busy(bits, limit_bits)


def note_corruption(exchange: Exchange, outcomes: Sequence[Outcome]) -> None:
    """Record that an image is corrupted. It is sent still."""
    if any(outcome.corrupted for outcome in outcomes):
        exchange.error = StructureCorruption.reason


def warnings(exchange: Exchange) -> list[str]:
    """Return what is wrong with the image that is sent."""
    return [exchange.error] if exchange.error == StructureCorruption.reason else []


def is_busy(bits: float, limit_bits: float) -> bool:
    """Return whether edits are likely to destroy an image because of its background's entropy."""
    return bits > limit_bits


def advice_on(*, busy_background: bool) -> Advice:
    """Return what a caller can do to get a better image. Edits and checks say the same."""
    return [_BUSY] if busy_background else []


def advice(exchange: Exchange) -> Advice:
    """Return what the caller of an edit can do to get a better image."""
    return advice_on(busy_background=exchange.busy_background)


def note_headers(exchange: Exchange) -> dict[str, str]:
    """Return warnings and advice as headers."""
    names = warnings(exchange)
    warned = {"x-safelight-warning": ", ".join(names)} if names else {}
    return warned | advice_headers(advice(exchange))


def advice_headers(items: Advice) -> dict[str, str]:
    """Return advice as a header, a list of tokens as in RFC 9651; none without advice."""
    tokens = (f'{item["because"]};try="{item["try"]}"' for item in items)
    return {"x-safelight-advice": ", ".join(tokens)} if items else {}
