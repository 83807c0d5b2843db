"""Send mixed traffic to two real services, and find what grows: `python -m tests.soak 20`.

SOAK_LEAK_BYTES_PER_HOUR=60000000 leaks on purpose in each process. SOAK_CURVES=FILE saves what was
measured.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.serving.conftest import serving
from tests.soak.judge import SHORTEST_SECONDS
from tests.soak.report import problems, text
from tests.soak.soaked import NAMESPACE, Soaked
from tests.soak.traffic import Traffic

MODELS: dict[str, tuple[str, dict[str, str | int]]] = {
    "demo-edit": ("/api/edit", {"instruction": "make him old", "steps": 2}),
    "demo-recognize": ("/predict", {}),
}
_LEAKING = Path(__file__).parent / "leaking"
_POINTS = 240  # of a curve
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_WARM_UP_SECONDS = 15.0
# Requests to each service, after which SQLite's page cache has its 2 MB: an edit has more rows.
_FILLING = {"demo-edit": 3000, "demo-recognize": 6000}


def main(arguments: list[str]) -> int:
    """Soak for some minutes; return 1 if something was wrong."""
    seconds = float(arguments[0]) * 60 if arguments else 20 * 60.0
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_LEAKING), os.environ.get("PYTHONPATH", "")])
    with TemporaryDirectory(prefix="safelight-soak-") as name, ExitStack() as stack:
        services = [stack.enter_context(_served(model, Path(name))) for model in MODELS]
        asyncio.run(_send(services, min(_LONGEST_WARM_UP_SECONDS, seconds / 3), seed=0))
        if seconds >= SHORTEST_SECONDS * 0.9:  # shorter ones judge no slope
            asyncio.run(_fill(services))
        for each in services:
            each.begin()
        asyncio.run(_soak(services, seconds))
        for each in services:
            each.rest()
    found = [problem for each in services for problem in problems(each)]
    print("\n\n".join(map(text, services)))
    if file := os.environ.get("SOAK_CURVES"):
        Path(file).write_text(json.dumps({each.model: each.as_json() for each in services}))
    print("\n" + ("\n".join(found) or "Nothing grows, and every request had its answer."))
    return 1 if found else 0


@contextmanager
def _served(model: str, folder: Path) -> Iterator[Soaked]:
    path, params = MODELS[model]
    own = folder / model
    own.mkdir()
    # The table of requests that can be rated fills for hours; with a minute, `_fill` fills it.
    settings = {"rating_retention_seconds": "60", "structure_floor": "0"}
    state = str(own / "state")
    with serving(
        own, model, calm=True, namespace=NAMESPACE, state_folder=state, **settings
    ) as service:
        yield Soaked(model, service, Traffic(service.url, path, params))


async def _send(services: list[Soaked], seconds: float, seed: int) -> None:
    await asyncio.gather(*(each.traffic.run(seconds, seed) for each in services))


async def _fill(services: list[Soaked]) -> None:
    await asyncio.gather(*(each.traffic.fill(_FILLING[each.model]) for each in services))


async def _soak(services: list[Soaked], seconds: float) -> None:
    """Send traffic for some seconds, and measure meanwhile."""
    start = monotonic()
    pause = max(_SHORTEST_PAUSE_SECONDS, seconds / _POINTS)
    sending = asyncio.create_task(_send(services, seconds, seed=1))
    while not sending.done():
        for each in services:
            await asyncio.to_thread(each.measure, monotonic() - start)
        await asyncio.wait([sending], timeout=pause)
    await sending


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
