"""What a version accepts: every key of its files, and every name that users write."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import safelight
from safelight.cli.main import application
from safelight.cli.reference import command_list
from safelight.metrics.catalog import CATALOG
from safelight.rules.alerts import alerts
from safelight.rules.files import groups
from safelight.rules.rule import Recording
from safelight.rules.thresholds import OF_MACHINES, Change, Thresholds
from safelight.settings import Settings
from safelight.stack.monitoring import Monitoring, Mute, Routes, Timing
from safelight.stack.receivers import Email, Signed, Slack, Webhook, WeCom

NAMESPACE = "instructpix2pix"
_VALUES: dict[str, Any] = {  # of settings without a default
    "records_url": "sqlite:///records.db",
    "monitoring": "monitoring.toml",
    "tags": "tags.txt",
    "max_concurrent_requests": 8,
    "image_side_pixels": 512,
    "grafana_token_file": "secrets/file",
    "degradation_level": 1,
    "taxonomy": "taxonomy.yaml",
}


def settings() -> dict[str, Any]:
    """Return a file of SAFELIGHT_CONFIG with every setting that can have a value in it."""
    values = Settings().model_dump(mode="json")
    return {
        name: value if value is not None else _VALUES[name]
        for name, value in values.items()
        if value is not None or name in _VALUES
    }


def monitoring() -> dict[str, Any]:
    """Return a monitoring file with every key."""
    limits = Thresholds().model_dump(mode="json", exclude={"alerts"})
    change = {"enabled": True, "for_seconds": 120, "severity": "critical"}
    file = "secrets/file"
    receivers = {
        "chat": {"kind": "slack", "url_file": file, "channel": "#edits"},
        "hook": {"kind": "webhook", "url": "https://example.org/hook"},
        "secret-hook": {"kind": "webhook", "url_file": file},
        "mail": {
            "kind": "email",
            "to": ["ops@example.org"],
            "sender": "safelight@example.org",
            "smarthost": "smtp.example.org:587",
            "username": "safelight",
            "password_file": file,
            "require_tls": True,
        },
        "ding": {"kind": "dingtalk", "url_file": file, "secret_file": file},
        "lark": {"kind": "feishu", "url_file": file, "secret_file": file},
        "work": {"kind": "wecom", "url_file": file},
    }
    own = {name: value for name, value in limits.items() if name not in OF_MACHINES}
    return {
        "language": "zh",
        "relay_url": "http://relay:9098",
        **{
            f"{name}_url": f"https://{name}.example.org"
            for name in ("runbooks", "grafana", "prometheus", "alertmanager")
        },
        "routes": {
            "critical": [*receivers][:3],
            "warning": ["mail", "ding", "lark"],
            "info": ["work"],
            "watchdog": ["hook"],
        },
        "timing": Timing().model_dump(mode="json"),
        "receivers": receivers,
        "mute": [
            {
                "name": "nights",
                "weekdays": ["saturday"],
                "times": ["22:00-24:00"],
                "zone": "Asia/Shanghai",
                "severities": ["info"],
            }
        ],
        "thresholds": {**limits, "alerts": {"RequestP95High": change, "HostCpuBusy": change}},
        "services": {"zimage": {"thresholds": {**own, "alerts": {"RequestP95High": change}}}},
    }


def every_key() -> set[str]:
    """Return the keys that a monitoring file of this version may have, without names."""
    parts: dict[str, Any] = {
        "": Monitoring,
        "routes.": Routes,
        "timing.": Timing,
        "mute.": Mute,
        "thresholds.": Thresholds,
        "thresholds.alerts.NAME.": Change,
    }
    kinds = (Slack, Webhook, Email, Signed, WeCom)
    return {f"{prefix}{key}" for prefix, part in parts.items() for key in part.model_fields} | {
        f"receivers.NAME.{key}" for kind in kinds for key in kind.model_fields
    }


def keys(content: Mapping[str, Any]) -> set[str]:
    """Return the keys of a monitoring file in the same form."""
    found = set(content)
    for table in ("routes", "timing", "thresholds"):
        found |= {f"{table}.{key}" for key in content[table]}
    found |= {f"mute.{key}" for mute in content["mute"] for key in mute}
    found |= {f"receivers.NAME.{key}" for each in content["receivers"].values() for key in each}
    changes = content["thresholds"]["alerts"].values()
    return found | {f"thresholds.alerts.NAME.{key}" for change in changes for key in change}


def names() -> dict[str, list[str]]:
    """Return the names that users write, by kind."""
    recorded = (rule for group in groups(NAMESPACE) for rule in group.rules)
    commands = command_list(application())
    return {
        "settings": sorted(Settings.model_fields),
        "commands": sorted(name for name, _ in commands),
        "options": sorted(
            {
                option
                for _, command in commands
                for each in command.params
                for option in each.opts
                if option.startswith("--")
            }
        ),
        "imports": sorted(safelight.__all__),
        "metrics": sorted(metric.full_name(NAMESPACE) for metric in CATALOG),
        "recordings": sorted({rule.record for rule in recorded if isinstance(rule, Recording)}),
        "alerts": sorted(alert.name for alert in alerts(NAMESPACE)),
    }


def as_toml(content: Mapping[str, Any], path: str = "") -> str:
    """Return a document as TOML."""
    return "\n".join(_lines(content, path)).strip() + "\n"


def _lines(content: Mapping[str, Any], path: str) -> Iterator[str]:
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    for key, value in content.items():
        if key not in tables and not _is_array(value):
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in content.items():
        for row in value if _is_array(value) else ():
            yield from ("", f"[[{path}{key}]]", *_lines(row, f"{path}{key}."))
    for key, table in tables.items():
        yield from ("", f"[{path}{key}]", *_lines(table, f"{path}{key}."))


def _is_array(value: object) -> bool:
    """Return whether a value is a list of tables."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
