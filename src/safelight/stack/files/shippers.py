"""Generate the configuration of other shippers: Grafana Alloy to Loki, and Vector."""

from safelight.stack.files.document import Block, Document, header, yaml_text
from safelight.stack.files.elastic import DATA_STREAM
from safelight.telemetry.fields import DATASET

_HEADER = header("shippers", "in a copy")
# Few values each; more labels would make more streams, which Loki stores apart.
_LABELS = {"service_name": "service.name", "level": '"log.level"', "outcome": "event.outcome"}
_METADATA = {"trace_id": "trace.id", "request_id": "http.request.id", "action": "event.action"}
_FILES = "/var/log/safelight/*.log"
# A line that is no JSON loses Vector's own fields: its `host` is a text, that of ECS an object.
_TO_ECS = """\
parsed, error = parse_json(.message)
if error == null {
  . = object!(parsed)
} else {
  . = {"@timestamp": .timestamp, "message": .message, "error": {"type": "json"}}
}
"""


def alloy_config() -> str:
    """Return the configuration of Alloy, which sends the lines to Loki."""
    expressions = {**_LABELS, **_METADATA, "time": '"@timestamp"'}
    return f"""{_HEADER.replace("#", "//")}\
// Start: LOKI_URL=http://127.0.0.1:3100/loki/api/v1/push alloy run config.alloy
local.file_match "safelight" {{
  path_targets = [{{__path__ = coalesce(sys.env("SAFELIGHT_LOGS"), "{_FILES}"), job = "{DATASET}"}}]
}}

loki.source.file "safelight" {{
  targets    = local.file_match.safelight.targets
  forward_to = [loki.process.safelight.receiver]
}}

loki.process "safelight" {{
  stage.json {{
    expressions = {{
{_assigned(expressions)}
    }}
  }}
  stage.timestamp {{
    source = "time"
    format = "RFC3339Nano"
  }}
{_stage("labels", _LABELS)}
{_stage("structured_metadata", _METADATA)}
  forward_to = [loki.write.safelight.receiver]
}}

loki.write "safelight" {{
  endpoint {{
    url = coalesce(sys.env("LOKI_URL"), "http://127.0.0.1:3100/loki/api/v1/push")
  }}
}}
"""


def _stage(name: str, values: dict[str, str]) -> str:
    """Return a stage that takes values under their own names."""
    assigned = _assigned(dict.fromkeys(values, ""))
    return f"  stage.{name} {{\n    values = {{\n{assigned}\n    }}\n  }}"


def _assigned(values: dict[str, str]) -> str:
    """Return assignments of texts; quotes in a text are escaped."""
    width = max(map(len, values))
    rows = {name: text.replace('"', '\\"') for name, text in values.items()}
    return "\n".join(f'      {name:<{width}} = "{text}",' for name, text in rows.items())


def vector_yaml() -> str:
    """Return the configuration of Vector, which sends the lines to Elasticsearch."""
    content: Document = {
        "data_dir": "${VECTOR_DATA:-/var/lib/vector}",
        "sources": {
            "safelight": {
                "type": "file",
                "include": [f"${{SAFELIGHT_LOGS:-{_FILES}}}"],
                # A file's first line has its time in milliseconds, and is of one file alone.
                "fingerprint": {"strategy": "checksum", "lines": 1},
            }
        },
        "transforms": {"ecs": {"type": "remap", "inputs": ["safelight"], "source": Block(_TO_ECS)}},
        "sinks": {
            "elasticsearch": {
                "type": "elasticsearch",
                "inputs": ["ecs"],
                "endpoints": ["${ELASTICSEARCH_URL:-http://127.0.0.1:9200}"],
                "mode": "data_stream",
                "bulk": {"action": "create"},
                "data_stream": dict(
                    zip(("type", "dataset", "namespace"), DATA_STREAM.split("-"), strict=True)
                ),
            }
        },
    }
    return yaml_text(content, _HEADER + "# Start: vector --config vector.yaml\n")
