"""Runs every benchmark, prints the table, and exits 1 where a target is missed.

`python -m benchmarks http steps` runs those two alone.
"""

import sys
from collections.abc import Callable, Iterator

from benchmarks import exposition, http, keeping, process, quality, records, steps
from benchmarks.figures import Figure, as_markdown, verdict

PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "http": http.measure,
    "steps": steps.measure,
    "exposition": exposition.measure,
    "process": process.measure,
    "records": records.measure,
    "quality": quality.measure,
    "keeping": keeping.measure,
}


def main(names: list[str]) -> int:
    """Run the parts named, or all; return the exit code."""
    if not PARTS.keys() >= set(names):
        print(f"There are the benchmarks {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names or PARTS:
        print(f"measuring {name} …", file=sys.stderr)
        figures += PARTS[name]()
    print("\n".join(as_markdown(figures)))
    return verdict(figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
