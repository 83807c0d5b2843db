"""The table of Safelight's events: the message of each log line, and ECS' categories of it."""

from dataclasses import dataclass
from typing import Literal

from safelight.telemetry.fields import DATASET

LOGGER = "safelight"
REQUEST = "request"
LEFT_OUT = "equal lines were left out"
LOST = "lines could not be written"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, under ECS' names. An event that neither succeeds nor fails has no outcome."""

    message: str
    category: str
    type: str
    outcome: Literal["", "success", "failure"] = ""
    name: str = ""

    @property
    def action(self) -> str:
        """Return the name of the event; by default its message with dashes."""
        return self.name or self.message.replace(" ", "-")

    def fields(self) -> dict[str, object]:
        """Return the ECS fields of the event."""
        return {
            **PLAIN,
            "event.category": [self.category],
            "event.type": [self.type],
            "event.action": self.action,
            **({"event.outcome": self.outcome} if self.outcome else {}),
        }


PLAIN: dict[str, object] = {"event.kind": "event", "event.dataset": DATASET}  # of every line

_KEYS_KEPT = "API keys not read; the earlier ones stay valid"
_CERTIFICATE_KEPT = "TLS certificate not renewed; the old one stays in use"
_REFUSED = "callers will refuse the TLS certificate"
_NOT_LOGGED, _NOT_STORED = (
    f"failed requests were not {done} one by one" for done in ("logged", "stored")
)
_OTHER_WEIGHTS = "the model's weights are not those that were enrolled"
_OTHER_SETUP = "golden outputs do not fit, the model is enrolled again"
_FORCED = "the model is broken, but no other instance is ready"
EVENTS = (
    Event(REQUEST, "web", "access"),
    Event("listening", "process", "start"),
    Event("model loaded", "process", "start", "success"),
    Event("model asleep", "process", "change", "success"),
    Event("model awake", "process", "change", "success"),
    Event("model not awake", "process", "change", "failure"),
    Event("model not loaded", "process", "start", "failure"),
    Event("worker lost", "process", "end", "failure"),
    Event("worker replaced", "process", "start"),
    Event("memory leak: the worker is replaced", "process", "end", "failure", "memory-leak"),
    Event("golden outputs enrolled", "process", "change", "success"),
    Event("golden outputs not read", "process", "info", "failure"),
    Event("golden outputs not written", "process", "info", "failure"),
    Event("canary verdict changed", "process", "change"),
    Event(_OTHER_SETUP, "process", "info", name="enrolled-again"),
    Event(_OTHER_WEIGHTS, "process", "change", name="other-weights"),
    Event("out of service: the model is broken", "process", "change", "failure", "out-of-service"),
    Event(_FORCED, "process", "change", "failure", "readiness-forced"),
    Event("back in service", "process", "change", "success"),
    Event("operator acted", "configuration", "change", "success"),
    Event("operator's action failed", "configuration", "info", "failure", "operator-refused"),
    Event("circuit open", "process", "change", "failure"),
    Event("circuit closed", "process", "change", "success"),
    Event("degradation changed", "process", "change"),
    Event("uncaught exception", "process", "info", "failure"),
    Event("uncaught exception in a thread", "process", "info", "failure"),
    Event("exception ignored", "process", "info", "failure"),
    Event("connections are at a limit", "network", "denied"),
    Event(_NOT_LOGGED, "web", "error", "failure", "requests-left-out"),
    Event(_NOT_STORED, "web", "error", "failure", "records-left-out"),
    Event(LEFT_OUT, "process", "info", name="lines-left-out"),
    Event(LOST, "process", "info", "failure", "lines-lost"),
    Event("second model is loading", "process", "start"),
    Event("second model is not usable", "process", "info", "failure"),
    Event("shadow test ended", "process", "end"),
    Event("copy failed", "process", "info", "failure"),
    Event("rollout decided", "configuration", "change"),
    Event("rollout state not written", "configuration", "info", "failure"),
    Event("rollout state not read", "configuration", "info", "failure"),
    Event("records cannot be written", "database", "error", "failure"),
    Event("records are written again", "database", "info", "success"),
    Event("records lost at shutdown", "database", "error", "failure"),
    Event("API keys read", "configuration", "change", "success"),
    Event(_KEYS_KEPT, "configuration", "info", "failure", "API-keys-not-read"),
    Event("TLS certificate renewed", "configuration", "change", "success"),
    Event(_CERTIFICATE_KEPT, "configuration", "info", "failure", "TLS-certificate-not-renewed"),
    Event(_REFUSED, "network", "info", "failure", "TLS-certificate-refused"),
    Event("instance not reached", "network", "connection", "failure"),
    Event("an instance's answer ended early", "network", "end", "failure", "answer-ended-early"),
    Event("notified", "network", "info", "success"),
    Event("not notified", "network", "info", "failure"),
    Event("no diagnosis for a notification", "network", "info", "failure", "no-diagnosis"),
)
BY_MESSAGE = {event.message: event.fields() for event in EVENTS}


def is_own(logger: str) -> bool:
    """Return whether a logger is Safelight's. Lines of others are no events of the table."""
    return logger == LOGGER or logger.startswith(f"{LOGGER}.")
