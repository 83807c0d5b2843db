"""Serve the console until somebody stops it."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from os import getppid

import httpx
import uvicorn
from starlette.routing import Route
from starlette.types import ASGIApp

from safelight.console import sample
from safelight.console.actions import Actions
from safelight.console.alertmanager import Alertmanager
from safelight.console.app import Console, Places, application
from safelight.console.archive import Archive
from safelight.console.audit import Audit
from safelight.console.demo_traffic import DemoTraffic
from safelight.console.firing import Alerts
from safelight.console.gateway import Gateway
from safelight.console.latest import Latest
from safelight.console.leaderboard import Leaderboard
from safelight.console.names import Names
from safelight.console.reloading import reload_by_signal
from safelight.console.report import Report
from safelight.console.requests import Place, Requests
from safelight.console.secured import Secured
from safelight.console.sessions import Sessions
from safelight.console.states import States
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import BadSetting, MonitoringFailed
from safelight.origins import Origins, is_local
from safelight.records.config import records_url
from safelight.rules.thresholds import Thresholds
from safelight.serving.http.access import has_keys
from safelight.serving.http.key_file import KeyFile
from safelight.serving.http.keys import Key, Keys, read
from safelight.settings import Settings
from safelight.stack import monitoring
from safelight.tls import Certificate, renewing

_QUERY_SECONDS = 10.0
_GRACE_SECONDS = 1  # open pages have a stream that never ends


@dataclass(frozen=True, slots=True)
class Sources:
    """Addresses of what the console shows; that of Grafana is empty if there is none.

    `is_under_up` says that `safelight up` started the console and reloads Prometheus for it.
    """

    prometheus: str
    alertmanager: str
    services: Sequence[str] = ()
    grafana: str = ""
    is_under_up: bool = False


def serve(settings: Settings, sources: Sources) -> None:
    """Serve the console. Raises BadSetting if it must not or cannot listen at its address."""
    _check_exposure(settings)
    certificate = Certificate.of(settings)
    limits = _Limits(settings)
    sessions = Sessions(_keys(settings), port=settings.console_port)
    if sessions.are_needed:
        _warn_of_plain_http(sources.services)
    with Prometheus(sources.prometheus, timeout_seconds=_QUERY_SECONDS) as client:
        routes = _routes(settings, sources, client, limits)
        app = Secured(Origins.of(application(routes, sessions), settings))
        listener = _listen(settings)
        scheme = "http" if certificate is None else "https"
        print(f"console: {scheme}://{settings.host}:{settings.console_port}", file=sys.stderr)  # noqa: T201
        asyncio.run(_run(app, listener, certificate))


def _routes(
    settings: Settings, sources: Sources, client: Prometheus, limits: "_Limits"
) -> list[Route]:
    """Return the routes of every page's data."""
    gateway = Gateway(sources.services, settings.body_limit_bytes)
    places = Places(gateway.urls, settings.body_limit_bytes, sources.grafana)
    own = Console(client, limits, settings.namespace, places)
    parent = getppid()

    def reload() -> None:
        limits.read()
        own.renew()
        try:
            if sources.is_under_up:
                reload_by_signal(client, parent)
            else:
                client.reload()
        except MonitoringFailed as error:
            raise MonitoringFailed(f"The console has read its file again. {error}") from None

    archive, states = Archive(records_url(settings)), States(gateway)
    parts = (
        own,
        Alerts(client, Alertmanager(sources.alertmanager), settings.namespace),
        Latest(archive),
        Requests(archive, _place(settings)),
        Report(client, limits),
        Leaderboard(archive, settings.gpu_hour_price),
        DemoTraffic(gateway.urls),
        Actions(gateway, Audit(settings.state_folder.expanduser()), reload, states.forget),
        states,
        Names(gateway),
        gateway,
    )
    return [*sample.routes(), *(route for part in parts for route in part.routes())]


async def _run(app: ASGIApp, listener: socket.socket, certificate: Certificate | None) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    if certificate is not None:
        certificate.secure(config)
    async with renewing(certificate):
        await uvicorn.Server(config).serve(sockets=[listener])


class _Limits:
    """The limits of the monitoring file, as they were read last."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.monitoring
        self.read()

    def read(self) -> None:
        """Read the file. Raises BadSetting, and keeps what was read before."""
        self._now = monitoring.read(self._file, secrets_here=False)

    def __call__(self, namespace: str) -> Thresholds:
        """Return the limits of a namespace."""
        return self._now.limits(namespace)[namespace]


def _check_exposure(settings: Settings) -> None:
    if is_local(settings.host) or has_keys(settings):
        return
    raise BadSetting(
        f"Without API keys the console listens on this machine only, not on {settings.host}. Set "
        "SAFELIGHT_API_KEYS_FILE, so that people log in with their keys; or leave out --host, and "
        f"forward the port: ssh -L {settings.console_port}:127.0.0.1:{settings.console_port} HOST"
    )


def _warn_of_plain_http(addresses: Sequence[str]) -> None:
    """Say which services get the keys of people where others can read them."""
    urls = [httpx.URL(address) for address in addresses]
    plain = [url for url in urls if url.scheme == "http" and not is_local(url.host)]
    if not plain:
        return
    names = ", ".join(f"{url.scheme}://{url.netloc.decode()}" for url in plain)
    print(  # noqa: T201
        f"warning: API keys are sent without encryption to {names}. Whoever reads that network can "
        "use them. Let the services serve https (--tls-certificate, --tls-key), or reach them by a "
        "tunnel to 127.0.0.1.",
        file=sys.stderr,
    )


def _place(settings: Settings) -> Place:
    return Place(
        settings.state_folder.expanduser() / "logs",
        settings.log_output,
        settings.trace_url,
        settings.gpu_hour_price,
    )


def _keys(settings: Settings) -> Keys | None:
    """Return the keys that people log in with, or None if callers need none."""
    if not has_keys(settings):
        return None
    fixed = read(settings.api_keys)
    file = KeyFile(settings.api_keys_file, lambda: None) if settings.api_keys_file else None

    def valid() -> tuple[Key, ...]:
        return fixed + (file.valid() if file is not None else ())

    return Keys(valid)


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.console_port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        )
    except OSError as error:
        raise BadSetting(
            f"The console cannot listen at {settings.host}:{settings.console_port}: "
            f"{error.strerror}. Choose another port with --port."
        ) from None
