"""Render the exported Helm chart with Helm's own library."""

from pathlib import Path
from typing import Any

import helm_python
import yaml

from safelight.stack.files.folder import write
from tests.stack.files.schemas import Manifest


def render(
    folder: Path, files: dict[str, str], values: dict[str, Any] | None = None
) -> list[Manifest]:
    """Write a chart's files to a folder, and return the manifests that Helm makes of it."""
    write(folder, files)
    with helm_python.Chart.load(str(folder)) as chart:
        texts = chart.render(values, name="photos", namespace="images")
    return [
        manifest
        for name, text in texts.items()
        if not name.endswith(".txt")
        for manifest in yaml.safe_load_all(text)
        if manifest
    ]


def notes(folder: Path, files: dict[str, str], values: dict[str, Any]) -> str:
    """Return what Helm prints after an installation."""
    write(folder, files)
    with helm_python.Chart.load(str(folder)) as chart:
        texts = chart.render(values, name="photos", namespace="images")
    return next(text for name, text in texts.items() if name.endswith("NOTES.txt"))


def lint(folder: Path, files: dict[str, str]) -> list[dict[str, Any]]:
    """Return Helm's warnings and errors about a chart."""
    write(folder, files)
    report = helm_python.lint(str(folder), strict=True)
    assert report["total_charts_linted"] == 1
    information = 1
    return [message for message in report["messages"] if message["severity"] > information]
