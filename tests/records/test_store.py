"""The store with a real SQLite and a real PostgreSQL."""

import asyncio
import json
from dataclasses import astuple, fields
from pathlib import Path

import pytest

from safelight.errors import InvalidParameter, RecordsUnusable
from safelight.records import queries
from safelight.records.config import Limits
from safelight.records.queries import export_rows, read_requests
from safelight.records.rows import Origin, Rating, StoredRequest
from safelight.records.store import BATCH
from safelight.records.tasks import MAX_TASKS
from safelight.telemetry.record import Exchange, finish
from safelight.telemetry.timeline import Timeline
from tests.records.making import (
    NOW,
    OWNER,
    PROMPT,
    FakeClock,
    a_call,
    a_counterpart,
    a_record,
    a_store,
    an_assessment,
    counted,
    opened,
    rows,
)
from tests.stack.waiting import eventually


def test_p17_every_effective_parameter_is_stored(url: str) -> None:
    store, meter = a_store(url)
    store.write(a_record(truncated=True, degraded=("fewer_steps",)))

    assert store.step() > 0

    [row] = rows(url, "requests")
    assert {
        name: row[name]
        for name in (
            "request_id",
            "at",
            "namespace",
            "model",
            "endpoint",
            "status_code",
            "error",
            "instruction_type",
            "seconds",
            "queue_seconds",
            "pipeline",
            "precision",
            "steps_asked",
            "steps",
            "width",
            "height",
            "guidance_asked",
            "guidance_in_force",
            "image_guidance_asked",
            "image_guidance_in_force",
            "overridden",
            "degraded",
            "seed",
            "trace_id",
            "background_entropy",
            "batch",
        )
    } == {
        "request_id": "one",
        "at": NOW,
        "namespace": "tests",
        "model": "demo-edit",
        "endpoint": "/api/edit",
        "status_code": 200,
        "error": "none",
        "instruction_type": "make_him_old",
        "seconds": 1.5,
        "queue_seconds": 0.5,
        "pipeline": "Pix",
        "precision": "float16",
        "steps_asked": 2,
        "steps": 2,
        "width": 64,
        "height": 48,
        "guidance_asked": 7.5,
        "guidance_in_force": 7.5,
        "image_guidance_asked": 0.5,
        "image_guidance_in_force": 1.0,
        "overridden": "image_guidance_scale",
        "degraded": "fewer_steps",
        "seed": 7,
        "trace_id": "ab" * 16,
        "background_entropy": 5.5,
        "batch": 1,
    }
    assert row["negative_prompt"]
    assert row["truncated"]
    stages = row["stages"] if isinstance(row["stages"], dict) else json.loads(row["stages"])
    assert stages == {"queue": 0.5, "denoise": 1.0}
    assert (counted(meter, "written"), counted(meter, "lost"), store.waiting) == (1, 0, 0)


def test_a_prompt_is_hashed_unless_it_may_be_stored(url: str) -> None:
    for number, allowed in enumerate((False, True)):
        store, _ = a_store(url, origin=Origin("tests", "demo", store_prompts=allowed))
        store.write(a_record(str(number)))
        store.write(a_record(f"{number} other", prompt="something else\0"))
        store.step()

    found = {row["request_id"]: row for row in rows(url, "requests")}
    assert [found[name]["prompt"] for name in ("0", "1", "1 other")] == [
        None,
        PROMPT,
        "something else",
    ]
    assert found["0"]["prompt_hash"] == found["1"]["prompt_hash"]
    assert found["0"]["prompt_hash"] != found["0 other"]["prompt_hash"]
    assert PROMPT not in str(found["0"])
    assert OWNER not in str(found["0"]["owner_hash"])


def test_two_installations_hash_the_same_prompt_differently(tmp_path: Path) -> None:
    hashes = set()
    for name in ("here", "there"):
        file = f"sqlite:///{tmp_path / name}"
        store, _ = a_store(file)
        store.write(a_record())
        store.step()
        hashes.add(rows(file, "requests")[0]["prompt_hash"])
    assert len(hashes) == 2


def test_the_repr_of_a_record_has_no_prompt_or_owner() -> None:
    exchange = Exchange(Timeline(), prompt=PROMPT, owner=OWNER)
    text = f"{exchange!r} {finish(exchange, '/api/edit', 200, 'none')!r}"
    assert PROMPT not in text
    assert OWNER not in text
    assert finish(exchange, "/", 200, "none").facts.prompt == PROMPT


