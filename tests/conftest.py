"""Fixtures of all tests: no network, no outside settings, restored logging, tiny pipelines."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it when it is imported
os.environ["SAFELIGHT_RECORDS_URL"] = ""  # services of tests have no records by default
# Nor do they check their model, unless a test says so: the golden outputs are files.
os.environ["SAFELIGHT_CANARY_SECONDS"] = "0"

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from safelight.telemetry import logs

# On a busy machine any example can take longer than Hypothesis's deadline of 200 ms.
hypothesis.settings.register_profile("safelight", deadline=None)
hypothesis.settings.load_profile("safelight")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", help="Page that faults and attacks write their tables to.")
    parser.addoption("--attack-seconds", default="2", help="How long each attack lasts.")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many mutants of alerts the tests caught, if they ran."""
    reports = terminalreporter.stats.get("passed", [])
    properties = [dict(report.user_properties) for report in reports]
    if caught := sum(int(each.get("mutants", 0)) for each in properties):
        terminalreporter.write_line(f"{caught} mutants of alerts, all caught")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: the engine uses its subprocesses and transports."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SAFELIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", "")
    monkeypatch.setenv("SAFELIGHT_CANARY_SECONDS", "0")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root, package = logging.getLogger(), logging.getLogger("safelight")
    state = list(root.handlers), root.level, package.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    logs._LINES.lost = logs._LINES.lost_and_told = 0
    yield
    root.handlers[:], root.level, package.level = state
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    logs._LINES.as_json = False


@pytest.fixture(scope="session")
def shared_edit_pipeline() -> Any:
    from tests.pipelines import edit_pipeline

    return edit_pipeline()


@pytest.fixture(scope="session")
def shared_text_pipeline(shared_edit_pipeline: Any) -> Any:
    from tests.pipelines import text_pipeline

    return text_pipeline(shared_edit_pipeline)


@pytest.fixture
def edit_pipe(shared_edit_pipeline: Any) -> Iterator[Any]:
    """Return a real InstructPix2Pix pipeline; the test must leave it as it was."""
    own = type(shared_edit_pipeline)
    yield shared_edit_pipeline
    assert type(shared_edit_pipeline) is own, "the test left its probe on"


@pytest.fixture
def text_pipe(shared_text_pipeline: Any) -> Iterator[Any]:
    """Return a real Stable Diffusion pipeline; the test must leave it as it was."""
    own = type(shared_text_pipeline)
    yield shared_text_pipeline
    assert type(shared_text_pipeline) is own, "the test left its probe on"
