"""The raw limit: batches read and run in a loop, in one thread, with nobody to answer.

`python -m benchmarks.serving.raw 2 "[1, 8]" tagger` works on batches of 1 and of 8 in turn, for two
seconds each, and prints the images per second that each size reached, as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

from benchmarks.serving.servers import ROOT, environment
from benchmarks.serving.task import picture, read, write

_TURNS = 4  # short turns, so that what the machine does meanwhile hits every size


def limit(seconds: float, sizes: tuple[int, ...], *work: str) -> dict[int, float]:
    """Return the images per second of each batch size, reached in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.serving.raw", str(seconds), json.dumps(sizes)]
    told = subprocess.run(
        [*command, *work], cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE
    )
    return {int(size): rate for size, rate in json.loads(told.stdout).items()}


def main(seconds: float, sizes: list[int], work: str, *folder: str) -> None:
    """Print the images per second of each batch size."""
    run = _tagger() if work == "tagger" else _editor(*folder)
    run(max(sizes))
    spent = dict.fromkeys(sizes, 0.0)
    images = dict.fromkeys(sizes, 0)
    for size in sizes * _TURNS:
        started = perf_counter()
        while (elapsed := perf_counter() - started) < seconds / _TURNS:
            run(size)
            images[size] += size
        spent[size] += elapsed
    print(json.dumps({size: images[size] / spent[size] for size in sizes}))


def _tagger() -> Callable[[int], object]:
    from benchmarks.serving.model import Tagger

    model, png = Tagger(), picture()
    return lambda size: model.tag([read(png) for _ in range(size)])


def _editor(folder: str) -> Callable[[int], object]:
    from benchmarks.serving.model import Editor

    model, png = Editor(folder), picture()
    return lambda size: [write(made) for made in model.edit([read(png) for _ in range(size)])]


if __name__ == "__main__":
    main(float(sys.argv[1]), json.loads(sys.argv[2]), *sys.argv[3:])
