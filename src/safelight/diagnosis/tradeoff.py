"""Trade-off of quality and time between settings, with the Pareto front."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from safelight.diagnosis.estimates import Estimate, mean
from safelight.records.rows import AssessedRequest

QUALITIES: dict[str, Callable[[AssessedRequest], float | None]] = {
    "score": lambda request: request.score,
    "adherence": lambda request: request.adherence,
    "structure": lambda request: request.structure,
    "rating": lambda request: None if request.rating is None else float(request.rating),
}
_MAX_SETTINGS = 200


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How images were made."""

    steps: int
    width: int
    height: int
    precision: str

    def __str__(self) -> str:
        return f"{self.steps} steps, {self.width}x{self.height}, {self.precision}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, its quality and its time, from `count` requests.

    `on_front`: no other setting is at least as fast and as good, and better in one of the two.
    `surely_worse`: another setting is faster and better, and their intervals do not overlap.
    """

    setting: Setting
    count: int
    quality: Estimate
    seconds: Estimate
    on_front: bool = False
    surely_worse: bool = False


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Settings from fast to slow. `too_few` counts the settings with too few requests."""

    by: str
    choices: tuple[Choice, ...]
    too_few: int

    @property
    def front(self) -> tuple[Choice, ...]:
        """Return the settings of the Pareto front, the fastest first."""
        return tuple(choice for choice in self.choices if choice.on_front)

    def as_dict(self) -> dict[str, object]:
        """Return the trade-off as JSON data."""
        return asdict(self)


def tradeoff(requests: Iterable[AssessedRequest], by: str = "score") -> Tradeoff:
    """Return quality (one of QUALITIES) and time of the settings that were used."""
    measured: dict[Setting, list[tuple[float, float]]] = defaultdict(list)
    for request in requests:
        setting, quality = _setting(request), QUALITIES[by](request)
        if setting is not None and quality is not None and request.succeeded:
            measured[setting].append((quality, request.service_seconds))
    frequent = sorted(measured.items(), key=lambda item: -len(item[1]))[:_MAX_SETTINGS]
    choices = [choice for item in frequent if (choice := _choice(*item)) is not None]
    choices.sort(key=lambda choice: (choice.seconds.value, choice.setting))
    compared = tuple(_compared(choice, choices) for choice in choices)
    return Tradeoff(by, compared, len(measured) - len(choices))


def _setting(request: AssessedRequest) -> Setting | None:
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


def _compared(choice: Choice, others: Sequence[Choice]) -> Choice:
    on_front = not any(_beats(other, choice) for other in others)
    surely_worse = any(_surely_beats(other, choice) for other in others)
    return Choice(
        choice.setting, choice.count, choice.quality, choice.seconds, on_front, surely_worse
    )


def _beats(other: Choice, choice: Choice) -> bool:
    first, second = ((each.quality.value, -each.seconds.value) for each in (other, choice))
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))


def _surely_beats(other: Choice, choice: Choice) -> bool:
    better = other.quality.low > choice.quality.high
    return better and other.seconds.high < choice.seconds.low
