"""Read the file of `--monitoring`: receivers, routes, mute hours, thresholds, stores, language.

Secrets are paths in it, never values. No error message repeats a value that may be a secret.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from safelight.errors import BadSetting
from safelight.namespace import checked
from safelight.renamed import find
from safelight.rules.alerts import alerts
from safelight.rules.files import RUNBOOKS, Links
from safelight.rules.replaced import advice
from safelight.rules.rule import Scope, Severity
from safelight.rules.thresholds import OF_MACHINES, Thresholds, contradictions, default_limits
from safelight.stack.receivers import (
    Address,
    Name,
    Part,
    Receiver,
    Relayed,
    RemoteWrite,
    Signed,
    Webhook,
    WeCom,
    is_address,
    secret,
)
from safelight.translation import Language

_SPAN = r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)"
_MIN_SECONDS = 0.1  # Alertmanager rejects 0, and its shortest unit is 1 ms
_KINDS = "slack, webhook, email, dingtalk, feishu or wecom"
_ERROR_TEXTS = {
    "extra_forbidden": "is an unknown key",
    "missing": "is missing",
    "union_tag_invalid": f"has an unknown kind; write {_KINDS}",
    "union_tag_not_found": f"has no kind; write {_KINDS}",
    "too_short": "is empty",
}

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def _span(text: str) -> str:
    if not re.fullmatch(_SPAN, text):
        raise ValueError(f"{text[:20]!r} is not a time span; write it like 22:00-24:00")
    begin, end = text.split("-")
    if begin >= end:
        raise ValueError(f"{text} ends before it begins; write {begin}-24:00 and 00:00-{end}")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"{text[:40]!r} is not a time zone; write it like Asia/Shanghai") from None
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
    """The receivers of each severity. Alertmanager shows alerts without a receiver."""

    critical: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    info: tuple[str, ...] = ()
    watchdog: tuple[str, ...] = ()  # a service that reports when its messages stop

    def of(self, severity: Severity) -> tuple[str, ...]:
        """Return the receivers of a severity without duplicates."""
        receivers: tuple[str, ...] = getattr(self, severity)
        return tuple(dict.fromkeys(receivers))


class Mute(Part):
    """Hours without notifications. Alerts that last longer are sent afterwards."""

    name: Name
    weekdays: tuple[Weekday, ...] = ()
    times: tuple[Span, ...] = ()
    zone: Zone = "UTC"
    severities: tuple[Severity, ...] = Field(("warning", "info"), min_length=1)

    @model_validator(mode="after")
    def _require_hours(self) -> Self:
        if not (self.weekdays or self.times):
            raise ValueError("needs weekdays, times or both; without them it would always mute")
        return self


class Timing(Part):
    """How long alerts wait for others of their group, and when they are sent again."""

    group_wait_seconds: float = Field(10, ge=0, le=3600)
    group_interval_seconds: float = Field(60, ge=_MIN_SECONDS, le=86_400)
    repeat_seconds: float = Field(4 * 3600, ge=_MIN_SECONDS, le=30 * 86_400)
    critical_wait_seconds: float = Field(0, ge=0, le=3600)
    critical_repeat_seconds: float = Field(3600, ge=_MIN_SECONDS, le=30 * 86_400)


class Service(Part):
    """The settings of one service."""

    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _refuse_machine_limits(self) -> Self:
        limits = self.thresholds.model_fields_set & OF_MACHINES
        changed = set(self.thresholds.alerts) & _shared_alerts()
        for name in sorted(limits | changed):
            raise ValueError(f"{name} applies to the machine: set it under [thresholds]")
        return self


class Monitoring(Part):
    """The whole monitoring file. Without one, alerts are shown and not sent."""

    receivers: dict[Name, Receiver] = Field({})
    routes: Routes = Routes()
    mute: tuple[Mute, ...] = ()
    timing: Timing = Timing()
    language: Language = "en"
    relay_url: Address | None = None
    runbooks_url: Address | None = None
    grafana_url: Address | None = None
    prometheus_url: Address | None = None
    alertmanager_url: Address | None = None
    thresholds: Thresholds = Thresholds()
    services: dict[Namespace, Service] = Field({})
    remote_write: tuple[RemoteWrite, ...] = ()

    @property
    def with_secrets(self) -> dict[str, Part]:
        """Return what can name files with secrets, by its place in the file."""
        receivers = {f"receivers.{name}": each for name, each in self.receivers.items()}
        stores = {f"remote_write.{place}": each for place, each in enumerate(self.remote_write)}
        return {**receivers, **stores}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        routed = {name: severity for severity, names in self.routes for name in names}
        for name in [name for name in routed if name not in self.receivers]:
            raise ValueError(f"routes.{routed[name]}: there is no receiver {name[:60]!r}")
        for name in [name for name in self.receivers if name not in routed]:
            raise ValueError(f"receivers.{name}: is in no route, so it would never get an alert")
        mutes = [mute.name for mute in self.mute]
        for name in [name for name in mutes if mutes.count(name) > 1]:
            raise ValueError(f"mute: two mutes have the name {name!r}")
        return self

    @model_validator(mode="after")
    def _check_alerts(self) -> Self:
        own = (service.thresholds for service in self.services.values())
        for limits in (self.thresholds, *own):
            for name in limits.alerts.keys() - _alerts():
                raise ValueError(f"thresholds.alerts: {advice(name, _alerts())}")
        return self

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        for name, limits in self.limits("", *self.services).items():
            for text in contradictions(limits):
                table = f"services.{name}.thresholds" if name else "thresholds"
                raise ValueError(f"{table}: {text}")
        return self

    def limits(self, *namespaces: str) -> dict[str, Thresholds]:
        """Return the thresholds of each service.

        A service's own thresholds override those of all services, which override its family's.
        """
        return {
            name: default_limits(name)
            .overridden_by(self.thresholds)
            .overridden_by(self.services.get(name, Service()).thresholds)
            for name in namespaces
        }

    def links(self, grafana: str = "", runbooks: str = RUNBOOKS) -> Links:
        """Return the addresses in alerts; the arguments are those of what runs here."""
        return Links(self.runbooks_url or runbooks, self.grafana_url or grafana, self.language)

    @property
    def relayed(self) -> dict[str, Relayed]:
        """Return the receivers that need the relay, by name.

        A webhook with a secret address needs it too: Alertmanager before 0.26 cannot read such an
        address from a file.
        """
        relayed = {}
        for name, receiver in self.receivers.items():
            if isinstance(receiver, Signed):
                relayed[name] = Relayed(receiver.kind, receiver.url_file, receiver.secret_file)
            elif isinstance(receiver, WeCom | Webhook) and receiver.url_file:
                relayed[name] = Relayed(receiver.kind, receiver.url_file)
        return relayed


def read(file: Path | None, *, secrets_here: bool = True) -> Monitoring:
    """Return the content of a monitoring file, or an empty Monitoring for None.

    With `secrets_here` the files of its secrets must be on this machine. Raises BadSetting with
    one line that names the file and the keys.
    """
    if file is None:
        return Monitoring()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        monitoring = Monitoring.model_validate(content, context={"folder": file.absolute().parent})
    except OSError as error:
        raise BadSetting(f"The monitoring file {file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise _bad_file(file, *map(_explain, error.errors())) from None
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8, or nested too deeply
        raise _bad_file(file, " ".join(str(error).split())) from None
    if secrets_here and (mistakes := [*_bad_secrets(monitoring)]):
        raise _bad_file(file, *mistakes)
    return monitoring


def _bad_secrets(monitoring: Monitoring) -> Iterator[str]:
    for name, part in monitoring.with_secrets.items():
        for key, path in part:
            if not (key.endswith("_file") and isinstance(path, Path)):
                continue
            try:
                value = secret(path)
            except (OSError, UnicodeDecodeError):
                yield f"{name}.{key}: {path} cannot be read"
                continue
            if not value:
                yield f"{name}.{key}: {path} is empty"
            elif key == "url_file" and not is_address(value):
                yield f"{name}.{key}: {path} does not contain an address"


def _explain(error: ErrorDetails) -> str:
    """Return one mistake as `key: explanation`, without the value, which may be a secret."""
    path = [part for part in error["loc"] if part != "[key]"]
    if path[:1] == ["receivers"] and len(path) > 2:
        del path[2]  # pydantic puts the kind there, which is not a key
    renamed = find("key", ".".join(map(str, path[2:] if path[:1] == ["services"] else path)))
    if renamed and error["type"] == "extra_forbidden":
        return renamed.sentence.rstrip(".")
    text = _ERROR_TEXTS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return f"{_key(path)}: {text}" if path else text


def _key(path: list[int | str]) -> str:
    """Return a path in the file as TOML writes it, with unusual parts quoted and shortened."""
    parts = (str(part) for part in path)
    return ".".join(
        part if re.fullmatch(r"[\w-]{1,60}", part) else repr(part[:60]) for part in parts
    )


def _bad_file(file: Path, *mistakes: str) -> BadSetting:
    return BadSetting(f"The monitoring file {file} is wrong: {'; '.join(mistakes)}.")
