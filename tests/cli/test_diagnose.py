"""`safelight diagnose`, `forecast` and `trends`, against a real Prometheus."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from safelight.cli.diagnose import CODES
from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.finding import Severity
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import MonitoringFailed
from safelight.stories.conditions import Conditions
from safelight.stories.replay import free_port
from tests.cli.conftest import Call
from tests.diagnosis.past import FAULT_BEGIN, HEALTHY, becomes_slow, healthy, prometheus, samples_of
from tests.test_errors import CLASSES
from tests.truth.scene import NOW

AT = ("--at", "2026-03-02T12:20:00")


def down(t: float) -> Conditions:
    return replace(HEALTHY, up=t < FAULT_BEGIN)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    past = (samples_of("fine", healthy), samples_of("slow", becomes_slow), samples_of("down", down))
    with prometheus(tmp_path_factory.mktemp("past"), *past) as client:
        yield client.url


@pytest.mark.parametrize(
    ("service", "code", "headline"),
    [
        ("fine", 0, "fine (instructpix2pix): healthy, "),
        ("slow", 10, "slow (instructpix2pix): warning, decoding images is slow"),
        ("down", 20, "down (instructpix2pix): critical, part of the service is not monitored"),
    ],
)
def test_p13_the_exit_code_is_the_severity(
    call: Call, url: str, service: str, code: int, headline: str
) -> None:
    done = call("diagnose", service, "--prometheus", url, *AT)

    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(headline)
    assert [line for line in done.out.splitlines() if line != line.rstrip()] == []


def test_p13_a_finding_is_shown_with_its_evidence_remedy_and_experiment(
    call: Call, url: str
) -> None:
    out = " ".join(call("diagnose", "slow", "--prometheus", url, *AT).out.split())

    assert "warning Decoding images is slow slow_decode, 95 % sure" in out.replace("95%", "95 %")
    assert "seen stage decode: 9" in out
    assert "it waits for its input do Ask callers to send JPEG" in out
    assert "try Send the same image" in out
    assert "or other programs use the host's cores" in out


def test_the_limits_of_a_monitoring_file_change_the_findings(
    call: Call, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text("[thresholds]\nhost_ratio = 0.05\n")
    done = call("diagnose", "fine", "--prometheus", url, "--monitoring", str(file), *AT)

    assert done.code in (10, 20)
    assert "host_memory" in done.out


def test_the_worst_service_sets_the_exit_code_and_comes_first(call: Call, url: str) -> None:
    done = call("diagnose", "--prometheus", url, "--json", *AT)
    reports = json.loads(done.out)

    assert done.code == 20
    assert [report["service"] for report in reports] == ["down", "slow", "fine"]
    assert [report["severity"] for report in reports] == ["critical", "warning", "info"]


def test_json_has_every_field_of_a_finding(call: Call, url: str) -> None:
    [report] = json.loads(call("diagnose", "slow", "--prometheus", url, "--json", *AT).out)
    finding = report["findings"][0]

    assert report["at"] == "2026-03-02T12:20:00Z"
    assert (report["namespace"], report["window_seconds"]) == ("instructpix2pix", 300)
    assert set(finding) == {
        "check",
        "title",
        "severity",
        "confidence",
        "subject",
        "verdict",
        "evidence",
        "follows_from",
        "alternatives",
        "remedy",
        "next_experiment",
        "docs",
    }
    assert finding["check"] == "slow_decode"
    assert 0.5 <= finding["confidence"] <= 0.95
    assert finding["evidence"][0]["link"].startswith(f"{url}/graph?g0.expr=")
    page = Path(__file__).parents[2] / finding["docs"].partition("#")[0]
    assert f'id="{finding["docs"].partition("#")[2]}"' in page.read_text()


def test_every_query_of_the_evidence_runs_in_prometheus(call: Call, url: str) -> None:
    [report] = json.loads(call("diagnose", "slow", "--prometheus", url, "--json", *AT).out)
    queries = [e["query"] for f in report["findings"] for e in f["evidence"] if "query" in e]

    assert queries
    with Prometheus(url) as client:
        assert all(client.instant(query, NOW) for query in queries)


def test_the_page_is_one_file_without_scripts(call: Call, url: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    done = call("diagnose", "slow", "--prometheus", url, "--html", str(file), *AT)
    text = file.read_text()

    assert done.code == 10
    assert "Decoding images is slow" in text
    assert "<script" not in text
    assert "src=" not in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--at", "2126-01-01"), "2126-01-01 is in the future; Prometheus' time is "),
        (("--at", "yesterday"), "'yesterday' is not a valid time. Write 2h (ago)"),
        (("--window", "5 minutes"), "'5 minutes' is not a valid duration"),
        (("--window", "9d"), "10 s to 7 days"),
        (("--windw", "5m"), "No such option: --windw"),
        (("--watch", "no"), "Invalid value for '--watch'"),
        (("--watch", "5", *AT), "--watch cannot be combined with --at"),
    ],
)
def test_an_invalid_option_is_one_line(
    call: Call, url: str, arguments: tuple[str, ...], line: str
) -> None:
    done = call("diagnose", "fine", "--prometheus", url, *arguments)

    assert done.code == 2
    assert line in done.line


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("diagnose",), "--html"),
        (("radar",), "--svg"),
        (("tradeoff",), "--svg"),
        (("demo", "story", "vram-leak"), "--html"),
    ],
)
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("no/page", "No such file or directory"),
        ("file/page", "Not a directory"),
        ("", "Is a directory"),
    ],
)
def test_an_unwritable_file_is_refused_before_the_work_starts(
    call: Call, tmp_path: Path, command: tuple[str, ...], option: str, place: str, why: str
) -> None:
    (tmp_path / "file").touch()
    unreachable = f"http://127.0.0.1:{free_port()}"
    more = ("--prometheus", unreachable) if command == ("diagnose",) else ()
    done = call(*command, option, str(tmp_path / place), *more)

    assert (done.code, done.out) == (2, "")
    assert done.line == f"safelight: {tmp_path / place} cannot be written: {why}."


def test_exit_codes_of_a_diagnosis_differ_from_those_of_failures_and_are_documented(
    call: Call,
) -> None:
    failures = {1, 2, *(kind.exit_code for kind in CLASSES)}
    help_text = " ".join(call("diagnose", "--help").out.split())
    pages = [
        (Path(__file__).parents[2] / name).read_text() for name in ("README.md", "docs/cli.md")
    ]

    assert not {*CODES.values()} & failures
    assert len({*CODES.values()}) == len(Severity)
    for text in (help_text, *(" ".join(page.split()) for page in pages)):
        for severity, words in (
            (Severity.WARNING, "warning"),
            (Severity.CRITICAL, "critical finding"),
        ):
            assert f"{CODES[severity]} {words}" in text


def test_watch_prints_its_interval_and_how_to_stop(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr("safelight.cli.diagnose.threading.Event", Interrupted)
    monkeypatch.setattr(Prometheus, "now", _unreachable)
    done = call("diagnose", "--watch", "30", "--prometheus", address)

    assert done.code == 0
    assert done.out.splitlines() == [
        "Diagnosing every 30 s. Only changes are printed. Press Ctrl-C to stop.",
        "unreachable",
    ]


def _unreachable(_: Prometheus) -> float:
    raise MonitoringFailed("unreachable")


def test_an_unknown_service_is_one_line_with_the_known_ones(call: Call, url: str) -> None:
    done = call("diagnose", "nobody", "--prometheus", url, *AT)

    assert done.code == 3
    assert "has no service 'nobody'; it has down, fine, slow" in done.line


@pytest.mark.parametrize("command", ["diagnose", "forecast", "trends"])
def test_an_unreachable_prometheus_is_one_line(call: Call, command: str) -> None:
    done = call(command, "--prometheus", f"http://127.0.0.1:{free_port()}")

    assert done.code == 3
    assert "cannot be queried" in done.line


def test_p16_a_forecast_is_a_table_or_json(call: Call, url: str) -> None:
    table = call("forecast", "fine", "--prometheus", url, *AT)
    document = json.loads(call("forecast", "fine", "--prometheus", url, "--json", *AT).out)

    assert (table.code, "no end in sight" in table.out) == (0, True)
    assert {each["what"] for each in document["fine"]} >= {"GPU memory of PyTorch", "file system"}
    assert all(each["ends"] is None for each in document["fine"])


@pytest.mark.parametrize("command", ["diagnose", "forecast", "trends"])
def test_a_missing_file_of_limits_is_one_line(
    command: str, call: Call, url: str, tmp_path: Path
) -> None:
    done = call(command, "--prometheus", url, "--monitoring", str(tmp_path / "none.toml"))

    assert done.code == 2
    assert "none.toml" in done.line


def test_z11_trends_are_a_table_or_json(call: Call, url: str) -> None:
    table = call("trends", "fine", "--prometheus", url, *AT)
    [report] = json.loads(call("trends", "fine", "--prometheus", url, "--json", *AT).out)

    assert table.code == 0
    assert "requests per second" in table.out
    assert {"what": "requests per second", "unit": ""}.items() <= report["changes"][0].items()


@pytest.mark.parametrize(
    ("at", "seconds", "message"),
    [
        ("2026-03-02T12:20:00", 4500, "too little data to compare with last week: 75 min"),
        ("2026-03-02T11:07:30", 150, "too little data to compare with last week: 2.5 min"),
    ],
)
def test_a_new_service_has_too_little_data_for_trends(
    at: str, seconds: float, message: str, call: Call, url: str
) -> None:
    young = call("trends", "fine", "--prometheus", url, "--at", at)
    [report] = json.loads(call("trends", "fine", "--prometheus", url, "--json", "--at", at).out)

    assert (young.code, message in young.out, "every limit fits" in young.out) == (0, True, False)
    assert report["data_seconds"] == seconds


def test_every_check_has_an_anchor_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text()

    assert [c.name for c in CHECKS if f'<a id="{c.name.replace("_", "-")}"></a>' not in text] == []