def test_a_record_has_all_facts_of_its_exchange() -> None:
    facts = a_record().facts
    exchange = Exchange(
        Timeline(), **{each.name: getattr(facts, each.name) for each in fields(facts)}
    )
    assert astuple(finish(exchange, "/", 200, "none").facts) == astuple(facts)


def test_a_record_that_is_written_twice_is_stored_once(url: str) -> None:
    store, _ = a_store(url)
    for _ in range(2):
        store.write(a_record())
        store.assess(an_assessment())
        store.step()
    assert len(rows(url, "requests")) == len(rows(url, "assessments")) == 1


def test_of_several_ratings_the_last_is_kept(url: str) -> None:
    store, _ = a_store(url)
    store.write(a_record())
    for rating in (1, 3):
        store.rate(Rating("one", "make_him_old", rating, "slow"))
    assert store.waiting == 2
    store.step()
    store.rate(Rating("one", "make_him_old", 5, "none"))
    store.step()
    [row] = rows(url, "ratings")
    assert (row["rating"], row["reason"]) == (5, "none")


def test_of_a_request_with_many_calls_only_the_last_one_waits(file: str) -> None:
    store, _ = a_store(file)
    calls = (a_call(pipeline="first"), *[a_call()] * 254, a_call(pipeline="last"))
    store.write(a_record(calls=calls))
    [(_, waiting)] = store._buffer.take(1).entries
    assert len(getattr(waiting, "calls", ())) == 1
    store.step()
    [row] = rows(file, "requests", "pipeline, at, request_id")
    assert row["pipeline"] == "last"


def test_nan_and_infinity_are_stored_as_null(url: str) -> None:
    store, meter = a_store(url)
    store.assess(an_assessment(score=float("nan"), structure=float("inf"), adherence=0.5))
    store.step()
    [row] = rows(url, "assessments")
    assert (row["score"], row["structure"], row["adherence"]) == (None, None, 0.5)
    assert counted(meter, "lost") == 0


def test_only_small_thumbnails_are_stored_and_only_if_samples_are_enabled(url: str) -> None:
    for name, enabled, size in (("no", False, 10), ("yes", True, 10), ("large", True, 70_000)):
        store, _ = a_store(url, samples=enabled)
        store.assess(an_assessment(name, before=b"b" * size, after=b"a" * size))
        store.step()
    [row] = rows(url, "samples")
    assert (row["request_id"], bytes(row["before"])) == ("yes", b"b" * 10)
    assert len(rows(url, "assessments")) == 3


def test_samples_are_bounded_per_type_and_outcome(url: str) -> None:
    clock = FakeClock()
    store, _ = a_store(url, clock, samples=True, limits=Limits(samples_per_type=3))
    for number in range(20):
        clock.now += 1
        error = "none" if number % 5 else "structure_corruption"
        kind = "add_hat" if number % 2 else "make_him_old"
        store.assess(an_assessment(f"{number:02}", instruction_type=kind, error=error, after=b"x"))
        store.step()

    kept: dict[tuple[str, bool], list[str]] = {}
    for row in rows(url, "samples"):
        kept.setdefault((row["instruction_type"], bool(row["failed"])), []).append(
            row["request_id"]
        )
    assert kept == {
        ("add_hat", False): ["13", "17", "19"],
        ("add_hat", True): ["05", "15"],
        ("make_him_old", False): ["14", "16", "18"],
        ("make_him_old", True): ["00", "10"],
    }


def test_a_forgotten_request_is_deleted_and_not_written_again(url: str) -> None:
    store, _ = a_store(url, samples=True)
    for name in ("one", "other"):
        store.write(a_record(name))
        store.assess(an_assessment(name, after=b"x"))
        store.rate(Rating(name, "make_him_old", 4, "none"))
    store.step()
    done = store.forget("one")
    store.assess(an_assessment("one", after=b"late"))
    store.step()

    assert done.result(0) is None
    for table in ("requests", "assessments", "ratings", "samples"):
        assert [row["request_id"] for row in rows(url, table)] == ["other"], table


def test_what_a_second_model_made_is_kept_beside_the_record_and_survives_a_restart(
    url: str,
) -> None:
    store, meter = a_store(url, samples=True)
    store.write(a_record())
    store.assess(an_assessment(before=b"b", after=b"a"))
    store.step()
    store.compare(a_counterpart(image=b"second"))
    store.step()
    store.close()

    with opened(url) as database:
        [row] = queries.find_rows(database, "one")
        assert (row["second_model"], row["second_measures"]) == (
            "demo-two",
            {"latency": 1.5, "score": -0.25},
        )
        assert queries.sample_of(database, "one") == (b"b", b"a", b"second")
        assert [each["second_model"] for each in queries.export_rows(database)] == ["demo-two"]
    assert counted(meter, "lost") == 0
    assert counted(meter, "written") == 3


