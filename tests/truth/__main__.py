"""Prints how often the diagnosis is right: `python -m tests.truth`, or `make truth`.

A set is `tuning`, `practice`, `judging`, or a number: the set that this seed draws. `--record`
writes what seeds that nobody looked at have shown, check by check, into docs/truth.json.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.truth.report import complaints, recorded, summary, table
from tests.truth.trial import Verdict, tried

FILE = Path(__file__).parents[2] / "docs" / "truth.json"
SEEDS = (20261161, 20261162, 20261163, 20261164, 20261165)


def played(kind: str) -> list[Verdict]:
    """Play a set, print its table, and return what was said."""
    with TemporaryDirectory() as folder:
        verdicts = tried(kind, Path(folder))
    print(table(kind, verdicts), flush=True)
    return verdicts


def record(seeds: list[int]) -> list[Verdict]:
    """Play the sets of seeds, and write what they show for the page, after each anew."""
    sets: dict[int, list[Verdict]] = {}
    for seed in seeds:
        sets[seed] = played(str(seed))
        FILE.write_text(json.dumps(recorded(sets), indent=2) + "\n")
    return [verdict for verdicts in sets.values() for verdict in verdicts]


def main(arguments: list[str]) -> int:
    """Play what is asked for and return the exit code: 1 where an unseen set misses its figures."""
    words = [word for word in arguments if word != "--record"]
    if "--record" in arguments:
        judged = record([int(word) for word in words] or list(SEEDS))
    else:
        sets = {kind: played(kind) for kind in words or ["tuning", "practice", "judging"]}
        print("\n## In all\n")
        print("\n".join(f"{kind}: {line}" for kind, each in sets.items() for line in summary(each)))
        judged = [v for kind, each in sets.items() if kind in ("judging",) for v in each]
        judged += [v for kind, each in sets.items() if kind.isdigit() for v in each]
    failed = complaints(judged) if judged else []
    for complaint in failed:
        print(f"missed: {complaint}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
