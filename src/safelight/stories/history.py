"""A past for simulated services: their series as OpenMetrics, made into blocks by promtool."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safelight.errors import ServiceFailed
from safelight.stack.programs import find_program
from safelight.stories.conditions import Conditions
from safelight.stories.simulation import Instance

SCRAPE_SECONDS = 15
_BLOCK_SECONDS = 7200
_AT_ONCE = 2
_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True, slots=True)
class Play:
    """A service over a time: its names, and how it is with each instance at each moment.

    `weather(instance, at)` gives the conditions; `seed` makes chance repeat itself.
    """

    namespace: str
    job: str
    weather: Callable[[int, float], Conditions]
    instances: int = 1
    seed: int = 0


# For each block of two hours and each family: its kind, and its lines.
Texts = dict[int, dict[str, tuple[str, list[str]]]]


def play(show: Play, times: Sequence[int], wanted: Callable[[str], bool] = bool) -> Texts:
    """Return what Prometheus would have scraped of a service at these times.

    `wanted` says which names are kept; a step lasts as long as the gap before it, a minute at most.
    """
    texts: Texts = {}
    rows: dict[str, tuple[str, dict[int, list[str]]]] = {}
    for number in range(show.instances):
        target = f'job="{show.job}",instance="{show.job}-{number}:8000"'
        instance = Instance(show.namespace, target, show.seed * 100 + number, wanted)
        before = times[0] - SCRAPE_SECONDS
        for at in times:
            now = show.weather(number, at)
            for kind, key, value in instance.step(at, min(at - before, 60), now):
                found = rows.get(key)
                if found is None:
                    found = rows[key] = (kind, defaultdict(list))
                found[1][at // _BLOCK_SECONDS].append(f"{key} {value:.10g} {at}\n")
            before = at
    for key, (kind, blocks) in rows.items():
        name = _family(key, kind)
        for block, lines in blocks.items():
            texts.setdefault(block, {}).setdefault(name, (kind, []))[1].extend(lines)
    return texts


def write(plays: Iterable[Texts], folder: Path) -> int:
    """Make blocks of what services showed, in `folder/data`; return how many samples that are.

    Raises MissingProgram without promtool, or ServiceFailed.
    """
    promtool = find_program(("promtool",), "prometheus")
    merged: Texts = {}
    for texts in plays:
        for block, families in texts.items():
            for name, (kind, lines) in families.items():
                merged.setdefault(block, {}).setdefault(name, (kind, []))[1].extend(lines)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
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
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    file.unlink()
    if made.returncode:
        raise ServiceFailed(f"promtool could not make a past: {made.stderr.strip()[:300]}")
    return sum(len(lines) for _, lines in families.values())


def _family(key: str, kind: str) -> str:
    name = key.partition("{")[0]
    if kind == "counter":
        return name.removesuffix("_total")
    return _HISTOGRAM.sub("", name) if kind in ("histogram", "summary") else name


def scrapes(*spans: tuple[int, int, int]) -> list[int]:
    """Return the times of scrapes in spans of (begin, end, step)."""
    return [at for begin, end, step in spans for at in range(begin, end, step)]


def named(names: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells whether a series' name is among those given."""
    known = frozenset(names)
    return known.__contains__
