"""Run the commands of docs/delivery.md with all its examples in one file."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
ROUTES = re.compile(r"^\[routes\]\n(?:.+\n)*", flags=re.MULTILINE)


def all_examples() -> str:
    """Return every example in one file with one table `[routes]`, as the page explains."""
    routes: dict[str, list[str]] = {}
    for example in TOML:
        for severity, names in tomllib.loads(example).get("routes", {}).items():
            routes.setdefault(severity, []).extend(names)
    lists = "".join(f"{severity} = {names}\n" for severity, names in routes.items())
    return "\n".join(ROUTES.sub("", example) for example in TOML) + f"\n[routes]\n{lists}"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Run the page's exports, and return their folder."""
    (tmp_path / "monitoring.toml").write_text(all_examples())
    (tmp_path / "safelight").write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n')
    (tmp_path / "safelight").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    [block] = [block for block in SHELL if block.startswith("safelight export")]
    process = subprocess.run(
        ("bash", "-euo", "pipefail", "-c", block),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return tmp_path / "deploy"


def test_the_exports_of_the_page_run_on_its_examples(exported: Path) -> None:
    config = yaml.safe_load((exported / "alertmanager/alertmanager.yml").read_text())
    names = {receiver["name"] for receiver in config["receivers"]}
    assert {"phone", "mail", "hook", "ding", "lark", "work"} <= names
    rules = (exported / "prometheus/rules/safelight.yml").read_text()
    assert "https://wiki.example.org/safelight/runbooks#requestp95high" in rules
    assert "docs/runbooks.md" not in rules


def test_pasting_all_examples_duplicates_the_routes_as_the_page_warns() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads("\n".join(TOML))
    assert "`[routes]` is one table" in " ".join(PAGE.split())
