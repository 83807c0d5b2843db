"""Serve the console until somebody stops it."""

import socket
import sys

import uvicorn

from safelight.console.app import Console, application
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import BadSetting
from safelight.origins import Origins, is_local
from safelight.rules.thresholds import Thresholds
from safelight.settings import Settings
from safelight.stack.monitoring import read

_QUERY_SECONDS = 10.0
_GRACE_SECONDS = 1  # open pages have a stream that never ends


def serve(settings: Settings, prometheus_url: str) -> None:
    """Serve the console. Raises BadSetting if it must not or cannot listen at its address."""
    if not is_local(settings.host):
        raise BadSetting(
            f"The console has no login yet, so it listens on this machine only, not on "
            f"{settings.host}. Leave out --host, and forward the port: "
            f"ssh -L {settings.console_port}:127.0.0.1:{settings.console_port} HOST"
        )
    monitoring = read(settings.monitoring, secrets_here=False)

    def limits(namespace: str) -> Thresholds:
        return monitoring.limits(namespace)[namespace]

    with Prometheus(prometheus_url, timeout_seconds=_QUERY_SECONDS) as client:
        app = Origins.of(application(Console(client, limits, settings.namespace)), settings)
        listener = _listen(settings)
        print(f"console: http://{settings.host}:{settings.console_port}", file=sys.stderr)  # noqa: T201
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


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
