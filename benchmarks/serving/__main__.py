"""Compare Safelight with its peers, print the tables, and exit 1 if a target is missed.

`SHORT=1` in the environment measures one round, against fewer peers, and edits against none (CI).
`QUICK=1` measures only the tagger, against LitServe, within 50 seconds.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measurements import SHORT, Measurement, rows, verdict
from benchmarks.serving import capacity, overload, several, single, tables, targets
from benchmarks.serving.servers import ROOT, environment
from benchmarks.serving.systems import LITSERVE, NAIVE, RAY, SAFELIGHT, TAGGERS, System, editors


@dataclass(frozen=True)
class Plan:
    """The systems and rounds to measure."""

    taggers: tuple[System, ...]
    rounds: int
    seconds: int
    edits: bool
    editing_peers: bool = True


_FULL = Plan(TAGGERS, rounds=5, seconds=2, edits=True)
_QUICK = Plan((SAFELIGHT, LITSERVE), rounds=2, seconds=1, edits=False)
_SHORT = Plan(
    (SAFELIGHT, NAIVE, LITSERVE, RAY), rounds=1, seconds=2, edits=True, editing_peers=False
)


def main() -> int:
    """Measure, print, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers stop too
    subprocess.run([ROOT / "benchmarks/serving/setup"], check=True, stdout=sys.stderr)
    measurements = list(_measure(_plan()))
    print("\n".join(rows(measurements)))
    return verdict(measurements)


def _plan() -> Plan:
    if os.environ.get("QUICK") == "1":
        return _QUICK
    return _SHORT if SHORT else _FULL


def _measure(plan: Plan) -> Iterator[Measurement]:
    """Print each table when it is complete, and yield the measurements."""
    print(f"{tables.heading()}\n")
    tagged = capacity.measure(plan.taggers, plan.rounds, plan.seconds, _report)
    print("\n".join(tables.of_capacity(tagged)), end="\n\n")
    yield from targets.of_capacity(tagged)
    if plan.edits:
        yield from several.measure(_report)
        folder = _weights()
        safelight, *peers = editors(folder)
        measured = [safelight, *peers] if plan.editing_peers else [safelight]
        edited = overload.measure(measured, folder, plan.rounds, _report)
        print("\n".join(tables.of_overload(edited)), end="\n\n")
        yield from targets.of_overload(edited[safelight])
        yield from single.measure(safelight, _report)


def _weights() -> str:
    command = [sys.executable, "-m", "benchmarks.serving.weights"]
    process = subprocess.run(
        command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE
    )
    return process.stdout.decode().strip()


def _report(what: str) -> None:
    print(f"measuring {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
