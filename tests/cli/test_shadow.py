"""`safelight shadow` and `safelight rollout`, against a real service."""

import re
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess, Popen
from subprocess import run as run_program

import pytest

from safelight.cli.rollout import _steps
from safelight.cli.shadow import read
from safelight.errors import BadSetting, ServiceFailed
from safelight.settings import program_environment
from safelight.stories.replay import free_port
from tests.serving.conftest import READY_SECONDS, answers, until

MODEL = "tests.serving.models:painter"


def run(*arguments: str) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "safelight", *arguments]
    environment = program_environment(NO_COLOR="1")
    return run_program(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    environment = program_environment(
        SAFELIGHT_SHADOW=MODEL, SAFELIGHT_STATE_FOLDER=str(folder), SAFELIGHT_RECORDS_URL=""
    )
    command = [sys.executable, "-m", "safelight", "serve", MODEL, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        assert until(lambda: answers(f"{url}/readyz"), READY_SECONDS)
        yield url
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_comparison_without_pairs_says_so(service: str) -> None:
    result = run("shadow", service)
    assert result.returncode == 0, result.stderr
    assert f"B {MODEL}" in result.stdout
    assert "0 pairs of at most 500" in result.stdout
    assert "Verdict: undecided. Nothing is proven yet." in result.stdout
    assert '"verdict": "undecided"' in run("shadow", service, "--json").stdout


def test_a_rollout_is_started_paused_resumed_promoted_and_aborted(service: str) -> None:
    assert "No rollout" in run("rollout", "status", service).stdout
    assert until(lambda: ": ready" in run("rollout", "status", service).stdout, 60)
    started = run("rollout", "start", MODEL, service, "--steps", "10,50", "--to", "50")
    assert started.returncode == 0, started.stderr
    assert "running: B serves 10 % of the callers (steps 10, 50)" in started.stdout
    assert "paused: B serves 10 %" in run("rollout", "pause", service).stdout
    assert "running: B serves 10 %" in run("rollout", "resume", service).stdout
    again = run("rollout", "resume", service)
    assert (again.returncode, "not paused" in again.stderr) == (1, True)
    assert until(lambda: run("rollout", "promote", service).returncode == 0, 60)
    status = run("rollout", "status", service).stdout
    assert "running: B serves 50 %" in status
    assert re.search(r"promote +50 % +the operator promoted it", status)
    assert "aborted: B serves 0 %" in run("rollout", "abort", service).stdout


def test_a_refusal_is_one_line_that_says_what_to_do(service: str) -> None:
    for arguments in (("start", "another"), ("abort",)):
        result = run("rollout", *arguments, service)
        assert result.returncode == 1
        [line] = result.stderr.splitlines()
        assert "safelight" in line


def test_nobody_at_the_address_is_one_line() -> None:
    result = run("shadow", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "does not answer" in result.stderr


@pytest.mark.parametrize("text", ["", "5,x", "5;25", "-5", "\uff15"])
def test_steps_that_are_no_percents_are_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="Write percents"):
        _steps(text, 100)


def test_the_last_step_is_the_one_asked_for() -> None:
    assert _steps("5,25,50,100", 60) == [5, 25, 50, 60]
    assert _steps("5,25", 100) == [5, 25, 100]


def test_an_answer_of_another_version_is_named() -> None:
    with pytest.raises(ServiceFailed, match="another version"):
        read({"first": 1})
