"""`safelight export`: rules, dashboards and containers for those who run them themselves."""

from pathlib import Path
from typing import Annotated

import httpx
import typer

from safelight.cli.options import knob
from safelight.errors import BadSetting
from safelight.settings import load
from safelight.stack.files.discovery import Discovery
from safelight.stack.files.export import Choices, deployment, keep_apart
from safelight.stack.files.folder import drift, leftovers, write
from safelight.stack.monitoring import read
from safelight.stack.programs import without_password

_LONGEST_URL = 2000

export = typer.Typer(
    help="Write the monitoring as files: for Prometheus, Grafana, containers, Kubernetes."
)

Folder = Annotated[Path, typer.Argument(help="Folder to write to.")]
Namespace = Annotated[str | None, knob("namespace")]
Told = Annotated[Path | None, knob("monitoring")]
Retention = Annotated[str | None, knob("retention")]
How = Annotated[
    Discovery,
    typer.Option(
        help=f"How Prometheus finds what it scrapes: {', '.join(Discovery)}.", metavar="<word>"
    ),
]
Copies = Annotated[
    list[str] | None,
    typer.Option(help="Where samples are sent on to: Thanos, Mimir, VictoriaMetrics; repeatable."),
]
Check = Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a file differs.")]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite what is not ours, or another service's.")
]

_DEPLOY = Path("deploy")


@export.command("all")
def everything(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    discovery: How = Discovery.STATIC,
    remote_write: Copies = None,
    retention: Retention = None,
    monitoring: Told = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write all that the other commands write.

    Example: safelight export all monitoring --namespace zimage
    """
    choices = _choices(monitoring, namespace, retention, discovery, remote_write)
    _act(folder, deployment(choices), check=check, force=force)


@export.command()
def prometheus(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    discovery: How = Discovery.STATIC,
    remote_write: Copies = None,
    retention: Retention = None,
    monitoring: Told = None,
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
    folder: Folder = _DEPLOY, monitoring: Told = None, check: Check = False, force: Force = False
) -> None:
    """Write Alertmanager's configurations.

    Example: safelight export alertmanager monitoring
    """
    _act(folder, deployment(_choices(monitoring), "alertmanager"), check=check, force=force)


@export.command()
def grafana(
    folder: Folder = _DEPLOY, monitoring: Told = None, check: Check = False, force: Force = False
) -> None:
    """Write the boards, and the files by which Grafana provisions itself with them.

    Example: safelight export grafana monitoring --check
    """
    _act(folder, deployment(_choices(monitoring), "grafana"), check=check, force=force)


@export.command()
def compose(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    remote_write: Copies = None,
    retention: Retention = None,
    monitoring: Told = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the whole stack in containers, and all that they mount.

    Example: safelight export compose deploy --retention 90d
    """
    choices = _choices(monitoring, namespace, retention, Discovery.STATIC, remote_write)
    _act(folder, deployment(choices, "compose"), check=check, force=force)


@export.command()
def kubernetes(
    folder: Folder = _DEPLOY,
    namespace: Namespace = None,
    monitoring: Told = None,
    check: Check = False,
    force: Force = False,
) -> None:
    """Write the service's manifests, and those by which the Prometheus Operator watches it.

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
    copies = tuple(_receiver(url) for url in remote_write or ())
    told = read(settings.monitoring, secrets_here=False)  # they are where Alertmanager will run
    return Choices(settings.namespace, settings.retention, discovery, copies, told)


def _receiver(text: str) -> str:
    """Return where samples are sent to. Raises BadSetting, also where the address has a secret."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or len(text) > _LONGEST_URL:
        raise BadSetting(
            f"{without_password(text).partition('?')[0][:80]!r} is no address to write to; such as "
            "https://mimir.example/api/v1/push."
        )
    if url.userinfo:
        raise BadSetting(
            f"The address of {url.host} holds a password, and files are read by many. Leave it "
            "out, and name a file with it: basic_auth.password_file in prometheus.yml."
        )
    if url.query or "#" in text:
        raise BadSetting(
            f"The address of {url.host} has something after its path, which may be a token, and "
            "files are read by many. Leave it out, and name a file with it: "
            "authorization.credentials_file in prometheus.yml."
        )
    return text


def _act(folder: Path, files: dict[str, str], *, check: bool, force: bool) -> None:
    """Write the files, or compare them; exit 1 where they differ."""
    if not check:
        if not force:
            keep_apart(folder, files)
        changed = write(folder, files, force=force)
        typer.echo(f"{len(files)} files are in {folder}; {len(changed)} changed.")
        return
    differing, left = drift(folder, files), leftovers(folder, files)
    if differing:
        typer.echo(f"Not as the source makes it: {', '.join(differing)}.", err=True)
        typer.echo("Run the same command without --check.", err=True)
    if left:
        typer.echo(f"No longer made, so delete: {', '.join(left)}.", err=True)
    if differing or left:
        raise typer.Exit(1)
    typer.echo(f"All {len(files)} files in {folder} are as the source makes them.")
