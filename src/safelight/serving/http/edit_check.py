"""The route that tells before an edit whether it is likely to fail. It never asks the model."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import BoundedSemaphore
from time import perf_counter

from fastapi import FastAPI, Request
from fastapi.responses import Response
from PIL import ImageStat
from pydantic import Field

from safelight.errors import Overloaded, Timeout
from safelight.metrics.catalog import BACKGROUNDS
from safelight.metrics.registry import Meter, current
from safelight.quality.images import Larger, measure, sample
from safelight.serving.http.advice import advice_headers, advice_on, is_busy
from safelight.serving.http.answers import json_response
from safelight.serving.http.body import parse_image
from safelight.serving.http.front import Front
from safelight.serving.http.openapi import fields_of, with_image_only
from safelight.serving.http.repeats import Call
from safelight.serving.http.responses import IMAGE_ERRORS, READ_ERRORS, of_checks
from safelight.serving.http.shares import Shares
from safelight.serving.job import EditParameters
from safelight.serving.policies.rates import Buckets
from safelight.telemetry.record import Exchange
from safelight.telemetry.scope import current_exchange
from safelight.telemetry.timeline import Timeline

_PATH = "/api/edit/check"
_SUMMARY = "Busy background: try `remove background` first."
_PER_CALLER = 4
_RETRY_SECONDS = 1.0
_SMALL_PIXELS, _SMALL_PLACES, _LARGE_PLACES = 2048 * 2048, 8, 2


class CheckParameters(EditParameters):
    """Parameters of the edit that may follow; only the instruction tells more, if it is known."""

    instruction: str = Field("", min_length=1, description="What to change, if it is known yet.")


@dataclass(frozen=True, slots=True)
class Look:
    """What was measured of an image: its size, and its background's entropy.

    `brightness` and `contrast` are the mean and the standard deviation of its grey, 0 to 1.
    """

    size: tuple[int, int]
    entropy_bits: float
    brightness: float
    contrast: float


class Lane:
    """One thread that looks at images, and a bounded number of images that it has or that wait."""

    def __init__(self, places: int, name: str) -> None:
        self._places = places
        self._free = BoundedSemaphore(places)
        self._thread = ThreadPoolExecutor(1, f"safelight-check-{name}")

    async def run(self, work: Callable[[], Look]) -> Look:
        """Return what the work returns. Raises Overloaded if too much waits, and what it raises."""
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self._places} images are being checked, which is the limit. Retry in a second, "
                "or send the edit: its response has the same advice.",
                _RETRY_SECONDS,
            )
        future = self._thread.submit(work)
        # When the work ends, not when its caller leaves: until then it takes the processor.
        future.add_done_callback(lambda _future: self._free.release())
        return await asyncio.wrap_future(future)


class EditCheck:
    """Measures images for callers who think of an edit."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._limit_bits = front.settings.background_entropy_limit_bits
        self._buckets = Buckets(front.settings.rate_limit_per_minute, front.meter)
        self._shares = Shares(_PER_CALLER, "checks of images")
        self._small = Lane(_SMALL_PLACES, "small")
        self._large = Lane(_LARGE_PLACES, "large")

    async def answer(self, request: Request) -> Response:
        """Return the advice. Raises what an edit with this image and these parameters would."""
        front, started = self._front, asyncio.get_running_loop().time()
        owner = front.admit(request, self._buckets)
        exchange = current_exchange() or Exchange(Timeline(perf_counter()))
        call = Call(request, exchange, started, front.timeout(request))
        self._shares.check(owner)
        with self._shares.held(owner), front.uploads.of(owner) as upload:
            image, fields = await parse_image(request, await front.receive(call, upload))
            parameters = front.parameters(CheckParameters, "edit", fields)
            working = await front.size_of(parameters, image)
            try:
                async with asyncio.timeout_at(started + call.timeout_seconds):
                    found = await self._look(image, working)
            except TimeoutError:
                raise Timeout(call.timeout_seconds) from None
        assert isinstance(parameters, EditParameters)
        return self._answer(found, working, parameters.instruction)

    async def _look(self, image: bytes, working: tuple[int, int]) -> Look:
        """Measure an image in a thread; a large one does not delay the others."""
        try:
            return await self._small.run(partial(look, image, working, _SMALL_PIXELS))
        except Larger as found:
            return await self._large.run(partial(look, image, working, found.pixels))

    def _answer(self, found: Look, working: tuple[int, int], instruction: str) -> Response:
        busy = is_busy(found.entropy_bits, self._limit_bits)
        advice, kind = advice_on(busy_background=busy), "busy" if busy else "calm"
        edits, ratio = successes(self._front.meter, kind)
        content = {
            "advice": advice,
            "summary": _SUMMARY if busy else None,
            "background": {
                "kind": kind,
                "entropy_bits": round(found.entropy_bits, 2),
                "limit_bits": self._limit_bits,
                "edits": edits,
                "success_ratio": ratio,
            },
            "image": {
                "width": found.size[0],
                "height": found.size[1],
                "working_width": working[0],
                "working_height": working[1],
                "brightness_ratio": round(found.brightness, 3),
                "contrast_ratio": round(found.contrast, 3),
            },
            "instruction_type": self._front.taxonomy.classify(instruction) if instruction else None,
        }
        return json_response(content, advice_headers(advice))


def look(image: bytes, working: tuple[int, int], at_most: float) -> Look:
    """Return what is measured of an image. Raises Larger, and what decoding raises."""
    # Here, because an API process that checks no image needs no NumPy.
    from safelight.quality.entropy import background_entropy

    seen = sample(image, working, at_most)
    grey = ImageStat.Stat(seen.convert("L"))
    return Look(measure(image), background_entropy(seen), grey.mean[0] / 255, grey.stddev[0] / 255)


def successes(meter: Meter, background: str) -> tuple[int, float | None]:
    """Return how many edits of such a background ended, and the share that succeeded, if any."""
    numbers = [
        current(BACKGROUNDS, meter.child(BACKGROUNDS, background, outcome))[0]
        for outcome in ("succeeded", "failed")
    ]
    edits = round(sum(numbers))
    return edits, round(numbers[0] / edits, 3) if edits else None


def add_edit_check(api: FastAPI, front: Front) -> None:
    """Add the route for checks of edits."""
    check = EditCheck(front)
    properties, _ = fields_of(CheckParameters)

    @api.post(
        _PATH,
        name="check",
        tags=["model"],
        summary="Tell before an edit whether it is likely to fail; the model does nothing.",
        response_class=Response,
        openapi_extra=with_image_only(properties, of_checks(*READ_ERRORS, *IMAGE_ERRORS)),
    )
    async def answer(request: Request) -> Response:
        return await check.answer(request)
