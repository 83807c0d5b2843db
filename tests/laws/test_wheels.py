"""What is tried in clean environments covers every extra and every command."""

import tomllib
from pathlib import Path

import pytest

from safelight.cli.main import COMMANDS
from scripts.trials import PROGRAMS, TRIALS, Trial
from scripts.wheels import ALL, LIGHT, PYTHONS, Python, planned, torch_requirement

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"]) - {"dev"}
LONG_RUNNING = {"gpu-exporter"}  # tried with --help only


def python(version: str, *, has_torch: bool) -> Python:
    return Python(version, Path(version), Path("wheels"), has_torch)


def test_every_extra_is_tried() -> None:
    assert set(ALL) == EXTRAS
    assert EXTRAS - set(LIGHT) == {"models", "int8"}
    assert {extra for trial in TRIALS for extra in trial.needs} | set(PROGRAMS) == EXTRAS


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - LONG_RUNNING))
def test_every_command_is_tried_for_real(command: str) -> None:
    served = {"traffic"}  # `Trials.serve` sends it
    assert command in {trial.arguments.split()[0] for trial in TRIALS} | served


def test_the_first_extra_that_is_missing_must_be_named() -> None:
    trial = Trial("serve --precision int8", ("models", "int8"))

    assert trial.missing(()) == "models"
    assert trial.missing(("int8",)) == "models"
    assert trial.missing(("models",)) == "int8"
    assert trial.missing(("int8", "models")) == ""


def test_each_extra_is_installed_alone_and_all_together_and_each_python_without() -> None:
    first, others = PYTHONS[0], PYTHONS[1:]
    pythons = [python(first, has_torch=True), *(python(v, has_torch=False) for v in others)]
    steps = [(each.python.version, step) for each in planned(pythons) for step in each.steps]

    assert {(first, (extra,)) for extra in EXTRAS} <= set(steps)
    assert (first, ALL) in steps
    assert {(version, ()) for version in PYTHONS} <= set(steps)
    assert {(version, LIGHT) for version in others} <= set(steps)
    assert len(steps) == len(set(steps))


def test_each_command_is_tried_with_the_oldest_python_and_the_newest() -> None:
    tried = planned([python(version, has_torch=version == PYTHONS[0]) for version in PYTHONS])
    without = {each.python.version for each in tried if () in each.steps and not each.brief}

    assert without == {PYTHONS[0], PYTHONS[-1]}
    assert all(not each.brief for each in tried if ALL in each.steps)


def test_without_a_torch_for_the_cpu_nothing_that_needs_it_is_installed() -> None:
    installed = {
        extra
        for each in planned([python(version, has_torch=False) for version in PYTHONS])
        for step in each.steps
        for extra in step
    }

    assert installed == set(LIGHT)


def test_the_tested_version_of_torch_is_installed() -> None:
    assert torch_requirement().startswith("torch==2")
