"""Measure the time of a dashboard's queries, and of the rules of a hundred services."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter, time

import yaml

from benchmarks.measurements import Measurement
from benchmarks.monitoring.history import Service, Span, fill
from benchmarks.monitoring.prometheus import Prometheus, running
from safelight.dashboards.board import INSTANT, Board, Panel, Query
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.rules.files import rule_file

_HOUR, _DAY = 3600, 86_400
_MARGIN_SECONDS = 300  # for the rate windows of the first point
_PANEL_SECONDS = 60  # the smallest interval of a panel
_PANEL_POINTS = 500  # as Grafana for a panel with a third of the screen's width
_CONNECTIONS = 6  # as a browser to one host
_INTERVAL_SECONDS = 5
_EVALUATIONS = 3


def measure_boards(*, full: bool) -> Iterator[Measurement]:
    """Yield the time of the slowest dashboard, for the last hour of a day of ten services.

    `full` has the resolution of the last hour for the whole day, and measures the day too.
    """
    services = [Service("instructpix2pix", "safelight", f"10.0.0.{n}:8000") for n in range(10)]
    now = int(time())
    recent, old_step = now - _HOUR - _MARGIN_SECONDS, 15 if full else 300
    spans = (Span(now - _DAY, recent, old_step), Span(recent, now, 15))
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill(services, spans, folder)
        with running(folder, "global: {}\n", "groups: []\n") as prometheus:
            yield Measurement("samples of ten services in a day", samples, "samples")
            yield from _boards(prometheus, now, _HOUR, "an hour", 1.0)
            yield Measurement(
                "GPU panels without data though there is a GPU",
                _empty(prometheus, now),
                "panels",
                0,
            )
            if full:
                yield from _boards(prometheus, now, _DAY, "a day", None)


def measure_rules(*, full: bool) -> Iterator[Measurement]:
    """Yield the slowest rule group's share of its interval, for a hundred services.

    They are ten models with ten instances each; `full` also measures a hundred models.
    """
    yield from _rules(10, limit=10)
    if full:
        yield from _rules(100, limit=None)


def _rules(models: int, *, limit: float | None) -> Iterator[Measurement]:
    services = [
        Service(f"model_{n % models}", f"model-{n % models}", f"10.0.{n}.1:8000")
        for n in range(100)
    ]
    now = int(time())
    rules = rule_file(*sorted({service.namespace for service in services}))
    with TemporaryDirectory() as name:
        folder = Path(name)
        fill(services, [Span(now - 330, now, _INTERVAL_SECONDS)], folder)
        config = {
            "global": {
                "evaluation_interval": f"{_INTERVAL_SECONDS}s",
                "scrape_interval": f"{_INTERVAL_SECONDS}s",
            },
            "rule_files": ["rules.yml"],
        }
        with running(folder, yaml.safe_dump(config), rules) as prometheus:
            Event().wait(_EVALUATIONS * _INTERVAL_SECONDS)
            groups = prometheus.get("rules")["groups"]
    failed = [rule["name"] for group in groups for rule in group["rules"] if rule.get("lastError")]
    assert not failed, [r["lastError"] for g in groups for r in g["rules"] if r.get("lastError")][
        :2
    ]
    shares = [group["evaluationTime"] / group["interval"] for group in groups]
    yield Measurement(
        f"rules of a hundred services, {models} models",
        sum(len(g["rules"]) for g in groups),
        "rules",
    )
    yield Measurement("slowest group, share of its interval", 100 * max(shares), "%", limit)
    yield Measurement("all groups, share of one core", 100 * sum(shares), "%")


def _boards(
    prometheus: Prometheus, end: int, seconds: int, shown: str, limit: float | None
) -> Iterator[Measurement]:
    times = {board.uid: _query_seconds(prometheus, board, end, seconds) for board in boards()}
    slowest = max(times, key=lambda uid: times[uid])
    name = f"queries of the slowest dashboard, {shown} ({slowest})"
    yield Measurement(name, times[slowest], "s", limit)


def _empty(prometheus: Prometheus, end: int) -> int:
    """Return the number of panels that need a GPU and have no data with one."""
    chosen = Chosen("instructpix2pix", rate_interval="60s", range=f"{_HOUR}s")
    panels = [panel for board in boards() for panel in board.panels if _needs_gpu(panel)]
    return sum(
        not any(
            prometheus.get("query", query=chosen.fill(query.expr), time=str(end))["result"]
            for query in panel.queries
        )
        for panel in panels
    )


def _needs_gpu(panel: Panel) -> bool:
    return "GPU" in panel.needs


def _query_seconds(prometheus: Prometheus, board: Board, end: int, seconds: int) -> float:
    """Return the seconds until all queries of a dashboard end, with a browser's connections."""
    step = max(_PANEL_SECONDS, seconds // _PANEL_POINTS)
    window = f"{max(4 * 15, step + 15)}s"
    chosen = Chosen("instructpix2pix", rate_interval=window, range=f"{seconds}s")
    times = {"start": str(end - seconds), "end": str(end), "step": str(step)}
    queries = [(panel, query) for panel in board.panels for query in panel.queries]

    def send(one: tuple[Panel, Query]) -> None:
        panel, query = one
        at = {"time": str(end)} if panel.shape in INSTANT else times
        path = "query" if panel.shape in INSTANT else "query_range"
        prometheus.get(path, query=chosen.fill(query.expr), **at)

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        started = perf_counter()
        list(pool.map(send, queries))
        return perf_counter() - started
