"""Compare `safelight logs` with DuckDB over one log of a million requests.

`python -m benchmarks.logs PYTHON`, with the interpreter of an environment that has DuckDB. Each
answer is computed by a process of its own, three times in turn, and all must agree.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.measurements import SHORT
from benchmarks.published import origin
from safelight.metrics.catalog import STAGES
from safelight.reasons import NO_ERROR
from safelight.telemetry.ecs import request_line
from safelight.telemetry.record import Facts, PipelineCall, Record

_LINES = 20_000 if SHORT else 1_000_000
_ROUNDS, _SEED = 3, 20261201
_BEGIN = datetime(2026, 12, 1, tzinfo=UTC)
_SERVICE = {"service": {"name": "instructpix2pix", "version": "0.1.0"}, "process": {"pid": 4711}}
_REASONS = {NO_ERROR: 200, "timeout": 504, "cuda_oom": 500, "queue_full": 503, "bad_image": 400}
_WEIGHTS = (960, 8, 2, 20, 10)
_TYPES = ("make_him_old", "colour", "add_object", "style", "background", "other")
_CALL = PipelineCall(
    pipeline="StableDiffusionInstructPix2PixPipeline",
    instruction_type="other",
    precision="float16",
    seconds=1.5,
    phases={},
    step_seconds=(0.05,) * 20,
    steps_asked=20,
    guidance_asked=7.5,
    guidance_in_force=7.5,
    image_guidance_asked=1.5,
    image_guidance_in_force=1.5,
    images=((512, 512),),
)
_READ = """
import duckdb, json, sys
path, threads, query = sys.argv[1:]
duckdb.execute(f"SET threads = {threads}; SET enable_progress_bar = false")
columns = {
    "@timestamp": "VARCHAR",
    "event": 'STRUCT(action VARCHAR, duration BIGINT)',
    "error": 'STRUCT("type" VARCHAR)',
    "http": 'STRUCT(request STRUCT(id VARCHAR))',
}
log = duckdb.read_json(path, format="newline_delimited", columns=columns)
requests = log.filter("event.action = 'request'")
"""
_SLOW = """
chosen = requests.filter("error.type IN ('timeout', 'cuda_oom') AND event.duration >= 10e9")
print(len(chosen.fetchall()))
"""
_ID = """
chosen = requests.filter(f"http.request.id = '{query}'")
print(len(chosen.fetchall()))
"""
_SUMMARY = """
found = requests.aggregate(
    "\\"@timestamp\\"[:13] AS hour, coalesce(error.type, 'none') AS reason, count(*) AS number")
print(json.dumps(sorted(map(list, found.fetchall()))))
"""


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Question(NamedTuple):
    """One question: the options of `safelight logs`, and the program with DuckDB."""

    options: tuple[str, ...]
    program: str
    argument: str
    answer: Callable[[str], object]  # of what `safelight logs` printed


def write_log(path: Path) -> str:
    """Write a log as a service writes it, of one day; return the id of one request in it."""
    random = Random(_SEED)
    last = ""
    with path.open("w") as file:
        for number in range(_LINES):
            [reason] = random.choices([*_REASONS], _WEIGHTS)
            last = f"{random.getrandbits(128):032x}"
            at = _BEGIN + timedelta(days=number / _LINES)
            line = json.loads(request_line("info", _record(random, reason, last), _SERVICE))
            line["@timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    return last


def _record(random: Random, reason: str, name: str) -> Record:
    seconds = random.lognormvariate(0.7, 0.6) * (8 if reason == "timeout" else 1)
    kind = random.choice(_TYPES)
    calls = (replace(_CALL, instruction_type=kind),) if reason == NO_ERROR else ()
    stages = {stage: seconds / len(STAGES) for stage in STAGES}
    facts = Facts(id=name, instruction_type=kind, queued=True, calls=calls, seed=number_of(name))
    return Record(
        facts=facts,
        endpoint="/api/edit",
        status_code=_REASONS[reason],
        error=reason,
        seconds=seconds,
        stages=stages,
    )


def number_of(name: str) -> int:
    """Return a seed that belongs to an id."""
    return int(name[:12], 16)


def _questions(name: str) -> dict[str, Question]:
    lines = ("--json",)
    slow = ("--reason", "timeout", "--reason", "cuda_oom", "--slow", "10", *lines)
    return {
        "failed and slow requests": Question(slow, _SLOW, "", lambda text: text.count("\n")),
        "one request by its id": Question(
            ("--id", name, *lines), _ID, name, lambda text: text.count("\n")
        ),
        "summary by hour and reason": Question(
            ("--summary", *lines), _SUMMARY, "", lambda text: _counts(json.loads(text))
        ),
    }


def _counts(summary: dict[str, list[dict[str, object]]]) -> list[list[object]]:
    hours = ((hour["hour"], hour["requests"]) for hour in summary["hours"])
    return sorted([hour, reason, n] for hour, found in hours for reason, n in found.items())


def _run(command: list[str]) -> tuple[str, Cost]:
    """Run a process; return what it printed, and its cost."""
    with TemporaryDirectory() as folder, (Path(folder) / "out").open("w+") as out:
        started = perf_counter()
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        out.seek(0)
        cost = Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        return out.read(), cost


def rows(duckdb: str, folder: Path) -> Iterator[str]:
    """Yield the rows of the table."""
    log = folder / "safelight.log"
    name = write_log(log)
    yield f"{origin()}: {_LINES} lines, {log.stat().st_size / 1e6:.0f} MB."
    yield "| question | program | time | CPU | peak memory |"
    yield "|---|---|---|---|---|"
    for text, question in _questions(name).items():
        ours = [sys.executable, "-m", "safelight", "logs", str(log), *question.options]
        program = _READ + question.program
        commands = {"`safelight logs`": ours} | {
            f"DuckDB, {threads} thread{'s' * (threads > 1)}": [
                *(duckdb, "-c", program, str(log), str(threads), question.argument)
            ]
            for threads in (1, 2)
        }
        costs: dict[str, list[Cost]] = {each: [] for each in commands}
        for _ in range(_ROUNDS):
            answers = []
            for each, command in commands.items():
                printed, cost = _run(command)
                costs[each].append(cost)
                answers.append(question.answer(printed) if command is ours else json.loads(printed))
            assert all(answer == answers[0] for answer in answers), f"{text}: they differ"
        for each, found in costs.items():
            middle = [median(values) for values in zip(*found, strict=True)]
            yield (
                f"| {text} | {each} | {middle[0]:.2f} s | {middle[1]:.2f} s "
                f"| {middle[2] / 1e6:.0f} MB |"
            )


def main(arguments: list[str]) -> int:
    """Print the table."""
    if len(arguments) != 1:
        print("Name the Python interpreter of an environment with DuckDB.", file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder:
        for row in rows(arguments[0], Path(folder)):
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
