"""Ten thousand different instructions, sizes, paths and methods: the exposition stays small."""

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
MAX_LINES = 5000
MAX_SECONDS = 0.060


def service() -> FastAPI:
    app, taxonomy = FastAPI(), load_taxonomy()

    @app.post("/edit/{instruction}")
    async def edit(instruction: str) -> None:
        number = int(instruction.rpartition(" ")[2])
        call_model(
            taxonomy.classify(instruction),
            error=("none", "cuda_oom", f"unknown {number}")[number % 3],
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


def unique_record(number: int) -> Record:
    """Return the record of a request with unique values."""
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
    for number in range(REQUESTS_SENT):  # also values that no route of this application produces
        write(unique_record(number))
        watched.meter.add(HTTP_REQUESTS, f"/{number}", f"METHOD{number}", f"{number}")
        watched.meter.observe(HTTP_SECONDS, f"/{number}", f"METHOD{number}", value=0.1)
    watched.unwatch()
    return watched


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_flood_exposes_at_most_five_thousand_lines(flooded: Watch, accept: str) -> None:
    assert text(flooded, accept).count("\n") <= MAX_LINES


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_exposition_after_a_flood_is_written_in_time(flooded: Watch, accept: str) -> None:
    best = min(processor_seconds(lambda: flooded.expose(accept)) for _ in range(15))
    assert best <= MAX_SECONDS * slowness()


def test_every_request_of_a_flood_is_counted(flooded: Watch) -> None:
    assert value(flooded, REQUESTS) == 2 * REQUESTS_SENT
    assert value(flooded, HTTP_REQUESTS) == 3 * REQUESTS_SENT
    assert value(flooded, IMAGES) == REQUESTS_SENT
    assert value(flooded, SERIES_FOLDED) > 0


def test_unknown_values_of_closed_labels_are_not_exposed(flooded: Watch) -> None:
    assert {labels["error"] for labels in series(flooded, REQUESTS)} <= {
        "none",
        "cuda_oom",
        "other",
    }
    assert {labels["method"] for labels in series(flooded, HTTP_REQUESTS)} == {"POST", "other"}
    assert "METHOD" not in text(flooded)
