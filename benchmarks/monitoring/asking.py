"""How long a board's queries take together, and the rules of a hundred services."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter, time

import yaml

from benchmarks.figures import Figure
from benchmarks.monitoring.history import Service, Span, fill
from benchmarks.monitoring.prometheus import Prometheus, running
from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.rules.files import rule_file

_HOUR, _DAY = 3600, 86_400
_MARGIN_SECONDS = 300  # the rates at the first point look back
_PANEL_POINTS = 500  # what Grafana asks for a panel of a third of a screen's width
_AT_ONCE = 6  # as many as a browser sends to one host
_INTERVAL_SECONDS = 5
_EVALUATIONS = 3
_GROUPS = "prometheus_rule_group_last_duration_seconds"


def measure_boards(*, full: bool) -> Iterator[Figure]:
    """Yield how long the slowest board takes, for the last hour of a day of ten services.

    `full` has the whole day in the resolution of the last hour, and shows the day too.
    """
    services = [Service("instructpix2pix", "safelight", f"10.0.0.{n}:8000") for n in range(10)]
    now = int(time())
    recent, old_step = now - _HOUR - _MARGIN_SECONDS, 15 if full else 300
    spans = (Span(now - _DAY, recent, old_step), Span(recent, now, 15))
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill(services, spans, folder)
        with running(folder, "global: {}\n", "groups: []\n") as prometheus:
            yield Figure("samples of ten services' day", samples, "samples")
            yield from _boards(prometheus, now, _HOUR, "an hour", 1.0)
            yield Figure(
                "panels empty though there is a card", _empty(prometheus, now), "panels", 0
            )
            if full:
                yield from _boards(prometheus, now, _DAY, "a day", None)


def measure_rules(*, full: bool) -> Iterator[Figure]:
    """Yield what share of its interval the slowest group takes, for a hundred services.

    They are ten models of ten instances; `full` has a hundred models too, for comparison.
    """
    yield from _rules(10, limit=10)
    if full:
        yield from _rules(100, limit=None)


def _rules(models: int, *, limit: float | None) -> Iterator[Figure]:
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
    yield Figure(
        f"rules of a hundred services, {models} models",
        sum(len(g["rules"]) for g in groups),
        "rules",
    )
    yield Figure("slowest group, of its interval", 100 * max(shares), "%", limit)
    yield Figure("all groups together, of one core", 100 * sum(shares), "%")


def _boards(
    prometheus: Prometheus, end: int, seconds: int, shown: str, limit: float | None
) -> Iterator[Figure]:
    took = {board.uid: _together(prometheus, board, end, seconds) for board in boards()}
    slowest = max(took, key=lambda uid: took[uid])
    yield Figure(f"slowest board's queries, over {shown} ({slowest})", took[slowest], "s", limit)


def _empty(prometheus: Prometheus, end: int) -> int:
    """Return how many of the panels that need a card show nothing with one."""
    chosen = Chosen("instructpix2pix", rate_interval="60s", range=f"{_HOUR}s")
    panels = [panel for board in boards() for panel in board.panels if "card" in panel.needs]
    return sum(
        not any(
            prometheus.get("query", query=chosen.fill(query.expr), time=str(end))["result"]
            for query in panel.queries
        )
        for panel in panels
    )


def _together(prometheus: Prometheus, board: Board, end: int, seconds: int) -> float:
    """Return the seconds until all queries of a board are answered, asked as a browser does."""
    step = max(15, seconds // _PANEL_POINTS)
    window = f"{max(4 * 15, step + 15)}s"
    chosen = Chosen("instructpix2pix", rate_interval=window, range=f"{seconds}s")
    times = {"start": str(end - seconds), "end": str(end), "step": str(step)}
    queries = [chosen.fill(query.expr) for panel in board.panels for query in panel.queries]

    def ask(query: str) -> None:
        whole = f"[{chosen.range}]" in query
        moment = {"time": str(end)} if whole else times
        prometheus.get("query" if whole else "query_range", query=query, **moment)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        began = perf_counter()
        list(pool.map(ask, queries))
        return perf_counter() - began
