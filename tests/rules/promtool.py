"""Series as data, and promtool, which evaluates the rules over them."""

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
_SPARING = {"GOGC": "400", "GOMAXPROCS": "1"}  # uses a quarter less CPU time
TARGET = {"job": "safelight", "instance": "127.0.0.1:8000"}
_PART = re.compile(r"(?P<start>-?[\d.e+]+?)(?:(?P<step>[+-][\d.e]+))?(?:x(?P<times>\d+))?$")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a unit test. `values` is in promtool's notation, one value per minute."""

    name: str
    values: str
    labels: dict[str, str]

    @property
    def key(self) -> str:
        """Return the series' name and labels, as promtool writes them."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"{self.name}{{{labels}}}"

    @property
    def numbers(self) -> list[str]:
        """Return the values one by one."""
        return [value for part in self.values.split() for value in _numbers(part)]

    def as_yaml(self) -> dict[str, str]:
        return {"series": self.key, "values": self.values}


def _numbers(part: str) -> Iterator[str]:
    if part.startswith("_"):
        yield from ["_"] * int(part.removeprefix("_x") or 1)
        return
    match = _PART.match(part)
    assert match, part
    step = float(match["step"] or 0)
    # In promtool's notation `0x3` is four values.
    for place in range(int(match["times"] or 0) + 1):
        yield f"{float(match['start']) + place * step:.12g}"


def then(first: Sequence[Series], minutes: int, second: Sequence[Series]) -> list[Series]:
    """Return series with the first values until a minute, and the second values from then on."""
    begin, follow = ({one.key: one for one in group} for group in (first, second))
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
    """Return a series of a metric, with the labels of the tests' target."""
    name = metric if isinstance(metric, str) else metric.full_name(NAMESPACE)
    return Series(name + suffix, values, {**TARGET, **labels})


def histogram(metric: Metric, value: float, /, **labels: str) -> tuple[Series, ...]:
    """Return a histogram with ten observations of `value` per minute."""
    return mixture(metric, {value: 10}, **labels)


def mixture(metric: Metric, counts: Mapping[float, float], /, **labels: str) -> tuple[Series, ...]:
    """Return a histogram with these counts of observations per minute, by value."""

    def below(edge: float) -> str:
        return f"0+{sum(count for value, count in counts.items() if value <= edge):g}x900"

    total = f"0+{sum(counts.values()):g}x900"
    value_sum = sum(value * count for value, count in counts.items())
    return (
        *(
            series(metric, below(edge), "_bucket", le=f"{float(edge)}", **labels)
            for edge in metric.buckets
        ),
        series(metric, total, "_bucket", le="+Inf", **labels),
        series(metric, f"0+{value_sum:g}x900", "_sum", **labels),
        series(metric, total, "_count", **labels),
    )


def run(program: str, *arguments: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run((program, *arguments), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def judge(
    folder: Path,
    samples: Sequence[Series],
    rules: str | None = None,
    **checks: list[dict[str, Any]],
) -> None:
    """Check with promtool that the rules give the expected results for these series."""
    assert not complaint(folder, [part(samples, **checks)], rules or rule_file(NAMESPACE))


def part(samples: Sequence[Series], **checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one test of a test file: series and expected results."""
    return {"interval": "1m", "input_series": [one.as_yaml() for one in samples], **checks}


def complaint(folder: Path, tests: Sequence[dict[str, Any]], rules: str) -> str:
    """Return promtool's complaint about rules in these tests, or an empty text."""
    (folder / "rules.yml").write_text(rules)
    content = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        # Without it, the order in which recordings are made and read is random.
        "group_eval_order": [
            group["name"] for group in yaml.load(rules, yaml.CSafeLoader)["groups"]
        ],
        "tests": list(tests),
    }
    (folder / "tests.yml").write_text(json.dumps(content))  # JSON is YAML, and faster to write
    done = subprocess.run(
        ("promtool", "test", "rules", str(folder / "tests.yml")),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_SPARING},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def firing(alert: str, at: str, count: int) -> dict[str, Any]:
    """Return the check that a number of series of an alert fires at a time."""
    return {
        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": count}],
    }


def never(alert: str, until: str) -> dict[str, Any]:
    """Return the check that an alert did not fire until a time."""
    fired = f'ALERTS{{alertname="{alert}", alertstate="firing"}}[30d]'
    return {
        "expr": f"count(count_over_time({fired})) or vector(0)",
        "eval_time": until,
        "exp_samples": [{"labels": "{}", "value": 0}],
    }
