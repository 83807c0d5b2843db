"""Reads the file that `--monitoring` names: who is told of alerts, of which, and when not.

Secrets are paths in it, never values, and no message repeats what a value was.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, model_validator

from safelight.errors import BadSetting
from safelight.namespace import checked
from safelight.rules.alerts import alerts
from safelight.rules.rule import Scope, Severity
from safelight.rules.thresholds import OF_MACHINES, Thresholds, default_limits
from safelight.stack.receivers import (
    Address,
    Name,
    Part,
    Receiver,
    Relayed,
    Signed,
    Webhook,
    WeCom,
    is_address,
    secret,
)

_SPAN = r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)"
_SHORTEST_SECONDS = 0.1  # Alertmanager takes no 0, and its shortest unit is 1 ms
_KINDS = "slack, webhook, email, dingtalk, feishu or wecom"
_SAID = {
    "extra_forbidden": "is not known here",
    "missing": "is missing",
    "union_tag_invalid": f"its kind is not known; write {_KINDS}",
    "union_tag_not_found": f"has no kind; write {_KINDS}",
    "too_short": "is empty",
}

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def _span(text: str) -> str:
    if not re.fullmatch(_SPAN, text):
        raise ValueError(f"{text[:20]!r} is no time; write it like 22:00-24:00")
    begin, end = text.split("-")
    if begin >= end:
        raise ValueError(f"{text} ends before it begins; write {begin}-24:00 and 00:00-{end}")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"{text[:40]!r} is no time zone; write it like Asia/Shanghai") from None
    return text


def _alerts() -> set[str]:
    return {alert.name for alert in alerts("any")}


def _shared_alerts() -> set[str]:
    """Return the alerts that are the same for every service: those of hosts and of monitoring."""
    return {alert.name for alert in alerts("any") if alert.scope is not Scope.SERVICE}


Namespace = Annotated[str, AfterValidator(checked)]
Span = Annotated[str, AfterValidator(_span)]
Zone = Annotated[str, AfterValidator(_zone)]


class Routes(Part):
    """Which receivers are told of which alerts; what goes to nobody is kept and shown."""

    critical: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    info: tuple[str, ...] = ()

    def of(self, severity: Severity) -> tuple[str, ...]:
        """Return the receivers of a severity, each once."""
        receivers: tuple[str, ...] = getattr(self, severity)
        return tuple(dict.fromkeys(receivers))


class Mute(Part):
    """Hours in which nobody is told; alerts that last beyond them are told then."""

    name: Name
    weekdays: tuple[Weekday, ...] = ()
    times: tuple[Span, ...] = ()
    zone: Zone = "UTC"
    severities: tuple[Severity, ...] = Field(("warning", "info"), min_length=1)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.weekdays or self.times):
            raise ValueError("needs weekdays, times or both, or it would mute for ever")
        return self


class Timing(Part):
    """How long alerts wait for others of their group, and when they are told again."""

    group_wait_seconds: float = Field(10, ge=0, le=3600)
    group_interval_seconds: float = Field(60, ge=_SHORTEST_SECONDS, le=86_400)
    repeat_seconds: float = Field(4 * 3600, ge=_SHORTEST_SECONDS, le=30 * 86_400)
    critical_wait_seconds: float = Field(0, ge=0, le=3600)
    critical_repeat_seconds: float = Field(3600, ge=_SHORTEST_SECONDS, le=30 * 86_400)


class Own(Part):
    """What one service has of its own."""

    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _no_machines(self) -> Self:
        said = self.thresholds.model_fields_set & OF_MACHINES
        changed = set(self.thresholds.alerts) & _shared_alerts()
        for name in sorted(said | changed):
            raise ValueError(f"{name} is the machine's: set it under [thresholds], for all")
        return self


class Monitoring(Part):
    """The whole file. Without one alerts are kept and shown, and sent nowhere."""

    receivers: dict[Name, Receiver] = Field({})
    routes: Routes = Routes()
    mute: tuple[Mute, ...] = ()
    timing: Timing = Timing()
    relay_url: Address | None = None
    runbooks_url: Address | None = None
    thresholds: Thresholds = Thresholds()
    services: dict[Namespace, Own] = Field({})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        told = {name: severity for severity, names in self.routes for name in names}
        for name in [name for name in told if name not in self.receivers]:
            raise ValueError(f"routes.{told[name]}: there is no receiver {name[:60]!r}")
        for name in [name for name in self.receivers if name not in told]:
            raise ValueError(f"receivers.{name}: is in no route and would never be told")
        names = [mute.name for mute in self.mute]
        for name in [name for name in names if names.count(name) > 1]:
            raise ValueError(f"mute: the name {name!r} is given twice")
        return self

    @model_validator(mode="after")
    def _known_alerts(self) -> Self:
        for limits in (self.thresholds, *(own.thresholds for own in self.services.values())):
            for name in limits.alerts.keys() - _alerts():
                raise ValueError(f"thresholds.alerts: there is no alert {name[:60]!r}")
        return self

    def limits(self, *namespaces: str) -> dict[str, Thresholds]:
        """Return the limits of each service: its own, else those of all, else its family's."""
        return {
            name: default_limits(name)
            .overridden_by(self.thresholds)
            .overridden_by(self.services.get(name, Own()).thresholds)
            for name in namespaces
        }

    @property
    def relayed(self) -> dict[str, Relayed]:
        """Return the receivers that the relay tells, by their names.

        A webhook with a secret address is one: Alertmanager reads such from a file only since 0.26.
        """
        found = {}
        for name, receiver in self.receivers.items():
            if isinstance(receiver, Signed):
                found[name] = Relayed(receiver.kind, receiver.url_file, receiver.secret_file)
            elif isinstance(receiver, WeCom | Webhook) and receiver.url_file:
                found[name] = Relayed(receiver.kind, receiver.url_file)
        return found


