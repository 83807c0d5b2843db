"""The measured systems: how each starts, and the request that it gets."""

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from benchmarks.serving.task import EDIT_BATCH, INSTRUCTION, LABELS, STEPS, image

_PNG = image()
_TEXT = base64.b64encode(_PNG).decode()
_PYTHON = ".venv-peers/bin/python"
_PEERS = "benchmarks.serving.peers"
_HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Files that it does not delete.
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "{home}/haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "{home}/admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "{home}/metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "{home}",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "{home}/server-state",
}


@dataclass(frozen=True, eq=False)
class System:
    """A server, and the request that it gets.

    `{port}` in its command is a free port, `{home}` in its environment a new folder. A `metered`
    system reports its device seconds in `/metrics`.
    """

    name: str
    command: tuple[str, ...]
    path: str = "/predict"
    body: bytes = json.dumps({"image": _TEXT}).encode()
    media_type: str = "application/json"
    environment: Mapping[str, str] = field(default_factory=dict)
    batches: bool = True
    metered: bool = False


def _safelight(model: str, path: str, **options: Any) -> System:
    command = (sys.executable, "-m", "safelight", "serve", model, "--port", "{port}")
    return System("Safelight", command, path, metered=True, **options)


def _peer(name: str, module: str, *arguments: str, **options: Any) -> System:
    command = (_PYTHON, "-m", f"{_PEERS}.{module}", "{port}", *arguments)
    return System(name, command, **options)


SAFELIGHT = _safelight("benchmarks.serving.work:tagger", f"/predict?top={len(LABELS)}")
NAIVE = _peer("FastAPI, thread pool", "naive", "tagger", batches=False)
LITSERVE = _peer("LitServe", "lit", "tagger")
RAY = _peer("Ray Serve, HAProxy", "rayserve", environment=_HAPROXY)
BENTO = System(
    "BentoML, adaptive",
    (
        _PYTHON,
        "-m",
        "bentoml",
        "serve",
        f"{_PEERS}.bento:TaggerService",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    ),
    # BentoML batches lists in requests; this list has one item.
    body=json.dumps({"image": [_TEXT]}).encode(),
)
TAGGERS = (SAFELIGHT, NAIVE, LITSERVE, RAY, BENTO)


def editors(folder: str) -> tuple[System, ...]:
    """Return the systems that serve the edit, Safelight first, with the weights in a folder."""
    query = urlencode({"instruction": INSTRUCTION, "steps": STEPS})
    same_work = {
        "SAFELIGHT_BATCH_LIMIT": str(EDIT_BATCH),
        "SAFELIGHT_DEGRADATION_LEVEL": "0",  # under overload it would reduce the steps
    }
    return (
        _safelight(
            "demo-edit",
            f"/api/edit?{query}",
            body=_PNG,
            media_type="image/png",
            environment=same_work,
        ),
        _peer("FastAPI, thread pool", "naive", "editor", folder, path="/edit", batches=False),
        _peer("LitServe", "lit", "editor", folder, path="/edit"),
    )
