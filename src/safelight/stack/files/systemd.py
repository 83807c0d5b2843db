"""Generate the systemd unit of a service, which runs as a user of its own without rights.

The unit has the name of the service's job: `journalctl -u zimage-turbo` for the namespace
`zimage_turbo`.
"""

from safelight.settings import Settings, environment_name
from safelight.stack.files.document import header

PROGRAM = "/opt/safelight/bin/safelight"
_CLOSE_SECONDS = 10  # after the grace period, to close files and connections
_REST = """\
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
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit_name(namespace: str) -> str:
    """Return the file name of the unit of a service."""
    return f"{namespace.replace('_', '-')}.service"


def unit(settings: Settings, port: int) -> str:
    """Return the unit of the service with these settings, on that port."""
    name = settings.namespace.replace("_", "-")
    environment = {
        "model": settings.model,
        "namespace": settings.namespace,
        "port": str(port),
        "grace_seconds": f"{settings.grace_seconds:g}",
        "log_format": "json",
        "state_folder": f"/var/lib/safelight/{name}",
    }
    variables = "\n".join(_variable(field, value) for field, value in environment.items())
    stop_seconds = int(settings.grace_seconds) + _CLOSE_SECONDS
    return f"""{header("systemd", "in a drop-in")}\
# Install: python3 -m venv /opt/safelight && /opt/safelight/bin/pip install '.[models]'
#   cp {unit_name(settings.namespace)} /etc/systemd/system/ && systemctl daemon-reload
#   systemctl enable --now {name}
# Logs: journalctl -u {name}
# Own settings: SAFELIGHT_ variables in /etc/safelight/{name}.env (mode 0600), or
#   systemctl edit {name}
[Unit]
Description=Safelight: {settings.namespace}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=exec
DynamicUser=yes
ExecStart={PROGRAM} serve
{variables}
Environment=HF_HOME=/var/cache/safelight/{name} PYTHONUNBUFFERED=1
EnvironmentFile=-/etc/safelight/{name}.env
StateDirectory=safelight/{name}
CacheDirectory=safelight/{name}
StateDirectoryMode=0700
WorkingDirectory=/var/lib/safelight/{name}
TimeoutStopSec={stop_seconds}
{_REST}"""


def _variable(field: str, value: str) -> str:
    """Return the assignment of a setting; systemd reads %, \\ and quotes in it."""
    return f'Environment="{environment_name(field)}={_escaped(value)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
