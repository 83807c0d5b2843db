"""Arrivals, waits and device time of one replica, by a fluid queue with two priorities."""

from dataclasses import dataclass

import numpy as np

from tests.histories.exposition import Counts, Flags, Floats
from tests.histories.service import LARGE, Replica, Service

_GAIN = 1.2  # batches answer this much more
_LONGEST_QUEUE = 200.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one replica has to do at each step. Waits are in seconds."""

    normal: Counts
    low: Counts
    wait: Floats
    low_wait: Floats
    backlog: Floats
    served: Floats  # share of the normal requests that there is device time for
    held: Floats  # low-priority requests in flight
    busy: Floats  # share of the device's time
    refusing: Flags  # no replica is ready, and callers reach this one


def load_of(service: Service, replica: Replica, rng: np.random.Generator) -> Load:
    """Draw the requests that reach a replica, and work out how long they wait."""
    share, refusing = _share(service, replica)
    seconds = service.grid.step_seconds
    normal = rng.poisson(np.where(replica.stuck, 0.0, service.rate * share) * seconds)
    held = np.where(replica.serving, service.batch * share, 0.0)
    call = service.call_seconds * (1 + (LARGE - 1) * service.large)
    capacity = np.where(replica.stuck, 0.0, np.maximum(replica.ready, 0) / call * _GAIN)
    rate = normal / seconds
    used = _ratio(rate, capacity)
    backlog = _backlog(rate - capacity, capacity, seconds)
    calm = 0.5 * call * np.minimum(used, 0.95) / (1 - np.minimum(used, 0.95))
    running = np.where(held > 0, 0.5 * call, 0.0)  # a call for a low-priority request has begun
    spare = np.where(held > 0, np.maximum(0.05, 1 - used), 0.0) * capacity
    return Load(
        normal=normal,
        low=rng.poisson(spare * seconds),
        wait=calm + running + _ratio(backlog, capacity),
        low_wait=_ratio(held, spare),
        backlog=backlog,
        served=np.minimum(1.0, _ratio(capacity * seconds, normal.astype(float))),
        held=held,
        busy=np.where(held > 0, 1.0, np.minimum(1.0, used)),
        refusing=refusing,
    )


def _share(service: Service, replica: Replica) -> tuple[Floats, Flags]:
    """Return a replica's share of the requests, and where it must refuse all of them."""
    serving = np.sum([each.serving for each in service.replicas], axis=0)
    alive = np.sum([each.life >= 0 for each in service.replicas], axis=0)
    refusing = (serving == 0) & (replica.life >= 0)
    share = np.where(replica.serving, 1 / np.maximum(serving, 1), 0.0)
    return np.where(refusing, 1 / np.maximum(alive, 1), share), refusing


def _backlog(excess: Floats, capacity: Floats, seconds: float) -> Floats:
    waiting, rows = 0.0, []
    for more, able in zip((excess * seconds).tolist(), capacity.tolist(), strict=True):
        waiting = min(max(0.0, waiting + more), _LONGEST_QUEUE) if able > 0 else 0.0
        rows.append(waiting)
    return np.asarray(rows)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
