"""Safelight: observability for image-model services, down to each denoising step."""

from importlib import import_module
from typing import TYPE_CHECKING

from safelight import errors  # noqa: F401 - for `except safelight.errors.BadSetting`

if TYPE_CHECKING:
    from safelight.errors import SafelightError
    from safelight.probes.carry import handle
    from safelight.probes.declare import Response, fail, note
    from safelight.probes.inference import inference
    from safelight.probes.measured import measured
    from safelight.telemetry.record import Facts, PipelineCall, Record
    from safelight.watching import Watch, watch

__all__ = [
    "Facts",
    "PipelineCall",
    "Record",
    "Response",
    "SafelightError",
    "Watch",
    "fail",
    "handle",
    "inference",
    "measured",
    "note",
    "watch",
]

if not TYPE_CHECKING:  # else type checkers would accept every name
    # Imported when they are first used: the processes of a service need few of them, and little
    # memory.
    _HOMES = {
        **dict.fromkeys(("Facts", "PipelineCall", "Record"), "telemetry.record"),
        **dict.fromkeys(("Response", "fail", "note"), "probes.declare"),
        **dict.fromkeys(("Watch", "watch"), "watching"),
        "SafelightError": "errors",
        "handle": "probes.carry",
        "inference": "probes.inference",
        "measured": "probes.measured",
    }

    def __getattr__(name: str) -> object:
        """Return a public name, or what an old name became."""
        if name not in _HOMES:
            return import_module("safelight.renamed").imported(name)
        value = getattr(import_module(f"safelight.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the names, also those that are not imported yet."""
        return sorted({*globals(), *__all__})
