"""Client of Alertmanager's API, version 2. Every failure becomes MonitoringFailed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from safelight.diagnosis.prometheus import cause_of
from safelight.errors import InvalidParameter, MonitoringFailed

_TIMEOUT_SECONDS = 5.0
_NOT_FOUND = 404
_SAID_CHARACTERS = 200
_GONE = "silence not found"


class _Row(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class _Name(_Row):
    name: str


class _Matcher(_Row):
    name: str
    value: str


class _AlertStatus(_Row):
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]


class Routed(_Row):
    """An alert as Alertmanager has it: who is notified, and what keeps it quiet."""

    labels: dict[str, str]
    receivers: tuple[_Name, ...]
    status: _AlertStatus


class _SilenceStatus(_Row):
    state: str


class Silence(_Row):
    """A silence: which alerts it keeps quiet, until when (RFC 3339), why, and who made it."""

    id: str
    matchers: tuple[_Matcher, ...]
    status: _SilenceStatus
    starts_at: str
    ends_at: str
    created_by: str
    comment: str


class _Made(_Row):
    silence_id: str

    model_config = ConfigDict(alias_generator=lambda _: "silenceID", frozen=True)


_ALERTS: Final = TypeAdapter(list[Routed])
_SILENCES: Final = TypeAdapter(list[Silence])


class Alertmanager:
    """An Alertmanager. Several threads may use one client."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, transport=transport, trust_env=False)

    def alerts(self) -> list[Routed]:
        """Return the alerts that fire. Raises MonitoringFailed."""
        try:
            return _ALERTS.validate_json(self._send("GET", "alerts").content)
        except ValidationError:
            raise self._unreadable() from None

    def silences(self) -> list[Silence]:
        """Return the silences that hold or will, the latest end first. Raises MonitoringFailed."""
        try:
            found = _SILENCES.validate_json(self._send("GET", "silences").content)
        except ValidationError:
            raise self._unreadable() from None
        lasting = [silence for silence in found if silence.status.state != "expired"]
        return sorted(lasting, key=lambda silence: silence.ends_at, reverse=True)

    def silence(self, labels: Mapping[str, str], hours: float, by: str, reason: str) -> str:
        """Keep the alerts with these labels quiet from now on, and return the silence's id.

        Raises InvalidParameter, MonitoringFailed.
        """
        now = datetime.now(UTC)
        content = {
            "matchers": [{"name": n, "value": v, "isRegex": False} for n, v in labels.items()],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=hours)).isoformat(),
            "createdBy": by,
            "comment": reason,
        }
        try:
            return _Made.model_validate_json(
                self._send("POST", "silences", content).content
            ).silence_id
        except ValidationError:
            raise self._unreadable() from None

    def end(self, silence_id: str) -> None:
        """End a silence. Raises InvalidParameter if there is none, MonitoringFailed."""
        self._send("DELETE", f"silence/{silence_id}")

    def notify(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        """Send an alert that ends after a minute. Raises InvalidParameter, MonitoringFailed."""
        now = datetime.now(UTC)
        alert = {
            "labels": labels,
            "annotations": annotations,
            "startsAt": now.isoformat(),  # else it would start at its end
            "endsAt": (now + timedelta(minutes=1)).isoformat(),
        }
        self._send("POST", "alerts", [alert])

    def _send(self, method: str, path: str, content: object = None) -> httpx.Response:
        try:
            answer = self._client.request(method, f"{self.url}/api/v2/{path}", json=content)
        except httpx.HTTPError as error:
            raise self._failed(cause_of(error)) from None
        # Release 0.25 answers 500 if there is no such silence, later ones 404.
        if method == "DELETE" and (answer.status_code == _NOT_FOUND or _GONE in answer.text):
            raise InvalidParameter("This silence has ended, or Alertmanager has lost it.")
        if answer.is_client_error and content is not None:
            raise InvalidParameter(f"Alertmanager refused it: {answer.text[:_SAID_CHARACTERS]}")
        if not answer.is_success:
            raise self._failed(f"it answered {answer.status_code}")
        return answer

    def _unreadable(self) -> MonitoringFailed:
        return self._failed("its response does not match Alertmanager's API")

    def _failed(self, why: str) -> MonitoringFailed:
        return MonitoringFailed(f"Alertmanager at {self.url} cannot be asked: {why}.")
