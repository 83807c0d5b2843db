"""Generate the systemd unit of a service, which runs as a user of its own without rights.

The unit is `safelight-zimage` for the namespace `zimage`, so that it replaces no unit of another
program. Its folders and its file of settings have the name of the namespace.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name
from safelight.stack.files.document import header

PROGRAM = "/opt/safelight/bin/safelight"
_UNITS = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_FIRST_PORT = 1024  # the first that a user without rights can use
_CLOSE_SECONDS = 10  # after the grace period, to close files and connections
_AFTER = """\
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5
"""
_REST = """\
Type=exec
StateDirectoryMode=0700
Restart=on-failure
RestartPreventExitStatus=2
RestartSec=5
KillMode=mixed
MemoryMax=80%
TasksMax=4096
LimitNOFILE=65536
# GPUs are devices, so PrivateDevices and MemoryDenyWriteExecute (which CUDA needs) are not set.
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit_name(namespace: str, name: str = "") -> str:
    """Return the file name of the unit of a service, by default `safelight-` and its namespace."""
    return f"{name or f'safelight-{_dashed(namespace)}'}.service"


def checked_name(name: str, folders: Iterable[Path] = _UNITS) -> str:
    """Return the name for a unit. Raises BadSetting if it is malformed or of another program."""
    if not _NAME.fullmatch(name):
        raise BadSetting(
            f"{name[:60]!r} is not the name of a unit: use a-z, 0-9 and -, such as zimage-turbo."
        )
    taken = [folder for folder in folders if (folder / f"{name}.service").exists()]
    if taken or name.startswith("systemd-"):
        raise BadSetting(
            f"{name}.service is a unit of the system, which this one would replace. Choose another "
            f"name, such as safelight-{name}."
        )
    return name


def unit(settings: Settings, port: int, own_name: str = "") -> str:
    """Return the unit of the service with these settings, on that port. Raises BadSetting."""
    if port < _FIRST_PORT:
        raise BadSetting(
            f"The service has no right to use port {port}. Choose one from {_FIRST_PORT} on, and "
            "let a proxy listen on the other."
        )
    name = _dashed(settings.namespace)
    file = unit_name(settings.namespace, own_name)
    environment = {
        "model": settings.model,
        "namespace": settings.namespace,
        "port": str(port),
        "grace_seconds": f"{settings.grace_seconds:g}",
        "log_format": "json",
        "state_folder": f"/var/lib/safelight/{name}",
    }
    variables = "\n".join(_variable(field, value) for field, value in environment.items())
    cache = f"/var/cache/safelight/{name}"
    stop_seconds = int(settings.grace_seconds) + _CLOSE_SECONDS
    return f"""{_instructions(file, name)}\
[Unit]
Description=Safelight: {settings.namespace}
{_AFTER}
[Service]
DynamicUser=yes
# It creates the GPU's device files, as root; machines without a GPU do not have it.
ExecStartPre=-+/usr/bin/nvidia-modprobe -c 0 -u
ExecStart={PROGRAM} serve
{variables}
Environment=HOME={cache} XDG_CACHE_HOME={cache} HF_HOME={cache} PYTHONUNBUFFERED=1
EnvironmentFile=-/etc/safelight/{name}.env
StateDirectory=safelight/{name}
CacheDirectory=safelight/{name}
WorkingDirectory=/var/lib/safelight/{name}
TimeoutStopSec={stop_seconds}
{_REST}"""


def _instructions(file: str, name: str) -> str:
    service = file.removesuffix(".service")
    return f"""{header("systemd", "in a drop-in")}\
# Install: python3 -m venv /opt/safelight && /opt/safelight/bin/pip install '.[models]'
#   cp {file} /etc/systemd/system/ && systemctl daemon-reload
#   systemctl enable --now {service}
# Logs: journalctl -u {service}
# Own settings: SAFELIGHT_ variables in /etc/safelight/{name}.env (mode 0600), or
#   systemctl edit {service}
"""


def _dashed(namespace: str) -> str:
    return namespace.replace("_", "-")


def _variable(field: str, value: str) -> str:
    """Return the assignment of a setting; systemd reads %, \\ and quotes in it."""
    return f'Environment="{environment_name(field)}={_escaped(value)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