def read(file: Path | None, *, secrets_here: bool = True) -> Monitoring:
    """Return what a monitoring file says; the empty one where there is none.

    Its secrets must be on this machine, unless it is read for another. Raises BadSetting, one
    line that names the file and the keys.
    """
    if file is None:
        return Monitoring()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        made = Monitoring.model_validate(content, context={"folder": file.absolute().parent})
    except OSError as wrong:
        raise BadSetting(f"The monitoring file {file} cannot be read: {wrong.strerror}.") from None
    except ValidationError as wrong:
        raise _bad(file, *map(_explain, wrong.errors())) from None
    except ValueError as wrong:  # no TOML, or no UTF-8
        raise _bad(file, " ".join(str(wrong).split())) from None
    if missing := [*_missing(made)] if secrets_here else []:
        raise _bad(file, *missing)
    return made


def _missing(made: Monitoring) -> Iterator[str]:
    for name, receiver in made.receivers.items():
        for key, path in receiver:
            if not (key.endswith("_file") and isinstance(path, Path)):
                continue
            try:
                held = secret(path)
            except (OSError, UnicodeDecodeError):
                yield f"receivers.{name}.{key}: {path} is no file that can be read"
                continue
            if not held:
                yield f"receivers.{name}.{key}: {path} is empty"
            elif key == "url_file" and not is_address(held):
                yield f"receivers.{name}.{key}: what {path} holds is no address"


def _explain(error: Any) -> str:
    """Return one mistake as `key: what is wrong`, without the value, which may be a secret."""
    path = [part for part in error["loc"] if part != "[key]"]
    if path[:1] == ["receivers"] and len(path) > 2:
        del path[2]  # pydantic tells the kind there, which is no key
    said = _SAID.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return f"{_key(path)}: {said}" if path else said


def _key(path: list[Any]) -> str:
    """Return a path into the file as TOML writes it; strange parts in quotes, and cut."""
    parts = (str(part) for part in path)
    return ".".join(
        part if re.fullmatch(r"[\w-]{1,60}", part) else repr(part[:60]) for part in parts
    )


def _bad(file: Path, *mistakes: str) -> BadSetting:
    return BadSetting(f"The monitoring file {file} is wrong: {'; '.join(mistakes)}.")
