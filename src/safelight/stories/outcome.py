"""A story, and its result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from safelight.diagnosis.forecast import Forecast
from safelight.diagnosis.radar import Radar
from safelight.diagnosis.report import Diagnosis
from safelight.stories.live import Notify


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a story: its diagnosis or its comparison, notes, forecasts and radar."""

    diagnosis: Diagnosis | None
    notes: Sequence[str] = ()
    forecasts: Sequence[Forecast] = ()
    radar: Radar | None = None
    comparison: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story: its name, its summary and the function that runs it."""

    name: str
    about: str
    run: Callable[[Notify], Outcome] = field(repr=False)
    has_diagnosis: bool = True
