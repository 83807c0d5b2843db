"""Run Schemathesis against a served model: every response must be as the OpenAPI page documents it.

`python scripts/fuzz.py 60` spends 60 seconds on each model.
"""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BIN = Path(sys.executable).parent
MODELS = ("demo-recognize", "demo-edit")
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
READY_SECONDS = 60


@contextmanager
def served(model: str) -> Iterator[str]:
    """Serve a model on a free port until the block ends; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        process = subprocess.Popen(
            [BIN / "safelight", "serve", model, "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_until_ready(url: str) -> None:
    """Wait until the model is loaded. Raises TimeoutError."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not become ready within {READY_SECONDS} s.")


def fuzz(url: str, seconds: int) -> int:
    """Run Schemathesis; return its exit code."""
    command = [BIN / "schemathesis", "run", f"{url}/openapi.json", "--checks", ",".join(CHECKS)]
    # The event stream of a request ends only with the request.
    options = ["--exclude-path-regex", "/events$", "--max-time", str(seconds), "--seed", "1"]
    options += ["--request-timeout", "30"]
    with tempfile.TemporaryDirectory() as folder:  # Schemathesis writes its cache here
        return subprocess.run([*command, *options], check=False, cwd=folder).returncode


def main(seconds: int) -> int:
    """Fuzz each model; return 1 if a response was not as documented."""
    codes = []
    for model in MODELS:
        print(f"fuzzing {model} …", flush=True)
        with served(model) as url:
            codes.append(fuzz(url, seconds))
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
