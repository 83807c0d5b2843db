"""The documentation: generated pages are current, and complete."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from safelight.dashboards.catalog import boards
from safelight.reasons import REASONS
from safelight.rules.alerts import alerts
from safelight.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_generated_page_is_up_to_date() -> None:
    assert runpy.run_path(str(ROOT / "scripts" / "docs.py"))["drift"]() == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in (DOCS / "settings.md").read_text()


def test_every_runtime_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    listed = [re.split(r"[<>=~\[]", line)[0] for line in wanted if not line.startswith("safelight")]
    text = (DOCS / "dependencies.md").read_text()

    assert len(listed) > 20
    assert [name for name in listed if f"`{name}`" not in text] == []


def modules() -> set[str]:
    """Return every module of the package."""
    source = ROOT / "src" / "safelight"
    return {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if file.name != "__init__.py"
    }


def test_the_page_of_modules_equals_the_tree() -> None:
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", (DOCS / "modules.md").read_text(), re.MULTILINE)

    assert set(listed) == modules()


def test_the_architecture_page_is_short_and_names_only_files_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    names = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
    roots = (ROOT / "src" / "safelight", ROOT, ROOT / "src" / "safelight" / "serving")

    prose = re.sub(r"<!-- begin: tree.*?<!-- end: tree -->", "", text, flags=re.DOTALL)

    assert len(prose.split()) <= 2100
    assert {name for name in names if not any((root / name).is_file() for root in roots)} == set()


ROW = re.compile(r"^\| ([PDZRW]\d+) \| (.*) \|$", flags=re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_row_of_the_requirements_is_mapped_to_tests_that_exist_or_to_not_yet() -> None:
    rows = dict(ROW.findall((DOCS / "requirements.md").read_text()))
    wanted = {
        *(f"P{n}" for n in range(1, 18)),
        *(f"D{n}" for n in range(1, 8)),
        *(f"Z{n}" for n in range(1, 13)),
        *(f"R{n}" for n in range(1, 13)),
        *(f"W{n}" for n in range(1, 13)),
    }

    assert set(rows) == wanted
    for name, tests in rows.items():
        named = TEST.findall(tests)
        assert named or "not yet" in tests, name
        for file, test in named:
            assert f"def {test}" in (ROOT / file).read_text(), f"{name}: {file}::{test}"


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_has_the_number_of_failure_reasons() -> None:
    assert f"one of {len(REASONS)} reasons" in (ROOT / "README.md").read_text()


def test_the_readme_has_the_number_of_dashboards_and_alerts() -> None:
    counts = f"{len(boards())} dashboards, {len(alerts('instructpix2pix'))} alerts"
    assert counts in (ROOT / "README.md").read_text()


CHINESE = ROOT / "README.zh-CN.md"


@pytest.mark.parametrize(
    "pattern",
    [
        r"^```.*?^```$",  # blocks of code, with their comments
        r"^(#+) ",
        r"\]\((?!README)([^)]+)\)",
        r"<(http[^>]+)>",
    ],
    ids=["commands", "sections", "links", "addresses"],
)
def test_the_chinese_readme_has_what_the_english_one_has(pattern: str) -> None:
    found = re.compile(pattern, re.MULTILINE | re.DOTALL)
    english, chinese = (found.findall(file.read_text()) for file in (ROOT / "README.md", CHINESE))
    assert chinese == english


def test_the_chinese_readme_names_the_same_code_and_numbers() -> None:
    code, text = re.compile(r"(?<!`)`([^`\n]+)`(?!`)"), (ROOT / "README.md").read_text()
    assert set(code.findall(CHINESE.read_text())) == set(code.findall(text))
    counts = f"{len(REASONS)} 种原因", f"{len(boards())} 个仪表盘"
    for count in (*counts, f"{len(alerts('instructpix2pix'))} 条告警"):
        assert count in CHINESE.read_text()
