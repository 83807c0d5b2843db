"""What the tests of rules share: series as data, and the real promtool that judges them."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from safelight.metrics.spec import Metric
from safelight.rules.files import rule_file

NAMESPACE = "instructpix2pix"
TARGET = {"job": "safelight", "instance": "127.0.0.1:8000"}


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a unit test: `values` is promtool's notation, one value a minute."""

    name: str
    values: str
    labels: dict[str, str]

    def as_yaml(self) -> dict[str, str]:
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels.items())
        return {"series": f"{self.name}{{{labels}}}", "values": self.values}


def series(metric: Metric | str, values: str, suffix: str = "", /, **labels: str) -> Series:
    """Return a series of a metric, as scraped from the one target of the tests."""
    name = metric if isinstance(metric, str) else metric.full_name(NAMESPACE)
    return Series(name + suffix, values, {**TARGET, **labels})


def histogram(metric: Metric, value: float, /, **labels: str) -> tuple[Series, ...]:
    """Return a histogram that enters `value` ten times a minute."""
    rising, flat = "0+10x300", "0x300"
    buckets = tuple(
        series(metric, rising if value <= edge else flat, "_bucket", le=f"{edge:g}", **labels)
        for edge in metric.buckets
    )
    return (
        *buckets,
        series(metric, rising, "_bucket", le="+Inf", **labels),
        series(metric, f"0+{10 * value:g}x300", "_sum", **labels),
        series(metric, rising, "_count", **labels),
    )


def run(program: str, *arguments: str) -> str:
    """Run a program that must succeed, and return what it said."""
    done = subprocess.run((program, *arguments), capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def judge(folder: Path, given: Sequence[Series], **checks: list[dict[str, Any]]) -> None:
    """Let promtool evaluate our rules over these series and make the checks."""
    (folder / "rules.yml").write_text(rule_file(NAMESPACE))
    test = {"interval": "1m", "input_series": [one.as_yaml() for one in given], **checks}
    content = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "tests.yml").write_text(yaml.safe_dump(content))
    run("promtool", "test", "rules", str(folder / "tests.yml"))


def firing(alert: str, at: str, count: int) -> dict[str, Any]:
    """Return the check that so many series of an alert fire at a time."""
    return {
        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": count}],
    }
