"""Past data of simulated services, written as Prometheus blocks by promtool."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safelight.errors import ServiceFailed
from safelight.stack.programs import find_program
from safelight.stories.conditions import Timeline
from safelight.stories.simulation import Instance

SCRAPE_SECONDS = 15
_BLOCK_SECONDS = 7200
_PARALLEL = 2
_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated service: its names, and the conditions of each instance at each time.

    Simulations with the same `seed` are equal.
    """

    namespace: str
    job: str
    conditions: Timeline
    instances: int = 1
    seed: int = 0


# By two-hour block and by metric family: the kind and the sample lines.
Samples = dict[int, dict[str, tuple[str, list[str]]]]


def simulate(
    service: Simulation, times: Sequence[int], keep: Callable[[str], bool] = bool
) -> Samples:
    """Return the samples that Prometheus would scrape from a service at these times.

    `keep` selects series by name. A step is as long as the time since the scrape before it, at
    most a minute.
    """
    samples: Samples = {}
    rows: dict[str, tuple[str, dict[int, list[str]]]] = {}
    for number in range(service.instances):
        target = f'job="{service.job}",instance="{service.job}-{number}:8000"'
        instance = Instance(service.namespace, target, service.seed * 100 + number, keep)
        before = times[0] - SCRAPE_SECONDS
        for at in times:
            now = service.conditions(number, at)
            for kind, key, value in instance.step(at, min(at - before, 60), now):
                row = rows.get(key)
                if row is None:
                    row = rows[key] = (kind, defaultdict(list))
                row[1][at // _BLOCK_SECONDS].append(f"{key} {value:.10g} {at}\n")
            before = at
    for key, (kind, blocks) in rows.items():
        name = _family(key, kind)
        for block, lines in blocks.items():
            samples.setdefault(block, {}).setdefault(name, (kind, []))[1].extend(lines)
    return samples


def write_blocks(services: Iterable[Samples], folder: Path) -> int:
    """Write the samples of services as blocks into `folder/data`. Return the number of samples.

    Raises MissingProgram if promtool is missing, or ServiceFailed.
    """
    promtool = find_program(("promtool",), "prometheus")
    merged: Samples = {}
    for samples in services:
        for block, families in samples.items():
            for name, (kind, lines) in families.items():
                merged.setdefault(block, {}).setdefault(name, (kind, []))[1].extend(lines)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        jobs = [
            pool.submit(_block, promtool, folder, block, families)
            for block, families in sorted(merged.items())
        ]
        return sum(job.result() for job in jobs)


def _block(
    promtool: str, folder: Path, block: int, families: dict[str, tuple[str, list[str]]]
) -> int:
    file = folder / f"{block}.om"
    with file.open("w") as out:
        for name, (kind, lines) in families.items():
            out.write(f"# TYPE {name} {kind}\n")
            out.writelines(lines)
        out.write("# EOF\n")
    command = (
        promtool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "-q",
        str(file),
        str(folder / "data"),
    )
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    file.unlink()
    if result.returncode:
        raise ServiceFailed(f"promtool could not write blocks: {result.stderr.strip()[:300]}")
    return sum(len(lines) for _, lines in families.values())


def _family(key: str, kind: str) -> str:
    name = key.partition("{")[0]
    if kind == "counter":
        return name.removesuffix("_total")
    return _HISTOGRAM.sub("", name) if kind in ("histogram", "summary") else name


def scrapes(*spans: tuple[int, int, int]) -> list[int]:
    """Return the scrape times of spans given as (begin, end, step)."""
    return [at for begin, end, step in spans for at in range(begin, end, step)]


def named(names: Iterable[str]) -> Callable[[str], bool]:
    """Return a predicate that is True for these names."""
    return frozenset(names).__contains__
