"""A stand-in of Elasticsearch and Kibana on 127.0.0.1: the parts that log lines need.

It stores index templates, and takes bulk requests into data streams: it parses each document by the
mappings of the template, as Elasticsearch does, and rejects what Elasticsearch rejects. It imports
saved objects whose references exist, and takes dashboards of the Dashboards API.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "aWQ6a2V5"
MAX_TERM_BYTES = 32766
_TEMPLATE_KEYS = {"index_patterns", "template", "data_stream", "priority", "_meta", "composed_of"}
_INNER_KEYS = {"settings", "mappings", "lifecycle", "aliases"}
_PARAMETERS = {  # of each type that this stand-in knows
    "keyword": {"ignore_above"},
    "wildcard": {"ignore_above"},
    "match_only_text": set[str](),
    "constant_keyword": {"value"},
    "long": set[str](),
    "double": set[str](),
    "boolean": set[str](),
    "date": {"format"},
    "flattened": {"ignore_above", "depth_limit"},
    "object": {"dynamic", "properties"},
}
_PANELS = {  # of the Dashboards API, with what each one needs
    "metric": {"data_source", "metrics"},
    "data_table": {"title", "data_source", "rows", "metrics"},
    "xy": {"title", "layers"},
}
Document = dict[str, Any]


class Rejected(Exception):
    """Why Elasticsearch rejects a document or a template."""


@dataclass
class FakeElastic:
    """What it stores. `dashboards_status` is 404 for Kibana before 9.4, and 400 for 9.4."""

    url: str = ""
    dashboards_status: int = 200
    templates: dict[str, Document] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    objects: dict[tuple[str, str], Document] = field(default_factory=dict)
    dashboards: dict[str, Document] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def reply(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Return the status and content of the response."""
        if headers.get("Authorization") != f"ApiKey {KEY}":
            return 401, {"error": "missing authentication credentials"}
        if path.startswith("/api/") and not headers.get("kbn-xsrf"):
            return 400, {"message": "Request must contain a kbn-xsrf header."}
        try:
            return self._answer(method, path, headers, body)
        except Rejected as error:
            return 400, {"error": {"reason": str(error)}}

    def _answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if method == "PUT" and path.startswith("/_index_template/"):
            self.templates[name] = checked_template(json.loads(body))
            return 200, {"acknowledged": True}
        if (method, path) == ("POST", "/_bulk"):
            items = list(self._bulk(body.decode().split("\n")))
            return 200, {"errors": any("error" in each["create"] for each in items), "items": items}
        if (method, path) == ("POST", "/api/saved_objects/_import?overwrite=true"):
            return self._import(headers, body)
        if method == "PUT" and path.startswith("/api/dashboards/"):
            if self.dashboards_status != 200:
                return self.dashboards_status, {"message": "not taken"}
            self.dashboards[name] = checked_dashboard(json.loads(body))
            return 200, {"id": name}
        return 404, {"message": "Not Found"}

    def _bulk(self, lines: list[str]) -> Iterator[Document]:
        assert lines[-1] == "", "a bulk request ends with a line break"
        for action, source in zip(lines[0:-1:2], lines[1:-1:2], strict=True):
            [(kind, target)] = json.loads(action).items()
            try:
                if kind != "create":
                    raise Rejected("only write ops with an op_type of create are allowed")
                self.store(target["_index"], json.loads(source))
                yield {"create": {"status": 201}}
            except Rejected as error:
                yield {"create": {"status": 400, "error": {"reason": str(error)}}}

    def store(self, index: str, document: Document) -> None:
        """Store a document in a data stream. Raises Rejected."""
        found = [
            (each["priority"], each)
            for each in self.templates.values()
            if any(fnmatchcase(index, pattern) for pattern in each["index_patterns"])
        ]
        if not found:
            raise Rejected(f"no matching index template found for data stream [{index}]")
        mappings = max(found, key=lambda each: each[0])[1]["template"]["mappings"]
        if "@timestamp" not in expanded(document):
            raise Rejected("data stream timestamp field [@timestamp] is missing")
        parse(expanded(document), mappings, mappings, self.constants)
        self.documents.append(document)

    def _import(self, headers: Any, body: bytes) -> tuple[int, Any]:
        content = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
        message: Any = message_from_bytes(content)
        [part] = message.get_payload()
        objects = [json.loads(line) for line in part.get_payload().splitlines()]
        there = {(each["type"], each["id"]) for each in objects}
        for each in objects:
            for reference in each["references"]:
                if (reference["type"], reference["id"]) not in there:
                    return 200, {"success": False, "errors": [{"type": "missing_references"}]}
        self.objects |= {(each["type"], each["id"]): each for each in objects}
        return 200, {"success": True, "successCount": len(objects)}


def expanded(document: Document) -> Document:
    """Return a document whose dotted names are objects, as Elasticsearch reads it."""
    result: Document = {}
    for name, value in document.items():
        value = expanded(value) if isinstance(value, dict) else value
        *path, last = name.split(".")
        parent = result
        for part in path:
            parent = parent.setdefault(part, {})
            if not isinstance(parent, dict):
                raise Rejected(
                    f"object mapping for [{name}] tried to parse as object, but found a "
                    "concrete value"
                )
        if isinstance(value, dict) and isinstance(parent.get(last), dict):
            parent[last] |= value
        else:
            parent[last] = value
    return result


