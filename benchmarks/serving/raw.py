"""Measure the raw limit: decode and run batches in a loop, in one thread, without a server.

`python -m benchmarks.serving.raw 2 "[1, 8]" tagger` runs batches of 1 and of 8 in turn, for two
seconds each, and prints the images per second of each size as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

from benchmarks.serving.servers import ROOT, environment
from benchmarks.serving.task import image, read, write

_TURNS = 4  # short turns, so that noise of the machine affects every size


def limit(seconds: float, sizes: tuple[int, ...], *work: str) -> dict[int, float]:
    """Return the images per second of each batch size, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.serving.raw", str(seconds), json.dumps(sizes)]
    process = subprocess.run(
        [*command, *work], cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE
    )
    return {int(size): rate for size, rate in json.loads(process.stdout).items()}


def main(seconds: float, sizes: list[int], work: str, *folder: str) -> None:
    """Print the images per second of each batch size."""
    run = _tagger() if work == "tagger" else _editor(*folder)
    run(max(sizes))
    busy = dict.fromkeys(sizes, 0.0)
    images = dict.fromkeys(sizes, 0)
    for size in sizes * _TURNS:
        started = perf_counter()
        while (elapsed := perf_counter() - started) < seconds / _TURNS:
            run(size)
            images[size] += size
        busy[size] += elapsed
    print(json.dumps({size: images[size] / busy[size] for size in sizes}))


def _tagger() -> Callable[[int], object]:
    from benchmarks.serving.model import Tagger

    model, png = Tagger(), image()
    return lambda size: model.tag([read(png) for _ in range(size)])


def _editor(folder: str) -> Callable[[int], object]:
    from benchmarks.serving.model import Editor

    model, png = Editor(folder), image()
    return lambda size: [write(edited) for edited in model.edit([read(png) for _ in range(size)])]


if __name__ == "__main__":
    main(float(sys.argv[1]), json.loads(sys.argv[2]), *sys.argv[3:])
