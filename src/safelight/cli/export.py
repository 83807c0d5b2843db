"""`safelight export`: write rules, dashboards, containers and manifests as files."""

from pathlib import Path
from typing import Annotated

import typer

from safelight.cli.export_files import act, remote_write_url
from safelight.cli.options import setting_option
from safelight.settings import load
from safelight.stack.files.discovery import Discovery
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.systemd import checked_name, unit_name
from safelight.stack.files.systemd import unit as unit_text
from safelight.stack.files.values import read_values
from safelight.stack.monitoring import read

export = typer.Typer(
    help="Write monitoring configuration for Prometheus, Grafana, containers or Kubernetes."
)

Folder = Annotated[Path, typer.Argument(help="Folder to write to.")]
Namespace = Annotated[str | None, setting_option("namespace")]
Monitoring = Annotated[Path | None, setting_option("monitoring")]
Retention = Annotated[str | None, setting_option("retention")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Model to serve. Default: the value in --values, else the demo model that belongs to "
        "the namespace.",
        show_default=False,
    ),
]
Port = Annotated[int | None, setting_option("port")]
UnitName = Annotated[
    str | None,
    typer.Option(
        help="Name of the unit. Default: safelight-, then the namespace with dashes.",
        show_default=False,
    ),
]
ValuesFile = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with the values of the Helm chart, which Kustomize shares: replicas, "
        "records, secrets, networks, operator labels, scrape interval.",
        show_default=False,
    ),
]
DiscoveryMode = Annotated[
    Discovery,
    typer.Option(
        help=f"How Prometheus finds its targets: {', '.join(Discovery)}.", metavar="<word>"
    ),
]
RemoteWrite = Annotated[
    list[str] | None,
    typer.Option(
        help="URL that Prometheus also sends samples to (Thanos, Mimir, VictoriaMetrics). "
        "Repeatable."
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Write nothing. Exit 1 if a file would change.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite files that this export did not write.")
]

_DEPLOY = Path("deploy")


@export.command("all")
def everything(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    model: Model = None,
    port: Port = None,
    discovery: DiscoveryMode = Discovery.STATIC,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    values: ValuesFile = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the files of all other export commands.

    Example: safelight export all monitoring --namespace zimage
    """
    choices = _choices(
        namespace=namespace,
        model=model,
        port=port,
        discovery=discovery,
        remote_write=remote_write,
        retention=retention,
        values=values,
        monitoring=monitoring,
    )
    act(folder, deployment(choices), check=check, force=force)


@export.command()
def prometheus(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    discovery: DiscoveryMode = Discovery.STATIC,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    values: ValuesFile = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write prometheus.yml and the rules.

    Example: safelight export prometheus monitoring --discovery kubernetes
    """
    choices = _choices(
        namespace=namespace,
        discovery=discovery,
        remote_write=remote_write,
        retention=retention,
        values=values,
        monitoring=monitoring,
    )
    act(folder, deployment(choices, "prometheus"), check=check, force=force)


@export.command()
def alertmanager(
    folder: Folder = _DEPLOY,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write Alertmanager's configuration.

    Example: safelight export alertmanager monitoring
    """
    choices = _choices(monitoring=monitoring)
    act(folder, deployment(choices, "alertmanager"), check=check, force=force)


@export.command()
def grafana(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the dashboards and Grafana's provisioning files.

    Example: safelight export grafana monitoring --namespace zimage
    """
    choices = _choices(namespace=namespace, monitoring=monitoring)
    act(folder, deployment(choices, "grafana"), check=check, force=force)


@export.command()
def compose(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    model: Model = None,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write a Compose file for the whole stack, with all files that it mounts.

    Example: safelight export compose deploy --monitoring monitoring.toml
    """
    choices = _choices(
        namespace=namespace,
        model=model,
        remote_write=remote_write,
        retention=retention,
        monitoring=monitoring,
    )
    act(folder, deployment(choices, "compose"), check=check, force=force)


@export.command()
def kubernetes(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    model: Model = None,
    values: ValuesFile = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the service's manifests for Kustomize, and the Prometheus Operator's resources.

    Example: safelight export kubernetes deploy --namespace zimage --values values.yaml
    """
    choices = _choices(namespace=namespace, model=model, values=values, monitoring=monitoring)
    act(folder, deployment(choices, "kubernetes"), check=check, force=force)


@export.command()
def helm(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    model: Model = None,
    values: ValuesFile = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write a Helm chart of the service, with the rules and dashboards.

    Example: safelight export helm deploy --namespace zimage --values values.yaml
    """
    choices = _choices(namespace=namespace, model=model, values=values, monitoring=monitoring)
    act(folder, deployment(choices, "helm"), check=check, force=force)


@export.command()
def elk(folder: Folder = _DEPLOY, check: Check = False, force: Force = False) -> None:
    """Write what sends log lines to Elasticsearch and Kibana, Loki, or Vector.

    Example: safelight export elk logging
    """
    act(folder, deployment(_choices(), "elk"), check=check, force=force)


@export.command()
def systemd(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    model: Model = None,
    port: Port = None,
    unit: UnitName = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write a systemd unit that runs the service as an unprivileged user.

    Example: safelight export systemd deploy --namespace zimage_turbo --unit zimage-turbo
    """
    choices = _choices(namespace=namespace, model=model, port=port)
    name = "" if unit is None else checked_name(unit)
    file = unit_name(choices.namespace, name)
    text = unit_text(choices.service, choices.port, name)
    act(folder, {f"systemd/{file}": text}, check=check, force=force)


def _choices(
    *,
    namespace: str | None = None,
    model: str | None = None,
    port: int | None = None,
    retention: str | None = None,
    monitoring: Path | None = None,
    values: Path | None = None,
    discovery: Discovery = Discovery.STATIC,
    remote_write: list[str] | None = None,
) -> Choices:
    settings = load(
        namespace=namespace, model=model, port=port, retention=retention, monitoring=monitoring
    )
    return Choices(
        settings.namespace,
        settings.model if "model" in settings.model_fields_set else "",
        settings.port,
        settings.retention,
        discovery,
        tuple(remote_write_url(url) for url in remote_write or ()),
        read_values(values),
        # The secrets are on the machine where Alertmanager will run.
        read(settings.monitoring, secrets_here=False),
        settings.relay_token_file,
        settings.metrics_key_file,
    )
