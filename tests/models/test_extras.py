"""What is not installed is named before anything starts."""

import sys
import tomllib
from pathlib import Path

import pytest

from safelight.errors import MissingExtra
from safelight.models.extras import LIBRARIES, require, require_extras
from safelight.serving.app import Service
from safelight.settings import load
from safelight.stack.local import plan

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
NEEDS = [
    ("models", {}),
    ("models", {"model": "timbrooks/instruct-pix2pix"}),
    ("models", {"devices": "cuda:0,cuda:1"}),
    ("int8", {"precision": "int8"}),
    ("postgres", {"records_url": "postgresql://anna@host/name"}),
    ("postgres", {"records_url": "postgresql://anna@host/name", "model": "mine:Tagger"}),
    ("tracing", {"otlp_metrics_seconds": "60", "otlp_endpoint": "http://localhost:4318"}),
]


def without(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the libraries of an extra."""
    for library in LIBRARIES[extra]:
        monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize("extra", LIBRARIES)
def test_an_extra_exists_and_its_libraries_are_here(extra: str) -> None:
    assert extra in PROJECT["optional-dependencies"]
    require(extra)


@pytest.mark.parametrize(("extra", "chosen"), NEEDS)
def test_settings_that_need_an_extra_name_it(
    extra: str, chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(**chosen)
    require_extras(settings)
    without(extra, monkeypatch)

    with pytest.raises(MissingExtra, match=rf"pip install 'safelight\[{extra}\]'$"):
        require_extras(settings)


@pytest.mark.parametrize(
    "chosen",
    [
        {"model": "my_package.models:Tagger"},
        {"model": "mine:Tagger", "records_url": "sqlite:///records.db"},
    ],
)
def test_your_own_model_needs_no_extra(
    chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for extra in LIBRARIES:
        without(extra, monkeypatch)

    require_extras(load(**chosen))


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)

    with pytest.raises(MissingExtra, match=r"^This needs diffusers\. Run"):
        require("models")


def test_a_service_does_not_listen_without_its_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load(state_folder=tmp_path)
    without("models", monkeypatch)

    with pytest.raises(MissingExtra):
        Service(settings).run()
    with pytest.raises(MissingExtra):
        plan(settings)
    assert list(tmp_path.iterdir()) == []
