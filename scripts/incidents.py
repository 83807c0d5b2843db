"""Replay random incidents into a real Prometheus, for somebody who looks for their causes.

`python -m scripts.incidents FOLDER [SEED]` writes the pictures of the dashboards of ten incidents
into the folder, and the causes into a file beside it. The reader sees only the pictures.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from matplotlib.pyplot import close

from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.errors import SafelightError
from safelight.rules.alerts import alerts
from safelight.rules.files import rule_file
from safelight.rules.rule import Alert
from safelight.stories.history import Samples, simulate, write_blocks
from safelight.stories.replay import replay
from scripts.drawing import Data, draw
from tests.truth.judging import draw as draw_scenes
from tests.truth.scene import NOW, Scene

NUMBER = 10
_HOUR, _STEP = 3600, 15


def main(folder: Path, seed: int) -> None:
    """Write the history of ten random incidents of different causes, and draw their dashboards."""
    faults, _ = draw_scenes(seed)
    chosen = Random(seed).sample(faults, NUMBER)
    scenes = [replace(scene, name=f"incident-{n}") for n, scene in enumerate(chosen, 1)]
    causes = {scene.job: scene.cause for scene in scenes}
    folder.mkdir(parents=True)
    folder.with_suffix(".causes.json").write_text(json.dumps(causes, indent=2))
    with TemporaryDirectory() as name:
        past = Path(name)
        _write(scenes, past, seed)
        with replay(past) as prometheus:
            for scene in scenes:
                _draw(scene, prometheus.url, folder)


def _write(scenes: list[Scene], past: Path, seed: int) -> None:
    """Write the history: the samples, then the recording rules over them, then the alerts."""
    write_blocks((_samples(scene, seed + n) for n, scene in enumerate(scenes)), past)
    with replay(past) as prometheus:
        for namespace in sorted({scene.namespace for scene in scenes}):
            _record(past, namespace, prometheus.url)
    with replay(past) as prometheus:
        lines = [line for scene in scenes for line in _firing(scene, prometheus)]
    write_blocks([{0: {"ALERTS": ("gauge", lines)}}], past)


def _draw(scene: Scene, url: str, folder: Path) -> None:
    chosen = Chosen(scene.namespace, job=scene.job, card_job=scene.job, range="1h")
    for board in boards():
        figure = draw(board, Data(url, chosen, NOW - _HOUR, NOW))
        name = board.uid.removeprefix("safelight-")
        figure.savefig(folder / f"{scene.job}-{name}.png", dpi=64)
        close(figure)
    print(f"{scene.job}: {len(boards())} pictures", flush=True)


def _samples(scene: Scene, seed: int) -> Samples:
    return simulate(scene.simulation(seed), scene.times())


def _record(folder: Path, namespace: str, url: str) -> None:
    """Write the blocks of the recording rules of a namespace."""
    rules = folder / f"{namespace}.yml"
    rules.write_text(rule_file(namespace))
    command = ("promtool", "tsdb", "create-blocks-from", "rules", f"--start={NOW - 2 * _HOUR}")
    rest = (f"--end={NOW}", f"--url={url}", "--eval-interval=30s", f"--output-dir={folder}/data")
    subprocess.run((*command, *rest, str(rules)), check=True, capture_output=True)


def _firing(scene: Scene, prometheus: Prometheus) -> Iterator[str]:
    """Yield the samples of ALERTS of a scene, as Prometheus would have written them."""
    for alert in alerts(scene.namespace):
        try:
            curves = prometheus.curve(alert.expr, NOW - _HOUR, NOW, _STEP)
        except SafelightError as error:
            print(f"{alert.name}: {error}", file=sys.stderr)
            continue
        for series in curves:
            if series.labels.get("job") == scene.job:
                yield from _samples_of(alert, series)


def _samples_of(alert: Alert, series: Series) -> Iterator[str]:
    labels = {
        **{name: value for name, value in series.labels.items() if name != "__name__"},
        "alertname": alert.name,
        "alertstate": "firing",
        "severity": str(alert.severity),
    }
    text = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
    pending_since = before = 0.0
    for at, _ in series.points:
        if at - before > _STEP:
            pending_since = at
        before = at
        if at - pending_since >= alert.for_seconds:
            yield f"ALERTS{{{text}}} 1 {at:.0f}\n"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 0)
