"""The table of supported versions and the changelog say what is true."""

import re
import subprocess
import sys
import tomllib
from glob import glob
from pathlib import Path

import pytest
import yaml

from safelight.cli.main import application
from safelight.cli.reference import command_list
from safelight.stack.files import alerting, config
from safelight.stack.files.containers import _VERSIONS
from safelight.stack.files.export import Choices, deployment
from safelight.stack.local import ALERTMANAGER_NAMES, PROMETHEUS_NAMES
from safelight.stack.programs import look_for
from scripts.wheels import PYTHONS
from tests.stack.files.schemas import KUBERNETES

STATE = "var/lib/safelight/zimage"
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upgrading.md").read_text()
ROWS = {
    name: (supported, tested)
    for name, supported, tested in re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.partition("## Supported versions")[2], re.MULTILINE
    )
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_pythons_are_those_that_are_tried() -> None:
    supported, tested = ROWS["Python"]
    assert tuple(supported.split(", ")) == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert tuple(named) == PYTHONS
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in PYTHONS
    assert f"all tests on {PYTHONS[0]}" in tested


@pytest.mark.parametrize("name", ["torch", "diffusers", "transformers"])
def test_a_librarys_range_is_that_of_the_project(name: str) -> None:
    [line] = [line for line in PROJECT["optional-dependencies"]["models"] if line.startswith(name)]
    lowest, below = re.findall(r">=([\d.]+),<([\d.]+)", line)[0]
    assert ROWS[name] == (f"{lowest} and later, before {below}", CONSTRAINTS[name])


@pytest.mark.parametrize(
    ("name", "names", "module"),
    [("Prometheus", PROMETHEUS_NAMES, config), ("Alertmanager", ALERTMANAGER_NAMES, alerting)],
)
def test_the_oldest_program_is_the_one_that_the_tests_run(
    name: str, names: tuple[str, ...], module: object
) -> None:
    supported, tested = ROWS[name]
    oldest = supported.removesuffix(" and later")
    assert tested.startswith(f"{oldest}: ")
    assert f"{name} {supported} can load it" in str(module.__doc__)
    program = look_for(names)
    assert program, "scripts/setup installs it"
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    installed = re.findall(r"version (\d+\.\d+)", done.stdout + done.stderr)[0]
    assert numbers(installed) >= numbers(oldest)


@pytest.mark.parametrize("name", ["Prometheus", "Alertmanager"])
def test_the_version_in_the_compose_file_is_named(name: str) -> None:
    [version] = [image for image in _VERSIONS.values() if f"/{name.lower()}:" in image]
    assert f"starts {version.rpartition(':v')[2]}," in ROWS[name][1]


def test_grafana_is_the_one_whose_code_checks_the_dashboards() -> None:
    supported, tested = ROWS["Grafana"]
    text = (ROOT / "tests" / "grafana" / "package.json").read_text()
    [version] = set(re.findall(r'"@grafana/\w+": "([\d.]+)"', text))
    assert version.startswith(f"{supported}.")
    assert f"Grafana {version} " in tested
    assert any(image.endswith(f"grafana:{version}") for image in _VERSIONS.values())


def test_postgresql_is_not_older_than_that_of_the_tests() -> None:
    oldest = ROWS["PostgreSQL"][0].removesuffix(" and later")
    folders = glob("/usr/lib/postgresql/*/bin/postgres")
    assert folders, "scripts/setup installs it"
    assert int(oldest) <= min(int(path.split("/")[4]) for path in folders)


def test_the_versions_of_kubernetes_are_among_those_whose_schemas_are_tested() -> None:
    oldest, newest = ROWS["Kubernetes"][0].split(" to ")
    assert numbers(KUBERNETES[0]) <= numbers(oldest) < numbers(newest)
    assert newest == KUBERNETES[-1]


def versions() -> list[tuple[str, str]]:
    """Return each version of the changelog with its text."""
    parts = re.split(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("title", "text"), versions(), ids=lambda part: part[:20])
def test_each_version_says_what_an_operator_must_do(title: str, text: str) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+, (unreleased|\d{4}-\d\d-\d\d)", title)
    steps = text.partition("**What an operator must do.**")[2]
    assert re.match(r"[^\n]*(\n[^\n]+)*\n+1\. ", steps), "numbered steps, in their order"


def test_the_commands_for_deployed_services_use_the_names_of_the_export() -> None:
    files = deployment(Choices("zimage"))
    [unit] = [Path(name) for name in files if name.startswith("systemd/")]
    assert f"systemctl stop {unit.stem}\n" in PAGE
    assert f"sqlite:////{STATE}/records.db" in PAGE
    assert f"SAFELIGHT_STATE_FOLDER=/{STATE}" in files[f"systemd/{unit.name}"]
    [user] = re.findall(r"^USER (\d+)$", files["Dockerfile"], re.MULTILINE)
    assert f"install -d -o {user} -m 700 backup" in PAGE
    assert 'ENTRYPOINT ["safelight"]' in files["Dockerfile"]
    assert " safelight records backup /backup/" in PAGE
    name = yaml.safe_load(files["kubernetes/deployment.yaml"])["metadata"]["name"]
    assert f"kubectl exec deploy/{name} " in PAGE


def test_every_command_of_an_upgrade_exists() -> None:
    known = {name for name, _ in command_list(application())} | {"safelight --version"}
    lines = [line for line in PAGE.splitlines() if line.startswith("safelight ")]
    assert len(lines) == 5
    for line in lines:
        words = line.split("  ")[0].split()
        assert {" ".join(words[:2]), " ".join(words[:3])} & known, line
