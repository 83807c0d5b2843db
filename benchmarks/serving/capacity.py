"""Measure the tagger under closed-loop load: throughput, latency, memory and start time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.serving import raw
from benchmarks.serving.load import Rate, load
from benchmarks.serving.servers import serving
from benchmarks.serving.systems import SAFELIGHT, System
from benchmarks.serving.task import TAG_BATCH

CONNECTIONS = (1, 8, TAG_BATCH)


@dataclass(frozen=True)
class Turn:
    """The results of one system in one round.

    `cpu_seconds` are those of its first process for one image: Safelight's API process.
    """

    rates: dict[int, Rate]
    cpu_seconds: dict[int, float]
    memory_bytes: int
    ready_seconds: float


Reading = Callable[[Turn], float]


@dataclass(frozen=True)
class Capacity:
    """The results of all systems in all rounds. A ratio is the median of the rounds' ratios."""

    raw: list[dict[int, float]]
    turns: dict[System, list[Turn]]

    def typical(self, system: System, read: Reading) -> float:
        """Return the median over the rounds."""
        return median(read(turn) for turn in self.turns[system])

    def against_most(self, peers: list[System], read: Reading) -> float:
        """Return Safelight's ratio to the peer with the highest value."""
        return self._against(max(peers, key=lambda peer: self.typical(peer, read)), read)

    def against_least(self, peers: list[System], read: Reading) -> float:
        """Return Safelight's ratio to the peer with the lowest value."""
        return self._against(min(peers, key=lambda peer: self.typical(peer, read)), read)

    def raw_share(self, system: System) -> float:
        """Return the throughput as a share of the raw limit, with full batches."""
        rounds = zip(self.turns[system], self.raw, strict=True)
        return median(throughput(TAG_BATCH)(turn) / limit[TAG_BATCH] for turn, limit in rounds)

    def _against(self, peer: System, read: Reading) -> float:
        rounds = zip(self.turns[SAFELIGHT], self.turns[peer], strict=True)
        return median(read(own) / read(other) for own, other in rounds)


def throughput(connections: int) -> Reading:
    """Return a function that reads the images per second."""
    return lambda turn: turn.rates[connections].images_per_second


def p50(connections: int) -> Reading:
    """Return a function that reads the median latency, in seconds."""
    return lambda turn: turn.rates[connections].median_seconds


def cpu(connections: int) -> Reading:
    """Return a function that reads the CPU seconds of the API process for one image."""
    return lambda turn: turn.cpu_seconds[connections]


def p99(connections: int) -> Reading:
    """Return a function that reads the P99 latency, in seconds."""
    return lambda turn: turn.rates[connections].p99_seconds


def memory(turn: Turn) -> float:
    """Read the memory of all processes, in bytes."""
    return turn.memory_bytes


def ready(turn: Turn) -> float:
    """Read the seconds until the first response."""
    return turn.ready_seconds


def measure(
    systems: Iterable[System], rounds: int, seconds: int, report: Callable[[str], None]
) -> Capacity:
    """Measure the raw limit and every system in turn, in each round."""
    capacity = Capacity([], {system: [] for system in systems})
    for number in range(1, rounds + 1):
        report(f"tagger, round {number} of {rounds}: raw limit")
        capacity.raw.append(raw.limit(seconds / 2, CONNECTIONS, "tagger"))
        for system, turns in capacity.turns.items():
            report(f"tagger, round {number} of {rounds}: {system.name}")
            turns.append(_turn(system, seconds))
    return capacity


def _turn(system: System, seconds: int) -> Turn:
    with serving(system) as server:
        load(server.url, system.body, CONNECTIONS[1], 1)  # warm up
        rates, cpu_seconds = {}, {}
        for number in CONNECTIONS:
            before = server.cpu_seconds()
            rates[number] = load(server.url, system.body, number, seconds)
            images = rates[number].images_per_second * seconds
            cpu_seconds[number] = (server.cpu_seconds() - before) / images
        return Turn(rates, cpu_seconds, server.memory_bytes(), server.ready_seconds)
