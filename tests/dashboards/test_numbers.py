"""The numbers of the panels equal the counters, in a real Prometheus.

Each series has one label set of the requests of one process: when it was first scraped, and its
value at each scrape after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import pytest

from safelight.dashboards.board import Panel
from safelight.dashboards.boards.common import NOW as RATE
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.prometheus import Prometheus
from safelight.metrics.catalog import INSTRUCTION_TYPE, REQUESTS, SUCCESSES
from safelight.stories.history import write_blocks
from safelight.stories.replay import replay

NOW = 1_795_000_000
STEP = 15
HOUR = 3600
NAMESPACE = "pix"
# Grafana sends the values of the list, not `.*`, for All.
CHOSEN = Chosen(NAMESPACE, "(edit)", "(a|b|c|d|e|f)", rate_interval="1m", range="1h")


@dataclass(frozen=True)
class Counts:
    """The values of one series, one per scrape; the last one was `ended` seconds ago."""

    kind: str
    error: str
    values: Sequence[int]
    instance: str = "a"
    ended: int = 0

    def lines(self, name: str, labels: dict[str, str]) -> Iterator[str]:
        """Yield the samples of a counter that has these values."""
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        begin = NOW - self.ended - STEP * (len(self.values) - 1)
        for place, value in enumerate(self.values):
            yield f"{name}{{{text}}} {value} {begin + place * STEP}\n"


# When each process was scraped and when it started, in seconds before now.
SCRAPED = {
    "a": [(2 * HOUR, 0)],
    "b": [(HOUR // 2 + 900, HOUR // 2)],
    "c": [(2 * HOUR, 0)],
    "d": [(2 * HOUR, HOUR + 60), (HOUR - 75, 0)],
    "e": [(2 * HOUR, HOUR + 600), (HOUR - 75, 0)],
    "f": [(885, 0)],
}
STARTED = {"b": HOUR // 2 + 910}


def targets() -> dict[str, tuple[str, list[str]]]:
    """Return the samples that say when each process was scraped, and when it started."""
    up, started = [], []
    for instance, spans in SCRAPED.items():
        labels = f'{{job="edit",instance="{instance}"}}'
        start = NOW - STARTED.get(instance, 10 * HOUR)
        for begin, end in spans:
            for at in range(NOW - begin, NOW - end + 1, STEP):
                up.append(f"up{labels} 1 {at}\n")
                started.append(f"process_start_time_seconds{labels} {start} {at}\n")
    return {"up": ("gauge", up), "process_start_time_seconds": ("gauge", started)}


def steady(first: int, last: int, scrapes: int = 8) -> list[int]:
    """Return a counter that was first scraped with `first` and grows to `last`."""
    return [first + (last - first) * place // (scrapes - 1) for place in range(scrapes)]


HISTORY = (
    # 18 requests of a new kind: each series is first seen with its first events.
    Counts("add_beard", "none", steady(3, 16)),
    Counts("add_beard", "structure_corruption", steady(1, 2)),
    # A kind that failed each time, seen by one scrape.
    Counts("add_hat", "model_error", [12]),
    # Events before the range, and within it.
    Counts("make_him_old", "none", steady(100, 140, 2 * HOUR // STEP)),
    # A process that was restarted: 30 and 20 events.
    Counts("add_smile", "none", [*steady(0, 30, 60), *steady(0, 20, 60)]),
    # A process that was restarted between the last scrape before the range and the first in it.
    Counts(
        "face_swap", "none", [*steady(1000, 1000, 60), *steady(1, 15, HOUR // STEP)], instance="c"
    ),
    # A process that was not scraped for two minutes when the range began.
    Counts("pose_change", "none", steady(900, 1000, 100), instance="d", ended=HOUR + 60),
    Counts("pose_change", "none", steady(1000, 1017, HOUR // STEP - 4), instance="d"),
    # A process that was not scraped for ten minutes when the range began, and counted 10 meanwhile.
    Counts("hair_color", "none", steady(900, 1000, 100), instance="e", ended=HOUR + 600),
    Counts("hair_color", "none", steady(1010, 1030, HOUR // STEP - 4), instance="e"),
    # An old process that is scraped since a quarter of an hour.
    Counts("old_photo", "none", steady(5000, 5015, 60), instance="f"),
    # An instance that ended half an hour ago.
    Counts("cartoon_style", "none", steady(0, 25, 60), instance="b", ended=HOUR // 2),
)
TOTAL = {
    "add_beard": 18,
    "add_hat": 12,
    "make_him_old": 140 - 119,  # it had 119 an hour ago
    "add_smile": 50,
    "face_swap": 15,
    "pose_change": 17,
    "hair_color": 20,
    "old_photo": 15,
    "cartoon_style": 25,
}
SUCCESS = {**dict.fromkeys(TOTAL, 1.0), "add_beard": 16 / 18, "add_hat": 0.0}


def samples() -> dict[int, dict[str, tuple[str, list[str]]]]:
    total, success = REQUESTS.full_name(NAMESPACE), SUCCESSES.full_name(NAMESPACE)
    lines: dict[str, list[str]] = {total: [], success: []}
    for counts in HISTORY:
        target = {"job": "edit", "instance": counts.instance}
        labels = {
            "status_code": "200",
            "error": counts.error,
            "instruction_type": counts.kind,
            "endpoint": "/api/edit",
        }
        assert set(labels) == set(REQUESTS.label_names)
        lines[total] += counts.lines(total, labels | target)
        if counts.error == "none":
            kept = {name: labels[name] for name in SUCCESSES.label_names}
            lines[success] += counts.lines(success, kept | target)
    families = {name.removesuffix("_total"): ("counter", text) for name, text in lines.items()}
    return {0: {**families, **targets(), "ALERTS": ("gauge", list(alerts()))}}


def alerts() -> Iterator[str]:
    """Yield alerts of this service, and two of others."""
    for labels in (
        'alertname="ForTheJob",job="edit"',
        'alertname="ForAnInstance",job="edit",instance="a"',
        f'alertname="ServiceMissing",namespace="{NAMESPACE}"',
        'alertname="Watchdog"',
        'alertname="OfAnother",job="shop",instance="a"',
        'alertname="HostCpuBusy",job="machines",instance="m"',
        'alertname="RulesFailing",job="prometheus"',
    ):
        yield f'ALERTS{{{labels},alertstate="firing"}} 1 {NOW}\n'


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("numbers")
    write_blocks([samples()], folder)
    with replay(folder) as prometheus:
        yield prometheus


def panel_of(title: str) -> Panel:
    return next(panel for board in boards() for panel in board.panels if panel.title == title)


def shown(past: Prometheus, title: str) -> dict[str, float]:
    (query,) = panel_of(title).queries
    series = past.instant(CHOSEN.fill(query.expr), NOW)
    return {each.labels["instruction_type"]: each.value for each in series}


@pytest.mark.parametrize(
    "title",
    ["Which instructions fail most?", "Success ranking: do the frequent instructions work?"],
)
def test_the_success_of_each_type_equals_the_counters(past: Prometheus, title: str) -> None:
    assert shown(past, title) == pytest.approx(SUCCESS, rel=0.01)


def test_the_share_of_destroyed_images_equals_the_counters(past: Prometheus) -> None:
    expected = {**dict.fromkeys(TOTAL, 0.0), "add_beard": 2 / 18}
    assert shown(past, "Which instructions destroy the image?") == pytest.approx(expected, rel=0.01)


def test_the_number_of_requests_of_each_type_equals_the_counters(past: Prometheus) -> None:
    assert shown(past, "What do callers ask for?") == pytest.approx(TOTAL, rel=0.01)


def over_time(past: Prometheus, expr: str, window: str = "1m") -> list[float]:
    """Return all values of an expression, evaluated between the scrapes."""
    chosen = replace(CHOSEN, rate_interval=window)
    curves = past.curve(chosen.fill(expr), NOW - HOUR + 7, NOW - 8, STEP)
    return [value for each in curves for _, value in each.points if not isnan(value)]


def test_the_rates_over_time_add_up_to_the_counters_with_the_first_requests_of_a_type(
    past: Prometheus,
) -> None:
    (query,) = panel_of("Do callers ask for something new?").queries
    curves = past.curve(CHOSEN.fill(query.expr), NOW - HOUR + 60, NOW, 60)
    counts = {
        each.labels["instruction_type"]: 60 * sum(value for _, value in each.points)
        for each in curves
    }
    # A restart within a window hides its first part; an old process is unknown for one window.
    steady_types = set(TOTAL) - {"add_smile", "old_photo", "hair_color"}
    assert counts["old_photo"] <= TOTAL["old_photo"]
    assert counts["hair_color"] <= TOTAL["hair_color"]
    assert {kind: counts[kind] for kind in steady_types} == pytest.approx(
        {kind: TOTAL[kind] for kind in steady_types}, rel=0.01
    )


def test_a_failure_is_visible_with_its_first_requests(past: Prometheus) -> None:
    (query,) = panel_of("Errors by reason: why do requests fail?").queries
    curves = past.curve(CHOSEN.fill(query.expr), NOW - HOUR, NOW, 15)
    highest = {
        each.labels["error"]: max(value for _, value in each.points if not isnan(value))
        for each in curves
    }
    assert highest["model_error"] == pytest.approx(12 / 60)


@pytest.mark.parametrize("window", ["1m", "5m"])
def test_no_share_over_time_is_outside_0_to_100_percent(past: Prometheus, window: str) -> None:
    (query,) = panel_of("Success rate by instruction: which ones fail?").queries
    values = over_time(past, query.expr, window)
    assert len(values) > 100
    assert min(values) >= 0
    assert max(values) <= 1


@pytest.mark.parametrize("window", ["1m", "5m"])
def test_no_count_over_time_is_negative_or_that_of_a_lifetime(
    past: Prometheus, window: str
) -> None:
    values = over_time(past, RATE.increase(REQUESTS, (INSTRUCTION_TYPE,)), window)
    assert len(values) > 100
    assert min(values) >= 0
    assert max(values) <= 40


def test_alerts_of_jobs_machines_and_the_monitoring_are_shown(past: Prometheus) -> None:
    (query,) = panel_of("Which alerts fire?").queries
    series = past.instant(CHOSEN.fill(query.expr), NOW)
    assert {each.labels["alertname"] for each in series} == {
        "ForTheJob",
        "ForAnInstance",
        "ServiceMissing",
        "HostCpuBusy",
        "RulesFailing",
    }
    leads = {each.labels["alertname"]: each.labels["dashboard"] for each in series}
    assert leads["HostCpuBusy"] == "safelight-cards-and-memory"
    assert leads["ForTheJob"] == "safelight-live", "an alert of somebody else"
