"""Simulate scenes in a real Prometheus, diagnose each, and compare with the true fault."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from tests.truth.expressions import COUNTED
from tests.truth.judging import SEED, draw
from tests.truth.scene import NOW, Scene

_PROCESSES = 2
_EVENTS, _MEAN_SECONDS = 5, 300


@dataclass(frozen=True)
class Verdict:
    """Result of the diagnosis of a scene."""

    scene: Scene
    warnings: tuple[str, ...]
    """Names of the checks with findings of severity warning or above, in their order."""
    visible_seconds: float | None = None
    found_seconds: float | None = None
    """Seconds from the fault's begin until it is visible, and until it is the first finding."""
    words: tuple[str, ...] = ()
    """Texts of the first finding: its verdict, then its evidence."""
    texts: frozenset[str] = frozenset()
    """All texts of all findings."""

    @property
    def first(self) -> bool:
        return self.warnings[:1] == (self.scene.cause,)

    @property
    def among_three(self) -> bool:
        return self.scene.cause in self.warnings[:3]

    @property
    def late_intervals(self) -> float | None:
        """Return the delay from visible to found, in scrape intervals."""
        if self.visible_seconds is None or self.found_seconds is None:
            return None
        return max(0.0, self.found_seconds - self.visible_seconds) / SCRAPE_SECONDS


def scenes_of(kind: str) -> list[Scene]:
    """Return the scenes of a set: `tuning`, `practice`, `judging`, or a seed."""
    if kind.isdigit():
        return [scene for scenes in draw(int(kind)) for scene in scenes]
    module = import_module(f"tests.truth.{kind}")
    return [*module.FAULTS, *module.HEALTHY]


def run_set(kind: str, folder: Path) -> list[Verdict]:
    """Return the verdicts on all scenes of a set."""
    scenes = scenes_of(kind)
    with ProcessPoolExecutor(_PROCESSES, get_context("forkserver")) as pool:
        samples = list(pool.map(_simulate, [kind] * len(scenes), range(len(scenes))))
    write_blocks(samples, folder)
    with replay(folder) as prometheus, ThreadPoolExecutor(_PROCESSES) as threads:
        return list(threads.map(lambda scene: _verdict(scene, prometheus), scenes))


def findings_of(scene: Scene, prometheus: Prometheus, at: float = NOW) -> list[Finding]:
    """Return the findings at a time."""
    evidence = gather(prometheus, Service(scene.namespace, scene.job), at, Spans())
    return judge(evidence)


def _simulate(kind: str, place: int) -> Samples:
    scene = scenes_of(kind)[place]
    seed = int(kind) if kind.isdigit() else SEED if kind == "judging" else 0
    return simulate(
        scene.simulation(seed * 1000 + place + 1),
        scene.times(),
        named(series_names(scene.namespace)),
    )


def _verdict(scene: Scene, prometheus: Prometheus) -> Verdict:
    findings = findings_of(scene, prometheus)
    found = Verdict(
        scene, _warnings(findings), words=_words(findings), texts=frozenset(_texts(findings))
    )
    visible = _visible(scene, prometheus)
    if visible is None:
        return found
    for late in range(4):
        at = visible + late * SCRAPE_SECONDS
        if _warnings(findings_of(scene, prometheus, at))[:1] == (scene.cause,):
            begin = scene.begin
            return replace(found, visible_seconds=visible - begin, found_seconds=at - begin)
    return replace(found, visible_seconds=visible - scene.begin)


def _texts(findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings:
        check, sign = finding.check, finding.sign
        yield from (check.title, check.experiment, *check.remedy, *check.alternatives)
        yield from (sign.verdict, *(exhibit.says for exhibit in sign.exhibits))


def _words(findings: Sequence[Finding]) -> tuple[str, ...]:
    signs = [finding.sign for finding in findings[:1]]
    return tuple(text for s in signs for text in (s.verdict, *(e.says for e in s.exhibits)))


def _warnings(findings: Sequence[Finding]) -> tuple[str, ...]:
    names = [f.check.name for f in findings if f.sign.severity >= Severity.WARNING]
    return tuple(dict.fromkeys(names))


def _visible(scene: Scene, prometheus: Prometheus) -> float | None:
    """Return when the mean over five minutes of the scene's expression made half of its change.

    If it counts events, it must also have reached five events, or its maximum: fewer can be chance.
    """
    if not scene.expression:
        return None
    query = scene.expression.replace("@", scene.job)
    series = prometheus.curve(query, scene.begin - SCRAPE_SECONDS, NOW, SCRAPE_SECONDS)
    if not series:
        raise AssertionError(f"{scene.name} has no data: {query}")
    points = series[0].points
    first, last = points[0][1], points[-1][1]
    half = first + (last - first) / 2
    if scene.expression.endswith(COUNTED):
        peak = max(value for _, value in points)
        half = max(half, min(peak, _EVENTS / _MEAN_SECONDS))
    rises = last >= first
    return next(at for at, value in points if (value >= half) == rises)
