"""`safelight export`: write rules, dashboards, containers and manifests as files."""

from pathlib import Path
from typing import Annotated

import httpx
import typer

from safelight.cli.options import setting_option
from safelight.dashboards.replaced import replacement
from safelight.errors import BadSetting
from safelight.settings import load
from safelight.stack.files.discovery import Discovery
from safelight.stack.files.export import Choices, deployment, keep_apart
from safelight.stack.files.folder import drift, leftovers, write
from safelight.stack.monitoring import read
from safelight.stack.programs import without_password

_LONGEST_URL = 2000

export = typer.Typer(
    help="Write monitoring configuration for Prometheus, Grafana, containers or Kubernetes."
)

Folder = Annotated[Path, typer.Argument(help="Folder to write to.")]
Namespace = Annotated[str | None, setting_option("namespace")]
Monitoring = Annotated[Path | None, setting_option("monitoring")]
Retention = Annotated[str | None, setting_option("retention")]
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
    discovery: DiscoveryMode = Discovery.STATIC,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the files of all other export commands.

    Example: safelight export all monitoring --namespace zimage
    """
    choices = _choices(monitoring, namespace, retention, discovery, remote_write)
    _act(folder, deployment(choices), check=check, force=force)


@export.command()
def prometheus(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    discovery: DiscoveryMode = Discovery.STATIC,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write prometheus.yml and the rules.

    Example: safelight export prometheus monitoring --discovery kubernetes
    """
    choices = _choices(monitoring, namespace, retention, discovery, remote_write)
    _act(folder, deployment(choices, "prometheus"), check=check, force=force)


@export.command()
def alertmanager(
    folder: Folder = _DEPLOY,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write Alertmanager's configuration files.

    Example: safelight export alertmanager monitoring
    """
    _act(folder, deployment(_choices(monitoring), "alertmanager"), check=check, force=force)


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
    _act(folder, deployment(_choices(monitoring, namespace), "grafana"), check=check, force=force)


@export.command()
def compose(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    remote_write: RemoteWrite = None,
    retention: Retention = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write a Compose file for the whole stack, with all files that it mounts.

    Example: safelight export compose deploy --retention 90d
    """
    choices = _choices(monitoring, namespace, retention, Discovery.STATIC, remote_write)
    _act(folder, deployment(choices, "compose"), check=check, force=force)


@export.command()
def kubernetes(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    monitoring: Monitoring = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the service's manifests and the Prometheus Operator's resources for it.

    Example: safelight export kubernetes deploy --namespace zimage
    """
    _act(
        folder, deployment(_choices(monitoring, namespace), "kubernetes"), check=check, force=force
    )


def _choices(
    monitoring: Path | None,
    namespace: str | None = None,
    retention: str | None = None,
    discovery: Discovery = Discovery.STATIC,
    remote_write: list[str] | None = None,
) -> Choices:
    settings = load(namespace=namespace, retention=retention, monitoring=monitoring)
    urls = tuple(_remote_write_url(url) for url in remote_write or ())
    # The secrets are on the machine where Alertmanager will run.
    monitored = read(settings.monitoring, secrets_here=False)
    return Choices(settings.namespace, settings.retention, discovery, urls, monitored)


def _remote_write_url(text: str) -> str:
    """Return a valid remote-write URL. Raises BadSetting, also if the URL contains a secret."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or len(text) > _LONGEST_URL:
        raise BadSetting(
            f"{without_password(text).partition('?')[0][:80]!r} is not a remote-write URL. Write "
            "it like https://mimir.example/api/v1/push."
        )
    if url.userinfo:
        raise BadSetting(
            f"The URL of {url.host} contains a password, and many people can read the exported "
            "files. Remove it, and put it into a file that basic_auth.password_file in "
            "prometheus.yml names."
        )
    if url.query or "#" in text:
        raise BadSetting(
            f"The URL of {url.host} has a query or fragment, which may be a token, and many people "
            "can read the exported files. Remove it, and put the token into a file that "
            "authorization.credentials_file in prometheus.yml names."
        )
    return text


def _act(folder: Path, files: dict[str, str], *, check: bool, force: bool) -> None:
    """Write the files, or compare them and exit 1 if they differ."""
    if not check:
        if not force:
            keep_apart(folder, files)
        changed = write(folder, files, force=force)
        typer.echo(f"{len(files)} files are in {folder}; {len(changed)} changed.")
        _report_obsolete(folder, files)
        return
    differing = drift(folder, files)
    if differing:
        typer.echo(f"Out of date: {', '.join(differing)}.", err=True)
        typer.echo("Run the same command without --check.", err=True)
    if _report_obsolete(folder, files) or differing:
        raise typer.Exit(1)
    typer.echo(f"All {len(files)} files in {folder} are up to date.")


def _report_obsolete(folder: Path, files: dict[str, str]) -> bool:
    """Say which files are no longer exported, and return True if there are any."""
    obsolete = leftovers(folder, files)
    if obsolete:
        typer.echo(f"No longer exported, so delete: {', '.join(obsolete)}.", err=True)
    explanations = dict.fromkeys(replacement(Path(name).stem) for name in obsolete)
    for explanation in filter(None, explanations):
        typer.echo(explanation, err=True)
    return bool(obsolete)
