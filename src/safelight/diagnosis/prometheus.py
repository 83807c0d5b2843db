"""Client of Prometheus' HTTP API. Every failure becomes MonitoringFailed."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import orjson

from safelight.errors import MonitoringAbsent, MonitoringFailed

TIMEOUT_SECONDS = 30.0
_MOST_CHARACTERS = 200
_NO_LIFECYCLE = (403, 405)
_NOT_READY = (502, 503, 504)  # it starts, or a proxy does not reach it
_ERRNO = re.compile(r"\[Errno -?\d+\] ")


def cause_of(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """Return why a request got no answer, in one line and without the system's number."""
    return _ERRNO.sub("", " ".join(str(error).split())) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Series:
    """A series: its labels, and points of (seconds since 1970, value) in order of time."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """Return the last value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One event of a series: its ids, its value, and its time in seconds since 1970."""

    labels: Mapping[str, str]
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that is `firing` or `pending`, since a time of Prometheus' clock (RFC 3339)."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    since: str


class Prometheus:
    """A Prometheus server. Several threads may use one client.

    Drops samples that are NaN or infinite, and counts them in `unusable_samples`.
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
        self.requests = 0
        self._lock = Lock()
        self._timeout_seconds = timeout_seconds
        self._client = httpx.Client(timeout=timeout_seconds, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def instant(self, query: str, at: float) -> list[Series]:
        """Return the value of an expression at a time. Raises MonitoringFailed."""
        data = self._asked("query", {"query": query, "time": f"{at:.3f}"})
        return self._parse(data, "vector", "value")

    def curve(self, query: str, begin: float, end: float, step_seconds: float) -> list[Series]:
        """Return the values of an expression from `begin` to `end`. Raises MonitoringFailed."""
        times = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:g}"}
        return self._parse(
            self._asked("query_range", {"query": query, **times}), "matrix", "values"
        )

    def series(self, match: str, begin: float, end: float) -> list[dict[str, str]]:
        """Return the labels of each series that matches a selector between two times.

        Raises MonitoringFailed.
        """
        fields = {"match[]": match, "start": f"{begin:.3f}", "end": f"{end:.3f}"}
        data = self._asked("series", fields)
        if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
            raise self._failed("its response does not match Prometheus' API")
        return data

    def exemplars(self, query: str, begin: float, end: float) -> list[Exemplar]:
        """Return the exemplars of the series in an expression; none without exemplar storage.

        Raises MonitoringFailed.
        """
        fields = {"query": query, "start": f"{begin:.3f}", "end": f"{end:.3f}"}
        data = self._asked("query_exemplars", fields)
        try:
            found = [
                Exemplar(each["labels"], float(each["value"]), float(each["timestamp"]))
                for series in data or ()
                for each in series["exemplars"]
            ]
        except (KeyError, TypeError, ValueError):
            raise self._failed("its response does not match Prometheus' API") from None
        return [each for each in found if math.isfinite(each.value)]

    def alerts(self) -> list[ActiveAlert]:
        """Return the alerts that are active now. Raises MonitoringFailed."""
        data = self._asked("alerts", {}, method="GET")
        try:
            return [
                ActiveAlert(row["labels"], row["annotations"], row["state"], row["activeAt"])
                for row in data["alerts"]
            ]
        except (KeyError, TypeError):
            raise self._failed("its response does not match Prometheus' API") from None

    def now(self) -> float:
        """Return the time of Prometheus' clock, to the second. Raises MonitoringFailed.

        Samples have that time. If this machine's clock is wrong, its time would find no samples.
        """
        response = self._send("status/buildinfo", {}, method="GET")
        try:
            return parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            raise self._failed("its response has no valid date header") from None

    def reload(self) -> None:
        """Make it read its configuration and rules again. Raises MonitoringFailed."""
        try:
            response = self._client.post(f"{self.url}/-/reload")
        except httpx.HTTPError as error:
            raise self._failed(cause_of(error)) from None
        if response.status_code in _NO_LIFECYCLE:
            raise MonitoringFailed(
                f"Prometheus at {self.url} may not be reloaded by others: start it with "
                "--web.enable-lifecycle, or send its process SIGHUP."
            )
        if not response.is_success:
            text = response.text[:_MOST_CHARACTERS].strip()
            raise self._failed(f"it did not reload: {text}")

    def configured(self) -> tuple[str, bool]:
        """Return when it read its configuration last, and whether the last attempt succeeded.

        Raises MonitoringFailed.
        """
        info = self._asked("status/runtimeinfo", {}, method="GET")
        try:
            return str(info["lastConfigTime"]), bool(info["reloadConfigSuccess"])
        except (KeyError, TypeError):
            raise self._failed("its response does not match Prometheus' API") from None

    def link(self, query: str, at: float) -> str:
        """Return the URL of a Prometheus page that graphs an expression up to a time."""
        moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        fields = {"g0.expr": query, "g0.tab": 0, "g0.range_input": "3h", "g0.end_input": moment}
        return f"{self.url}/graph?{urlencode(fields)}"

    def _asked(self, path: str, fields: Mapping[str, str], method: str = "POST") -> Any:
        response = self._send(path, fields, method)
        try:
            content = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise self._failed("its response does not match Prometheus' API") from None
        if not isinstance(content, dict) or content.get("status") != "success":
            error = content.get("error", "no reason given") if isinstance(content, dict) else ""
            text = str(error)[:_MOST_CHARACTERS]
            raise self._failed(f"it returned status {response.status_code}: {text}")
        return content.get("data")

    def _send(self, path: str, fields: Mapping[str, str], method: str = "POST") -> httpx.Response:
        with self._lock:
            self.requests += 1
        try:
            response = self._client.request(
                method, f"{self.url}/api/v1/{path}", data=fields or None
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._absent(" ".join(str(error).split()) or type(error).__name__) from None
        except httpx.TimeoutException:
            raise self._failed(
                f"it did not respond within {self._timeout_seconds:g} s; use a shorter time range, "
                "or check its load"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failed(cause_of(error)) from None
        if response.status_code in _NOT_READY and not _is_json(response):
            raise self._absent(f"it returned status {response.status_code}")
        return response

    def _parse(self, data: Any, kind: str, field: str) -> list[Series]:
        try:
            if data["resultType"] != kind:
                raise self._failed(f"it returned a {data['resultType']!s:.40}, not a {kind}")
            rows = [(row["metric"], row[field]) for row in data["result"]]
            series = [
                Series(labels, self._points([samples] if kind == "vector" else samples))
                for labels, samples in rows
            ]
        except (KeyError, TypeError, ValueError):
            raise self._failed("its response does not match Prometheus' API") from None
        return [each for each in series if each.points]

    def _points(self, samples: Sequence[Any]) -> tuple[tuple[float, float], ...]:
        points = tuple((float(at), float(value)) for at, value in samples)
        finite = tuple(point for point in points if math.isfinite(point[1]))
        with self._lock:
            self.unusable_samples += len(points) - len(finite)
        return finite

    def _failed(self, reason: str) -> MonitoringFailed:
        return MonitoringFailed(self._says(reason))

    def _absent(self, reason: str) -> MonitoringAbsent:
        address = str(httpx.URL(self.url).copy_with(userinfo=b"")).rstrip("/")
        return MonitoringAbsent(self._says(reason), address)

    def _says(self, reason: str) -> str:
        return (
            f"Prometheus at {self.url} cannot be queried: {reason.rstrip('.')}. "
            "Use --prometheus for another address, or start it with safelight up."
        )


def _is_json(response: httpx.Response) -> bool:
    return "application/json" in str(response.headers.get("content-type", ""))
