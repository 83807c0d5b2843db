"""Generate Prometheus blocks with the history of services that never ran."""

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
    SERVICE_INFO,
    WORKERS_READY,
)
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import Kind, Label, Metric

Row = tuple[str, float, float]  # a series, its first value, its increase per second
Families = dict[str, tuple[Kind, list[Row]]]

# Gauges with the value 1 in a healthy service; all others are 0.
_ONE = {
    BUILD_INFO,
    GPU_INFO,
    GPU_MEMORY_TOTAL,
    HOST_FILESYSTEM_SIZE,
    HOST_MEMORY_TOTAL,
    MODEL_INFO,
    SERVICE_INFO,
    WORKERS_READY,
}
_FUTURE = 1e10  # a timestamp that is never too old
_BLOCK_SECONDS = 7200
_THREADS = 2
_MAX_LABEL_SETS = 6  # per metric, as in a busy service
_LABEL_VALUES = {
    "status_code": ("200", "422", "503"),
    "status": ("200", "422", "503"),
    "device": ("cuda:0",),
    "gpu": ("0",),
}
_TYPES = ("make_him_old", "add_sunglasses", "change_background", "other")


@dataclass(frozen=True, slots=True)
class Service:
    """One scrape target, by its labels."""

    namespace: str
    job: str
    instance: str


@dataclass(frozen=True, slots=True)
class Span:
    """A time range in seconds since 1970, and the seconds between its scrapes."""

    begin: int
    end: int
    step: int


def series(service: Service) -> list[tuple[str, Kind, list[Row]]]:
    """Return each metric family of a service: its name, kind and rows."""
    families = []
    for metric in CATALOG:
        name = metric.full_name(service.namespace)
        rows = [
            row for labels in _sets(metric, service) for row in _rows(metric, name, labels, service)
        ]
        families.append((name, metric.kind, rows))
    up = f'up{{job="{service.job}",instance="{service.instance}"}}'
    assert "up" in FOREIGN
    return [*families, ("up", Kind.GAUGE, [(up, 1, 0)])]


def fill(
    services: Sequence[Service],
    spans: Sequence[Span],
    folder: Path,
    included: Callable[[str], bool] = bool,
) -> int:
    """Write blocks with the series of the services over the spans; return the number of samples.

    `included` selects series by name. Each block is a promtool run of its own: promtool reads a
    file once per block that it writes.
    """
    times = [at for span in spans for at in range(span.begin, span.end, span.step)]
    blocks = [list(block) for _, block in groupby(times, lambda at: at // _BLOCK_SECONDS)]
    families: Families = {}
    for service in services:
        for name, kind, rows in series(service):
            selected = [row for row in rows if included(row[0].partition("{")[0])]
            if selected:
                families.setdefault(name, (kind, []))[1].extend(selected)
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(lambda block: _block(families, block, times[0], folder), blocks))


def _block(families: Families, times: Sequence[int], start: int, folder: Path) -> int:
    file = folder / f"{times[0]}.om"
    with file.open("w") as out:
        count = sum(_family(out, name, family, times, start) for name, family in families.items())
        out.write("# EOF\n")
    command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "-q")
    subprocess.run((*command, str(file), str(folder / "data")), check=True, capture_output=True)
    file.unlink()
    return count


def _family(
    out: TextIO, name: str, family: tuple[Kind, list[Row]], times: Sequence[int], start: int
) -> int:
    kind, rows = family
    family_name = name.removesuffix("_total") if kind is Kind.COUNTER else name
    out.write(f"# TYPE {family_name} {kind.value}\n")
    for key, first, growth in rows:
        out.write("".join(f"{key} {first + growth * (at - start):.12g} {at}\n" for at in times))
    return len(rows) * len(times)


def _sets(metric: Metric, service: Service) -> Iterator[tuple[str, ...]]:
    return islice(product(*(_values(label, service) for label in metric.labels)), _MAX_LABEL_SETS)


def _values(label: Label, service: Service) -> tuple[str, ...]:
    if label.name == "namespace":
        return (service.namespace,)
    if label.name == "instruction_type":
        return _TYPES
    return _LABEL_VALUES.get(label.name) or label.values or ("/api/edit", "/predict")


def _rows(metric: Metric, name: str, values: tuple[str, ...], service: Service) -> Iterator[Row]:
    """Yield the series of one set of labels, which gets one request per second."""
    target = {"job": service.job, "instance": service.instance}
    labels = target | dict(zip(metric.label_names, values, strict=True))
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
        yield f"{name}{{{inside}}}", 1, 0.01  # slow, so that few alerts fire
    elif metric is PROBE_TIMESTAMP:
        yield f"{name}{{{inside}}}", _FUTURE, 1
    else:
        yield f"{name}{{{inside}}}", float(metric in _ONE), 0
