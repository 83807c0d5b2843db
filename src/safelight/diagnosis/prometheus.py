"""Asks Prometheus over its HTTP API. Whatever goes wrong there is one kind of error here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import orjson

from safelight.errors import MonitoringFailed

TIMEOUT_SECONDS = 30.0
_TOLD_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Series:
    """A series as answered: its labels, and points of (seconds since 1970, value), in order."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """Return the last value."""
        return self.points[-1][1]


class Prometheus:
    """A Prometheus, by its address; safe to ask from several threads.

    Samples that are NaN or infinite are left out, and counted.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.unusable_samples = 0
        self.asked = 0
        self._counting = Lock()
        self._timeout_seconds = timeout_seconds
        self._client = httpx.Client(timeout=timeout_seconds, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def instant(self, query: str, at: float) -> list[Series]:
        """Return what an expression is at a time. Raises MonitoringFailed."""
        data = self._ask("query", {"query": query, "time": f"{at:.3f}"})
        return self._series(data, "vector", "value")

    def curve(self, query: str, begin: float, end: float, step_seconds: float) -> list[Series]:
        """Return what an expression was from `begin` to `end`. Raises MonitoringFailed."""
        times = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:g}"}
        return self._series(self._ask("query_range", {"query": query, **times}), "matrix", "values")

    def shown(self, match: str, begin: float, end: float) -> list[dict[str, str]]:
        """Return the labels of each series that a selector finds in a span of time.

        Raises MonitoringFailed.
        """
        asked = {"match[]": match, "start": f"{begin:.3f}", "end": f"{end:.3f}"}
        data = self._ask("series", asked)
        if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
            raise self._failed("its answer is not that of Prometheus' API")
        return data

    def now(self) -> float:
        """Return the time by Prometheus' clock, to the second. Raises MonitoringFailed.

        Its samples carry its time: by ours, of a machine whose clock is wrong, they would lie in
        the future or be too old to be seen.
        """
        answer = self._send("status/buildinfo", {}, method="GET")
        try:
            return parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError):
            raise self._failed("it does not say what time it is") from None

    def link(self, query: str, at: float) -> str:
        """Return the address of a page that draws an expression up to a time."""
        moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        fields = {"g0.expr": query, "g0.tab": 0, "g0.range_input": "3h", "g0.end_input": moment}
        return f"{self.url}/graph?{urlencode(fields)}"

    def _ask(self, path: str, fields: Mapping[str, str]) -> Any:
        answer = self._send(path, fields)
        try:
            content = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise self._failed("its answer is not that of Prometheus' API") from None
        if not isinstance(content, dict) or content.get("status") != "success":
            told = content.get("error", "no reason given") if isinstance(content, dict) else ""
            raise self._failed(f"it answered {answer.status_code}: {str(told)[:_TOLD_CHARACTERS]}")
        return content.get("data")

    def _send(self, path: str, fields: Mapping[str, str], method: str = "POST") -> httpx.Response:
        with self._counting:
            self.asked += 1
        try:
            return self._client.request(method, f"{self.url}/api/v1/{path}", data=fields or None)
        except httpx.TimeoutException:
            raise self._failed(
                f"it did not answer within {self._timeout_seconds:g} s; try a shorter time, or "
                "look at its load"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            raise self._failed(" ".join(str(wrong).split()) or type(wrong).__name__) from None

    def _series(self, data: Any, kind: str, field: str) -> list[Series]:
        try:
            if data["resultType"] != kind:
                raise self._failed(f"it answered with {data['resultType']!s:.40}, not a {kind}")
            rows = [(row["metric"], row[field]) for row in data["result"]]
            found = [
                Series(labels, self._points([told] if kind == "vector" else told))
                for labels, told in rows
            ]
        except (KeyError, TypeError, ValueError):
            raise self._failed("its answer is not that of Prometheus' API") from None
        return [series for series in found if series.points]

    def _points(self, told: Sequence[Any]) -> tuple[tuple[float, float], ...]:
        points = tuple((float(at), float(value)) for at, value in told)
        good = tuple(point for point in points if math.isfinite(point[1]))
        with self._counting:
            self.unusable_samples += len(points) - len(good)
        return good

    def _failed(self, reason: str) -> MonitoringFailed:
        return MonitoringFailed(
            f"Prometheus at {self.url} cannot be asked: {reason.rstrip('.')}. "
            "Name another with --prometheus, or start it: safelight up."
        )
