"""Incidents: each breaks one thing in a healthy history, and names the alerts that must say so."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from tests.histories.breaking import BREAKING, SILENCING
from tests.histories.exposition import Grid
from tests.histories.history import History, World, record, usual_monitoring
from tests.histories.worlds import usual_world

_TOGETHER = 14  # services in one Prometheus; promtool has a limit of samples
_USUAL = 35.0  # minutes of a healthy service before the incident


@dataclass(frozen=True, slots=True)
class Incident:
    """What breaks, and how soon one of its alerts must fire.

    `visible_seconds` passes until what the alert judges is the case: a leak must have grown, ten
    requests must have failed, ten minutes must pass without an answer. `why` says so in words.
    The alert must then fire within its `for` and two scrapes.
    """

    name: str
    alerts: tuple[str, ...]
    visible_seconds: float
    why: str
    begin_minute: float = _USUAL
    minutes: float = 25.0
    step_seconds: int = 15
    replicas: int = 1
    peak: float = 1.6  # requests per second of a replica
    call: float = 0.4
    alone: bool = False  # it needs a Prometheus for itself


_LEAK: Any = {"begin_minute": 150, "minutes": 150, "step_seconds": 60}
_BURN: Any = {"begin_minute": 60, "minutes": 270, "step_seconds": 60}
INCIDENTS: tuple[Incident, ...] = (
    Incident("first failures ever", ("RequestsFailing",), 15, "10 failures at 1.6 requests/s"),
    Incident("failures of a small service", ("RequestsFailing",), 360,
             "10 failures at 0.04 requests/s", peak=0.04),
    Incident("slow model", ("RequestP95High",), 105, "5 % of half an hour", call=1.2, peak=0.2),
    Incident("slow steps", ("StepsSlow",), 75, "the first call, at 0.05 requests/s", call=1.2,
             peak=0.05),
    Incident("queue grows", ("QueueLongerThanInference", "WorkPilesUp"), 120,
             "a mean wait of 0.6 s in 5 minutes"),
    Incident("queue is full", ("RequestsRefused",), 45, "5 % of 5 minutes"),
    Incident("GPU out of memory", ("CudaOutOfMemory",), 15, "the first request"),
    Incident("worker killed again and again", ("WorkersRestarting",), 255,
             "the third, each 2 minutes"),
    Incident("worker never loads", ("NoWorkerReady",), 15, "the next scrape"),
    Incident("worker hangs", ("RequestsStuck",), 600, "10 minutes without an answer"),
    Incident("requests of one replica stuck", ("RequestsStuck",), 600,
             "10 minutes without an answer", replicas=2),
    Incident("event loop blocked", ("EventLoopBlocked",), 120, "20 % of 5 minutes, blocked 60 %"),
    Incident("event loop deadlocked", ("TargetDown",), 15, "the next scrape"),
    Incident("black images", ("OutputsInvalid",), 45, "5 images, 2 % of 5 minutes"),
    Incident("one type at 62 %", ("InstructionFailing",), 1560,
             "30 % of half an hour, by chance a little later", **_LEAK),
    Incident("one route fails", ("HighAPIErrorRate",), 180, "5 failures at 0.05 requests/s"),
    Incident("GPU throttled", ("GpuThrottled",), 15, "the next scrape"),
    Incident("GPU hot", ("GpuTemperatureHigh",), 15, "the next scrape"),
    Incident("GPU memory errors", ("GpuMemoryErrors",), 15, "the next scrape"),
    Incident("GPU gone", ("GpuMetricsMissing", "ProbeSilent"), 120, "the probe is silent"),
    Incident("VRAM leak", ("VramLeak",), 2000, "100 MiB/h in the trend of 2 hours, with noise",
             **_LEAK),
    Incident("VRAM full soon", ("VramExhaustionAhead", "VramNearlyFull"), 6660,
             "full in an hour after 106 minutes, by the trend of 2 hours", **_LEAK),
    Incident("host memory leak", ("HostMemoryExhaustionAhead", "HostMemoryFull"), 4800,
             "the forecast of 2 hours", **_LEAK),
    Incident("API process leak", ("ServiceMemoryGrows",), 1500, "50 MiB/h in the trend of 2 hours",
             **_LEAK),
    Incident("disk fills up", ("FilesystemExhaustionAhead", "HostFilesystemFull"), 5200,
             "85 % after 86 minutes", **_LEAK),
    Incident("file descriptors run out", ("FileDescriptorsNearlyGone",), 600,
             "80 % after 10 minutes"),
    Incident("crash loop", ("ServiceRestarting",), 195, "the third start, each minute"),
    Incident("target down", ("TargetDown",), 15, "the next scrape"),
    Incident("Prometheus refuses the page", ("TargetDown",), 15, "the next scrape"),
    Incident("service missing", ("ServiceMissing",), 15, "the next scrape", alone=True,
             begin_minute=15, minutes=10),
    Incident("traffic stops", ("TrafficStopped",), 900, "15 minutes without a request"),
    Incident("Alertmanager gone", ("AlertmanagerMissing",), 15, "the next scrape"),
    Incident("notifications fail", ("NotificationsFailing",), 15, "the next scrape"),
    Incident("relay refused", ("RelayFailing",), 15, "the next scrape"),
    Incident("rules fail", ("RulesFailing",), 15, "the next scrape"),
    Incident("records lost", ("RecordsLost",), 15, "the next scrape"),
    Incident("log lines lost", ("LogLinesLost",), 15, "the next scrape"),
    Incident("probe fails", ("ProbeFailing",), 15, "the next scrape"),
    Incident("probe silent", ("ProbeSilent",), 120, "2 minutes without a reading"),
    Incident("slow exposition", ("ExpositionSlow",), 15, "the next scrape"),
    Incident("circuit open", ("CircuitOpen",), 15, "the next scrape"),
    Incident("model file swapped", ("ModelBroken", "ReadinessForced"), 30, "15 s, two scrapes"),
    Incident("device slower", ("ModelSlow",), 15, "the next scrape"),
    Incident("no idle time for the canary", ("CanaryOverdue",), 3615, "an hour", **_LEAK),
    Incident("rollout rolled back", ("RolloutRolledBack",), 15, "the next scrape"),
    Incident("second model worse", ("SecondModelWorse",), 15, "the next scrape"),
    Incident("timeouts", ("DeadlinesMissed",), 90, "5 timeouts, 5 % of 5 minutes"),
    Incident("recompilation storm", ("ModelRecompiles",), 120, "10 calls, one every 8 seconds"),
    Incident("device time wasted", ("DeviceTimeWasted",), 480, "20 % of 15 minutes"),
    Incident("guidance ignored", ("GuidanceOverridden",), 400, "half an hour's share"),
    Incident("budget burns fast", ("ErrorBudgetBurnFast",), 1800,
             "14.4 times in an hour, at 40 times", **_LEAK),
    Incident("budget burns", ("ErrorBudgetBurn",), 6300,
             "6 times since the beginning, at about 10 times", **_BURN),
    Incident("budget burns slowly", ("ErrorBudgetBurnSlow",), 9000,
             "3 times since the beginning, at about 4.5 times", **_BURN),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Together:
    """Incidents at the same time to different services in one Prometheus."""

    history: History
    incidents: tuple[Incident, ...]
    jobs: tuple[tuple[str, ...], ...]


def packs() -> Iterator[tuple[Incident, ...]]:
    """Yield incidents that one history can contain: equally long, and to different services."""
    key = attrgetter("step_seconds", "begin_minute", "minutes", "alone")
    for (*_, alone), group in groupby(sorted(INCIDENTS, key=key), key):
        yield from batched(tuple(group), 1 if alone else _TOGETHER)


def batched(incidents: tuple[Incident, ...], size: int) -> Iterator[tuple[Incident, ...]]:
    for first in range(0, len(incidents), size):
        yield incidents[first : first + size]


def incident_history(incidents: tuple[Incident, ...], seed: int) -> Together:
    """Return the history of incidents: healthy services, and then the faults."""
    rng, one = np.random.default_rng([seed, sum(incidents[0].name.encode())]), incidents[0]
    steps = int((one.begin_minute + one.minutes) * 60 / one.step_seconds)
    grid = Grid(one.step_seconds, steps)
    monitoring, worlds = usual_monitoring(grid), []
    for number, incident in enumerate(incidents):
        world = _world(grid, rng, number, incident)
        worlds.append(world)
        end = incident.begin_minute + incident.minutes
        if incident.name in SILENCING:
            SILENCING[incident.name](monitoring, incident.begin_minute, end)
        else:
            BREAKING[incident.name](world, incident.begin_minute, end)
    history = record(worlds, monitoring, rng)
    return Together(history, incidents, tuple(world.jobs for world in worlds))


def _world(grid: Grid, rng: np.random.Generator, number: int, incident: Incident) -> World:
    world = usual_world(grid, rng, number, replicas=incident.replicas, peak=incident.peak)
    world.service.rate = grid.full(incident.peak * incident.replicas)
    world.service.call_seconds = grid.full(incident.call)
    return world
