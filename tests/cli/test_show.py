"""`safelight show`, on real records, a real log and a real Prometheus."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from safelight.records.rows import Rating
from safelight.telemetry.ecs import request_line
from safelight.telemetry.record import Record
from tests.cli.conftest import Call
from tests.diagnosis.past import becomes_slow, prometheus, samples_of
from tests.records.making import FakeClock, a_counterpart, a_record, a_store, an_assessment

AT = datetime(2026, 3, 2, 12, 19, tzinfo=UTC).timestamp()
ID, KEY = "5c1f09aa27de4b1c8d3f0a6b7c8d9e0f", "3b241101-e2bb-4255-8caf-4136c566a962"
NOWHERE = ("--prometheus", "")


def the_record() -> Record:
    record = a_record(ID, seconds=3.0, stages={"queue": 2.0, "denoise": 1.0})
    return replace(record, facts=replace(record.facts, key=KEY, device_seconds=0.8))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log; the settings contain the records, with nine requests before the one."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", url)
    clock = FakeClock(AT - 100)
    store, _ = a_store(url, clock, samples=True)
    for number in range(9):
        clock.now += 1
        stages = {"queue": 0.5, "denoise": 1.0}
        store.write(a_record(f"earlier{number}", seconds=1.5, stages=stages))
    clock.now = AT
    store.write(the_record())
    store.assess(an_assessment(ID, before=b"before", after=b"after"))
    store.rate(Rating(ID, "make_him_old", 2, "artifacts"))
    measures = {"latency": 1.25, "validity": 0.0, "score": -0.031, "image_difference": 0.2}
    store.compare(a_counterpart(ID, model="b, 12 steps", measures=measures, image=b"second"))
    store.step()
    store.close()
    file = tmp_path / "safelight.log"
    lines = [request_line("info", record, {}) for record in (a_record("earlier0"), the_record())]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("name", [ID, KEY])
def test_one_page_has_the_record_its_stages_and_its_log(call: Call, log: Path, name: str) -> None:
    done = call("show", name, "--log", str(log), *NOWHERE)
    assert done.code == 0
    out = " ".join(done.out.split())
    assert out.startswith("200 ok after 3 s, 2026-03-02T12:19:00Z")
    assert f"tests /api/edit, make_him_old, {ID}" in out
    assert "steps 2, guidance_in_force 7.5, image_guidance_in_force 1, seed 7, batch 1" in out
    assert "rating 2, rating_reason artifacts" in out
    assert "queue 2 s 500 ms 4.0 times" in out
    assert "denoise 1 s 1 s" in out
    assert f"trace {'ab' * 16}" in out
    assert out.count(ID) == 2  # in the title and in the line of the log
    assert "earlier0" not in out


def test_the_cost_is_that_of_the_device_time_or_unknown(
    call: Call, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpriced = " ".join(call("show", ID, *NOWHERE).out.split())
    assert "cost device time 800 ms, price unknown" in unpriced
    unknown = " ".join(call("show", "earlier3", *NOWHERE).out.split())
    assert "cost unknown: the device time was not known" in unknown

    monkeypatch.setenv("SAFELIGHT_GPU_HOUR_PRICE", "2.5")
    priced = " ".join(call("show", ID, *NOWHERE).out.split())
    assert "cost device time 800 ms, price 0.000556" in priced  # 2.5 * 0.8 / 3600


def test_a_trace_leads_to_the_newest_of_its_requests(call: Call, log: Path) -> None:
    out = call("show", "ab" * 16, *NOWHERE).out
    assert "the newest of 10 requests with this id" in out
    assert ID in out
    assert "name the log file with --log" in out


def test_images_are_written_to_a_folder(call: Call, log: Path, tmp_path: Path) -> None:
    assert "--samples FOLDER writes them" in call("show", ID, *NOWHERE).out
    folder = tmp_path / "images"
    call("show", ID, "--samples", str(folder), *NOWHERE)
    assert (folder / f"{ID}-before.jpg").read_bytes() == b"before"
    assert (folder / f"{ID}-after.jpg").read_bytes() == b"after"
    assert (folder / f"{ID}-second.jpg").read_bytes() == b"second"


def test_what_a_second_model_made_is_said_in_plain_words(call: Call, log: Path) -> None:
    out = " ".join(call("show", ID, *NOWHERE).out.split())
    assert (
        "compared with b, 12 steps: latency 1.25 times, validity +0.0 points, score -3.1 points, "
        "image difference 20.0 points"
    ) in out
    assert "compared" not in call("show", "earlier3", *NOWHERE).out
    document = json.loads(call("show", ID, "--json").out)
    assert document["second_measures"]["latency"] == 1.25


def test_images_belong_to_whoever_asked_for_them(call: Call, log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run[/1]"
    assert "run[/1]" in call("show", ID, "--samples", str(folder), *NOWHERE).out
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_a_log_that_cannot_be_read_does_not_hide_the_record(call: Call, log: Path) -> None:
    done = call("show", ID.upper(), "--log", "/nowhere/x.log", *NOWHERE)
    assert (done.code, "unknown: /nowhere/x.log cannot be read" in done.out) == (0, True)
    assert "200 ok after 3 s" in done.out


def test_json_has_all_columns_the_usual_stages_and_the_lines(call: Call, log: Path) -> None:
    document = json.loads(call("show", ID, "--log", str(log), "--json").out)
    assert document["usual_stages"] == {"queue": 0.5, "denoise": 1.0}
    assert document["found_score"] == 0.75
    assert [json.loads(line)["http"]["request"]["id"] for line in document["log"]] == [ID]
    assert not {"owner_hash", "prompt_hash", "prompt"} & document.keys()


def test_with_few_earlier_requests_nothing_is_usual(call: Call, log: Path) -> None:
    out = call("show", "earlier3", *NOWHERE).out
    assert "too few earlier requests of this type" in out


def test_an_unknown_request_says_what_may_have_happened(call: Call, log: Path) -> None:
    done = call("show", "nothing")
    assert (done.code, "have no request 'nothing'" in done.line) == (2, True)


def test_without_prometheus_findings_are_unknown(call: Call, log: Path) -> None:
    done = call("show", ID, "--prometheus", "http://127.0.0.1:9")
    assert done.code == 0
    assert "findings at that time\n  unknown: " in done.out


def test_findings_of_that_time_are_on_the_page(call: Call, log: Path, tmp_path: Path) -> None:
    with prometheus(tmp_path / "past", samples_of("tests", becomes_slow)) as client:
        out = call("show", ID, "--prometheus", client.url).out
    assert "findings at that time\n  warning  " in out
