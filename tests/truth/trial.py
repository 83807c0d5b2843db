"""Plays scenes into a real Prometheus, has each diagnosed, and holds the answer to the truth."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather
from safelight.diagnosis.finding import Finding, Severity
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.queries import series_names
from safelight.stories.history import SCRAPE_SECONDS, Samples, named, simulate, write_blocks
from safelight.stories.replay import replay
from tests.truth.figures import COUNTED
from tests.truth.judging import SEED, draw
from tests.truth.scene import NOW, Scene

_PROCESSES = 2
_EVENTS, _MEAN_SECONDS = 5, 300


@dataclass(frozen=True)
class Verdict:
    """What a diagnosis said of a scene."""

    scene: Scene
    said: tuple[str, ...]
    """The checks that found something at severity warning or above, in their order."""
    visible_seconds: float | None = None
    found_seconds: float | None = None
    """From the fault's begin until it could be seen, and until it was said first."""
    words: tuple[str, ...] = ()
    """What the first finding said: its verdict, then its evidence."""

    @property
    def first(self) -> bool:
        return self.said[:1] == (self.scene.cause,)

    @property
    def among_three(self) -> bool:
        return self.scene.cause in self.said[:3]

    @property
    def late_intervals(self) -> float | None:
        """Return scrape intervals from visible to found."""
        if self.visible_seconds is None or self.found_seconds is None:
            return None
        return max(0.0, self.found_seconds - self.visible_seconds) / SCRAPE_SECONDS


def scenes_of(kind: str) -> list[Scene]:
    """Return the scenes of a set: `tuning`, `practice`, `judging`, or what a seed draws."""
    if kind.isdigit():
        return [scene for drawn in draw(int(kind)) for scene in drawn]
    told = import_module(f"tests.truth.{kind}")
    return [*told.FAULTS, *told.WELL]


def tried(kind: str, folder: Path) -> list[Verdict]:
    """Return what is said of each scene of a set."""
    scenes = scenes_of(kind)
    with ProcessPoolExecutor(_PROCESSES, get_context("forkserver")) as pool:
        texts = list(pool.map(_played, [kind] * len(scenes), range(len(scenes))))
    write_blocks(texts, folder)
    with replay(folder) as prometheus, ThreadPoolExecutor(_PROCESSES) as threads:
        return list(threads.map(lambda scene: _judged(scene, prometheus), scenes))


def said(scene: Scene, prometheus: Prometheus, at: float = NOW) -> list[Finding]:
    """Return what a diagnosis finds at a time."""
    evidence = gather(prometheus, Service(scene.namespace, scene.job), at, Spans())
    return judge(evidence)


def _played(kind: str, place: int) -> Samples:
    scene = scenes_of(kind)[place]
    seed = int(kind) if kind.isdigit() else SEED if kind == "judging" else 0
    return simulate(
        scene.play(seed * 1000 + place + 1), scene.times(), named(series_names(scene.namespace))
    )


def _judged(scene: Scene, prometheus: Prometheus) -> Verdict:
    findings = said(scene, prometheus)
    warned, words = _warned(findings), _words(findings)
    visible = _visible(scene, prometheus)
    if visible is None:
        return Verdict(scene, warned, words=words)
    for late in range(4):
        at = visible + late * SCRAPE_SECONDS
        if _warned(said(scene, prometheus, at))[:1] == (scene.cause,):
            return Verdict(scene, warned, visible - scene.begin, at - scene.begin, words)
    return Verdict(scene, warned, visible - scene.begin, words=words)


def _words(findings: Sequence[Finding]) -> tuple[str, ...]:
    signs = [finding.sign for finding in findings[:1]]
    return tuple(text for s in signs for text in (s.verdict, *(e.says for e in s.exhibits)))


def _warned(findings: Sequence[Finding]) -> tuple[str, ...]:
    names = [f.check.name for f in findings if f.sign.severity >= Severity.WARNING]
    return tuple(dict.fromkeys(names))


def _visible(scene: Scene, prometheus: Prometheus) -> float | None:
    """Return when the scene's figure had come half of its way, by five minutes' means.

    Where it counts events, five of them must have come, or the most that ever come together: with
    fewer, nobody could tell them from chance.
    """
    if not scene.figure:
        return None
    query = scene.figure.replace("@", scene.job)
    found = prometheus.curve(query, scene.begin - SCRAPE_SECONDS, NOW, SCRAPE_SECONDS)
    if not found:
        raise AssertionError(f"{scene.name} shows nothing: {query}")
    points = found[0].points
    first, last = points[0][1], points[-1][1]
    half = first + (last - first) / 2
    if scene.figure.endswith(COUNTED):
        most = max(value for _, value in points)
        half = max(half, min(most, _EVENTS / _MEAN_SECONDS))
    rises = last >= first
    return next(at for at, value in points if (value >= half) == rises)
