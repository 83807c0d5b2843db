"""What the tests of rules share: series as data, and the real promtool that judges them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from safelight.metrics.metric import Metric
from safelight.rules.files import rule_file

NAMESPACE = "instructpix2pix"
_SPARING = {"GOGC": "400", "GOMAXPROCS": "1"}  # a quarter less of the processor
TARGET = {"job": "safelight", "instance": "127.0.0.1:8000"}
_PART = re.compile(r"(?P<start>-?[\d.e+]+?)(?:(?P<step>[+-][\d.e]+))?(?:x(?P<times>\d+))?$")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a unit test: `values` is promtool's notation, one value a minute."""

    name: str
    values: str
    labels: dict[str, str]

    @property
    def key(self) -> str:
        """Return what tells it from others, as promtool writes it."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"{self.name}{{{labels}}}"

    @property
    def numbers(self) -> list[str]:
        """Return its values one by one."""
        return [value for part in self.values.split() for value in _numbers(part)]

    def as_yaml(self) -> dict[str, str]:
        return {"series": self.key, "values": self.values}


def _numbers(part: str) -> Iterator[str]:
    if part.startswith("_"):
        yield from ["_"] * int(part.removeprefix("_x") or 1)
        return
    found = _PART.match(part)
    assert found, part
    step = float(found["step"] or 0)
    # As promtool counts them: `0x3` is 0 and three times more.
    for place in range(int(found["times"] or 0) + 1):
        yield f"{float(found['start']) + place * step:.12g}"


def then(first: Sequence[Series], minutes: int, second: Sequence[Series]) -> list[Series]:
    """Return series that are the first for so many minutes, and then as the second are by then."""
    begin, follow = ({one.key: one for one in given} for given in (first, second))
    return [
        Series(
            one.name,
            " ".join(
                _padded(begin.get(one.key), minutes)[:minutes]
                + (follow[one.key].numbers[minutes:] if one.key in follow else [])
            ),
            one.labels,
        )
        for one in {**begin, **follow}.values()
    ]


def _padded(one: Series | None, minutes: int) -> list[str]:
    return (one.numbers if one else []) + ["_"] * minutes


def series(metric: Metric | str, values: str, suffix: str = "", /, **labels: str) -> Series:
    """Return a series of a metric, as scraped from the one target of the tests."""
    name = metric if isinstance(metric, str) else metric.full_name(NAMESPACE)
    return Series(name + suffix, values, {**TARGET, **labels})


def histogram(metric: Metric, value: float, /, **labels: str) -> tuple[Series, ...]:
    """Return a histogram that enters `value` ten times a minute."""
    return mixture(metric, {value: 10}, **labels)


def mixture(metric: Metric, counts: Mapping[float, int], /, **labels: str) -> tuple[Series, ...]:
    """Return a histogram that enters each value so many times a minute."""

    def below(edge: float) -> str:
        return f"0+{sum(count for value, count in counts.items() if value <= edge)}x900"

    whole = f"0+{sum(counts.values())}x900"
    added = sum(value * count for value, count in counts.items())
    return (
        *(
            series(metric, below(edge), "_bucket", le=f"{float(edge)}", **labels)
            for edge in metric.buckets
        ),
        series(metric, whole, "_bucket", le="+Inf", **labels),
        series(metric, f"0+{added:g}x900", "_sum", **labels),
        series(metric, whole, "_count", **labels),
    )


def run(program: str, *arguments: str) -> str:
    """Run a program that must succeed, and return what it said."""
    done = subprocess.run((program, *arguments), capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def judge(
    folder: Path, given: Sequence[Series], rules: str | None = None, **checks: list[dict[str, Any]]
) -> None:
    """Let promtool evaluate our rules over these series and make the checks."""
    assert not complaint(folder, [part(given, **checks)], rules or rule_file(NAMESPACE))


def part(given: Sequence[Series], **checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one test of a file of tests: series, and what is to be seen."""
    return {"interval": "1m", "input_series": [one.as_yaml() for one in given], **checks}


def complaint(folder: Path, tests: Sequence[dict[str, Any]], rules: str) -> str:
    """Return what promtool finds wrong with rules when it makes these tests; empty is well."""
    (folder / "rules.yml").write_text(rules)
    content = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        # Else a recording may be read before or after it is made, by chance.
        "group_eval_order": [
            group["name"] for group in yaml.load(rules, yaml.CSafeLoader)["groups"]
        ],
        "tests": list(tests),
    }
    (folder / "tests.yml").write_text(json.dumps(content))  # YAML too, and written in no time
    done = subprocess.run(
        ("promtool", "test", "rules", str(folder / "tests.yml")),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_SPARING},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def firing(alert: str, at: str, count: int) -> dict[str, Any]:
    """Return the check that so many series of an alert fire at a time."""
    return {
        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": count}],
    }


def never(alert: str, until: str) -> dict[str, Any]:
    """Return the check that an alert did not fire at any time until then."""
    fired = f'ALERTS{{alertname="{alert}", alertstate="firing"}}[30d]'
    return {
        "expr": f"count(count_over_time({fired})) or vector(0)",
        "eval_time": until,
        "exp_samples": [{"labels": "{}", "value": 0}],
    }
