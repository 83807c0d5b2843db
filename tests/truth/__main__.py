"""Prints how often the diagnosis is right: `python -m tests.truth`, or `make truth`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.truth.report import complaints, table
from tests.truth.trial import tried


def main(kinds: list[str]) -> int:
    failed: list[str] = []
    for kind in kinds or ["tuning", "judging"]:
        with TemporaryDirectory() as folder:
            verdicts = tried(kind, Path(folder))
        print(table(kind, verdicts), flush=True)
        failed = complaints(verdicts) if kind == "judging" else failed
    for complaint in failed:
        print(f"missed: {complaint}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
