"""`safelight records`, `radar` and `tradeoff`, on real database files."""

import json
import sqlite3
import subprocess
import sys
from io import StringIO
from pathlib import Path
from time import time
from xml.etree import ElementTree

import pytest

from safelight.records.rows import Rating
from tests.cli.conftest import Call
from tests.records.making import FakeClock, a_call, a_record, a_store, an_assessment, opened


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of records with 90 requests; the settings contain it too."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", url)
    clock = FakeClock(time() - 3600)
    store, _ = a_store(url, clock)
    for number in range(90):
        clock.now += 1
        kind = "rare" if 40 <= number < 44 else ("make_him_old", "add_hat")[number // 20 % 2]
        steps = 10 if number % 2 else 20
        good = kind != "add_hat" or number % 4
        result = {"error": "none" if good else "model_error", "status_code": 200 if good else 500}
        call = a_call(step_seconds=(0.1,) * steps)
        name, seconds = f"{number:03}", steps / 10
        store.write(
            a_record(
                name,
                instruction_type=kind,
                seconds=seconds,
                calls=(call,),
                device_seconds=2.0,
                **result,
            )
        )
        store.assess(
            an_assessment(name, instruction_type=kind, score=0.4 + steps / 100 + number / 1e3)
        )
        store.rate(Rating(name, kind, 1 + number * 5 // 90, "none"))
    store.step()
    store.close()
    return url


def test_the_radar_is_shown_with_counts_intervals_best_and_worst(call: Call, records: str) -> None:
    done = call("radar", "--since", "1d")
    assert done.code == 0
    assert "make_him_old" in done.out
    assert "too few" in done.out
    assert " of 4" in done.out
    assert done.out.index("Best") < done.out.index("Worst")
    assert "Spearman" in done.out
    best, _, worst = done.out.partition("Best")[2].partition("Worst")
    assert "make_him_old" in best
    assert "add_hat" in worst


def test_the_radar_shows_what_the_types_cost(
    call: Call, records: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpriced = call("radar", "--since", "1d").out
    assert "Cost without idle time" in unpriced
    assert "of failed" in unpriced
    assert "wasted" not in unpriced
    assert "set SAFELIGHT_GPU_HOUR_PRICE" in " ".join(unpriced.split())

    monkeypatch.setenv("SAFELIGHT_GPU_HOUR_PRICE", "3.6")
    assert "set SAFELIGHT_GPU_HOUR_PRICE" not in call("radar", "--since", "1d").out
    costs = {each["name"]: each for each in json.loads(call("radar", "--json").out)["costs"]}
    hat = costs["add_hat"]  # a quarter of its 40 requests failed
    assert (hat["good"], hat["device_seconds"]) == (30, pytest.approx(80.0))
    assert hat["failed_seconds"] == pytest.approx(20.0, abs=2)
    assert hat["seconds_per_good"] == pytest.approx(80 / 30)
    assert hat["price_per_good"] == pytest.approx(80 / 30 / 1000)


def test_the_radar_is_json_and_svg(call: Call, records: str, tmp_path: Path) -> None:
    file = tmp_path / "radar.svg"
    done = call("radar", "--json", "--svg", str(file), "--service", "tests")
    document = json.loads(done.out)
    assert document["requests"] == 90
    assert document["agreement"]["count"] == document["rated"] == 90
    assert document["agreement"]["value"] > 0.2
    assert document["leaders"] == ["make_him_old", "add_hat"]
    ElementTree.fromstring(file.read_text())


def test_z7_the_tradeoff_is_shown_as_a_table_json_and_svg(
    call: Call, records: str, tmp_path: Path
) -> None:
    file = tmp_path / "tradeoff.svg"
    done = call("tradeoff", "--svg", str(file))
    assert done.out.count("worth choosing") == 2
    assert "10 steps, 64x48, float16" in done.out
    ElementTree.fromstring(file.read_text())
    document = json.loads(call("tradeoff", "--json", "--by", "rating").out)
    assert (document["by"], len(document["choices"])) == ("rating", 2)
    assert call("tradeoff", "--by", "adherence").out.startswith("No setting has 5 requests")


def test_a_setting_with_too_few_requests_is_counted_as_omitted(records: str, call: Call) -> None:
    with opened(records) as database, database.engine.begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM safelight_requests WHERE steps = 10 AND at > "
            "(SELECT min(at) + 8 FROM safelight_requests)"
        )
    out = call("tradeoff").out
    assert "20 steps, 64x48, float16" in out
    assert "Omitted because of fewer than 5 requests: 1 setting." in out


@pytest.mark.parametrize("command", ["radar", "tradeoff"])
def test_an_unknown_service_in_the_records_is_one_line_with_the_known_ones(
    command: str, call: Call, records: str
) -> None:
    done = call(command, "--service", "nosuch")
    assert (done.code, done.out) == (3, "")
    assert done.line == "safelight: The records have no service 'nosuch'; they have tests."
    assert call(command, "--service", "tests", "--since", "1s").code == 0


def test_records_are_described_exported_and_purged(call: Call, records: str) -> None:
    document = json.loads(call("records", "info", "--json").out)
    some = dict.fromkeys(("requests", "assessments", "ratings"), 90)
    assert document["rows"] == {**some, "pairs": 0, "samples": 0}
    assert document["agreement"]["count"] == 90
    table = call("records", "info").out
    assert "KiB" in table
    assert "correlation of rating and score, of 90" in table

    lines = [json.loads(line) for line in call("records", "export").out.splitlines()]
    assert len(lines) == 90
    assert lines[0]["request_id"] == "000"
    assert lines[0]["found_score"] == pytest.approx(0.6)
    assert lines[0]["rating"] == 1
    assert not {"prompt", "prompt_hash", "owner_hash"} & set(lines[0])
    assert call("records", "export", "--since", "1m").out == ""

    assert "0 rows deleted" in call("records", "purge", "--older-than", "2h", "--yes").out
    assert "270 rows deleted" in call("records", "purge", "--older-than", "30m", "--yes").out
    assert json.loads(call("records", "info", "--json").out)["rows"]["requests"] == 0


@pytest.mark.parametrize(
    ("answer", "code", "message", "remaining"),
    [("n\n", 0, "Nothing deleted.", 90), ("y\n", 0, "270 rows deleted.", 0), ("", 130, "", 90)],
)
def test_a_purge_deletes_only_after_confirmation(
    answer: str,
    code: int,
    message: str,
    remaining: int,
    call: Call,
    records: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(answer))
    done = call("records", "purge", "--older-than", "30m")

    assert (done.code, message in done.out) == (code, True)
    assert f"Delete all records of {records} from before" in done.out
    assert json.loads(call("records", "info", "--json").out)["rows"]["requests"] == remaining


def test_a_closed_pipe_is_not_reported_as_a_database_error(records: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m safelight records export | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 1
    assert "cannot be used" not in done.stderr


def test_an_upgrade_creates_the_tables_and_prints_the_address(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "new" / "records.db"
    done = call("records", "upgrade", "--records-url", f"sqlite:///{file}")
    assert (done.code, str(file) in done.out) == (0, True)
    assert call("records", "info", "--records-url", f"sqlite:///{file}").code == 0


@pytest.mark.parametrize(
    "command", [("records", "info"), ("radar",), ("tradeoff",), ("records", "export")]
)
def test_records_of_a_newer_version_are_one_clear_line(
    call: Call, records: str, command: tuple[str, ...]
) -> None:
    with opened(records) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE safelight_version SET version_num = '9999'")
    done = call(*command)
    assert (done.code, done.out) == (3, "")
    assert "newer Safelight" in done.line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("radar", "--since", "yesterday"), "90s, 5m, 24h or 7d (1 s to 10 years)"),
        (("radar", "--since", "0d"), "'0d' is not a valid duration"),
        (("radar", "--target-seconds", "nan"), "is nan; allowed: 0.001 to 3600"),
        (("tradeoff", "--by", "beauty"), "'beauty' is not one of"),
        (("radar", "--records-url", ""), "SAFELIGHT_RECORDS_URL is empty"),
        (("radar", "--records-url", "mysql://x"), "SAFELIGHT_RECORDS_URL"),
        (("tradeoff", "--records-url", "sqlite:///nowhere.db"), "no records at nowhere.db"),
        (
            ("records", "purge", "--older-than", "1h", "--yes", "--records-url", "sqlite:///no.db"),
            "no records at no.db",
        ),
        (
            ("records", "info", "--records-url", "postgresql://me:secret@127.0.0.1:1/x"),
            "me:***@127.0.0.1:1/x",
        ),
    ],
)
def test_an_invalid_command_is_one_clear_line(
    call: Call,
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.code in (2, 3)
    assert message in done.line
    assert "secret" not in done.line
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_database_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"no database " * 500)
    done = call("records", "info", "--records-url", f"sqlite:///{tmp_path / 'noise'}")
    assert done.code == 3
    assert "not a database" in done.line


def test_an_unwritable_svg_is_one_clear_line(call: Call, records: str, tmp_path: Path) -> None:
    done = call("radar", "--svg", str(tmp_path / "no" / "radar.svg"))
    assert (done.code, done.out) == (2, "")
    assert "cannot be written" in done.line


def test_reading_works_while_another_process_writes(call: Call, records: str) -> None:
    writing = sqlite3.connect(records.removeprefix("sqlite:///"), isolation_level=None)
    writing.execute("BEGIN IMMEDIATE")
    try:
        assert call("radar").code == 0
    finally:
        writing.close()
