"""Safelight's targets compared with its peers, as measurements."""

from collections.abc import Iterator
from statistics import median

from benchmarks.measurements import Measurement
from benchmarks.serving.capacity import Capacity, cpu, memory, p50, p99, ready, throughput
from benchmarks.serving.overload import Turn
from benchmarks.serving.systems import LITSERVE, SAFELIGHT
from benchmarks.serving.task import TAG_BATCH

_GOODPUT = {0.5: 0.45, 1.0: 0.90, 2.0: 0.95, 5.0: 0.95}


def of_capacity(results: Capacity) -> Iterator[Measurement]:
    """Yield the tagger's measurements, compared with the best measured peer."""
    peers = [system for system in results.turns if system is not SAFELIGHT]
    batching = [peer for peer in peers if peer.batches]
    plain = [peer for peer in peers if not peer.batches]
    highest, lowest = results.against_most, results.against_least
    most, times = TAG_BATCH, "times"
    c1 = highest(batching, throughput(1))
    yield Measurement("c1 against the best batching peer", c1, times, least=1.1, noisy=True)
    if plain:
        c1 = highest(plain, throughput(1))
        yield Measurement("c1 against plain FastAPI", c1, times, least=0.9, noisy=True)
    c8, c32 = (highest(peers, throughput(number)) for number in (8, most))
    yield Measurement("c8 against the best peer", c8, times, least=1.5, noisy=True)
    yield Measurement("c32 against the best peer", c32, times, least=2.0, noisy=True)
    share = results.raw_share(SAFELIGHT)
    yield Measurement("c32 against the raw limit", share, times, least=0.88, noisy=True)
    tail = results.typical(SAFELIGHT, p99(1)) / results.typical(SAFELIGHT, p50(1))
    yield Measurement("p99 at c1 against its median", tail, times, 2, noisy=True)
    c8, c32 = (lowest(peers, p99(number)) for number in (8, most))
    yield Measurement("p99 at c8 against the best peer", c8, times, 0.4, noisy=True)
    yield Measurement("p99 at c32 against the best peer", c32, times, 0.45, noisy=True)
    yield Measurement(
        "CPU time of the API process, a request at c32",
        results.typical(SAFELIGHT, cpu(most)) * 1e6,
        "µs",
        200,
    )
    yield Measurement("memory against LitServe", lowest([LITSERVE], memory), times, 0.8)
    yield Measurement(
        "start time against the fastest batching peer",
        lowest(batching, ready),
        times,
        1,
        noisy=True,
    )


def of_overload(turns: list[Turn]) -> Iterator[Measurement]:
    """Yield the edit's measurements."""
    share = median(turn.raw_share for turn in turns)
    yield Measurement("edit, c8 against the raw limit", share, "times", least=0.95, noisy=True)
    for load, goodput in _GOODPUT.items():
        share = median(turn.loads[load].goodput_share for turn in turns)
        name = f"edit, goodput at {load:g} times capacity"
        yield Measurement(name, share, "of it", least=goodput, noisy=True)
    wasted = max(median(turn.loads[load].wasted_ratio for turn in turns) for load in _GOODPUT)
    name = "edit, highest share of wasted device time"
    yield Measurement(name, wasted * 100, "%", 2, noisy=True)
