"""The story of a model file that somebody swaps: all requests succeed, and all images are wrong."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from safelight.errors import ServiceFailed
from safelight.models.demo.bundle import save
from safelight.models.extras import require
from safelight.stack.tools.samples import photo
from safelight.stories.live import SPANS, Live, Notify, running_stack
from safelight.stories.outcome import Outcome
from safelight.units import duration

_EDITS = 12
_FIND_SECONDS, _RECOVER_SECONDS, _ENROL_SECONDS = 120.0, 120.0, 180.0
_POLL_SECONDS = 0.25
_SETTLE_SECONDS = 12.0  # two scrapes
_CHANGE = 2.0  # of one tensor


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the canary said, after so many seconds."""

    verdict: str
    why: str
    seconds: float


def wrong_model(notify: Notify) -> Outcome:
    """Swap a model's file under a running service, and let its worker load it."""
    require("models")
    with TemporaryDirectory(prefix="safelight-model-") as parent:
        folder = Path(parent) / "portrait-editor"
        save("demo-edit", folder)
        often = {"SAFELIGHT_CANARY_SECONDS": "5", "SAFELIGHT_CANARY_RATIO": "0.2"}
        with running_stack([str(folder)], notify, environment=often) as live:
            return asyncio.run(_play(live, folder, notify))


async def _play(live: Live, folder: Path, notify: Notify) -> Outcome:
    notify("the canary enrols the model: ten runs of two fixed inputs")
    await _until(live, {"good", "slow"}, _ENROL_SECONDS)
    before = await _edits(live)
    notify("somebody swaps a file of the model; the worker is restarted and loads it")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    kept = weights.with_suffix(".kept")
    shutil.copy(weights, kept)
    _change(weights)
    _restart_worker(live)
    found = await _until(live, {"wrong"}, _FIND_SECONDS)
    after = await _edits(live)
    await asyncio.sleep(_SETTLE_SECONDS)
    diagnosis = await asyncio.to_thread(live.diagnose, SPANS)
    notify("the file is restored, and the worker restarted once more")
    shutil.move(kept, weights)
    _restart_worker(live)
    back = await _until(live, {"good", "slow"}, _RECOVER_SECONDS)
    notes = (
        f"requests that succeeded: {before} of {_EDITS} before, {after} of {_EDITS} with the wrong "
        "model",
        f"the canary found it {duration(found.seconds)} after the restart, with the load of the "
        f"model: {found.why}",
        "the instance stays in service, because it is the only one (readiness_forced = 1)",
        f"with the right file the model was good again after {duration(back.seconds)}",
    )
    return Outcome(diagnosis, notes)


async def _until(live: Live, verdicts: set[str], seconds: float) -> _Seen:
    """Ask the canary until it says one of the verdicts. Raises ServiceFailed."""
    began, said = time.monotonic(), "nothing"
    async with httpx.AsyncClient(base_url=live.url, timeout=10) as client:
        while (passed := time.monotonic() - began) < seconds:
            (worker,) = (await client.get("/v1/model/canary")).json()["workers"]
            said = str(worker["verdict"])
            if worker["ready"] and said in verdicts:
                return _Seen(said, str(worker["why"]), passed)
            await asyncio.sleep(_POLL_SECONDS)
    raise ServiceFailed(f"After {duration(seconds)} the canary still says: {said}.")


async def _edits(live: Live) -> int:
    """Send edits, and return how many succeeded."""
    query = {"instruction": "make him old", "steps": "4"}
    headers = {"content-type": "image/jpeg"}
    good = 0
    async with httpx.AsyncClient(base_url=live.url, timeout=60) as client:
        for seed in range(_EDITS):
            answer = await client.post(
                "/api/edit",
                params={**query, "seed": str(seed)},
                content=photo(64, 64),
                headers=headers,
            )
            good += answer.is_success
    return good


def _change(file: Path) -> None:
    """Scale the largest tensor of a file of weights."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(file)
    largest = max(tensors, key=lambda name: tensors[name].size)
    tensors[largest] = tensors[largest] * tensors[largest].dtype.type(_CHANGE)
    save_file(tensors, file, metadata={"format": "pt"})


def _restart_worker(live: Live) -> None:
    """End the worker process of the story's own service; the service starts another."""
    is_worker: Callable[[psutil.Process], bool] = lambda process: (  # noqa: E731
        "safelight.serving.worker.child" in process.cmdline()
    )
    service = next(
        process
        for process in psutil.Process().children(recursive=True)
        if str(live.settings.port) in process.cmdline() and "serve" in process.cmdline()
    )
    for worker in filter(is_worker, service.children()):
        worker.kill()
