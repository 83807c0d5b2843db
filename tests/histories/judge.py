"""Evaluate all rules over a history with promtool, and return what fired."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from safelight.rules.files import rule_file
from safelight.rules.thresholds import default_limits
from tests.histories.history import History

_SPARING = {"GOGC": "400", "GOMAXPROCS": "1", "GOMEMLIMIT": "2GiB"}
_FIRING = 'ALERTS{alertstate="firing", severity=~"critical|warning"}'
_BEGUN = "histories:alert_begun:timestamp"
_GOT = re.compile(r'\{((?:\w+="(?:[^"\\]|\\.)*"(?:, )?)*)\} ([^\s,]+)')
_WORD = re.compile(r"[a-zA-Z_:][\w:]*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert that fired: how often it began, for how long, and when first."""

    labels: tuple[tuple[str, str], ...]
    episodes: int
    minutes: float
    first_seconds: float

    def __getitem__(self, name: str) -> str:
        return dict(self.labels).get(name, "")

    def belongs_to(self, number: int, jobs: tuple[str, ...]) -> bool:
        """Return True if the alert is about the world with this number or about these jobs."""
        return self["job"] in jobs or self["instance"].startswith(f"world{number}-")

    def __str__(self) -> str:
        shown = {k: v for k, v in self.labels if k not in ("alertname", "alertstate", "severity")}
        inside = ", ".join(f"{k}={v}" for k, v in shown.items())
        return (
            f"{self['severity']} {self['alertname']} {{{inside}}} from minute "
            f"{self.first_seconds / 60:g}, {self.episodes} times, {self.minutes:g} minutes"
        )


class RulesBroken(Exception):
    """promtool could not evaluate the rules."""


def judge(history: History) -> list[Fired]:
    """Return the alerts of severity critical or warning that fired, by their labels."""
    window = f"{history.grid.steps * history.grid.step_seconds}s"
    queries = {
        "scrapes": f"count_over_time({_FIRING}[{window}])",
        "episodes": f"count_over_time({_BEGUN}[{window}])",
        "first": f"min_over_time({_BEGUN}[{window}])",
    }
    got = _evaluate(history, queries)
    return [
        Fired(
            labels,
            round(got["episodes"].get(labels, 0)),
            number * history.grid.step_seconds / 60,
            got["first"][labels],
        )
        for labels, number in sorted(got["scrapes"].items())
    ]


def _evaluate(
    history: History, queries: dict[str, str]
) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    end = f"{(history.grid.steps - 1) * history.grid.step_seconds}s"
    step = f"{history.grid.step_seconds}s"
    wrong = [{"labels": '{none="none"}', "value": 0}]  # so that promtool prints the real results
    checks = [{"expr": expr, "eval_time": end, "exp_samples": wrong} for expr in queries.values()]
    rows = [{"series": key, "values": text} for key, text in history.rows.items()]
    rules, order = _rules(history.namespaces, history.grid.step_seconds)
    content = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": step,
        "group_eval_order": order,
        "tests": [{"interval": step, "input_series": rows, "promql_expr_test": checks}],
    }
    return dict(zip(queries, _results(_promtool(rules, json.dumps(content))), strict=True))


@cache
def _rules(namespaces: tuple[str, ...], step_seconds: int) -> tuple[str, list[str]]:
    limits = {name: default_limits(name) for name in namespaces}
    groups = yaml.load(rule_file(*namespaces, thresholds=limits), yaml.CSafeLoader)["groups"]
    # A subquery over hours would exceed promtool's limit of samples.
    begun = f"0 * {_FIRING} + time() unless {_FIRING} offset {step_seconds}s"
    kept = [*_needed(groups), {"name": "begun", "rules": [{"record": _BEGUN, "expr": begun}]}]
    return yaml.safe_dump({"groups": kept}, sort_keys=False), [group["name"] for group in kept]


def _needed(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups without recordings that no alert reads: dashboards read those."""
    rules = [rule for group in groups for rule in group["rules"]]
    read = set(_WORD.findall(" ".join(rule["expr"] for rule in rules if "alert" in rule)))
    while more := {
        word
        for rule in rules
        if rule.get("record") in read
        for word in _WORD.findall(rule["expr"])
        if word not in read
    }:
        read |= more
    kept = (
        {**group, "rules": [r for r in group["rules"] if "alert" in r or r["record"] in read]}
        for group in groups
    )
    return [group for group in kept if group["rules"]]


def _promtool(rules: str, tests: str) -> str:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(rules)
        (folder / "tests.yml").write_text(tests)
        done = subprocess.run(
            ("promtool", "test", "rules", str(folder / "tests.yml")),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **_SPARING},
        )
    return done.stdout + done.stderr


def _results(output: str) -> Iterator[dict[tuple[tuple[str, str], ...], float]]:
    """Yield the results of each query that promtool printed."""
    parts = output.split("    expr: ")[1:]
    if not parts or "err:" in output or "error" in output.lower().split("expr:")[0]:
        raise RulesBroken(output[-3000:])
    for part in parts:
        got = part.partition("got:")[2]
        found = {
            tuple(sorted(_LABEL.findall(labels))): float(value)
            for labels, value in _GOT.findall(got)
        }
        yield found