def test_a_record_that_was_not_compared_says_nothing_of_a_second_model(url: str) -> None:
    store, _ = a_store(url, samples=True)
    store.write(a_record())
    store.assess(an_assessment(after=b"a"))
    store.step()
    with opened(url) as database:
        [row] = queries.find_rows(database, "one")
        assert not {"second_model", "second_measures"} & row.keys()
        assert queries.sample_of(database, "one") == (b"", b"a", b"")


def test_the_second_models_image_is_kept_only_beside_a_small_sample(url: str) -> None:
    store, _ = a_store(url, FakeClock(), samples=True, limits=Limits(samples_per_type=2))
    for name, image in (("alone", b"s"), ("large", b"s" * 70_000), ("newest", b"s")):
        store.write(a_record(name))
        if name != "alone":
            store.assess(an_assessment(name, after=b"a"))
        store.compare(a_counterpart(name, image=image))
        store.step()
    assert len(rows(url, "pairs")) == 3
    kept = {row["request_id"]: row["second"] for row in rows(url, "samples")}
    assert kept.keys() == {"large", "newest"}
    assert kept["large"] is None
    assert bytes(kept["newest"]) == b"s"

    store, _ = a_store(url, samples=False)
    store.compare(a_counterpart("large", image=b"other"))
    store.step()
    assert {row["request_id"]: row["second"] for row in rows(url, "samples")} == kept


@pytest.mark.parametrize("through", ["this service", "another service"])
def test_a_pair_that_arrives_after_the_deletion_does_not_come_back(url: str, through: str) -> None:
    store, meter = a_store(url, samples=True)
    for name in ("one", "other"):
        store.write(a_record(name))
        store.assess(an_assessment(name, after=b"x"))
        store.compare(a_counterpart(name, image=b"x"))
    store.step()
    deleting = store if through == "this service" else a_store(url)[0]
    done = deleting.forget("one")
    deleting.step()
    assert done.result(0) is None
    store.compare(a_counterpart("one", image=b"late"))
    store.step()

    for table in ("requests", "pairs", "samples"):
        assert [row["request_id"] for row in rows(url, table)] == ["other"], table
    assert counted(meter, "lost") == 0


def test_unknown_values_of_a_pair_are_left_out_and_its_measures_are_bounded(url: str) -> None:
    store, _ = a_store(url)
    store.write(a_record())
    many = {f"measure {number}": float(number) for number in range(50)}
    store.compare(a_counterpart(measures={"latency": float("nan"), **many}, model="m\0" * 200))
    store.step()
    [row] = rows(url, "pairs")
    measures = row["measures"]
    kept = json.loads(measures) if isinstance(measures, str) else measures
    assert len(kept) == 20
    assert "latency" not in kept
    assert len(row["model"]) <= 200


def test_a_pair_that_does_not_fit_the_buffer_is_counted_as_lost(file: str) -> None:
    store, meter = a_store(file, capacity=1)
    store.write(a_record())
    store.compare(a_counterpart())
    assert counted(meter, "lost") == 1
    store.step()
    assert rows(file, "pairs") == []


def test_pairs_expire_with_their_records(url: str) -> None:
    clock = FakeClock()
    store, _ = a_store(url, clock, samples=True)
    store.write(a_record())
    store.compare(a_counterpart())
    store.step()
    clock.now += 40 * 86_400
    store.step()
    assert rows(url, "requests") == rows(url, "pairs") == []


def test_a_waiting_request_can_be_forgotten(url: str) -> None:
    store, _ = a_store(url)
    store.write(a_record())
    store.forget("one")
    store.step()
    assert rows(url, "requests") == []


def test_only_the_owner_finds_a_request(url: str) -> None:
    store, _ = a_store(url)
    store.write(a_record())
    store.write(a_record("failed", status_code=500, error="model_error"))
    store.rate(Rating("one", "make_him_old", 2, "none"))
    queries = (("one", OWNER), ("one", "bob"), ("one", ""), ("none", OWNER), ("failed", OWNER))
    futures = [store.find(*query) for query in queries]
    store.step()
    [mine], *others, [failed] = (future.result(0) for future in futures)
    assert (mine.instruction_type, mine.rating, mine.answered) == ("make_him_old", 2, True)
    assert others == [[], [], []]
    assert not failed.answered


