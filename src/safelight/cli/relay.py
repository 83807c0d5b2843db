"""`safelight alert-relay`: Alertmanager's notifications, signed for the robots of group chats."""

from pathlib import Path
from typing import Annotated

from safelight.cli.options import knob
from safelight.settings import load


def alert_relay(
    monitoring: Annotated[Path | None, knob("monitoring")] = None,
    host: Annotated[str | None, knob("host")] = None,
    port: Annotated[int | None, knob("alert_relay_port", "--port")] = None,
    log_format: Annotated[str | None, knob("log_format")] = None,
) -> None:
    """Bring alerts to DingTalk, Feishu and WeCom, and to webhooks whose address is secret.

    `safelight up --monitoring FILE` starts it by itself.

    Example:

        safelight alert-relay --monitoring monitoring.toml
    """
    from safelight.stack.relay.relay import serve

    serve(load(monitoring=monitoring, host=host, alert_relay_port=port, log_format=log_format))
