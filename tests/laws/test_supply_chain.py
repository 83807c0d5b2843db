"""What is installed and shipped: pinned by hashes, and listed with a licence that is allowed."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from safelight.models.demo.bundle import WEIGHTS
from safelight.stack.files.export import Choices, deployment
from scripts.licences import licence
from scripts.lock import IMAGE, LOCKS, entries
from scripts.sbom import ECHARTS, FILE, data, needed, scripts, shipped

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
STATIC = ECHARTS.parent.parent  # our own scripts and styles
BILL = json.loads(FILE.read_text())
LOCK = {name.stem: entries(name.read_text()) for name in LOCKS.glob("*.txt")}
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)

SPDX = get_spdx_licensing()
# Copyleft (LGPL, MPL) only binds people who change the library itself.
ALLOWED = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause"),
    *("BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "LGPL-3.0-only", "MIT", "MIT-CMU"),
    *("MPL-2.0", "PSF-2.0", "Zlib", "ZPL-2.1"),
}


def unlike(expression: str) -> set[str]:
    """Return the licences of an expression that are not allowed."""
    parsed = SPDX.parse(expression)
    if parsed is None:
        return {"unknown"}
    return {str(each) for each in SPDX.license_symbols(parsed, decompose=False)} - ALLOWED


# ── Locks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lock", sorted(LOCK))
def test_every_package_of_a_lock_is_pinned_with_hashes(lock: str) -> None:
    assert LOCK[lock]
    for name, entry in LOCK[lock].items():
        first, *hashes = entry.split(" \\\n")
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; .+)?", first), name
        assert hashes, name
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes), name


def test_the_locks_have_the_tested_version_of_every_package() -> None:
    tested = {str(canonicalize_name(name)): version for name, version in CONSTRAINTS.items()}
    for lock in LOCK.values():
        for name, entry in lock.items():
            pinned = entry.split()[0].partition("==")[2].removesuffix("+cpu")
            assert pinned == tested.get(name, pinned), f"{name}: run make constraints"
    assert set(tested) <= {*LOCK["environment"], "torch"}, "run make constraints"
    assert "torch" in LOCK["torch-cpu"]
    assert "torch" in LOCK["torch"]


def test_the_lock_of_the_image_has_all_that_its_extras_need() -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in IMAGE for line in EXTRAS[extra])]

    assert needed(map(Requirement, [*lines, "hatchling"])) <= set(LOCK["image"])
    assert not {"pytest", "mypy", "schemathesis"} & set(LOCK["image"])


@pytest.mark.parametrize("file", ["scripts/setup", "the Dockerfile"])
def test_nothing_is_installed_without_a_hash(file: str) -> None:
    if file == "scripts/setup":
        text = (ROOT / file).read_text()
        assert "pip=(.venv/bin/pip install --quiet --no-compile --no-deps)" in text
        assert 'locked=("${pip[@]}" --require-hashes --requirement)' in text
        installs = re.findall(r'"\$\{pip\[@\]\}" (?!--require-hashes)(.*)', text)
        assert installs == ["--no-build-isolation --editable ."], "only the project itself"
        assert len(re.findall(r"pip install", text)) == 1
    else:
        text = deployment(Choices("zimage"), "compose")["Dockerfile"]
        first, second = re.findall(r"pip install --no-cache-dir (.*)", text)
        assert first == "--require-hashes --requirement locks/image.txt"
        assert second == "--no-deps --no-build-isolation .", "only the project itself"


# ── Bill of materials ────────────────────────────────────────────────────────────────────────────


def test_the_bill_of_materials_is_valid_and_of_this_version() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(FILE.read_text()) is None
    assert BILL["metadata"]["component"]["version"] == PROJECT["version"], "run make constraints"
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["sbom-files"] == [FILE.name]


def test_the_bill_of_materials_has_every_shipped_package_in_its_tested_version() -> None:
    listed = {
        str(canonicalize_name(each["name"])): each["version"]
        for each in BILL["components"]
        if each.get("purl", "").startswith("pkg:pypi/")
    }
    own = {"setuptools"}  # a need of torch, which each environment brings along
    assert set(listed) - own == shipped() - own, "run make constraints"
    for name, each in listed.items():
        entry = (LOCK["environment"] | LOCK["torch"])[name]
        assert name in own or entry.split()[0] == f"{name}=={each.removeprefix('v')}", name


def test_the_bill_of_materials_has_the_weights_the_data_and_the_script_with_licences() -> None:
    by_name = {each["bom-ref"]: each for each in BILL["components"]}
    hashes = {
        file["bom-ref"].removeprefix("weights/"): file["hashes"][0]["content"]
        for each in BILL["components"]
        if each["type"] == "machine-learning-model"
        for file in each["components"]
    }
    assert hashes == json.loads((WEIGHTS / "checksums.json").read_text()), "run make constraints"
    for each in (*data(), *scripts()):
        assert by_name[each["bom-ref"]] == each, "run make constraints"
    assert len([name for name in by_name if "/" in name]) == 8
    assert all(each["licenses"] for each in BILL["components"])


# ── Licences ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(CONSTRAINTS))
def test_the_licence_of_every_package_is_allowed(name: str) -> None:
    assert unlike(licence(name)) == set(), f"{name}: {licence(name) or 'no licence is named'}"


def test_a_licence_that_is_not_allowed_is_found() -> None:
    assert unlike("MIT AND AGPL-3.0-only") == {"AGPL-3.0-only"}
    assert unlike("Apache-2.0 WITH LLVM-exception OR MIT") == set()
    assert unlike("Some Licence of Ours") != set()
    assert unlike("") == {"unknown"}


def test_every_foreign_script_in_the_package_is_in_the_bill_and_has_its_licence_beside_it() -> None:
    found = [
        file for kind in ("js", "mjs", "css", "wasm") for file in ROOT.glob(f"src/**/*.{kind}")
    ]
    own = (STATIC, STATIC / "pages", STATIC / "try")
    foreign = [file for file in found if file.parent not in own]
    assert foreign == [ECHARTS], "list it with its licence in scripts/sbom.py"
    assert (
        (ECHARTS.parent / "echarts.LICENSE.txt").read_text().lstrip().startswith("Apache License")
    )
