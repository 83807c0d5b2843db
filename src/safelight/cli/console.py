"""`safelight console`: serve the console, which shows dashboards and services in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from safelight.cli.diagnose import URL, PrometheusUrl
from safelight.cli.options import parse_address, setting_option

Services = Annotated[
    list[str] | None,
    typer.Option("--service", help="Address of a service; may be given again.", metavar="URL"),
]
Alertmanager = Annotated[
    str | None,
    typer.Option(help="Address of Alertmanager. [default: 127.0.0.1, its port]", metavar="URL"),
]
Grafana = Annotated[
    str | None, typer.Option(help="Address of Grafana, for links to it.", metavar="URL")
]


def console(
    prometheus: PrometheusUrl = URL,
    service: Services = None,
    alertmanager: Alertmanager = None,
    grafana: Grafana = None,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("console_port", "--port")] = None,
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    records_url: Annotated[str | None, setting_option("records_url")] = None,
    state_folder: Annotated[Path | None, setting_option("state_folder")] = None,
    tls_certificate: Annotated[Path | None, setting_option("tls_certificate")] = None,
    tls_key: Annotated[Path | None, setting_option("tls_key")] = None,
    under_up: Annotated[bool, typer.Option("--under-up", hidden=True)] = False,
) -> None:
    """Show services, alerts, requests and dashboards in the browser, without Grafana.

    It reads Prometheus, and the records and logs of this machine's state folder; with Alertmanager
    it also silences alerts. A page without its source says so. It works without a network.
    With the API keys of SAFELIGHT_API_KEYS_FILE people log in, and it may listen on other
    addresses. Press Ctrl-C to stop.

    Examples:

        safelight console

        safelight console --prometheus http://10.0.0.7:9090 --service http://10.0.0.8:8000
    """
    from safelight.console.server import Sources, serve
    from safelight.settings import load

    settings = load(
        host=host,
        console_port=port,
        monitoring=monitoring,
        records_url=records_url,
        state_folder=state_folder,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    own_alertmanager = f"http://127.0.0.1:{settings.alertmanager_port}"
    own_service = f"http://127.0.0.1:{settings.port}"
    sources = Sources(
        parse_address(prometheus),
        parse_address(alertmanager or own_alertmanager),
        tuple(map(parse_address, service or (own_service,))),
        parse_address(grafana) if grafana else "",
        is_under_up=under_up,
    )
    serve(settings, sources)