def test_a_request_is_found_by_the_key_of_its_owner_alone(url: str) -> None:
    store, _ = a_store(url)
    store.write(a_record("one", owner="ann", key="key"))
    store.write(a_record("two", owner="bob", key="key"))
    store.write(a_record("three", owner="bob", key="one"))
    queries = (("key", "ann"), ("key", "bob"), ("one", "bob"), ("one", "ann"), ("key", "cid"))
    futures = [store.find(*query) for query in queries]
    store.step()

    found = [[each.request_id for each in future.result(0)] for future in futures]
    assert found == [["one"], ["two"], ["three"], ["one"], []]


def test_too_many_tasks_are_refused_at_once(file: str) -> None:
    store, _ = a_store(file)
    futures = [store.find("one", OWNER) for _ in range(MAX_TASKS + 1)]
    with pytest.raises(RecordsUnusable, match="too many"):
        futures[-1].result(0)
    store.step()
    assert futures[0].result(0) == []


@pytest.mark.parametrize("request_id", ["a\0b", "a\ud800b"])
def test_an_unusable_request_id_is_the_callers_error_and_the_store_keeps_writing(
    request_id: str, url: str
) -> None:
    store, meter = a_store(url)
    for query in (lambda: store.find(request_id, OWNER), lambda: store.forget(request_id)):
        with pytest.raises(InvalidParameter, match="request id"):
            query()
    directly = store.submit(lambda recorder: recorder.find(request_id, OWNER))
    deleted = store.submit(lambda recorder: recorder.forget(request_id))
    store.write(a_record())
    store.write(a_record(request_id))
    assert store.step() == 1.0, "no pause as after a database failure"
    for future in (directly, deleted):
        with pytest.raises(InvalidParameter, match="request id"):
            future.result(0)
    assert (counted(meter, "written"), counted(meter, "lost")) == (2, 0)


def test_an_unusable_service_name_is_the_callers_error(url: str) -> None:
    with opened(url) as database:
        for name in ("a\0b", "a\ud800b"):
            with pytest.raises(InvalidParameter, match="service"):
                read_requests(database, namespace=name)
            with pytest.raises(InvalidParameter, match="service"):
                list(export_rows(database, namespace=name))
        assert read_requests(database, namespace="unknown") == []


def test_records_are_written_in_batches_in_order(file: str) -> None:
    store, meter = a_store(file)
    for number in range(2 * BATCH + 1):
        store.write(a_record(str(number)))
    assert [store.step(), store.step()] == [0.0, 0.0]
    assert store.waiting == 1
    assert store.step() > 0
    assert counted(meter, "written") == 2 * BATCH + 1


def test_an_invalid_row_does_not_stop_the_others(server: object, url: str) -> None:
    store, meter = a_store(url)
    store.write(a_record("good"))
    store.write(a_record("bad", status_code="no number" * 2**8 if "sqlite" not in url else {}))
    store.write(a_record("better"))
    store.write(a_record("unreadable", stages=None))
    store.step()
    assert [row["request_id"] for row in rows(url, "requests")] == ["better", "good"]
    assert (counted(meter, "written"), counted(meter, "lost"), store.waiting) == (2, 2, 0)


def test_a_started_store_writes_everything_when_it_stops(url: str) -> None:
    store, meter = a_store(url)
    store.start()
    try:
        store.write(a_record("one"))
        eventually(lambda: counted(meter, "written") == 1, within=20, what="the record is written")
        for number in range(BATCH + 10):
            store.write(a_record(str(number)))
    finally:
        store.stop(20)
    assert len(rows(url, "requests")) == BATCH + 11
    assert counted(meter, "lost") == 0


def test_a_future_of_the_store_can_be_awaited(file: str) -> None:
    store, _ = a_store(file)

    async def found() -> list[StoredRequest]:
        future = asyncio.wrap_future(store.find("one", OWNER))
        store.step()
        return await future

    assert asyncio.run(found()) == []


def test_a_call_without_images_and_a_request_without_a_call_are_stored(url: str) -> None:
    store, meter = a_store(url)
    store.write(a_record("call", calls=(a_call(images=(), step_seconds=()),)))
    store.write(a_record("none", calls=(), prompt=None, trace_id=None, seed=None, owner=""))
    store.step()
    assert counted(meter, "written") == 2
    found = {row["request_id"]: row for row in rows(url, "requests")}
    assert (found["call"]["width"], found["call"]["steps"]) == (None, 2)
    assert (found["none"]["prompt_hash"], found["none"]["owner_hash"]) == (None, None)
