"""A past for services that were never run: their series as OpenMetrics, made into blocks."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice, product
from pathlib import Path
from typing import TextIO

from safelight.metrics.catalog import (
    BUILD_INFO,
    CATALOG,
    GPU_INFO,
    GPU_MEMORY_TOTAL,
    HOST_FILESYSTEM_SIZE,
    HOST_MEMORY_TOTAL,
    MODEL_INFO,
    PROBE_TIMESTAMP,
    WORKERS_READY,
)
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import Kind, Label, Metric

Row = tuple[str, float, float]  # a series, its first value, its growth a second
Families = dict[str, tuple[Kind, list[Row]]]

# Gauges of a service that is well: all others are 0.
_ONE = {
    BUILD_INFO,
    GPU_INFO,
    GPU_MEMORY_TOTAL,
    HOST_FILESYSTEM_SIZE,
    HOST_MEMORY_TOTAL,
    MODEL_INFO,
    WORKERS_READY,
}
_NOW = 1e10  # a reading that is never old
_BLOCK_SECONDS = 7200
_AT_ONCE = 2
_MOST_SETS = 6  # of labels for each metric, as a busy service shows
_OPEN = {
    "status_code": ("200", "422", "503"),
    "status": ("200", "422", "503"),
    "device": ("cuda:0",),
    "gpu": ("0",),
}
_TYPES = ("make_him_old", "add_sunglasses", "change_background", "other")


@dataclass(frozen=True, slots=True)
class Service:
    """One target, as its labels tell it."""

    namespace: str
    job: str
    instance: str


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, in seconds since 1970, and how often it was scraped."""

    begin: int
    end: int
    step: int


def series(service: Service) -> list[tuple[str, Kind, list[Row]]]:
    """Return each family of a service: its name, kind, and series with start and growth."""
    made = []
    for metric in CATALOG:
        name = metric.full_name(service.namespace)
        rows = [row for labels in _sets(metric) for row in _rows(metric, name, labels, service)]
        made.append((name, metric.kind, rows))
    up = f'up{{job="{service.job}",instance="{service.instance}"}}'
    assert "up" in FOREIGN
    return [*made, ("up", Kind.GAUGE, [(up, 1, 0)])]


def fill(
    services: Sequence[Service],
    spans: Sequence[Span],
    folder: Path,
    wanted: Callable[[str], bool] = bool,
) -> int:
    """Make blocks of what the services showed over the spans; return how many samples that are.

    `wanted` says which series are kept, by their names. One block at a time: promtool reads a file
    once for each block that it makes of it.
    """
    times = [at for span in spans for at in range(span.begin, span.end, span.step)]
    blocks = [list(each) for _, each in groupby(times, lambda at: at // _BLOCK_SECONDS)]
    families: Families = {}
    for service in services:
        for name, kind, rows in series(service):
            kept = [row for row in rows if wanted(row[0].partition("{")[0])]
            if kept:
                families.setdefault(name, (kind, []))[1].extend(kept)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(lambda each: _block(families, each, times[0], folder), blocks))


def _block(families: Families, times: Sequence[int], began: int, folder: Path) -> int:
    file = folder / f"{times[0]}.om"
    with file.open("w") as out:
        count = sum(_family(out, name, told, times, began) for name, told in families.items())
        out.write("# EOF\n")
    made = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "-q")
    subprocess.run((*made, str(file), str(folder / "data")), check=True, capture_output=True)
    file.unlink()
    return count


def _family(
    out: TextIO, name: str, told: tuple[Kind, list[Row]], times: Sequence[int], began: int
) -> int:
    kind, rows = told
    shown = name.removesuffix("_total") if kind is Kind.COUNTER else name
    out.write(f"# TYPE {shown} {kind.value}\n")
    for key, start, growth in rows:
        out.write("".join(f"{key} {start + growth * (at - began):.12g} {at}\n" for at in times))
    return len(rows) * len(times)


def _sets(metric: Metric) -> Iterator[tuple[str, ...]]:
    return islice(product(*(_values(label) for label in metric.labels)), _MOST_SETS)


def _values(label: Label) -> tuple[str, ...]:
    if label.name == "instruction_type":
        return _TYPES
    return _OPEN.get(label.name) or label.values or ("/api/edit", "/predict")


def _rows(metric: Metric, name: str, values: tuple[str, ...], service: Service) -> Iterator[Row]:
    """Yield the series of one set of labels; a service serves one request of each a second."""
    own = {"job": service.job, "instance": service.instance}
    labels = own | dict(zip(metric.label_names, values, strict=True))
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
        edges = metric.buckets
        for place, edge in enumerate(edges, 1):
            yield f'{name}_bucket{{{inside},le="{float(edge)}"}}', 0, place / len(edges)
        if edges:
            yield f'{name}_bucket{{{inside},le="+Inf"}}', 0, 1
        yield f"{name}_count{{{inside}}}", 0, 1
        yield f"{name}_sum{{{inside}}}", 0, edges[len(edges) // 2] if edges else 1000
    elif metric.kind is Kind.COUNTER:
        yield f"{name}{{{inside}}}", 1, 0.01  # rare, so that hardly an alert fires
    elif metric is PROBE_TIMESTAMP:
        yield f"{name}{{{inside}}}", _NOW, 1
    else:
        yield f"{name}{{{inside}}}", float(metric in _ONE), 0
