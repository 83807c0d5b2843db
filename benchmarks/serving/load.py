"""Closed-loop load: `wrk` posts one constant body over a few kept connections.

The generator shares the cores with the server, so it is a small C program that does little.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_SCRIPT = """
local body = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = body:read("*a")
wrk.headers["Content-Type"] = "application/json"
body:close()

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("measured %d %d %d %d %d\\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Rate:
    """What a server did under closed-loop load."""

    images_per_second: float
    median_seconds: float
    p99_seconds: float


def press(url: str, body: bytes, connections: int, seconds: int) -> Rate:
    """Return what the server did. Raises RuntimeError where it answered anything but 2xx."""
    with TemporaryDirectory() as folder:
        script, content = Path(folder, "post.lua"), Path(folder, "body")
        content.write_bytes(body)
        script.write_text(_SCRIPT.replace("{body}", str(content)))
        told = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--script", str(script), url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return _read(told)


def _read(told: str) -> Rate:
    line = next(line for line in told.splitlines() if line.startswith("measured "))
    requests, duration, median, p99, errors = (int(number) for number in line.split()[1:])
    if errors or not requests:
        raise RuntimeError(f"{errors} errors beside {requests} answers:\n{told}")
    return Rate(requests / duration * 1e6, median / 1e6, p99 / 1e6)
