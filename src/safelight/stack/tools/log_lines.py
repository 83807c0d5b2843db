"""Choose among the JSON lines of a service's log, and count its requests by hour and reason."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from safelight.reasons import NO_ERROR
from safelight.telemetry.log_events import REQUEST

Line = dict[str, object]
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d")
_MOST_REASONS, _MOST_HOURS = 100, 10_000  # a log of another program may have any number
_LEFT_OUT = "requests-left-out"  # failed requests of one reason in one second
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lines to keep; what is empty admits every line.

    `slow_seconds` is the least time of a request, `since` the earliest Unix time. An id is that of
    the server, the caller or the trace.
    """

    reasons: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    slow_seconds: float = 0.0
    since: float | None = None

    @property
    def only_requests(self) -> bool:
        """Return whether lines of other events are left out."""
        return bool(self.reasons or self.types or self.slow_seconds)

    def _counts(self, line: Line) -> bool:
        """Return whether a line tells of failed requests without a line, and only reasons count."""
        return bool(requests_of(line)) and not (self.types or self.slow_seconds)

    def admits(self, line: Line) -> bool:
        """Return whether to keep a line."""
        if self.since is not None and str(line.get("@timestamp", "")) < _iso(self.since):
            return False
        if self.only_requests and not is_request(line) and not self._counts(line):
            return False
        return (
            (not self.reasons or reason_of(line) in self.reasons)
            and (not self.types or text(line, "safelight.instruction_type") in self.types)
            and (not self.ids or not self.ids.isdisjoint(_ids(line)))
            and seconds_of(line) >= self.slow_seconds
        )


@dataclass(slots=True)
class Summary:
    """How many requests each hour has, by reason; `none` is success. Memory is bounded."""

    hours: dict[str, Counter[str]] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Count a line if it is that of a request, or tells how many have no line."""
        number = requests_of(line)
        if not number:
            return
        reason = _known(reason_of(line), self.reasons, _MOST_REASONS)
        hour = _known(_hour(line), self.hours, _MOST_HOURS)
        self.hours.setdefault(hour, Counter())[reason] += number
        self.reasons[reason] += number
        self.slowest_seconds = max(self.slowest_seconds, seconds_of(line))


@dataclass(slots=True)
class Reading:
    """Parses lines, and counts those that are not JSON objects."""

    rejected: int = 0

    def chosen(self, lines: Iterable[bytes], choice: Choice) -> Iterator[tuple[bytes, Line]]:
        """Yield the lines that are chosen, as they are and parsed."""
        wanted = [each.encode() for each in choice.ids]
        for raw in lines:
            if wanted and not any(each in raw for each in wanted):
                continue
            line = self._parsed(raw)
            if line is not None and choice.admits(line):
                yield raw.rstrip(b"\r\n"), line

    def _parsed(self, raw: bytes) -> Line | None:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            line = None
        if isinstance(line, dict):
            return line
        self.rejected += bool(raw.strip())
        return None


def requests_of(line: Line) -> int:
    """Return how many requests a line is about: one, or those that were left out of the log."""
    if is_request(line):
        return 1
    number = value(line, "safelight.requests")
    is_about_others = text(line, "event.action") == _LEFT_OUT and isinstance(number, int)
    return number if is_about_others and isinstance(number, int) else 0


def _known(name: str, names: Collection[str], limit: int) -> str:
    return name if name in names or len(names) < limit else _OTHER


def _hour(line: Line) -> str:
    found = _HOUR.match(str(line.get("@timestamp", "")))
    return found[0] if found else _OTHER


def is_request(line: Line) -> bool:
    """Return whether it is the line of a finished request."""
    return text(line, "event.action") == REQUEST


def reason_of(line: Line) -> str:
    """Return the reason of a failed request; `none` if it succeeded."""
    return text(line, "error.type") or NO_ERROR


def seconds_of(line: Line) -> float:
    """Return how long it took; 0 if the line does not say."""
    nanoseconds = value(line, "event.duration")
    return nanoseconds / 1e9 if isinstance(nanoseconds, int | float) else 0.0


def text(line: Line, name: str) -> str:
    """Return the text of a field; empty if there is none."""
    found = value(line, name)
    return found if isinstance(found, str) else ""


def value(line: Line, name: str) -> object:
    """Return the value of a dotted name, nested or not; None if there is none."""
    if name in line:
        return line[name]
    inner: object = line
    for part in name.split("."):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner


def _ids(line: Line) -> Iterator[str]:
    for name in ("http.request.id", "safelight.caller_request_id", "trace.id"):
        yield text(line, name)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
