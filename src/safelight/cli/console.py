"""`safelight console`: serve the console, which shows dashboards and services in the browser."""

from pathlib import Path
from typing import Annotated

from safelight.cli.diagnose import URL, PrometheusUrl
from safelight.cli.options import parse_address, setting_option


def console(
    prometheus: PrometheusUrl = URL,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("console_port", "--port")] = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
) -> None:
    """Show services, alerts and dashboards in the browser, without Grafana.

    It reads from Prometheus only, and works without a network. Press Ctrl-C to stop.

    Examples:

        safelight console

        safelight console --prometheus http://10.0.0.7:9090 --port 8080
    """
    from safelight.console.server import serve
    from safelight.settings import load

    settings = load(host=host, console_port=port, monitoring=monitoring)
    serve(settings, parse_address(prometheus))
