"""Print the accuracy of the diagnosis: `python -m tests.truth`, or `make truth`.

A set is `tuning`, `practice`, `judging`, or a number, which is the seed of a random set.
`--record` writes the results of seeds that were not used for tuning into docs/truth.json.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.truth.report import complaints, record_of, summary, table
from tests.truth.trial import Verdict, run_set

FILE = Path(__file__).parents[2] / "docs" / "truth.json"
SEEDS = (20261161, 20261162, 20261163, 20261164, 20261165)


def evaluate(kind: str) -> list[Verdict]:
    """Simulate and diagnose a set, print its table, and return the verdicts."""
    with TemporaryDirectory() as folder:
        verdicts = run_set(kind, Path(folder))
    print(table(kind, verdicts), flush=True)
    return verdicts


def record(seeds: list[int]) -> list[Verdict]:
    """Evaluate the sets of seeds, and write the results after each set."""
    sets: dict[int, list[Verdict]] = {}
    for seed in seeds:
        sets[seed] = evaluate(str(seed))
        FILE.write_text(json.dumps(record_of(sets), indent=2) + "\n")
    return [verdict for verdicts in sets.values() for verdict in verdicts]


def main(arguments: list[str]) -> int:
    """Evaluate sets and return the exit code: 1 if an untuned set misses a target."""
    words = [word for word in arguments if word != "--record"]
    if "--record" in arguments:
        untuned = record([int(word) for word in words] or list(SEEDS))
    else:
        sets = {kind: evaluate(kind) for kind in words or ["tuning", "practice", "judging"]}
        print("\n## Total\n")
        print("\n".join(f"{kind}: {line}" for kind, each in sets.items() for line in summary(each)))
        untuned = [v for kind, each in sets.items() if kind in ("judging",) for v in each]
        untuned += [v for kind, each in sets.items() if kind.isdigit() for v in each]
    missed = complaints(untuned) if untuned else []
    for complaint in missed:
        print(f"missed: {complaint}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
