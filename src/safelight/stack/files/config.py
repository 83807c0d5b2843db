"""Generate prometheus.yml.

Prometheus 2.42 and later can load it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safelight.stack.files.discovery import Targets, static_targets, with_key
from safelight.stack.files.document import Document, header, yaml_text
from safelight.stack.receivers import RemoteWrite

SCRAPE_INTERVAL = "5s"
_MAX_EXEMPLARS = 100_000


def prometheus_yml(
    services: Mapping[str, str],
    monitoring: Mapping[str, str | None],
    *,
    rule_files: Sequence[str],
    key_file: Path | None = None,
    remote_write: Sequence[RemoteWrite] = (),
) -> str:
    """Return a configuration that scrapes these targets (`host:port`) and evaluates the rules.

    Each service is a job with the service's name, and each program of the monitoring that has an
    address. The services get the key in `key_file`.
    """
    jobs = {**services, **monitoring}
    targets = static_targets(jobs, str(monitoring["alertmanager"]))
    keyed = with_key(targets, services, key_file)
    return configuration(keyed, rule_files=rule_files, remote_write=remote_write)


def configuration(
    targets: Targets,
    *,
    rule_files: Sequence[str],
    remote_write: Sequence[RemoteWrite] = (),
    usage: str = "",
    interval: str = SCRAPE_INTERVAL,
) -> str:
    """Return a configuration for these targets; each store of `remote_write` gets a copy.

    Prometheus asks for OpenMetrics, and so for exemplars, by default. It stores them only with
    `--enable-feature=exemplar-storage`.
    """
    copies = (
        {"remote_write": [_remote_write(each) for each in remote_write]} if remote_write else {}
    )
    return yaml_text(
        {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "storage": {"exemplars": {"max_exemplars": _MAX_EXEMPLARS}},
            "rule_files": list(rule_files),
            "alerting": {"alertmanagers": targets.alertmanagers},
            **copies,
            "scrape_configs": targets.jobs,
        },
        header("config") + usage,
    )


def _remote_write(store: RemoteWrite) -> Document:
    """Return one remote-write target, with batch sizes for Thanos, Mimir and VictoriaMetrics.

    Prometheus retries after a 429: a dropped batch would be a gap in the copy. It keeps at most
    `capacity` samples in memory for each of `max_shards`, and reads the rest from its own log.
    """
    credentials: Document = {}
    if store.password_file is not None:
        password = {"username": store.username, "password_file": str(store.password_file)}
        credentials = {"basic_auth": password}
    elif store.token_file is not None:
        token = {"type": "Bearer", "credentials_file": str(store.token_file)}
        credentials = {"authorization": token}
    queue = {
        "capacity": 10_000,
        "max_shards": 20,
        "max_samples_per_send": 2000,
        "batch_send_deadline": "5s",
        "max_backoff": "10s",
        "retry_on_http_429": True,
    }
    return {"url": store.url, **credentials, "send_exemplars": True, "queue_config": queue}
