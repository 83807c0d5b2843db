"""What speed costs in quality: each setting that was served, and which are worth choosing. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from safelight.diagnosis.estimates import Estimate, mean
from safelight.records.rows import Remembered

QUALITIES: dict[str, Callable[[Remembered], float | None]] = {
    "score": lambda request: request.score,
    "adherence": lambda request: request.adherence,
    "structure": lambda request: request.structure,
    "rating": lambda request: None if request.rating is None else float(request.rating),
}
MOST_SETTINGS = 200


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How pictures were made."""

    steps: int
    width: int
    height: int
    precision: str

    def __str__(self) -> str:
        return f"{self.steps} steps, {self.width}x{self.height}, {self.precision}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, its quality and its time; `count` requests were measured.

    `on_front`: no other is as fast and as good, and better in one. `surely_worse`: another is both
    faster and better, and the intervals do not meet.
    """

    setting: Setting
    count: int
    quality: Estimate
    seconds: Estimate
    on_front: bool = False
    surely_worse: bool = False


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Settings from fast to slow, and how many were left out for having been used too little."""

    by: str
    choices: tuple[Choice, ...]
    too_few: int

    @property
    def front(self) -> tuple[Choice, ...]:
        """Return the settings worth choosing, from fast to good."""
        return tuple(choice for choice in self.choices if choice.on_front)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def tradeoff(requests: Iterable[Remembered], by: str = "score") -> Tradeoff:
    """Return how quality, one of QUALITIES, stands against time in the settings that were used."""
    measured: dict[Setting, list[tuple[float, float]]] = defaultdict(list)
    for request in requests:
        setting, quality = _setting(request), QUALITIES[by](request)
        if setting is not None and quality is not None and request.succeeded:
            measured[setting].append((quality, request.service_seconds))
    often = sorted(measured.items(), key=lambda item: -len(item[1]))[:MOST_SETTINGS]
    choices = [found for item in often if (found := _choice(*item)) is not None]
    choices.sort(key=lambda choice: (choice.seconds.value, choice.setting))
    judged = tuple(_judged(choice, choices) for choice in choices)
    return Tradeoff(by, judged, len(measured) - len(choices))


def _setting(request: Remembered) -> Setting | None:
    steps, width, height = request.steps, request.width, request.height
    if steps is None or width is None or height is None or request.precision is None:
        return None
    return Setting(steps, width, height, request.precision)


def _choice(setting: Setting, measured: Sequence[tuple[float, float]]) -> Choice | None:
    quality = mean([quality for quality, _ in measured])
    seconds = mean([seconds for _, seconds in measured])
    if quality is None or seconds is None:
        return None
    return Choice(setting, len(measured), quality, seconds)


def _judged(choice: Choice, others: Sequence[Choice]) -> Choice:
    on_front = not any(_beats(other, choice) for other in others)
    surely = any(_surely_beats(other, choice) for other in others)
    return Choice(choice.setting, choice.count, choice.quality, choice.seconds, on_front, surely)


def _beats(other: Choice, choice: Choice) -> bool:
    mine, theirs = ((each.quality.value, -each.seconds.value) for each in (choice, other))
    return theirs != mine and all(a >= b for a, b in zip(theirs, mine, strict=True))


def _surely_beats(other: Choice, choice: Choice) -> bool:
    better = other.quality.low > choice.quality.high
    return better and other.seconds.high < choice.seconds.low
