"""Turn a webhook of Alertmanager or Grafana into a text for a group chat, without @mentions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from safelight.errors import MalformedBody
from safelight.rules.leads import RANGE
from safelight.translation import Language, translate

_REST_BYTES = 40  # reserved for the line with the number of omitted alerts
_SHORT, _LONG = 120, 300  # characters; with 4 bytes each, one alert fits into WeCom's limit
_ACTION, _URL = 200, 300
_BEFORE = timedelta(minutes=30)  # of an alert, on its dashboard
_AFTER = timedelta(minutes=15)
# Characters that start a mention, a link, an image or a tag, and similar harmless ones.
_HARMLESS = str.maketrans(
    {"<": "‹", ">": "›", "@": "＠", "[": "［", "]": "］", "*": "∗", "`": "´", "\\": "⧵"}  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class AlertText:
    """One alert, as text that is safe to show."""

    summary: str
    description: str
    action: str
    dashboard: str
    runbook: str
    resolved: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification about a group of alerts; Alertmanager omitted `left_out` more alerts."""

    title: str
    firing: bool
    alerts: tuple[AlertText, ...]
    left_out: int
    raw: bytes
    job: str = ""  # of all its alerts, if they have one in common
    finding: str = ""  # the first finding of the diagnosis
    language: Language = "en"

    def text(self, max_bytes: int, bold: str = "**") -> str:
        """Return as many alerts as fit into `max_bytes` of JSON, and the number of the others."""
        diagnosis = f"{bold}{translate('Diagnosis', self.language)}:{bold}"
        blocks = [f"{diagnosis} {self.finding}  \n"] if self.finding else []
        free_bytes = max_bytes - _REST_BYTES - sum(map(bytes_in_json, blocks))
        alerts_at = len(blocks)
        for alert in self.alerts:
            block = _block(alert, bold, self.language)
            free_bytes -= bytes_in_json(block + "\n")
            if free_bytes < 0:
                break
            blocks.append(block)
        rest = len(self.alerts) - (len(blocks) - alerts_at) + self.left_out
        more = [translate(f"… and {rest} more", self.language)] if rest else []
        return "\n".join([*blocks, *more])


def _without_nulls(texts: object) -> object:
    """Return a mapping without its values of null; for null itself an empty one."""
    if not isinstance(texts, dict):
        return texts or {}
    return {name: text for name, text in texts.items() if text is not None}


_Texts = Annotated[dict[str, str], BeforeValidator(_without_nulls)]
_Status = Literal["firing", "resolved"]
_URGENT = ("critical", "warning", "info")
_MOST_NAMES = 3  # in a title
_NEVER = "0001"  # the year of a time that is not set


class _Alert(BaseModel):
    status: _Status | None = None
    labels: _Texts = {}
    annotations: _Texts = {}
    starts_at: str | None = Field(None, validation_alias="startsAt")
    ends_at: str | None = Field(None, validation_alias="endsAt")

    @property
    def resolved(self) -> bool:
        """Return True if the alert has ended: by its status, else by the time of its end."""
        if self.status is not None:
            return self.status == "resolved"
        return bool(self.ends_at) and not str(self.ends_at).startswith(_NEVER)

    @property
    def urgency(self) -> int:
        """Return the place of its severity: 0 is the most urgent."""
        severity = self.labels.get("severity", "")
        return _URGENT.index(severity) if severity in _URGENT else len(_URGENT)


class _Body(BaseModel):
    """The webhook body of Alertmanager (version 4) or Grafana (1): the fields that are shown."""

    version: Literal["4", "1"]
    status: _Status | None = None
    common: _Texts = Field({}, validation_alias="commonLabels")
    left_out: Annotated[int, BeforeValidator(lambda number: number or 0)] = Field(
        0, ge=0, validation_alias="truncatedAlerts"
    )
    alerts: tuple[_Alert, ...]

    @property
    def firing(self) -> bool:
        """Return True if an alert is firing, unless the body says otherwise."""
        if self.status is not None:
            return self.status == "firing"
        return not all(alert.resolved for alert in self.alerts)


