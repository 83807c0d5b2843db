"""What a viewer chose on a dashboard: the values of its variables and a time range, checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from safelight.dashboards.board import Board
from safelight.dashboards.variables import ANY, Chosen, first_choice
from safelight.errors import InvalidParameter

_NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_CHARACTERS = 200
_SHORTEST_SECONDS, _LONGEST_SECONDS = 60.0, 400 * 86_400.0
_LATEST = 4_102_444_800.0  # the year 2100
_POINTS = 180  # of a curve
_STEPS = (15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
_SCRAPE_SECONDS = 15  # if nothing is known
_RATE_SCRAPES, _RATE_SECONDS = 4, 60  # a rate needs some scrapes, and a rare request some time
_NEARLY = 0.9  # scrapes come a little early or late


@dataclass(frozen=True, slots=True)
class Span:
    """A time range in seconds since 1970, and the distance of a curve's points in seconds.

    `scrape` is the time between two scrapes in seconds: rates are taken over several.
    """

    begin: float
    end: float
    step: int
    scrape: int = _SCRAPE_SECONDS

    @classmethod
    def of(cls, begin: float, end: float, scrape: int = _SCRAPE_SECONDS) -> "Span":
        """Return a range that ends at a whole minute, or step, so that viewers share answers.

        Its last point is now, also if its step is an hour: what began since then is seen.

        Raises InvalidParameter for a range that is too short, too long or out of the calendar.
        """
        length = end - begin
        if not _SHORTEST_SECONDS <= length <= _LONGEST_SECONDS or not 0 <= end <= _LATEST:
            raise InvalidParameter("Choose a time range from one minute to 400 days.")
        steps = (step for step in _STEPS if step >= max(_NEARLY * scrape, length / _POINTS))
        step = next(steps, _STEPS[-1])
        grain = min(step, _RATE_SECONDS)
        last = -(-end // grain) * grain
        return cls(last - -(-(last - begin) // step) * step, last, step, scrape)

    @property
    def seconds(self) -> int:
        """Return the length of the range."""
        return round(self.end - self.begin)

    def scraped(self, seconds: int) -> "Span":
        """Return the range for a service that is scraped so often."""
        return Span.of(self.begin, self.end, seconds)

    @property
    def rate_seconds(self) -> int:
        """Return the window of a rate, by Grafana's rule for `$__rate_interval`."""
        return max(self.step + self.scrape, _RATE_SCRAPES * self.scrape, _RATE_SECONDS)


def chosen(board: Board, values: Mapping[str, str], span: Span) -> Chosen:
    """Return the variables of a dashboard with a viewer's values; no value means all.

    Raises InvalidParameter for a value that no metric or label can have.
    """
    namespace = first_choice(board)
    if not board.is_fixed:
        namespace = values.get("namespace") or namespace
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise InvalidParameter("A namespace has small letters, digits and underscores.")
    return Chosen(
        namespace=namespace,
        **{
            name: _matcher(values.get(name, ""))
            for name in ("job", "instance", "card_job", "card_instance")
        },
        rate_interval=f"{span.rate_seconds}s",
        range=f"{span.seconds}s",
    )


def _matcher(value: str) -> str:
    """Return the pattern that matches a label's value and nothing else."""
    if not value:
        return ANY
    if len(value) > _MOST_CHARACTERS or not value.isprintable():
        raise InvalidParameter(f"A label's value has at most {_MOST_CHARACTERS} characters.")
    # The expression has the pattern in double quotes, where a backslash is written twice.
    return re.escape(value).replace("\\", "\\\\").replace('"', '\\"')
