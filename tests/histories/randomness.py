"""Random events: numbers of requests and their times, over many steps at once."""

import numpy as np

from tests.histories.exposition import Counts, Floats


def spread(rng: np.random.Generator, mean: Floats, part: float) -> Floats:
    """Return random values about a mean, from a log-normal distribution."""
    return np.asarray(mean * np.exp(rng.normal(0, part, len(mean)) - part * part / 2))


def wandering(rng: np.random.Generator, steps: int, part: float, memory: float = 0.98) -> Floats:
    """Return a factor about 1 that changes slowly."""
    noise = rng.normal(0, part * np.sqrt(1 - memory**2), steps)
    level = np.empty(steps)
    value = rng.normal(0, part)
    for place in range(steps):
        value = memory * value + noise[place]
        level[place] = value
    return np.asarray(np.exp(level))


def observed(
    rng: np.random.Generator, number: Counts, mean: Floats, part: float, edges: tuple[float, ...]
) -> tuple[Counts, Floats]:
    """Return observations by step and bucket, the last of `+Inf`, and their sums by step.

    The values have a log-normal distribution with this mean and spread.
    """
    middle = np.log(np.maximum(mean, 1e-6)) - part * part / 2
    limits = np.log(np.asarray(edges))
    below = _normal((limits[None, :] - middle[:, None]) / part)
    full = np.concatenate([below, np.ones((len(mean), 1))], axis=1)
    chances = np.clip(np.diff(full, axis=1, prepend=0.0), 0, 1)
    chances /= chances.sum(axis=1, keepdims=True)
    counts = rng.multinomial(number, chances)
    error = rng.normal(0, part, len(mean)) / np.sqrt(np.maximum(number, 1))
    return counts, np.round(number * mean * np.exp(np.clip(error, -1, 1)), 4)


def _normal(x: Floats) -> Floats:
    """Return the normal distribution function (Abramowitz and Stegun, 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    powers = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    tail = sum(factor * t ** (place + 1) for place, factor in enumerate(powers))
    tail = tail * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(x >= 0, 1 - tail, tail))