def parse(document: Document, mapping: Document, root: Document, constants: Document) -> None:
    """Check a document against a mapping. Raises Rejected."""
    for name, value in document.items():
        known = mapping.get("properties", {}).get(name)
        if known is None:
            known = _dynamic(name, value, mapping, root)
        if known is None or value is None:
            continue
        if "properties" in known or known.get("type") == "object":
            if not isinstance(value, dict):
                raise Rejected(
                    f"object mapping for [{name}] tried to parse field as object, but "
                    "found a concrete value"
                )
            parse(value, {"dynamic": mapping.get("dynamic"), **known}, root, constants)
            continue
        for each in value if isinstance(value, list) else [value]:
            _parse_value(name, each, known, constants)


def _dynamic(name: str, value: Any, mapping: Document, root: Document) -> Document | None:
    """Return the mapping of an unknown field, None if it is only stored."""
    if mapping.get("dynamic") in (False, "false"):
        return None
    if mapping.get("dynamic") == "strict":
        raise Rejected(f"mapping set to strict, dynamic introduction of [{name}] is not allowed")
    [template] = [each for rule in root["dynamic_templates"] for each in rule.values()]
    assert not isinstance(value, dict), name
    return dict(template["mapping"])


def _parse_value(name: str, value: Any, mapping: Document, constants: Document) -> None:
    kind = mapping["type"]
    if isinstance(value, dict) != (kind == "flattened"):
        raise Rejected(f"failed to parse field [{name}] of type [{kind}]: {value!r}")
    try:
        _READERS[kind](value)
    except (ValueError, TypeError):
        raise Rejected(f"failed to parse field [{name}] of type [{kind}]: {value!r}") from None
    only = mapping.get("value", value) if kind == "constant_keyword" else value
    if kind == "constant_keyword" and constants.setdefault(name, only) != value:
        raise Rejected(f"[constant_keyword] field [{name}] only accepts one value")
    if kind in ("keyword", "flattened"):
        _check_terms(name, value.values() if kind == "flattened" else [value], mapping)


def _check_terms(name: str, values: Iterable[Any], mapping: Document) -> None:
    for text in map(str, values):
        is_indexed = len(text) <= mapping.get("ignore_above", len(text))
        if is_indexed and len(text.encode()) > MAX_TERM_BYTES:
            raise Rejected(f"immense term in field [{name}]")


def _long(value: Any) -> None:
    if isinstance(value, bool) or not -(2**63) <= int(value) < 2**63:
        raise ValueError(value)


def _double(value: Any) -> None:
    if isinstance(value, bool) or float(value) != float(value):
        raise ValueError(value)


def _boolean(value: Any) -> None:
    if value not in (True, False, "true", "false", "") or isinstance(value, int | float) != (
        isinstance(value, bool)
    ):
        raise ValueError(value)


def _nothing(_value: Any) -> None:
    """Every text, number and boolean is a keyword."""


_READERS: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("keyword", "wildcard", "match_only_text", "constant_keyword"), _nothing),
    "flattened": _nothing,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "date": datetime.fromisoformat,
}


def checked_template(template: Document) -> Document:
    """Return an index template. Raises Rejected if a key, type or parameter is unknown."""
    unknown = template.keys() - _TEMPLATE_KEYS | template["template"].keys() - _INNER_KEYS
    if unknown:
        raise Rejected(f"unknown fields {sorted(unknown)}")
    if not re.fullmatch(r"\d+[dhms]", template["template"]["lifecycle"]["data_retention"]):
        raise Rejected("failed to parse the retention")
    _check_mapping("", template["template"]["mappings"])
    return template


def _check_mapping(name: str, mapping: Document) -> None:
    for inner, each in mapping.get("properties", {}).items():
        kind = each.get("type", "object")
        if kind not in _PARAMETERS:
            raise Rejected(f"No handler for type [{kind}] declared on field [{name}{inner}]")
        unknown = each.keys() - _PARAMETERS[kind] - {"type"}
        if unknown:
            raise Rejected(f"unknown parameter {sorted(unknown)} on mapper [{name}{inner}]")
        _check_mapping(f"{name}{inner}.", each)


def checked_dashboard(dashboard: Document) -> Document:
    """Return a dashboard of the Dashboards API. Raises Rejected if its shape is wrong."""
    unknown = dashboard.keys() - {"title", "description", "panels", "time_range"}
    if unknown or not dashboard["title"]:
        raise Rejected(f"unknown keys {sorted(unknown)}, or no title")
    for panel in dashboard["panels"]:
        config = panel["config"]
        if panel.keys() != {"type", "id", "grid", "config"} or panel["type"] != "vis":
            raise Rejected(f"a panel has the keys {sorted(panel)}")
        if config.keys() - {"type"} != _PANELS.get(config["type"]):
            raise Rejected(f"a {config['type']} has the keys {sorted(config)}")
        grid = panel["grid"]
        if grid.keys() != {"x", "y", "w", "h"} or grid["x"] + grid["w"] > 48:
            raise Rejected(f"the panel {panel['id']} is outside the grid")
    return dashboard


@contextmanager
def elastic() -> Iterator[FakeElastic]:
    """Run the stand-in until the block ends."""
    fake = FakeElastic()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = fake.reply(self.command, self.path, self.headers, body)
            data = json.dumps(content, separators=(",", ":")).encode()  # as Kibana
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_POST = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
