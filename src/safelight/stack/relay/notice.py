"""Turn Alertmanager's webhook body into short text for a group chat, without @mentions."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from safelight.errors import MalformedBody

_REST_BYTES = 40  # reserved for the line with the number of omitted alerts
_SHORT, _LONG = 120, 300  # characters; with 4 bytes each, one alert fits into WeCom's limit
# Characters that start a mention, a link, an image or a tag, and similar harmless ones.
_HARMLESS = str.maketrans(
    {"<": "‹", ">": "›", "@": "＠", "[": "［", "]": "］", "*": "∗", "`": "´", "\\": "⧵"}  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class AlertText:
    """One alert, as text that is safe to show."""

    summary: str
    description: str
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

    def text(self, max_bytes: int, bold: str = "**") -> str:
        """Return as many alerts as fit into `max_bytes`, and the number of the others."""
        blocks: list[str] = []
        free_bytes = max_bytes - _REST_BYTES
        for alert in self.alerts:
            block = _block(alert, bold)
            free_bytes -= len(block.encode()) + 1
            if free_bytes < 0:
                break
            blocks.append(block)
        rest = len(self.alerts) - len(blocks) + self.left_out
        return "\n".join([*blocks, *([f"… and {rest} more"] if rest else [])])


class _Alert(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Body(BaseModel):
    """Alertmanager's webhook body, version 4, without the fields that the relay does not need."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    common: dict[str, str] = Field({}, validation_alias="commonLabels")
    left_out: int = Field(0, ge=0, validation_alias="truncatedAlerts")
    alerts: tuple[_Alert, ...] = Field(min_length=1)


def parse(body: bytes) -> Notice:
    """Return the notification in a webhook's body. Raises MalformedBody."""
    try:
        content = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = sanitize(".".join(map(str, first["loc"])), 60)
        raise MalformedBody(
            "This is not a webhook body of Alertmanager, version 4: "
            f"{place or 'all'}: {first['msg']}."
        ) from None
    name, job = (content.common.get(label, "") for label in ("alertname", "job"))
    subject = f"{name or 'Alerts'} ({job})" if job else name or "Alerts"
    return Notice(
        title=f"[{content.status.upper()}] {sanitize(subject, _SHORT)}",
        firing=content.status == "firing",
        alerts=tuple(_alert_text(alert) for alert in content.alerts),
        left_out=content.left_out,
        raw=body,
    )


def sanitize(text: str, max_length: int) -> str:
    """Return a text in one line, shortened, without characters that have a meaning in chats."""
    printable = "".join(
        letter if letter.isprintable() else " " for letter in text[: 4 * max_length]
    )
    line = " ".join(printable.split()).translate(_HARMLESS)
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _alert_text(alert: _Alert) -> AlertText:
    notes = alert.annotations
    summary = notes.get("summary") or alert.labels.get("alertname") or "an alert"
    return AlertText(
        summary=sanitize(summary, _SHORT),
        description=sanitize(notes.get("description", ""), _LONG),
        runbook=sanitize(notes.get("runbook_url", ""), _SHORT),
        resolved=alert.status == "resolved",
    )


def _block(alert: AlertText, bold: str) -> str:
    state = "resolved: " if alert.resolved else ""
    details = [alert.description, f"Runbook: {alert.runbook}" if alert.runbook else ""]
    lines = [f"{bold}{state}{alert.summary}{bold}", *(line for line in details if line)]
    return "  \n".join(lines) + "\n"  # two spaces are a line break in markdown
