"""What a caller is told beside the picture: that it is not as it should be, or could be better."""

from collections.abc import Sequence

from safelight.errors import StructureCorruption
from safelight.quality.instructions import Taxonomy
from safelight.serving.job import EditParameters, Job, Outcome, Parameters
from safelight.settings import Settings
from safelight.telemetry.record import Exchange

_BUSY = {"because": "busy-background", "try": "remove background"}


def min_kept_ratio(
    parameters: Parameters, kind: str, taxonomy: Taxonomy, settings: Settings
) -> float:
    """Return the least share of its picture that an edit of a type must keep; 0 looks for none."""
    if not settings.structure_floor or not isinstance(parameters, EditParameters):
        return 0.0
    return taxonomy.keeps(kind, settings.structure_floor)


def note_background(jobs: Sequence[Job], limit_bits: float) -> None:
    """Enter whether the background of the picture sent in is too busy, as far as it is known."""
    known = (job.exchange.background_entropy for job in jobs)
    bits = next((found for found in known if found is not None), None)
    first = jobs[0].exchange
    first.background_entropy = bits
    first.busy_background = bits is not None and bits > limit_bits


def note_made(exchange: Exchange, outcomes: Sequence[Outcome]) -> None:
    """Enter that a picture is not as it should be, though it is sent all the same."""
    if any(made.corrupted for made in outcomes):
        exchange.error = StructureCorruption.reason


def warnings(exchange: Exchange) -> list[str]:
    """Return what is wrong with a picture that is sent all the same."""
    return [exchange.error] if exchange.error == StructureCorruption.reason else []


def advice(exchange: Exchange) -> list[dict[str, str]]:
    """Return what the caller may do to get a better picture."""
    return [_BUSY] if exchange.busy_background else []


def note_headers(exchange: Exchange) -> dict[str, str]:
    """Return the same as headers; advice is a list of RFC 9651's: tokens with parameters."""
    headers = {}
    if warned := warnings(exchange):
        headers["x-safelight-warning"] = ", ".join(warned)
    if advised := advice(exchange):
        told = (f'{each["because"]};try="{each["try"]}"' for each in advised)
        headers["x-safelight-advice"] = ", ".join(told)
    return headers
