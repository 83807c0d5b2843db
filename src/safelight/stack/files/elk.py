"""Assemble what `safelight export elk` writes, and the containers of the compose profile `elk`."""

from safelight.stack.files.document import Document
from safelight.stack.files.elastic import filebeat_yml, index_template
from safelight.stack.files.image import LOGS
from safelight.stack.files.kibana import dashboard_json, install_sh, saved_objects
from safelight.stack.files.restricted import health, limited, restricted
from safelight.stack.files.shippers import alloy_config, vector_yaml

PROFILE = "elk"
VOLUMES = ("elasticsearch", "elasticsearch-config", "kibana", "filebeat")
_VERSION = "9.5.0"

_FILEBEAT_YML = "elk/filebeat/filebeat.yml"


def elk_files() -> dict[str, str]:
    """Return the files; they are the same for every service."""
    return {
        "elk/install.sh": install_sh(),
        "elk/elasticsearch/index-template.json": index_template(),
        "elk/kibana/dashboard.json": dashboard_json(),
        "elk/kibana/saved-objects.ndjson": saved_objects(),
        _FILEBEAT_YML: filebeat_yml(),
        "elk/alloy/config.alloy": alloy_config(),
        "elk/vector/vector.yaml": vector_yaml(),
    }


def elk_containers() -> dict[str, Document]:
    """Return the containers of the profile: a stack to try, without passwords, on 127.0.0.1."""
    containers = {"elasticsearch": _elasticsearch(), "kibana": _kibana(), "filebeat": _filebeat()}
    return {name: {"profiles": [PROFILE], **each} for name, each in containers.items()}


def _elasticsearch() -> Document:
    home = "/usr/share/elasticsearch"
    return {
        "image": f"elasticsearch:{_VERSION}",
        **restricted("9200", "ELASTICSEARCH_PORT", memory="2g"),
        "tmpfs": ["/tmp", f"{home}/logs"],
        "environment": {
            "discovery.type": "single-node",
            "xpack.security.enabled": "false",
            "ES_JAVA_OPTS": "-Xms1g -Xmx1g",
        },
        "volumes": [f"elasticsearch:{home}/data", f"elasticsearch-config:{home}/config"],
        "healthcheck": _fetch("9200/_cluster/health"),
    }


def _kibana() -> Document:
    return {
        "image": f"kibana:{_VERSION}",
        **restricted("5601", "KIBANA_PORT", memory="2g"),
        "environment": {
            "ELASTICSEARCH_HOSTS": "http://elasticsearch:9200",
            "TELEMETRY_OPTIN": "false",
        },
        "volumes": ["kibana:/usr/share/kibana/data"],
        "depends_on": {"elasticsearch": {"condition": "service_healthy"}},
        "healthcheck": _fetch("5601/api/status"),
    }


def _filebeat() -> Document:
    home = "/usr/share/filebeat"
    return {
        "image": f"elastic/filebeat:{_VERSION}",
        **limited("512m"),
        # The mounted file belongs to whoever exported it.
        "command": ["-e", "--strict.perms=false"],
        "environment": {"ELASTICSEARCH_URL": "http://elasticsearch:9200"},
        "volumes": [
            f"./{_FILEBEAT_YML}:{home}/filebeat.yml:ro",
            f"logs:{LOGS}:ro",
            f"filebeat:{home}/data",
        ],
        "depends_on": {"elasticsearch": {"condition": "service_healthy"}},
        "healthcheck": _fetch("5066/"),
    }


def _fetch(address: str) -> Document:
    test = ["CMD", "curl", "--silent", "--fail", "-o", "/dev/null", f"http://127.0.0.1:{address}"]
    return health(test, start_period="120s")
