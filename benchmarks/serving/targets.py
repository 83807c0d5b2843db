"""What Safelight must reach beside its peers: the rows marked `engine`, as figures."""

from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Figure
from benchmarks.serving.capacity import Capacity, memory, p99, ready, throughput
from benchmarks.serving.overload import Turn
from benchmarks.serving.systems import LITSERVE, OURS
from benchmarks.serving.task import TAG_BATCH

_GOODPUT = {0.5: 0.45, 1.0: 0.90, 2.0: 0.95, 5.0: 0.95}


def of_capacity(found: Capacity) -> Iterator[Figure]:
    """Yield the tagger's figures, each against the best of the peers that were measured."""
    peers = [system for system in found.turns if system is not OURS]
    batching = [peer for peer in peers if peer.batches]
    plain = [peer for peer in peers if not peer.batches]
    lead, lag = found.against_most, found.against_least
    yield Figure(
        "c1 against the best batching peer", lead(batching, throughput(1)), "times", least=1.4
    )
    if plain:
        yield Figure("c1 against plain FastAPI", lead(plain, throughput(1)), "times", least=0.95)
    yield Figure("c8 against the best peer", lead(peers, throughput(8)), "times", least=1.2)
    yield Figure(
        "c32 against the best peer", lead(peers, throughput(TAG_BATCH)), "times", least=1.6
    )
    yield Figure("c32 against the raw limit", found.raw_share(OURS), "times", least=0.82)
    yield Figure("p99 at c8 against the best peer", lag(peers, p99(8)), "times", 0.7)
    yield Figure("p99 at c32 against the best peer", lag(peers, p99(TAG_BATCH)), "times", 0.5)
    yield Figure("memory against LitServe", lag([LITSERVE], memory), "times", 0.8)
    yield Figure("ready against the soonest batching peer", lag(batching, ready), "times", 1)


def of_overload(ours: list[Turn]) -> Iterator[Figure]:
    """Yield the edit's figures."""
    share = median(turn.raw_share for turn in ours)
    yield Figure("edit, c8 against the raw limit", share, "times", least=0.95)
    for load, goodput in _GOODPUT.items():
        reached = median(turn.strains[load].goodput_share for turn in ours)
        yield Figure(f"edit, goodput at {load:g} times capacity", reached, "of it", least=goodput)
    wasted = max(median(turn.strains[load].wasted_ratio for turn in ours) for load in _GOODPUT)
    yield Figure("edit, device time wasted, at worst", wasted * 100, "%", 2)
