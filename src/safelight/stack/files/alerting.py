"""Generate alertmanager.yml: routes by severity, inhibition rules, mute hours and receivers.

Alertmanager 0.25 and later can load it. It contains no secret, only the paths of secret files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from safelight.rules.rule import Severity
from safelight.stack.files.document import Document, header, yaml_text
from safelight.stack.monitoring import Monitoring, Mute, Timing
from safelight.stack.receivers import QUIET, Email, Slack, Webhook
from safelight.translation import Language, translate

RELAY_URL = "http://127.0.0.1:9094"
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_WATCHDOG_EVERY = "1m"
_MAX_ALERTS = 100  # in one notification; Alertmanager counts the others in it
_BURN_RATES = (
    "ErrorBudgetBurnFast",
    "ErrorBudgetBurn",
    "ErrorBudgetBurnSlow",
    "ErrorBudgetLeaking",
)
_DURATIONS = (("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Relay:
    """The address of the relay, and the file with its token."""

    url: str
    token_file: Path | None = None

    def authorization(self) -> Document:
        """Return how Alertmanager sends the token."""
        if self.token_file is None:
            return {}
        credentials = {"type": "Bearer", "credentials_file": str(self.token_file)}
        return {"http_config": {"authorization": credentials}}


def alertmanager_yml(
    monitoring: Monitoring | None = None,
    *,
    relay_url: str = RELAY_URL,
    relay_token_file: Path | None = None,
) -> str:
    """Return a configuration that notifies the receivers of a monitoring file.

    Without a monitoring file Alertmanager shows the alerts and sends none. The monitoring file's
    `relay_url` takes precedence over the argument. Alertmanager sends the token in
    `relay_token_file` to the relay.
    """
    monitoring = monitoring or Monitoring()
    relay = Relay((monitoring.relay_url or relay_url).rstrip("/"), relay_token_file)
    mutes = [_time_interval(mute) for mute in monitoring.mute]
    routes = [
        *_watchdog(monitoring),
        *(route for severity in SEVERITIES for route in _routes(severity, monitoring)),
    ]
    receivers = [
        {"name": name, **_receiver(name, monitoring, relay)} for name in monitoring.receivers
    ]
    return yaml_text(
        {
            "route": {
                "receiver": QUIET,
                "group_by": ["service", "job"],
                "group_wait": duration(monitoring.timing.group_wait_seconds),
                "group_interval": duration(monitoring.timing.group_interval_seconds),
                "repeat_interval": duration(monitoring.timing.repeat_seconds),
                "routes": routes,
            },
            "inhibit_rules": inhibitions(),
            **({"time_intervals": mutes} if mutes else {}),
            "receivers": [{"name": QUIET}, *receivers],
        },
        header("alerting"),
    )


_SYMPTOMS = (
    "SuccessRatioLow",
    "MostRequestsFail",
    "RequestsFailing",
    "RequestsRefused",
    "HighAPIErrorRate",
    "DeadlinesMissed",
    "WorkPilesUp",
    "InstructionFailing",
    "ErrorBudgetBurnFast",
    "ErrorBudgetBurn",
)


_GENERAL = ("RequestsFailing", "SuccessRatioLow", "HighAPIErrorRate")


def inhibitions() -> list[Document]:
    """Return the inhibition rules: an urgent alert mutes less urgent alerts with the same cause."""
    burn_rates = [
        _inhibit(
            urgent, f'alertname=~"{"|".join(_BURN_RATES[place:])}"', ["job", "service", "objective"]
        )
        for place, urgent in enumerate(_BURN_RATES[:-1], 1)
    ]
    return [
        _inhibit("TargetDown", 'alertname!="TargetDown"', ["job", "instance"]),
        # A service that cannot work fails in all other ways too: one cause, one message.
        _inhibit("NoWorkerReady", f'alertname=~"{"|".join(("CircuitOpen", *_SYMPTOMS))}"', ["job"]),
        _inhibit("CircuitOpen", f'alertname=~"{"|".join(_SYMPTOMS)}"', ["job"]),
        # An alert that names the failure mutes those that only count failures.
        *(
            _inhibit(cause, f'alertname=~"{"|".join(_GENERAL)}"', ["job"])
            for cause in ("OutputsInvalid", "CudaOutOfMemory", "RequestsRefused")
        ),
        _inhibit("MostRequestsFail", 'alertname="RequestsFailing"', ["job"]),
        _inhibit("RequestsFailing", 'alertname="SuccessRatioLow"', ["job"]),
        _inhibit("TargetDown", 'alertname="TooFewReplicas"', ["job"]),
        _inhibit("VramNearlyFull", 'alertname="GpuMemoryHigh"', ["machine", "gpu"]),
        *burn_rates,
    ]


def duration(seconds: float) -> str:
    """Return a duration as Alertmanager writes it, such as 4h, 90s or 250ms."""
    for unit, size in _DURATIONS:
        if seconds and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def _routes(severity: Severity, monitoring: Monitoring) -> list[Document]:
    """Return a route for each receiver of a severity; all but the last continue to the next."""
    timing, names = _route_timing(severity, monitoring.timing), monitoring.routes.of(severity)
    mutes = [mute.name for mute in monitoring.mute if severity in mute.severities and names]
    return [
        {
            "matchers": [f'severity="{severity}"'],
            "receiver": name,
            **timing,
            **({"mute_time_intervals": mutes} if mutes else {}),
            **({"continue": True} if name not in (QUIET, *names[-1:]) else {}),
        }
        for name in names or (QUIET,)
    ]


def _watchdog(monitoring: Monitoring) -> list[Document]:
    """Return the routes of the alert that always fires, which is sent again and again."""
    names = tuple(dict.fromkeys(monitoring.routes.watchdog)) or (QUIET,)
    return [
        {
            "matchers": ['alertname="Watchdog"'],
            "receiver": name,
            "group_wait": "0s",
            "group_interval": _WATCHDOG_EVERY,
            "repeat_interval": _WATCHDOG_EVERY,
            **({"continue": True} if name != names[-1] else {}),
        }
        for name in names
    ]


def _route_timing(severity: Severity, timing: Timing) -> dict[str, str]:
    if severity != "critical":
        return {}
    return {
        "group_wait": duration(timing.critical_wait_seconds),
        "repeat_interval": duration(timing.critical_repeat_seconds),
    }


def _time_interval(mute: Mute) -> Document:
    times = [
        dict(zip(("start_time", "end_time"), span.split("-"), strict=True)) for span in mute.times
    ]
    fields = {"times": times, "weekdays": list(mute.weekdays), "location": mute.zone}
    interval = {name: value for name, value in fields.items() if value}
    return {"name": mute.name, "time_intervals": [interval]}


def _inhibit(source: str, target: str, equal: list[str]) -> Document:
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [target],
        "equal": equal,
    }


def _receiver(name: str, monitoring: Monitoring, relay: Relay) -> Document:
    """Return how Alertmanager reaches a receiver: directly, or through the relay."""
    receiver = monitoring.receivers[name]
    if isinstance(receiver, Slack):
        return {"slack_configs": [_slack(receiver, monitoring.language)]}
    if isinstance(receiver, Email):
        return {"email_configs": [_email(receiver, monitoring.language)]}
    if isinstance(receiver, Webhook) and receiver.url:
        return {"webhook_configs": [{"url": receiver.url, "send_resolved": True}]}
    relayed: Document = {"url": f"{relay.url}/{name}", **relay.authorization()}
    return {"webhook_configs": [{**relayed, "send_resolved": True, "max_alerts": _MAX_ALERTS}]}


def _title(language: Language) -> str:
    """Return the template of a title: whether alerts fire, their severity, name and service."""
    alerts = translate("alerts", language)
    return (
        f"[{{{{ with .Status | toUpper }}}}{_word(('FIRING', 'RESOLVED'), language)}{{{{ end }}}}"
        f"{{{{ with .CommonLabels.severity }}}} {_word(SEVERITIES, language)}{{{{ end }}}}] "
        f'{{{{ or .CommonLabels.alertname (print (len .Alerts) " {alerts}") }}}} '
        "({{ or .CommonLabels.job .CommonLabels.service .CommonLabels.machine }})"
    )


def _word(words: Sequence[str], language: Language) -> str:
    """Return the template that writes the current value, if it is one of these, in a language."""
    cases = "{{ else ".join(f'if eq . "{word}" }}}}{translate(word, language)}' for word in words)
    return "{{ . }}" if language == "en" else f"{{{{ {cases}{{{{ else }}}}{{{{ . }}}}{{{{ end }}}}"


def _text(language: Language) -> str:
    """Return the template of a text. `<` starts a mention in Slack, the entity does not."""
    do, dashboard, runbook = (
        translate("Do", language),
        translate("Dashboard", language),
        translate("Runbook", language),
    )
    return (
        '{{ range .Alerts }}*{{ .Annotations.summary | reReplaceAll "<" "&lt;" }}*\n'
        '{{ .Annotations.description | reReplaceAll "<" "&lt;" }}\n'
        "{{ with .Annotations.action }}"
        f'{do}: {{{{ . | reReplaceAll "<" "&lt;" }}}}\n{{{{ end }}}}'
        "{{ $from := (.StartsAt.Add -1800000000000).UnixMilli }}"
        f"{{{{ with .Annotations.dashboard_url }}}}{dashboard}: "
        '{{ reReplaceAll "from=now-1h" (printf "from=%d" $from) . }}\n{{ end }}'
        f"{runbook}: {{{{ .Annotations.runbook_url }}}}\n{{{{ end }}}}"
    )


def _slack(receiver: Slack, language: Language) -> Document:
    return {
        "api_url_file": str(receiver.url_file),
        "channel": receiver.channel,
        "send_resolved": True,
        "title": _title(language),
        "text": _text(language),
    }


def _email(receiver: Email, language: Language) -> Document:
    password = {
        "auth_username": receiver.username,
        "auth_password_file": str(receiver.password_file),
    }
    return {
        "to": ", ".join(receiver.to),
        "from": receiver.sender,
        "smarthost": receiver.smarthost,
        **(password if receiver.username else {}),
        "require_tls": receiver.require_tls,
        "send_resolved": True,
        "headers": {"Subject": _title(language)},
    }
