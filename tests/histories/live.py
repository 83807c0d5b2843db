"""Replay ten incidents into the real stack, and write what a person in the group chat received.

`python -m tests.histories.live FOLDER [--seed N]` takes a quarter of an hour. A reader who gets
only FOLDER/notifications.md says for each what is wrong, how bad it is and what to do first;
FOLDER/truth.md has the answers.
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from tests.asking import HTTP
from tests.histories.breaking import BREAKING
from tests.histories.exposition import Grid
from tests.histories.incidents import INCIDENTS, Incident
from tests.histories.present import Page, page
from tests.histories.real import STEP_SECONDS, stack, write_past
from tests.histories.worlds import usual_world
from tests.stack.receivers import OK, Post, receiver

SEED = 33960  # it chooses the first ten of the pool
WARM_UP_MINUTES = 60  # in which the caches of a history grow; the real stack never sees them
PAST_MINUTES = 60
QUIET_MINUTES = 1.25  # in which the real stack starts and scrapes healthy services
MINUTES = 13.5
# Each reports within 13 minutes, by an alert of its own.
POOL = (
    "first failures ever", "slow model", "queue is full", "GPU out of memory", "worker hangs",
    "black images", "one route fails", "GPU throttled", "crash loop", "target down",
    "circuit open", "timeouts", "file descriptors run out", "worker killed again and again",
    "worker never loads", "queue grows",
)  # fmt: skip
NUMBER = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One incident, and the page of the service that it happens to."""

    incident: Incident
    page: Page


@dataclass(frozen=True, slots=True)
class Message:
    """What the group chat received, and when."""

    at: float
    text: str


def chosen(seed: int) -> list[Incident]:
    """Return ten incidents of the pool, in the order of their services."""
    known = {incident.name: incident for incident in INCIDENTS}
    order = np.random.default_rng([seed, NUMBER]).permutation(POOL)
    return [known[str(name)] for name in order[:NUMBER]]


def page_of(incident: Incident, number: int, begin: int, seed: int) -> Page:
    """Return the page of a healthy service to which an incident happens after its past."""
    rng = np.random.default_rng([seed, NUMBER, number])
    first = WARM_UP_MINUTES + PAST_MINUTES + QUIET_MINUTES
    last = first + MINUTES + 2
    grid = Grid(STEP_SECONDS, round(last * 60 / STEP_SECONDS))
    world = usual_world(grid, rng, number, peak=incident.peak)
    service = world.service
    replica, healthy = service.replicas[0], grid.at(first)
    service.job, replica.instance = f"edit-{number}", f"edit-{number}-a:8000"
    service.rate, service.call_seconds = grid.full(incident.peak), grid.full(incident.call)
    BREAKING[incident.name](world, first, last)
    replica.life[:healthy], replica.ready[:healthy] = 0, 1  # black images begin with a restart
    return page(next(world.targets(np.ones(grid.steps, dtype=bool))), begin)


def main(arguments: list[str]) -> int:
    """Replay, and write both files; return the exit code."""
    asked = _asked(arguments)
    work = asked.folder / "work"
    work.mkdir(parents=True)
    now = int(time.time()) // STEP_SECONDS * STEP_SECONDS
    first = now - (WARM_UP_MINUTES + PAST_MINUTES) * 60
    ten = [
        Case(one, page_of(one, number, first, asked.seed))
        for number, one in enumerate(chosen(asked.seed), start=1)
    ]
    pages = [case.page for case in ten]
    write_past(work, pages, now - PAST_MINUTES * 60, now)
    begin = now + QUIET_MINUTES * 60
    received: list[Message] = []

    def keep(post: Post) -> bytes:
        received.append(Message(time.time(), str(post.json["markdown"]["content"])))
        (asked.folder / "notifications.md").write_text("".join(map(_shown, received)))
        return OK

    with receiver() as robot:
        robot.reply = keep
        with stack(work, pages, robot) as url:
            print(f"the stack runs {begin - time.time():.0f} s before the incidents", flush=True)
            _wait(begin + MINUTES * 60, received)
            fired = _fired(url, now, begin + MINUTES * 60)
    (asked.folder / "truth.md").write_text(truth(ten, begin, received, fired))
    return 0


def _asked(arguments: list[str]) -> Namespace:
    parser = ArgumentParser("python -m tests.histories.live", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--seed", type=int, default=SEED)
    return parser.parse_args(arguments)


def _wait(until: float, received: Sequence[Message]) -> None:
    pause = Event()
    while (left := until - time.time()) > 0:
        pause.wait(min(60.0, left))
        print(f"{time.strftime('%H:%M:%S')} {len(received)} messages", flush=True)


def _shown(message: Message) -> str:
    return f"## {time.strftime('%H:%M:%S', time.gmtime(message.at))}\n\n{message.text}\n\n"


def _fired(url: str, begin: float, end: float) -> list[tuple[dict[str, str], float]]:
    """Return the labels of each alert that fired, and when first."""
    found = HTTP.get(
        f"{url}/api/v1/query_range",
        params={
            "query": 'ALERTS{alertstate="firing", severity=~"critical|warning"}',
            "start": begin,
            "end": end,
            "step": STEP_SECONDS,
        },
    ).raise_for_status()
    result = found.json()["data"]["result"]
    return sorted(((each["metric"], each["values"][0][0]) for each in result), key=lambda e: e[1])


def truth(
    ten: Sequence[Case],
    begin: float,
    received: Sequence[Message],
    fired: Sequence[tuple[dict[str, str], float]],
) -> str:
    """Return the incident of each job, the seconds to its first message, and every alert."""
    rows = ["| Job | Incident | Expected | First message after | Named after |", "|---" * 5 + "|"]
    for case in ten:
        machine = case.page.instance.partition(":")[0]  # alerts of a GPU have no job
        marks = (f"({case.page.job})", f"{machine}: ")
        own = [each for each in received if any(mark in each.text for mark in marks)]
        named = [each for each in own if any(a in each.text for a in case.incident.alerts)]
        seconds = [f"{each[0].at - begin:.0f} s" if each else "never" for each in (own, named)]
        columns = (case.page.job, case.incident.name, ", ".join(case.incident.alerts), *seconds)
        rows.append(f"| {' | '.join(columns)} |")
    rows += ["", "| Fired after | Alert |", "|---|---|"]
    hidden = ("__name__", "alertstate")
    for labels, at in fired:
        text = ", ".join(f"{k}={v}" for k, v in labels.items() if k not in hidden)
        rows.append(f"| {at - begin:.0f} s | {text} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
