"""Print how quiet healthy histories are and how soon incidents alert; exit 1 if one is wrong.

`python -m tests.histories [--seed N] [--weeks N | --year] [--at-once N] [--only TEXT]`
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from functools import partial

from tests.histories.healthy import healthy
from tests.histories.incidents import packs
from tests.histories.report import complaints, details, figures, incident_table
from tests.histories.trial import (
    WEEK_HOURS,
    Quiet,
    Reported,
    judge_healthy,
    judge_incidents,
    numbers_until,
    run_all,
)

SEED = 16
_YEAR_WEEKS = 365 / 7


def main(arguments: list[str]) -> int:
    """Run the histories, print the tables, and return the exit code."""
    chosen = _chosen(arguments)
    reports = _incidents(chosen)
    quiet = _healthy(chosen)
    print("\n".join(incident_table(reports)))
    print("\n" + "\n".join(figures(quiet, reports)))
    wrong = complaints(quiet, reports)
    print("\n".join(["", *wrong]) if wrong else "\nnothing is wrong")
    return 1 if wrong else 0


def _chosen(arguments: list[str]) -> Namespace:
    parser = ArgumentParser("python -m tests.histories", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--weeks", type=float, default=1.0, help="of all services together")
    parser.add_argument("--year", action="store_const", const=_YEAR_WEEKS, dest="weeks")
    parser.add_argument("--at-once", type=int, default=1, help="promtools at once")
    parser.add_argument("--only", default="", help="only incidents with this text in their name")
    return parser.parse_args(arguments)


def _incidents(chosen: Namespace) -> list[Reported]:
    groups = [tuple(each for each in pack if chosen.only in each.name) for pack in packs()]
    work = [partial(judge_incidents, pack, chosen.seed) for pack in groups if pack]
    reports: list[Reported] = []
    for part in run_all(work, chosen.at_once):
        reports += part
        _progress(f"{len(reports)} incidents")
    return reports


def _healthy(chosen: Namespace) -> list[Quiet]:
    quiet: list[Quiet] = []
    work = [
        partial(_one, chosen.seed, number) for number in numbers_until(chosen.weeks * WEEK_HOURS)
    ]
    for part in run_all(work, chosen.at_once):
        quiet += part
        print("\n".join(details(part)), file=sys.stderr)
        hours = sum(each.hours for each in quiet)
        loud = sum(bool(each.fired) for each in quiet)
        _progress(f"{hours / WEEK_HOURS:.1f} of {chosen.weeks:.1f} weeks, {loud} not quiet")
    return quiet


def _one(seed: int, number: int) -> list[Quiet]:
    return judge_healthy(healthy(seed, number))


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
