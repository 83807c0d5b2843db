"""`safelight alert-relay`: forward Alertmanager's notifications to group chats."""

from pathlib import Path
from typing import Annotated

from safelight.cli.options import setting_option
from safelight.settings import load


def alert_relay(
    monitoring: Annotated[Path | None, setting_option("monitoring")] = None,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("alert_relay_port", "--port")] = None,
    log_format: Annotated[str | None, setting_option("log_format")] = None,
) -> None:
    """Forward alerts to DingTalk, Feishu, WeCom, and webhooks whose URL is in a file.

    `safelight up --monitoring FILE` starts the relay automatically.

    Example:

        safelight alert-relay --monitoring monitoring.toml
    """
    from safelight.stack.relay.relay import serve

    serve(load(monitoring=monitoring, host=host, alert_relay_port=port, log_format=log_format))
