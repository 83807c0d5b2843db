"""Run Schemathesis against each served model: every response must be as the OpenAPI page documents.

`python scripts/fuzz.py 60` spends 60 seconds on each model. The images are real (fuzz_images.py),
and some must have a result.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safelight.stories.replay import free_port

BIN = Path(sys.executable).parent
# Each model, with the routes that run it.
MODELS = {"demo-recognize": "predict", "demo-edit": "edit", "demo-generate": "generat"}
IMAGES = Path(__file__).with_name("fuzz_images.py")
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
READY_SECONDS = 60
_LEAST_RESULTS = 3  # else nothing got past the decoder


@contextmanager
def served(model: str) -> Iterator[str]:
    """Serve a model on a free port until the block ends; yield its URL."""
    port = free_port()
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


def fuzz(url: str, routes: str, seconds: int) -> bool:
    """Run Schemathesis on the routes of the model, then on all; return if all is well."""
    model = ("--include-path-regex", routes, "--phases", "fuzzing")
    # The event stream of a request ends only with the request.
    everything = ("--exclude-path-regex", "/events$", "--phases", "coverage,fuzzing")
    half = ("--max-time", str(max(1, seconds // 2)))
    return all([schemathesis(url, *half, *model), schemathesis(url, *half, *everything)])


def schemathesis(url: str, *options: str) -> bool:
    """Run Schemathesis once; return whether it found nothing."""
    command = [BIN / "schemathesis", "run", f"{url}/openapi.json", "--checks", ",".join(CHECKS)]
    command += ["--seed", "1", "--request-timeout", "30", *options]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(IMAGES)}
    with tempfile.TemporaryDirectory() as folder:  # Schemathesis writes its cache here
        return subprocess.run(command, check=False, cwd=folder, env=environment).returncode == 0


def successes(url: str) -> int:
    """Return the number of requests that were answered with the model's output, good or bad."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        text = response.read().decode()
    counts = re.findall(r'^model_request_total\{.*status="success"\} (\S+)', text, re.MULTILINE)
    return round(sum(map(float, counts)))


def main(seconds: int) -> int:
    """Fuzz each model; return 1 if a response was not as documented, or none had a result."""
    failed = False
    for model, routes in MODELS.items():
        print(f"fuzzing {model} …", flush=True)
        with served(model) as url:
            passed, results = fuzz(url, routes, seconds), successes(url)
        print(f"{model}: {results} requests had a result", flush=True)
        if not passed:
            print(f"{model}: a response was not as documented, see above", flush=True)
        if results < _LEAST_RESULTS:
            print(f"{model}: too few requests had a result", flush=True)
        failed = failed or not passed or results < _LEAST_RESULTS
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
