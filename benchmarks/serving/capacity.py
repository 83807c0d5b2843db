"""The tagger under closed-loop load: throughput, latency, memory and time until ready."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.serving import raw
from benchmarks.serving.load import Rate, press
from benchmarks.serving.servers import serving
from benchmarks.serving.systems import OURS, System
from benchmarks.serving.task import TAG_BATCH

CONNECTIONS = (1, 8, TAG_BATCH)


@dataclass(frozen=True)
class Turn:
    """What one system did in one round."""

    rates: dict[int, Rate]
    memory_bytes: int
    ready_seconds: float


Reading = Callable[[Turn], float]


@dataclass(frozen=True)
class Capacity:
    """What all did in all rounds. Ratios are those of each round, then their median."""

    raw: list[dict[int, float]]
    turns: dict[System, list[Turn]]

    def typical(self, system: System, read: Reading) -> float:
        """Return the median over the rounds."""
        return median(read(turn) for turn in self.turns[system])

    def against_most(self, peers: list[System], read: Reading) -> float:
        """Return what ours reads, in units of the peer that reads most."""
        return self._against(max(peers, key=lambda peer: self.typical(peer, read)), read)

    def against_least(self, peers: list[System], read: Reading) -> float:
        """Return what ours reads, in units of the peer that reads least."""
        return self._against(min(peers, key=lambda peer: self.typical(peer, read)), read)

    def raw_share(self, system: System) -> float:
        """Return the throughput as a share of the raw limit, in full batches."""
        rounds = zip(self.turns[system], self.raw, strict=True)
        return median(throughput(TAG_BATCH)(turn) / limit[TAG_BATCH] for turn, limit in rounds)

    def _against(self, peer: System, read: Reading) -> float:
        rounds = zip(self.turns[OURS], self.turns[peer], strict=True)
        return median(read(ours) / read(theirs) for ours, theirs in rounds)


def throughput(connections: int) -> Reading:
    """Return the reading of images per second."""
    return lambda turn: turn.rates[connections].images_per_second


def p50(connections: int) -> Reading:
    """Return the reading of the median latency, in seconds."""
    return lambda turn: turn.rates[connections].median_seconds


def p99(connections: int) -> Reading:
    """Return the reading of the latency that one request in a hundred exceeds, in seconds."""
    return lambda turn: turn.rates[connections].p99_seconds


def memory(turn: Turn) -> float:
    """Read the memory of all processes, in bytes."""
    return turn.memory_bytes


def ready(turn: Turn) -> float:
    """Read the seconds until the first answer."""
    return turn.ready_seconds


def measure(
    systems: Iterable[System], rounds: int, seconds: int, say: Callable[[str], None]
) -> Capacity:
    """Return what the systems and the raw limit did, in rounds in which each has its turn."""
    found = Capacity([], {system: [] for system in systems})
    for number in range(1, rounds + 1):
        say(f"tagger, round {number} of {rounds}: raw limit")
        found.raw.append(raw.limit(seconds / 2, CONNECTIONS, "tagger"))
        for system, turns in found.turns.items():
            say(f"tagger, round {number} of {rounds}: {system.name}")
            turns.append(_turn(system, seconds))
    return found


def _turn(system: System, seconds: int) -> Turn:
    with serving(system) as server:
        press(server.url, system.body, CONNECTIONS[1], 1)  # to warm it
        rates = {each: press(server.url, system.body, each, seconds) for each in CONNECTIONS}
        return Turn(rates, server.memory_bytes(), server.ready_seconds)
