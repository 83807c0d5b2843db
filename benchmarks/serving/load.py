"""Closed-loop load: `wrk` posts one constant body over a few persistent connections.

The generator shares the cores with the server, so it must be cheap: wrk is written in C.
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
    """The results of a server under closed-loop load."""

    images_per_second: float
    median_seconds: float
    p99_seconds: float


def load(url: str, body: bytes, connections: int, seconds: int) -> Rate:
    """Load a server, and return the results. Raises RuntimeError if a response is not 2xx."""
    with TemporaryDirectory() as folder:
        script, content = Path(folder, "post.lua"), Path(folder, "body")
        content.write_bytes(body)
        script.write_text(_SCRIPT.replace("{body}", str(content)))
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--script", str(script), url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return _parse(output)


def _parse(output: str) -> Rate:
    line = next(line for line in output.splitlines() if line.startswith("measured "))
    requests, duration, median, p99, errors = (int(number) for number in line.split()[1:])
    if errors or not requests:
        raise RuntimeError(f"{errors} errors and {requests} responses:\n{output}")
    return Rate(requests / duration * 1e6, median / 1e6, p99 / 1e6)
