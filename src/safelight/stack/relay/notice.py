"""What Alertmanager tells, as words for a group chat: bounded, and unable to call anybody.

Pure: JSON goes in, text comes out. What becomes of the text is the robots' business.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from safelight.errors import MalformedBody

_MORE_BYTES = 40  # kept free for the line that says how many are left out
_SHORT, _LONG = 120, 300  # characters; at 4 bytes each one alert still fits the smallest message
# What opens a mention, a link, an image or a tag somewhere, as its look-alike.
_TAMED = str.maketrans(
    {"<": "‹", ">": "›", "@": "＠", "[": "［", "]": "］", "*": "∗", "`": "´", "\\": "⧵"}  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class Said:
    """One alert, in words that are safe to show."""

    summary: str
    description: str
    runbook: str
    resolved: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification of a group of alerts; `left_out` more are in none of them."""

    title: str
    firing: bool
    alerts: tuple[Said, ...]
    left_out: int
    raw: bytes

    def text(self, most_bytes: int, bold: str = "**") -> str:
        """Return the alerts as text of at most so many bytes; those left out are counted."""
        kept: list[str] = []
        room = most_bytes - _MORE_BYTES
        for alert in self.alerts:
            written = _written(alert, bold)
            room -= len(written.encode()) + 1
            if room < 0:
                break
            kept.append(written)
        left = len(self.alerts) - len(kept) + self.left_out
        return "\n".join([*kept, *([f"… and {left} more"] if left else [])])


class _Alert(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Told(BaseModel):
    """Alertmanager's webhook body, version 4; what we do not need is passed over."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    common: dict[str, str] = Field({}, validation_alias="commonLabels")
    left_out: int = Field(0, ge=0, validation_alias="truncatedAlerts")
    alerts: tuple[_Alert, ...] = Field(min_length=1)


def parse(body: bytes) -> Notice:
    """Return the notification in a webhook's body. Raises MalformedBody, saying what is wrong."""
    try:
        told = _Told.model_validate_json(body)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        place = tame(".".join(map(str, first["loc"])), 60)
        raise MalformedBody(
            f"This is no webhook body of Alertmanager, version 4: {place or 'all'}: {first['msg']}."
        ) from None
    name, job = (told.common.get(label, "") for label in ("alertname", "job"))
    about = f"{name or 'Alerts'} ({job})" if job else name or "Alerts"
    return Notice(
        title=f"[{told.status.upper()}] {tame(about, _SHORT)}",
        firing=told.status == "firing",
        alerts=tuple(_said(alert) for alert in told.alerts),
        left_out=told.left_out,
        raw=body,
    )


def tame(text: str, most: int) -> str:
    """Return a text on one line, cut, without anything that a chat would act upon."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    line = " ".join(shown.split()).translate(_TAMED)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _said(alert: _Alert) -> Said:
    told = alert.annotations
    return Said(
        summary=tame(told.get("summary") or alert.labels.get("alertname") or "an alert", _SHORT),
        description=tame(told.get("description", ""), _LONG),
        runbook=tame(told.get("runbook_url", ""), _SHORT),
        resolved=alert.status == "resolved",
    )


def _written(alert: Said, bold: str) -> str:
    over = "resolved: " if alert.resolved else ""
    more = [alert.description, f"Runbook: {alert.runbook}" if alert.runbook else ""]
    # Two spaces end a line where markdown would join it with the next.
    return (
        "  \n".join([f"{bold}{over}{alert.summary}{bold}", *(line for line in more if line)]) + "\n"
    )
