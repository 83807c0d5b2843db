"""The numbers of the panels equal the counters, in a real Prometheus.

Each series has one label set of the requests of one process: when it was first scraped, and its
value at each scrape after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from safelight.dashboards.board import Panel
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.prometheus import Prometheus
from safelight.metrics.catalog import REQUESTS, SUCCESSES
from safelight.stories.history import write_blocks
from safelight.stories.replay import replay

NOW = 1_795_000_000
STEP = 15
HOUR = 3600
NAMESPACE = "pix"
CHOSEN = Chosen(NAMESPACE, rate_interval="1m", range="1h")


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
    # An instance that ended half an hour ago.
    Counts("cartoon_style", "none", steady(0, 25, 60), instance="b", ended=HOUR // 2),
)
TOTAL = {
    "add_beard": 18,
    "add_hat": 12,
    "make_him_old": 140 - 119,
    "add_smile": 50,
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
    return {0: families}


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


@pytest.mark.parametrize("title", ["Success, worst first", "Success of frequent instructions"])
def test_the_success_of_each_type_equals_the_counters(past: Prometheus, title: str) -> None:
    assert shown(past, title) == pytest.approx(SUCCESS, rel=0.01)


def test_the_share_of_destroyed_images_equals_the_counters(past: Prometheus) -> None:
    expected = {**dict.fromkeys(TOTAL, 0.0), "add_beard": 2 / 18}
    assert shown(past, "Destroyed images") == pytest.approx(expected, rel=0.01)


def test_the_number_of_requests_of_each_type_equals_the_counters(past: Prometheus) -> None:
    assert shown(past, "Most requested") == pytest.approx(TOTAL, rel=0.01)


def test_no_share_over_time_is_outside_0_to_100_percent(past: Prometheus) -> None:
    (query,) = panel_of("Success over time").queries
    curves = past.curve(CHOSEN.fill(query.expr), NOW - HOUR, NOW, STEP)
    values = [value for each in curves for _, value in each.points if value == value]
    assert len(values) > 100
    assert min(values) >= 0
    assert max(values) <= 1