def parse(body: bytes, language: Language = "en") -> Notice:
    """Return the notification in a webhook's body, in a language. Raises MalformedBody."""
    try:
        content = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = sanitize(".".join(map(str, first["loc"])), 60)
        raise MalformedBody(
            "This is not a webhook body of Alertmanager (version 4) or Grafana (version 1): "
            f"{place or 'all'}: {first['msg']}."
        ) from None
    name, job = (content.common.get(label, "") for label in ("alertname", "job"))
    name = name or _names(content.alerts) or translate("Alerts", language)
    subject = f"{name} ({job})" if job else name
    return Notice(
        title=f"[{_state(content, language)}] {sanitize(subject, _SHORT)}",
        firing=content.firing,
        alerts=tuple(_alert_text(alert, language) for alert in content.alerts),
        left_out=content.left_out,
        raw=body,
        job=job,
        language=language,
    )


def _state(content: _Body, language: Language) -> str:
    """Return whether alerts fire, with the most urgent severity."""
    if not content.firing:
        return translate("RESOLVED", language)
    severity = min((alert.urgency for alert in content.alerts), default=len(_URGENT))
    words = (translate(word, language) for word in _URGENT[severity : severity + 1])
    return " ".join((translate("FIRING", language), *words))


def _names(alerts: Sequence[_Alert]) -> str:
    """Return the names of a group's alerts, the most urgent first, and the number of the others."""
    urgency: dict[str, int] = {}
    for alert in alerts:
        name = alert.labels.get("alertname", "")
        urgency[name] = min(alert.urgency, urgency.get(name, alert.urgency))
    names = sorted(urgency.keys() - {""}, key=lambda name: (urgency[name], name))
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" +{rest}" if rest > 0 else "")


def with_finding(notice: Notice, finding: str) -> Notice:
    """Return the notice with the first finding of a diagnosis, made safe to show."""
    return replace(notice, finding=sanitize(finding, _LONG))


def sanitize(text: str, max_length: int) -> str:
    """Return a text in one line, shortened, without characters that have a meaning in chats."""
    printable = "".join(
        letter if letter.isprintable() else " " for letter in text[: 4 * max_length]
    )
    line = " ".join(printable.split()).translate(_HARMLESS)
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def bytes_in_json(text: str) -> int:
    """Return the size of a text in a JSON body: quotes and line breaks become two bytes."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _alert_text(alert: _Alert, language: Language) -> AlertText:
    notes = alert.annotations
    summary = sanitize(notes.get("summary", ""), _SHORT)
    name = sanitize(alert.labels.get("alertname", ""), _SHORT)
    return AlertText(
        summary=summary or name or translate("an alert", language),
        description=sanitize(notes.get("description", ""), _LONG),
        action=sanitize(notes.get("action", ""), _ACTION),
        dashboard=sanitize(_dashboard(alert), _URL),
        runbook=sanitize(notes.get("runbook_url", ""), _URL),
        resolved=alert.resolved,
    )


def _dashboard(alert: _Alert) -> str:
    """Return the address of the alert's dashboard, with the time of the alert."""
    address = alert.annotations.get("dashboard_url", "")
    started, ended = _time(alert.starts_at), _time(alert.ends_at)
    if started is None:
        return address
    try:
        to = f"{_milliseconds(ended + _AFTER)}" if alert.resolved and ended else "now"
        return address.replace(RANGE, f"from={_milliseconds(started - _BEFORE)}&to={to}")
    except OverflowError:  # the year 1 or 9999
        return address


def _time(text: str | None) -> datetime | None:
    """Return a time of Alertmanager or Grafana, or None if there is none."""
    if not text or text.startswith(_NEVER):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _block(alert: AlertText, bold: str, language: Language) -> str:
    state = f"{translate('resolved', language)}: " if alert.resolved else ""
    dashboard = {translate("Dashboard", language): alert.dashboard}
    shown = {
        translate("Do", language): alert.action,
        **dashboard,
        translate("Runbook", language): alert.runbook,
    }
    shown = dashboard if alert.resolved else shown
    details = [alert.description, *(f"{name}: {text}" for name, text in shown.items() if text)]
    lines = [f"{bold}{state}{alert.summary}{bold}", *(line for line in details if line)]
    return "  \n".join(lines) + "\n"  # two spaces are a line break in markdown
