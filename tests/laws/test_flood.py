"""Ten thousand different instructions, sizes, paths and methods, and what they may cost."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from safelight import Facts, Record, Watch, watch
from safelight.metrics.catalog import HTTP_REQUESTS, HTTP_SECONDS, IMAGES, REQUESTS, SERIES_FOLDED
from safelight.quality.instructions import load_taxonomy
from safelight.telemetry.meter import metrics_sink
from tests.probes.web import EMPTY_BODY, call_model, drive, scope_of
from tests.reading import OPENMETRICS, processor_seconds, series, slowness, text, value

REQUESTS_SENT = 10_000
MOST_LINES = 5000
MOST_SECONDS = 0.060


def service() -> FastAPI:
    app, taxonomy = FastAPI(), load_taxonomy()

    @app.post("/edit/{instruction}")
    async def edit(instruction: str) -> None:
        number = int(instruction.rpartition(" ")[2])
        call_model(
            taxonomy.classify(instruction),
            error=("none", "cuda_oom", f"strange {number}")[number % 3],
            images=((64 + number, 9999 - number),),
            precision=f"fp{number}",
            step_seconds=(0.01,) * (number % 60),
        )

    return app


async def flood(app: Any) -> None:
    kinds = ("make him {} years old", "hat number {}", "background {}", "qwertz {}", "变老 {}")
    for number in range(REQUESTS_SENT):
        instruction = kinds[number % len(kinds)].format(number)
        await drive(app, scope_of(f"/edit/{instruction} {number}", "POST"), EMPTY_BODY)
        await drive(app, scope_of(f"/{number}", f"METHOD{number}"), EMPTY_BODY)


def stranger(number: int) -> Record:
    """Return the record of a request that is like no other."""
    return Record(
        Facts(id=str(number), instruction_type=f"type {number}", queued=True),
        endpoint=f"/{number}",
        status_code=number,
        error=f"error {number}",
        seconds=number / 100,
        stages={f"stage {number}": number / 100},
    )


@pytest.fixture(scope="module")
def flooded() -> Watch:
    app = service()
    watched = watch(app=app)
    asyncio.run(flood(app))
    write = metrics_sink(watched.meter)
    for number in range(REQUESTS_SENT):  # and what no route of this application could bring about
        write(stranger(number))
        watched.meter.add(HTTP_REQUESTS, f"/{number}", f"METHOD{number}", f"{number}")
        watched.meter.observe(HTTP_SECONDS, f"/{number}", f"METHOD{number}", value=0.1)
    watched.unwatch()
    return watched


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_flood_leaves_no_more_than_five_thousand_lines(flooded: Watch, accept: str) -> None:
    assert text(flooded, accept).count("\n") <= MOST_LINES


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_flooded_exposition_is_written_in_time(flooded: Watch, accept: str) -> None:
    best = min(processor_seconds(lambda: flooded.expose(accept)) for _ in range(15))
    assert best <= MOST_SECONDS * slowness()


def test_a_flood_is_counted_to_the_last_request(flooded: Watch) -> None:
    assert value(flooded, REQUESTS) == 2 * REQUESTS_SENT
    assert value(flooded, HTTP_REQUESTS) == 3 * REQUESTS_SENT
    assert value(flooded, IMAGES) == REQUESTS_SENT
    assert value(flooded, SERIES_FOLDED) > 0


def test_nothing_that_callers_invented_for_a_closed_set_is_a_label(flooded: Watch) -> None:
    assert {found["error"] for found in series(flooded, REQUESTS)} <= {"none", "cuda_oom", "other"}
    assert {found["method"] for found in series(flooded, HTTP_REQUESTS)} == {"POST", "other"}
    assert "METHOD" not in text(flooded)
