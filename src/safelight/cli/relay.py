"""`safelight alert-relay`: forward Alertmanager's notifications to group chats."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from safelight.cli.options import parse_address, setting_option
from safelight.settings import Settings, load

_TIMEOUT_SECONDS = 4.5  # of one query; the relay waits five seconds


def alert_relay(
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("alert_relay_port", "--port")] = None,
    tls_certificate: Annotated[Path | None, setting_option("tls_certificate")] = None,
    tls_key: Annotated[Path | None, setting_option("tls_key")] = None,
    relay_token_file: Annotated[Path | None, setting_option("relay_token_file")] = None,
    log_format: Annotated[str | None, setting_option("log_format")] = None,
    diagnose: Annotated[
        str | None,
        typer.Option(help="Address of Prometheus: add the first finding to each message."),
    ] = None,
) -> None:
    """Forward alerts to DingTalk, Feishu, WeCom, and webhooks whose URL is in a file.

    `safelight up --monitoring FILE` starts the relay automatically. /runbooks shows the runbooks.

    Examples:

        safelight alert-relay --monitoring monitoring.toml

        safelight alert-relay --monitoring monitoring.toml --diagnose http://127.0.0.1:9090
    """
    from safelight.reference.runbooks import as_html
    from safelight.stack.relay.relay import Help, serve

    settings = load(
        monitoring=monitoring,
        host=host,
        alert_relay_port=port,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        relay_token_file=relay_token_file,
        log_format=log_format,
    )
    finder = _finder(parse_address(diagnose), settings) if diagnose else None
    serve(settings, Help(finder, as_html))


def _finder(url: str, settings: Settings) -> Callable[[str], str]:
    """Return a function that diagnoses a job and returns its first finding, or an empty text."""
    from safelight.diagnosis.diagnose import judge
    from safelight.diagnosis.evidence import gather, only, services
    from safelight.diagnosis.prometheus import Prometheus
    from safelight.diagnosis.report import sentence
    from safelight.stack.monitoring import read

    monitoring = read(settings.monitoring, secrets_here=False)

    def first(job: str) -> str:
        with Prometheus(url, timeout_seconds=_TIMEOUT_SECONDS) as client:
            at = client.now()
            for service in only(services(client, at), job):
                limits = monitoring.limits(service.namespace)[service.namespace]
                for finding in judge(gather(client, service, at, limits=limits)):
                    if finding.sign.symptom is None:  # the message has the alerts already
                        said = _said(finding.check.title, sentence(finding.sign.verdict))
                        return f"{said} {finding.check.remedy[0]}"
        return ""

    return first


def _said(title: str, verdict: str) -> str:
    """Return what a finding says, without its title if the verdict repeats it."""
    return verdict if title.lower() in verdict.lower() else f"{title}: {verdict}"
